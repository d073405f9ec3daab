"""The commands on a machine with an accelerator (tests/pretend_device.py): the same files as on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file

from pretrieve.index.index import Index
from pretrieve.models.text_encoder import open_encoder

SCRIPT = Path(__file__).parent.parent / "pretend_device.py"
SMALL = ("--steps", "3", "--set", "batch_size=8", "--tracker", "none")
NEW = (
    "--method",
    "contriever",
    "--set",
    "queue=16",
    "--base",
    "new:layers=1,hidden=32,dropout=0",
    "--set",
    "vocabulary_size=300",
)


def pretended(folder: Path, *words: object) -> str:
    """Run a command where ``auto`` is the pretended accelerator; what it reported."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return " ".join(done.stderr.split())


def assert_same(one: Path, two: Path) -> None:
    mine, other = load_file(one), load_file(two)
    assert mine.keys() == other.keys()
    for name, values in mine.items():
        if "key.bias" in name:  # its gradient is nothing but rounding, which Adam makes as large as any other
            continue
        assert np.linalg.norm(values - other[name]) <= 1e-3 * np.linalg.norm(values) + 1e-4, name


@pytest.fixture(scope="module")
def trained(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretended")
    words = ("train", documents, *NEW, *SMALL, "--no-select", "--keep-workspace")
    said = pretended(folder, *words, "-o", "there", "--set", "save_every=2")
    assert said.startswith("note: device: pretend:0, float32, attention by rows of equal length, 1 process")
    said = pretended(folder, *words, "-o", "here", "--device", "cpu", "--set", "save_every=2")
    assert "an accelerator is idle" in said
    return folder


def test_train_gives_the_model_of_the_cpu(trained: Path) -> None:
    assert_same(trained / "there" / "model.safetensors", trained / "here" / "model.safetensors")
    assert orjson.loads((trained / "there" / "report.json").read_bytes())["device"] == "pretend"


def test_checkpoints_lie_on_the_cpu_and_go_to_either_device(trained: Path) -> None:
    saved = sorted((trained / "there.work").rglob("step-000002"))[0]
    other = sorted((trained / "here.work").rglob("step-000002"))[0]
    for name in ("weights.safetensors", "optimiser.safetensors"):
        assert_same(saved / name, other / name)


def test_index_finetune_and_mine_give_the_files_of_the_cpu(trained: Path, documents: Path) -> None:
    labels = [orjson.loads(line) for line in documents.read_bytes().splitlines()[:40]]
    lines = [{"query": one["text"].split(". ")[1], "positives": [one["text"]]} for one in labels]
    (trained / "labels.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    for where, device in (("there", "auto"), ("here", "cpu")):
        pretended(trained, "index", documents, "--model", "here", "-o", f"index-{where}", "--device", device)
        tune = ("finetune", "here", "labels.jsonl", "--negatives", "ance", *SMALL)
        pretended(trained, *tune, "-o", f"tuned-{where}", "--device", device)
    encoder = open_encoder(str(trained / "here"))
    ours, theirs = (Index.open(trained / f"index-{where}", encoder).dense.vectors for where in ("there", "here"))
    assert np.allclose(np.asarray(ours, np.float32), np.asarray(theirs, np.float32), atol=1e-3)
    assert_same(trained / "tuned-there" / "model.safetensors", trained / "tuned-here" / "model.safetensors")
