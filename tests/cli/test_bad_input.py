"""Bad input gives one clear line that says what to do, exit code 1 or 2, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("--steps", "2", "--set", "batch_size=8", "--set", "dimensions=16", "--set", "vocabulary_size=300")


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    return lines[0]


GOOD = '{"id": "a", "text": "a good line of text that stands here"}\n'


@pytest.mark.parametrize(
    ("content", "name", "words", "code"),
    [
        (None, "missing.jsonl", ["missing.jsonl", "no such file"], 2),
        ("", "empty.jsonl", ["no documents"], 1),
        (GOOD + "{not json\n", "broken.jsonl", ["broken.jsonl:2", "JSON", "--on-bad"], 1),
        (GOOD.encode() + b'{"id": "b", "text": "caf\xe9 au lait"}\n', "latin.jsonl", ["latin.jsonl:2", "UTF-8"], 1),
        (GOOD + '{"id": "b", "words": "no text"}\n', "field.jsonl", ["field.jsonl:2", "no text", "words"], 1),
        ("\x01\x02\x03\x04\x05", "what.xyz", ["what.xyz", "unknown suffix", ".jsonl"], 2),
    ],
)
def test_bad_documents(run, tmp_path, content, name, words, code) -> None:
    source = tmp_path / name
    if content is not None:
        write(source, content)
    outcome = run("train", source, "-o", tmp_path / "out", *SMALL)
    assert outcome.code == code
    line = one_line(outcome.err)
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists(), "nothing is half-written"
    assert sorted(p.name for p in tmp_path.iterdir()) == ([name] if content is not None else [])


def test_one_document_and_short_documents(run, tmp_path) -> None:
    """One document, and documents shorter than a crop, give a model or one clear line; never a traceback."""
    for name, text in (("one", GOOD), ("short", '{"text": "a"}\n{"text": "b c"}\n')):
        for method in ("structure", "contriever-inbatch", "orqa-ict"):
            outcome = run(
                "train",
                write(tmp_path / f"{name}.jsonl", text),
                "-o",
                tmp_path / f"{name}-{method}",
                "--method",
                method,
                *SMALL,
            )
            assert outcome.code == 0 or (outcome.code in (1, 2) and one_line(outcome.err))
            if outcome.code:
                assert not (tmp_path / f"{name}-{method}").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "contreiver"), ["contreiver", "Did you mean 'contriever'"]),
        (("--set", "temprature=1"), ["temprature", "Did you mean 'temperature'"]),
        (("--set", "temperature"), ["key=value"]),
        (("--set", "batch_size=many"), ["batch_size", "whole number"]),
        (("--set", "temperature=-1"), ["temperature", "above 0"]),
        (("--base", "no/such/model"), ["no/such/model"]),
        (("--base", "new:layer=2"), ["layer", "Did you mean 'layers'"]),
        (("--minutes", "1"), ["--minutes or --steps"]),
        (("--text-field", "txt"), ["txt", "text"]),
    ],
)
def test_bad_options(run, tmp_path, documents, arguments, words) -> None:
    outcome = run("train", documents, "-o", tmp_path / "out", *SMALL, *arguments)
    assert outcome.code == 2, outcome.err
    line = one_line(outcome.err)
    assert all(word in line for word in words), line
    assert not list(tmp_path.iterdir())


def test_an_unknown_flag_is_refused_with_a_suggestion(run, tmp_path, documents) -> None:
    outcome = run("train", documents, "-o", tmp_path / "out", "--minuts", "1")
    assert outcome.code == 2
    assert "--minutes" in outcome.err


def test_output_of_somebody_else_is_not_touched(run, tmp_path, documents) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    write(mine / "letter.txt", "dear")
    for extra in ((), ("--overwrite",)):
        outcome = run("train", documents, "-o", mine, *SMALL, *extra)
        assert outcome.code == 2
        assert "not made by pretrieve" in one_line(outcome.err)
    assert [path.name for path in mine.iterdir()] == ["letter.txt"]


def test_a_folder_of_somebody_with_our_names_is_not_removed(run, tmp_path, documents) -> None:
    """A project that happens to hold a folder called training is not an unfinished run."""
    mine = tmp_path / "project"
    (mine / "training").mkdir(parents=True)
    write(mine / "training" / "notes.txt", "years of work")
    assert run("train", documents, "-o", mine, *SMALL, "--overwrite").code == 2
    assert (mine / "training" / "notes.txt").read_text() == "years of work"


CRASHES = """
import os
from pretrieve.pipeline.pretrain import train
train.select = lambda *arguments: os._exit(9)
from pretrieve.cli.app import main
main()
"""


def test_an_unfinished_run_is_gone_on_with_or_replaced(run, tmp_path, documents) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", CRASHES, "train", str(documents), "-o", str(out), *SMALL]
    for _ in range(2):
        assert subprocess.run(command, capture_output=True, check=False).returncode == 9
        assert [path.name for path in tmp_path.iterdir()] == ["out.work"]
        line = one_line(run("train", documents, "-o", out, *SMALL).err)
        assert "out.work: add --resume to continue, or --overwrite to restart" in line
        command.append("--overwrite")
    assert run("train", documents, "-o", out, *SMALL, "--resume").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "MANIFEST.json").is_file()
    assert run("train", documents, "-o", out, *SMALL).code == 2
    assert run("train", documents, "-o", out, *SMALL, "--overwrite").code == 0


def test_not_a_model(run, tmp_path, documents) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    outcome = run("index", documents, "--model", folder, "-o", tmp_path / "index")
    assert outcome.code == 2
    assert str(folder) in one_line(outcome.err)
    assert not (tmp_path / "index").exists()
    assert run("search", folder, "what").code == 2
    assert run("verify", folder).code == 2


def test_index_of_another_model(run, tmp_path, documents, model) -> None:
    """An index whose model was trained anew is refused, naming both."""
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    assert run("index", documents, "--model", copy, "-o", tmp_path / "index", "--link-model").code == 0
    assert run("search", tmp_path / "index", "river").code == 0
    again = run("train", documents, "-o", copy, *SMALL, "--seed", "1", "--overwrite")
    assert again.code == 0, again.err
    outcome = run("search", tmp_path / "index", "river")
    assert outcome.code == 1
    assert "was built with model" in one_line(outcome.err)
    shutil.rmtree(copy)
    assert "no longer exists" in one_line(run("search", tmp_path / "index", "river").err)


def test_damage_is_named(run, tmp_path, documents, model) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    assert run("verify", copy).code == 0
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))
    outcome = run("verify", copy)
    assert outcome.code == 1
    assert "model.safetensors" in one_line(outcome.err)


def test_evaluate_says_what_is_missing(run, tmp_path, documents, model) -> None:
    outcome = run("evaluate", tmp_path, "--model", model)
    assert outcome.code in (1, 2)
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    write(folder / "corpus.jsonl", documents.read_bytes().replace(b'"id"', b'"_id"'))
    write(folder / "queries.jsonl", '{"_id": "q", "text": "river 0"}\n')
    write(folder / "qrels" / "dev.tsv", "query-id\tcorpus-id\tscore\nq\td0\t1\n")
    assert "dev" in one_line(run("evaluate", folder, "--model", model).err)
    line = one_line(run("evaluate", folder, "--model", model, "--split", "dev", "--metric", "nDGC@10").err)
    assert "nDGC@10" in line
    write(folder / "qrels" / "dev.tsv", "query-id\tcorpus-id\tscore\nq\td0\tmany\n")
    assert "dev.tsv:2" in one_line(run("evaluate", folder, "--model", model, "--split", "dev").err)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk(tmp_path, documents) -> None:
    """A real small disk fills up: one line that names the path, and nothing half-written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        command = [
            sys.executable,
            "-c",
            "from pretrieve.cli.app import main; main()",
            "train",
            str(documents),
            "-o",
            str(disk / "out"),
            *SMALL,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "disk is full" in one_line(done.stderr)
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
