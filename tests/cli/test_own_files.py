"""Files of a user's own, through the command line: the pages' examples work, and what is wrong in one is one line."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import labelling
from pages import example

SMALL = ("--set", "batch_size=8", "--set", "vocabulary_size=300", "--set", "dimensions=16", "--steps", "2")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a file into a folder of one's own, and name the folder."""

    def put(variable: str, name: str, text: str) -> Path:
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        monkeypatch.setenv(variable, str(folder))
        return folder / name

    return put


def one_line(outcome, code: int = 1) -> str:
    """The line of an error."""
    lines = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    assert (outcome.code, len(lines)) == (code, 1), outcome.err
    assert outcome.err.rstrip().endswith(lines[0]), "the error is one line, the last"
    return lines[0]


NEIGHBOURS = example("add-a-method.md")
MISTAKES = [
    ('"query": queries[:, None]', '"query": queries[:, 0]', r"encode", "(B, N, V, D) with B=8, not a tensor of shape"),
    (
        "return Loss(value=losses.mean(),",
        "return Loss(value=losses,",
        "compare",
        "a scalar, not a tensor of shape",
    ),
    (
        'local_vectors["query"][:, 0, 0]',
        'local_vectors["query"]',
        "softmax",
        "this method failed in compare (RuntimeError",
    ),
    ("def encode(self, batch, step):", "def encode(self, batch):", "encode", "encode is called as encode(batch, step)"),
    (
        "def compare(self, local_vectors, global_vectors, batch, first, step):",
        "def compare(self, local_vectors):",
        "compare",
        "is called as",
    ),
    (
        "def sampler(store, specials, options, provenance=False):",
        "def sampler(store):",
        "sampler",
        "sampler is called as sampler(",
    ),
    ("def draw(self, items, address):", "def draw(self, items):", "draw", "draw is called as draw(items, address)"),
    ('"temperature": Value(0.05', '"temprature": Value(0.05', "temprature", "Did you mean 'temperature'?"),
    ("static={", 'static={"learning_rat": Value(1.0, "ours", "x"), **{', "", "Did you mean 'learning_rate'?"),
    ("def explain(", "def explained(", None, "is not a complete method: it lacks explain"),
    ("import numpy as np", "import numpi as np", "numpi", "No module named 'numpi'"),
    ("return NextWindow(encoder, options)", "return None", "objective", "must return an Objective, not a NoneType"),
    ("self.encoder, self.options = encoder, options", "self.options = options", "NextWindow", "has no encoder"),
    ("self.mixture = mixture(None, len(self.owners), 1.0)", "", "Neighbours", "a sampler has a mixture"),
]


@pytest.mark.parametrize(("old", "new", "where", "words"), MISTAKES, ids=[f"{words}" for *_, words in MISTAKES])
def test_a_mistake_in_a_method_is_one_line_with_its_file(run, documents, own, tmp_path, old, new, where, words) -> None:
    text = NEIGHBOURS.replace(old, new)
    assert text != NEIGHBOURS
    if "**{" in new:
        text = text.replace('"word vectors move freely")}', '"word vectors move freely")}}')
    path = own("PRETRIEVE_METHODS", "neighbours.py", text)
    outcome = run("train", documents, "-o", tmp_path / "out", "--method", "neighbours", *SMALL)
    line = one_line(outcome)
    assert words in line
    assert str(path) in line
    if where:  # the line of the file, which holds what is wrong
        number = int(line.partition(f"{path}:")[2].partition(":")[0].split()[0])
        shown = "\n".join(text.splitlines()[max(0, number - 2) : number + 8])
        assert where in shown, f"line {number}"


EVENT = "BEGIN:VEVENT\nSUMMARY:Walk {0}\nDESCRIPTION:The river {0} is cold. We saw it today.\nEND:VEVENT\n"


def test_an_example_of_a_reader(run, own, tmp_path) -> None:
    own("PRETRIEVE_READERS", "ics.py", example("add-a-reader.md"))
    folder = tmp_path / "calendars"
    folder.mkdir()
    (folder / "walks.ics").write_text("".join(EVENT.format(number) for number in range(60)))
    (folder / "party.ics").write_text("BEGIN:VEVENT\nSUMMARY:A party\nEND:VEVENT\n")
    out = tmp_path / "out"
    outcome = run("train", folder, "-o", out, "--on-bad", "fail", *SMALL)
    assert "party.ics:3: no description (A party)" in one_line(outcome)
    outcome = run("train", folder, "-o", out, "--on-bad", "skip", *SMALL)
    assert outcome.code == 0, outcome.err
    assert orjson.loads((out / "report.json").read_bytes())["documents"]["read"] == 60


READER = example("add-a-reader.md")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('SUFFIXES = (".ics",)', "", "ics.py is not a complete reader: it lacks SUFFIXES or SCHEME"),
        ('SUFFIXES = (".ics",)', 'SUFFIXES = ".ics"', "SUFFIXES is a tuple of lower-case suffixes"),
        ("def read(path, limit):", "def read(path):", "read is called as read(path, limit)"),
        ("def read(", "def reads(", "it lacks read"),
        (
            'yield Record(f"{path}:{number}", fields, fixed=True)',
            "yield fields",
            "has to give Record or Fault, not {'id'",
        ),
        (
            'line.partition(":")',
            "line.nothing",
            "reader failed in read (AttributeError",
        ),
        ("text.records import", "text.recordz import", "ics.py:3 cannot be imported as a reader"),
        ("def read(path, limit):", "def read(path, limit)", "ics.py:9 cannot be imported as a reader"),
    ],
)
def test_a_mistake_in_a_reader_is_one_line_with_its_file(run, own, tmp_path, old, new, words) -> None:
    assert old in READER
    path = own("PRETRIEVE_READERS", "ics.py", READER.replace(old, new))
    (tmp_path / "a.ics").write_text(EVENT.format(1))
    line = one_line(run("train", tmp_path / "a.ics", "-o", tmp_path / "out", *SMALL))
    assert words in line
    assert str(path) in line


def test_a_folder_of_readers_that_is_not_there(run, documents, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PRETRIEVE_READERS", str(tmp_path / "nowhere"))
    assert "PRETRIEVE_READERS: there is no folder" in one_line(run("train", documents, "-o", tmp_path / "out"), 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    labelling.beir(folder / "beir", 60, 10)
    labelling.static_model(folder / "model")
    return folder


STRATEGY = example("add-negatives.md")
FEW = ("--steps", "2", "--set", "batch_size=8", "--negatives", "random")


def test_an_example_of_a_strategy_for_negatives(run, own, made, tmp_path) -> None:
    own("PRETRIEVE_NEGATIVES", "random_documents.py", STRATEGY)
    outcome = run("finetune", made / "model", made / "beir", "-o", tmp_path / "out", *FEW)
    assert outcome.code == 0, outcome.err
    report = orjson.loads((tmp_path / "out/report.json").read_bytes())
    assert report["values"]["negatives"] == "random"
    assert 200 < report["negatives"] <= 250
    refused = run("finetune", made / "model", made / "beir", "-o", tmp_path / "no", "--negatives", "randm")
    assert "unknown strategy 'randm'. Did you mean 'random'?" in one_line(refused, 2)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('NAME = "random"', 'NAME = "ran" + "dom"', "NAME and SUMMARY have to be texts that are written out"),
        ('NAME = "random"', 'NAME = "bm25"', "the name 'bm25' is taken by"),
        ("def find(task):", "def find():", "find is called as find(task)"),
        ("def find(task):", "def found(task):", "it lacks find"),
        ("return labels.with_negatives(Rows.of(rows))", "return rows", "find has to give the labels of its task"),
        ("drawn[~same]", "drawn[~sane]", "failed in find (NameError"),
        ("def find(task):", "def find(task)", "random_documents.py:12 cannot be read as a strategy for negatives"),
    ],
)
def test_a_mistake_in_a_strategy_is_one_line_with_its_file(run, own, made, tmp_path, old, new, words) -> None:
    assert old in STRATEGY
    path = own("PRETRIEVE_NEGATIVES", "random_documents.py", STRATEGY.replace(old, new))
    line = one_line(run("finetune", made / "model", made / "beir", "-o", tmp_path / "out", *FEW))
    assert words in line
    assert str(path) in line


def test_the_help_names_what_is_in_the_folder(run, own, monkeypatch) -> None:
    import os
    import subprocess
    import sys

    own("PRETRIEVE_NEGATIVES", "random_documents.py", STRATEGY)
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "pretrieve", "finetune", "--help"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "ance|bm25|given|mined|none|random" in shown
    assert "random (random documents)" in " ".join(shown.split())


ENCODER = example("add-an-encoder.md")


def test_an_example_of_an_encoder(run, own, documents, tmp_path) -> None:
    """It is trained, scores in sentence-transformers as here, is searched, and is trained on."""
    from pretrieve.testing.stock import check_stock

    own("PRETRIEVE_ENCODERS", "narrow.py", ENCODER)
    out = tmp_path / "out"
    few = ("--steps", "20", "--set", "batch_size=32", "--set", "dimensions=24", "--set", "vocabulary_size=400")
    outcome = run("train", documents, "-o", out, "--base", "narrow:inner=12", *few)
    assert outcome.code == 0, outcome.err
    assert [entry["type"].rsplit(".", 1)[-1] for entry in orjson.loads((out / "modules.json").read_bytes())] == [
        "StaticEmbedding",
        "Dense",
        "Normalize",
    ]
    from safetensors.numpy import load_file

    assert load_file(out / "model.safetensors")["embedding.weight"].shape[1] == 12
    check_stock(out, texts=[f"river number {number}" for number in range(4)])
    outcome = run("index", documents, "-o", tmp_path / "index", "--model", out)
    assert outcome.code == 0, outcome.err
    outcome = run("search", tmp_path / "index", "the river in spring", "-k", "1")
    assert outcome.code == 0, outcome.err
    outcome = run(
        "train", documents, "-o", tmp_path / "again", "--base", out, "--method", "contriever-inbatch", *few[:4]
    )
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('BASE = "narrow"', 'BASE = "static"', "the word 'static' is taken by"),
        ('FAMILY = "static"', 'FAMILY = "bag"', 'FAMILY is "static" or "transformer"'),
        ("def build(settings, store, options, seed):", "def build(store):", "build is called as build(settings, store"),
        (
            "    return Narrow(words, options.dimensions, seed)",
            "    return words.weight",
            "failed in build (AttributeErr",
        ),
        (
            "    return Narrow(words, options.dimensions, seed)",
            "    return None",
            "build must return an Encoder, not a None",
        ),
        ("def restore(paths):", "def restored(paths):", "is not a complete kind of encoder: it lacks restore"),
        ("def stock_modules(self", "def stock(self", "Narrow has no stock_modules: it cannot be saved"),
        ("return self.linear(self.words(rows))", "return self.linear(rows)", "failed in forward (TypeError"),
    ],
)
def test_a_mistake_in_an_encoder_is_one_line_with_its_file(run, own, documents, tmp_path, old, new, words) -> None:
    assert old in ENCODER
    path = own("PRETRIEVE_ENCODERS", "narrow.py", ENCODER.replace(old, new))
    line = one_line(run("train", documents, "-o", tmp_path / "out", "--base", "narrow:inner=12", *SMALL))
    assert words in line
    assert str(path) in line
