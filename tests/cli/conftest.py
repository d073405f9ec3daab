"""Running the command line in this process, as ``main`` does, and real text to run it on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from pretrieve.cli.app import main

sys.path.insert(0, str(Path(__file__).parent.parent / "finetuning"))

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
    from pretrieve.pipeline.pretrain.request import TrainRequest
    from pretrieve.pipeline.pretrain.train import train

    output = tmp_path_factory.mktemp("model") / "model"
    settings = {"batch_size": 32, "dimensions": 32, "vocabulary_size": 400}
    request = TrainRequest(sources=(str(documents),), output=output, steps=30, settings=settings)
    train(request)
    return output


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that a command may be asked for, as small as it can be.

    ``docs.jsonl``, ``beir/``, ``evaluation.json``, ``pairs.jsonl``, ``towns.jsonl`` with ``questions.jsonl``; the
    models ``static``, ``start`` (of the labels), ``teacher``, ``cross``, ``t5`` and ``towers``; and an ``index`` and a
    ``reader``.
    """
    from copy import deepcopy

    from quiz import quiz, store

    import labelling
    import searching
    import teachers
    import writers
    from pretrieve.core.files import create
    from pretrieve.models.build import EncoderOptions, build_encoder
    from pretrieve.models.export import save_model

    folder = tmp_path_factory.mktemp("things")
    texts = writers.collection(folder / "docs.jsonl", 60)
    searching.static_model(folder / "static", texts)
    teachers.teacher(folder / "teacher", texts)
    writers.encoder(folder / "cross", texts)
    writers.generator(folder / "t5", texts)
    labelling.beir(folder / "beir", 80, 20)
    labelling.static_model(folder / "start")
    rows = [{"system": "BM25", "mode": "lexical", "metrics": {"RR": 0.5}, "ci95": {"RR": [0.4, 0.6]}}]
    facts = {"collection": "beir", "split": "test", "queries": 20, "rows": rows, "tests": []}
    (folder / "evaluation.json").write_bytes(orjson.dumps(facts))
    pairs = [{"query": f"{document.title}?", "positive": document.text} for document in texts]
    (folder / "pairs.jsonl").write_bytes(b"\n".join(map(orjson.dumps, pairs)))
    towns, asked = quiz()
    lines = [{"id": town.id, "title": town.title, "text": town.text} for town in towns]
    (folder / "towns.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    lines = [{"question": one.text, "answers": list(one.answers)} for one in asked[:12]]
    (folder / "questions.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    tokens = store(towns, folder)
    base = "new:layers=1,hidden=32,heads=2,dropout=0"
    encoder = build_encoder(base, store=tokens, options=EncoderOptions(max_length=64), seed=1)
    with create(folder / "towers", "model") as model:
        save_model(model, encoder, tokens.tokenizer, documents=deepcopy(encoder))
    for words in (
        ("index", folder / "docs.jsonl", "--model", folder / "static", "-o", folder / "index"),
        ("read", folder / "towns.jsonl", *READ, "--questions", folder / "questions.jsonl", "--model",
         folder / "towers", "-o", folder / "reader"),
    ):  # fmt: skip
        code = "from pretrieve.cli.app import main; main()"
        subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True, capture_output=True)
    return folder


READ = ("--steps", "1", "--tracker", "none", "--set", "batch_size=12", "--set", "block=48", "--set", "read=2")
