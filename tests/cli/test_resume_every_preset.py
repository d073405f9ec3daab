"""Every preset on each encoder that it trains: stopped, resumed, killed and resumed by the real command line."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import forks
import tiny
from pretrieve import methods
from pretrieve.models.build import EncoderOptions
from pretrieve.training.options import TrainingOptions

STEPS = 16
CASES = [(preset, kind) for preset in sorted(methods.presets()) for kind in tiny.kinds(preset)]
BASES = {"static": "static", "new": "new:layers=2,hidden=16,heads=2,intermediate=32"}


def command(report: Connection, words: list[str], log: str) -> None:
    """In a process of its own: the command line."""
    printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    from pretrieve.cli.app import main

    sys.argv = ["pretrieve", *words]
    main()


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> Path:
    """Two languages with sentences, titles and names: something for every method."""
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(120)]
    path = tmp_path_factory.mktemp("presets") / "documents.jsonl"
    lines = []
    for number in range(60):
        own = rng.choice(words, 12)
        sentences = [" ".join(rng.choice(own, 8)).capitalize() + f" Mr Smith {1900 + number}." for _ in range(6)]
        language = "en" if number % 2 else "de"
        lines.append({"id": str(number), "title": " ".join(own[:3]), "text": " ".join(sentences), "language": language})
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return path


def settings(preset: str, kind: str) -> list[str]:
    """Small values for every option that the preset's run has."""
    module, _ = methods.find(preset)
    known = set(module.Options.__dataclass_fields__)
    small = {name: value for name, value in tiny.SMALL.items() if name in known and value != ()}
    small |= {"batch_size": 8, "save_every": 1, "max_length": 64, "vocabulary_size": 300}
    small |= {"dimensions": 16} if kind == "static" else {}
    assert {"batch_size", "save_every"} <= set(TrainingOptions.__dataclass_fields__)
    assert {"max_length", "dimensions"} <= set(EncoderOptions.__dataclass_fields__)
    return [word for name, value in small.items() for word in ("--set", f"{name}={value}")]


class Runner:
    """Runs the same command several times in processes of its own."""

    def __init__(self, documents: Path, output: Path, preset: str, kind: str) -> None:
        self.output, self.log = output, output.with_suffix(".log")
        self.words = ["train", str(documents), "-o", str(output), "--method", preset, "--base", BASES[kind]]
        self.words += ["--steps", str(STEPS), "--group-field", "language", "--tracker", "none", *settings(preset, kind)]

    def run(self, *more: str, stop: int = 0, after: int = 0) -> Any:
        """Exit code of a run, which is sent a signal when it has a checkpoint of some number of steps."""
        process, _ = forks.start(command, [*self.words, *more], str(self.log))
        deadline = time.monotonic() + 120
        while stop and process.is_alive() and self.steps() < after and time.monotonic() < deadline:
            time.sleep(0.002)
        if stop:
            os.kill(process.pid, stop)
        process.join(120)
        return process.exitcode

    def steps(self) -> int:
        """Steps of the newest checkpoint."""
        found = [0]
        for folder, _, files in os.walk(self.output.parent):  # unlike rglob, it takes no offence at what is removed
            if "MANIFEST.json" in files and Path(folder).name.startswith("step-"):
                found.append(int(Path(folder).name[5:]))
        return max(found)

    def weights(self) -> str:
        """Hash of the model's weights."""
        found = hashlib.sha256()
        for path in sorted(self.output.glob("*.safetensors")):
            found.update(path.read_bytes())
        return found.hexdigest()


@pytest.mark.parametrize(("preset", "kind"), CASES, ids=["-".join(case) for case in CASES])
def test_a_preset_resumes(preset: str, kind: str, documents: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, parts = (Runner(documents, tmp_path / name / "model", preset, kind) for name in "ab")
    assert whole.run() == 0, whole.log.read_text()
    assert parts.run(stop=signal.SIGINT, after=2) == 130, parts.log.read_text()
    done = parts.steps()
    assert parts.run("--resume", stop=signal.SIGKILL, after=done + 2) == -signal.SIGKILL, parts.log.read_text()
    assert parts.steps() > done, "the second part went further"
    assert parts.run("--resume") == 0, parts.log.read_text()
    assert parts.weights() == whole.weights()
