"""Variants on the command line: what is printed and kept of them, what is refused, and how a killed run goes on."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from pretrieve.methods.structure import VARIANTS
from pretrieve.pipeline.run.workspace import CHECKPOINTS, workspace_of

NAMES = list(VARIANTS["structure"])
TWO = f"{NAMES[0]},{NAMES[1]}"
SMALL = ("--set", "batch_size=16", "--set", "dimensions=16", "--set", "vocabulary_size=400", "--set", "save_every=20")


def squeezed(text: str) -> str:
    """Without what a narrow terminal does to it."""
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_what_each_variant_adds_is_printed_and_kept(run, wide, tmp_path, documents) -> None:
    out, file = tmp_path / "out", tmp_path / "report.json"
    outcome = run("train", documents, "-o", out, "--variants", TWO, "--steps", "8", *SMALL, "--output-json", file)
    assert outcome.code == 0, outcome.err
    report = orjson.loads(file.read_bytes())
    assert report == orjson.loads((out / "report.json").read_bytes())
    probe = report["probe"]
    systems = ["start", *NAMES[:2]]
    assert set(probe["gain"]) == set(probe["score"]) == set(systems)
    assert set(probe["BM25"]) == set(probe["queries"])
    for kinds in probe["gain"].values():
        assert {kind: len(gains) for kind, gains in kinds.items()} == dict.fromkeys(probe["queries"], 4)
    assert len(probe["weights"]) == 4
    assert (probe["saved"], probe["weight"]) == (report["saved"], report["fusion"]["dense"])

    said = squeezed(outcome.out)
    assert f"among {probe['pool']} documents" in said
    assert report["reason"][1:] in said, "the sentence"
    assert report["reason"].startswith("fused search gains ")
    assert f"weight {report['fusion']['dense']:g} beside BM25" in said
    assert "8 steps" in said
    card = (out / "README.md").read_text()
    assert f"--variants {TWO}" in card
    (head,) = re.findall(r"\| system (.*) \|", card)
    kinds = re.findall(r"\| (\w+) \(\d+\)", head)
    assert set(kinds) == set(probe["queries"])
    for system in systems:
        name = f"{system} (saved)" if system == probe["saved"] else system
        cells, row = [], [f"| {name} "]
        for kind in kinds:
            half, one = (probe["gain"][system][kind][probe["weights"].index(weight)] for weight in (0.5, 1.0))
            cells.append(f"{min(half, one):+.3f} to {max(half, one):+.3f}")
            row.append(f"| {half:+.3f}, {one:+.3f} ")
        assert f"{name} {' '.join(cells)}" in said
        assert "".join(row) + "|" in card
    assert "BM25 " + " ".join(f"{probe['BM25'][kind]:.3f}" for kind in kinds) in said
    assert f"Selection: {report['reason']}." in card


def test_without_a_judge_the_first_is_trained_and_no_table_is_printed(run, tmp_path, documents) -> None:
    out = tmp_path / "out"
    outcome = run("train", documents, "-o", out, "--no-select", "--steps", "2", *SMALL)
    assert outcome.code == 0, outcome.err
    said = squeezed(outcome.out)
    assert "Not compared with its start." in said
    assert "Label-free probe" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert "--no-select" in (out / "README.md").read_text()


def test_an_unknown_variant_is_one_line_with_a_suggestion(run, tmp_path, documents) -> None:
    outcome = run("train", documents, "-o", tmp_path / "out", "--variants", f"{NAMES[0]},{NAMES[1]}s", *SMALL)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert f"no variant '{NAMES[1]}s' here. Did you mean '{NAMES[1]}'?" in outcome.err
    assert not (tmp_path / "out").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from pretrieve.core import disk

here = Path(sys.argv.pop(1))

def fault(operation, path):
    if here in path.parents and (here / "step-000040").exists():  # while the next checkpoint is written
        os.kill(os.getpid(), signal.SIGKILL)

disk.fault_point = fault
from pretrieve.cli.app import main
main()
"""


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def refuse(run, command: list[str]) -> None:
    """What a run that was stopped does not go on with; each is one line."""
    for changes, said in (
        (("--variants", NAMES[0]), "variants was"),
        (("--set", "temperature=0.3"), "temperature was"),
    ):
        refused = run(*command, "--resume", *changes)
        assert refused.code == 1
        assert said in refused.err.splitlines()[-1]
        assert refused.err.count("error:") == 1
    refused = run(*command)
    assert refused.code == 2
    assert "--resume" in refused.err


def test_a_killed_run_goes_on_to_the_same_model(run, tmp_path, documents) -> None:
    """SIGKILL in the first variant, and in the second; also how another command is refused."""
    command = ["train", str(documents), "--variants", TWO, "--steps", "80", *SMALL]
    straight = tmp_path / "straight"
    assert run(*command, "-o", straight).code == 0
    for number, name in enumerate(NAMES[:2]):
        broken = tmp_path / name
        here = workspace_of(broken) / CHECKPOINTS / name
        arguments = [sys.executable, "-c", KILLED, str(here), *command, "-o", str(broken)]
        assert subprocess.run(arguments, capture_output=True, check=False).returncode == -signal.SIGKILL
        assert [path.name for path in sorted(here.glob("step-*"))] == ["step-000020", "step-000040"]
        assert not broken.exists()
        assert (here.parent / NAMES[1]).exists() == bool(number)
        if number:
            refuse(run, [*command, "-o", str(broken)])
        outcome = run(*command, "-o", broken, "--resume")
        assert outcome.code == 0, outcome.err
        assert digest(broken) == digest(straight)
        assert digest(broken / "start") == digest(straight / "start")
        reports = [orjson.loads((folder / "report.json").read_bytes()) for folder in (broken, straight)]
        assert reports[0]["probe"] == reports[1]["probe"]
        assert reports[0]["saved"] == reports[1]["saved"]
