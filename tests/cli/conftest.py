"""Running the command line in this process, as ``main`` does, and real text to run it on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from pretrieve.cli.app import main

TOPICS = ("river", "engine", "garden", "violin", "harbour", "glacier", "market", "library", "volcano", "orchard")


def sentence(topic: str, number: int) -> str:
    things = ("stone", "water", "music", "wood", "light", "paper", "metal", "glass")
    return (
        f"The {topic} number {number} is known for its {things[number % 8]} and its {things[(number * 3 + 1) % 8]}. "
        f"Many people visit the {topic} in the {('spring', 'summer', 'autumn', 'winter')[number % 4]} to see it. "
        f"Its history goes back to the year {1200 + number * 7}, when it was first described in a letter. "
        f"Today it is kept by a small society of friends of the {topic}."
    )


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of 200 small documents with titles."""
    path = tmp_path_factory.mktemp("documents") / "documents.jsonl"
    lines = [
        {"id": f"d{number}", "title": f"{topic.title()} {number}", "text": sentence(topic, number)}
        for number, topic in enumerate(TOPICS * 20)
    ]
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)) + b"\n")
    return path


@dataclass
class Outcome:
    """What a command gave: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run ``pretrieve ARGS`` and return its outcome; a traceback fails the test."""

    def go(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["pretrieve", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return Outcome(code, captured.out, captured.err)

    return go


@pytest.fixture(scope="session")
def model(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static model trained on the documents for a few steps."""
    from pretrieve.pipeline.pretrain.request import TrainRequest, train_command
    from pretrieve.pipeline.pretrain.train import train

    output = tmp_path_factory.mktemp("model") / "model"
    settings = {"batch_size": 32, "dimensions": 32, "vocabulary_size": 400}
    request = TrainRequest(sources=(str(documents),), output=output, steps=30, settings=settings)
    train(request, command=train_command(request))
    return output
