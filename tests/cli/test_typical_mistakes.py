"""Typical mistakes at the command line: one line, the right exit code, and a suggestion that works when followed."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

ONE_STEP = ("--steps", "1", "--set", "dimensions=16", "--set", "vocabulary_size=300", "--tracker", "none")

# name: command line, exit code, what the line says, and the command line that it suggests ("" if none).
# Words in capitals are files of the folder below.
MISTAKES = {
    # the command line
    "a command's name": ("trian docs -o m", 2, ["Did you mean 'train'?"], "train docs -o m"),
    "no documents": ("train -o m", 2, ["Missing argument 'SOURCE...'"], ""),
    "no output": ("train docs", 2, ["Missing option '-o'"], "train docs -o m"),
    "an option's name": ("train docs -o m --ste 1", 2, ["Did you mean --steps?"], "train docs -o m --steps 1"),
    "a long dash for -o": ("train docs –o m", 2, ["'–o' begins with a long dash: write -o"], "train docs -o m"),
    "a long dash for --steps": ("train docs -o m —steps 1", 2, ["begins with a long dash: write --steps"],
                                "train docs -o m --steps 1"),
    "an option before the command": ("--seed 1 train docs -o m", 2, ["Options follow the command"], ""),
    "a number that is none": ("train docs -o m --minutes soon", 2, ["--minutes", "number"], ""),
    "an option without its value": ("evaluate docs --model static --latex", 2,
                                    ["pretrieve evaluate: Option '--latex' requires", "evaluate --help`"], ""),
    "no time": ("train docs -o m --minutes 0", 2, ["--minutes", "0.01"], ""),
    "two budgets": ("train docs -o m --minutes 1 --steps 1", 2, ["give --minutes or --steps, not both"], ""),
    "a choice": ("search index river --mode lexica", 2, ["Did you mean 'lexical'?"],
                 "search index river --mode lexical"),
    "a filter by no field": ("search index old river --filter colour=red", 2, ["no document has a field 'colour'"],
                             "search index old river --filter 'id exists'"),
    "a choice that is none": ("train docs -o m --on-bad ignore", 2, ["'auto', 'fail', 'skip', 'quarantine'"], ""),
    # documents
    "a file's name": ("train doc.jsonl -o m", 2, ["Did you mean 'docs.jsonl'?"], "train docs.jsonl -o m"),
    "a pattern in quotes": ("train 'docs/*.jsonl' -o m", 2, ["--include '*.jsonl'"],
                            "train docs -o m --include '*.jsonl'"),
    "a home folder in quotes": ("train '~/docs' -o m", 2, ["without quotes", "/docs"], ""),
    "an empty folder": ("train empty -o m", 2, ["no file here or below can be read"], ""),
    "an empty file": ("train empty.jsonl -o m", 1, ["no documents"], ""),
    "a picture": ("train picture.png -o m", 2, ["unknown suffix '.png'"], ""),
    "an archive of another kind": ("train docs.tar -o m", 2, ["unpack it"], ""),
    "a pipe": ("train pipe -o m", 2, ["a named pipe"], ""),
    "a pattern that matches nothing": ("train docs -o m --include '*.doc'", 2, ["excluded"], ""),
    "a field's name": ("train docs.jsonl -o m --text-field txt", 2, ["Did you mean 'text'?"],
                       "train docs.jsonl -o m --text-field text"),
    "a table without a header": ("train plain.tsv -o m", 2, ["--columns"], "train plain.tsv -o m --columns id,text"),
    "a bad line": ("train bad.jsonl -o m", 1, ["bad.jsonl:2", "--on-bad skip"], "train bad.jsonl -o m --on-bad skip"),
    "an index for documents": ("train index -o m", 2, ["index is an index of pretrieve", "that it was made of"], ""),
    "an index for a model": ("index docs.jsonl --model index -o i", 2, ["of pretrieve, not a model", "/model."],
                             "index docs.jsonl --model index/model -o i"),
    "labels for documents": ("index pairs.jsonl --model static -o i", 1, ["pairs.jsonl:1", "no text"], ""),
    # settings
    "a setting's name": ("train docs -o m --set dimension=16", 2, ["Did you mean 'dimensions'?"],
                         "train docs -o m --set dimensions=16"),
    "a setting without a value": ("train docs -o m --set dimensions", 2, ["key=value"], ""),
    "a setting of another type": ("train docs -o m --set batch_size=many", 2, ["batch_size", "whole number"], ""),
    "a method's name": ("train docs -o m --method contreiver", 2, ["Did you mean 'contriever'?"], ""),
    "a method's card": ("methods contreiver", 2, ["Did you mean 'contriever'?"], "methods contriever"),
    "a configuration that is not there": ("train docs -o m --config none.toml", 2, ["none.toml"], ""),
    # models and indexes
    "no model": ("index docs -o i", 2, ["Missing option '--model'"], "index docs --model static -o i"),
    "a model's name": ("index docs --model statc -o i", 2, ["statc"], ""),
    "documents for a model": ("index docs --model docs -o i", 2, ["docs"], ""),
    "a model that is not on this machine": ("index docs --model no/such -o i", 2, ["no/such", "no such folder"], ""),
    "a model for an index": ("search static river", 2, ["static"], ""),
    "an index that is not there": ("search indx river", 2, ["indx"], ""),
    "an empty query": ("search index ''", 2, ["query"], ""),
    "no hits": ("search index river -k 0", 2, ["-k"], ""),
    # labels
    "a folder for a data set": ("evaluate docs --model static", 2, ["docs", "BEIR folder"], ""),
    "a metric's name": ("evaluate beir --model start --metric NDGC@10", 2, ["Did you mean"], ""),
    "a split's name": ("evaluate beir --model start --split tets", 2, ["Did you mean 'test'?"],
                       "evaluate beir --model start --split test"),
    "models with a comma": ("evaluate beir --model start,start", 2, ["start,start"], ""),
    "documents for labels": ("finetune static docs.jsonl -o m --steps 1", 1, ["docs.jsonl:1", "no query"], ""),
    "labels that are not there": ("finetune static pair.jsonl -o m", 2, ["pair.jsonl"], ""),
    "negatives' name": ("finetune static pairs.jsonl -o m --negatives bm52", 2, ["bm25"], ""),
    # outputs
    "an output that is there": ("index docs --model static -o index", 2, ["--overwrite"],
                               "index docs --model static -o index --overwrite"),
    "an output that is somebody's": ("train docs -o mine", 2, ["not made by pretrieve"], ""),
    "no artefact": ("verify docs", 2, ["docs"], ""),
}  # fmt: skip


@pytest.fixture
def folder(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file for every mistake."""
    for name in ("docs.jsonl", "pairs.jsonl", "beir", "static", "start", "index"):
        copy = shutil.copytree if (things / name).is_dir() else shutil.copy
        copy(things / name, tmp_path / name)
    for name in ("docs", "empty", "mine"):
        (tmp_path / name).mkdir()
    shutil.copy(things / "docs.jsonl", tmp_path / "docs" / "a.jsonl")
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (tmp_path / "docs.tar").write_bytes(bytes(1024))
    (tmp_path / "plain.tsv").write_text("0\tThe first passage is here.\n1\tThe second passage is there.\n")
    (tmp_path / "bad.jsonl").write_text('{"text": "one river"}\n{not json\n{"text": "two rivers"}\n')
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words_of(command: str) -> list[str]:
    words = shlex.split(command)
    return [*words, *ONE_STEP] if words[0] == "train" and "--steps" not in words else words


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_its_remedy_works(run, folder: Path, name: str) -> None:
    command, code, expected, remedy = MISTAKES[name]
    before = sorted(path.name for path in folder.iterdir())
    words = words_of(command) if "--minutes" not in command else command.split()
    outcome = run(*words)
    lines = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, outcome.err
    assert outcome.code == code, lines
    missing = [part for part in expected if part not in lines[0]]
    assert not missing, lines[0]
    assert sorted(path.name for path in folder.iterdir()) == before, "nothing is left behind"
    if remedy:
        followed = run(*words_of(remedy))
        assert followed.code == 0, followed.err


def test_forty_mistakes_are_tried() -> None:
    assert len(MISTAKES) >= 40
