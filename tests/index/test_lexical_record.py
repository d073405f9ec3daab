"""``benchmarks/lexical.py`` at toy size: it measures each collection once, and leaves a page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson

from searching import beir

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "lexical.py"


def test_two_collections_and_no_second_measurement(tmp_path):
    for name, split in (("nl2bash", "dev"), ("scifact", "train")):
        folder = beir(tmp_path / "data" / name)
        (folder / "qrels" / "test.tsv").rename(folder / "qrels" / f"{split}.tsv")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "data"), "-o", str(tmp_path / "record"), "--collections"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for names in (["nl2bash"], ["nl2bash", "scifact"]):
        done = subprocess.run([*command, *names], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
    assert "scifact" in done.stdout
    assert "nl2bash" not in done.stdout, "measured already"
    values = orjson.loads((tmp_path / "record" / "scifact.json").read_bytes())
    assert values["default"] == values["auto 1.2, 0.9"] > 0.3, "short documents"
    page = (tmp_path / "record" / "README.md").read_text()
    assert page.count("\n| nl2bash |") == page.count("\n| scifact |") == 2
