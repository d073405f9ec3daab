"""What reports are made of: a comparison, an evaluation, their rankings and a model, each made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import labelling
from cli.conftest import documents as documents
from cli.conftest import model as model
from cli.conftest import run as run


@pytest.fixture(scope="session")
def compared(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``beir`` and a ``comparison`` on it."""
    folder = tmp_path_factory.mktemp("compared")
    labelling.beir(folder / "beir", 80, 30)
    words = ("compare", documents, "--benchmark", folder / "beir", "-o", folder / "comparison", "--methods",
             "none,contriever-inbatch", "--steps", "30", "--labels", "20", "--seeds", "1", "--base", "static", "--tune",
             "steps=2", "--set", "dimensions=16", "--set", "learning_rate=0.5", "--set", "batch_size=16")  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "pretrieve", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def evaluated(model: Path, compared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of an evaluation of the model."""
    target = tmp_path_factory.mktemp("evaluated") / "evaluation.json"
    words = ("evaluate", compared / "beir", "--model", model, "--output-json", target)
    done = subprocess.run([sys.executable, "-m", "pretrieve", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="session")
def rankings(compared: Path) -> Path:
    """Runs of the comparison's models: ``none-0.dense.run``, ``contriever-inbatch-0.dense.run`` and so on."""
    models = [
        part
        for name in ("none-0", "contriever-inbatch-0")
        for part in ("--model", compared / "comparison" / "runs" / name)
    ]
    words = (
        "evaluate",
        compared / "beir",
        *models,
        "--run",
        compared / "rankings",
        "--output-json",
        compared / "e.json",
    )
    done = subprocess.run([sys.executable, "-m", "pretrieve", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return compared / "rankings"


@pytest.fixture(scope="session")
def tuned(compared: Path) -> Path:
    """A model of ``finetune``, with held-out queries."""
    labelling.beir(compared / "labels", 260, 20)
    words = ("finetune", compared / "comparison" / "runs" / "none-0", compared / "labels", "-o", compared / "tuned",
             "--steps", "3", "--tracker", "none", "--set", "batch_size=8")  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "pretrieve", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return compared / "tuned"
