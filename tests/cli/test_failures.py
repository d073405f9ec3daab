"""Nothing that goes wrong is a traceback, and nothing that is printed obeys who wrote it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import pretrieve.cli.app as app
from pretrieve.core.shown import command_line, shown

NONE = ("--tracker", "none")
CODE = "from pretrieve.cli.app import main; main()"


def error_line(outcome) -> str:
    lines = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, outcome.err
    assert outcome.err.rstrip().splitlines()[-1] == lines[0]
    return lines[0]


def test_an_unforeseen_error_is_a_line_and_a_file(run, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)

    def broken(**options) -> None:
        raise ValueError("no \x1b[31mway\nat all")

    monkeypatch.setattr(app, "app", broken)
    outcome = run("search", "index", "a b")
    assert outcome.code == 1
    line = error_line(outcome)
    found = re.fullmatch(
        r"error: unexpected ValueError: no \\x1b\[31mway at all \(details: (.*); please report it\)", line
    )
    assert found is not None, line
    assert re.fullmatch(r"pretrieve-error-\d{8}-\d{6}\.txt", found[1])
    details = Path(found[1]).read_text()
    for words in (
        "pretrieve search index 'a b'",
        "Traceback (most recent call last)",
        "torch ",
        "Python 3",
        "in broken",
    ):
        assert words in details


def test_details_go_to_the_temporary_folder_where_the_current_one_is_gone(tmp_path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, pretrieve.cli.app as app\n"
        "os.rmdir(os.getcwd())\n"
        "def broken(**options): raise KeyError('x')\n"
        "app.app = broken\napp.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=gone, capture_output=True, text=True, check=False,
                          env={**os.environ, "TMPDIR": str(tmp_path)})  # fmt: skip
    assert done.returncode == 1
    assert f"error: unexpected KeyError: 'x' (details: {tmp_path}/pretrieve-error-" in done.stderr
    assert len(list(tmp_path.glob("pretrieve-error-*.txt"))) == 1


HOSTILE = {
    "list": "[]",
    "number": "7",
    "text": '"x"',
    "deep": '{"a":' * 5000 + "1" + "}" * 5000,
    "infinite": '{"model_type": "bert", "hidden_size": 1e400}',
    "broken": "{not json",
    "encoding": b'{"model_type": "\xff\xfe"}',
    "empty": "",
}


@pytest.mark.parametrize("kind", [*HOSTILE, "folder"])
@pytest.mark.parametrize("name", ["config.json", "modules.json", "tokenizer_config.json", "recipe.json"])
def test_a_hostile_model_is_one_line(run, things, tmp_path, monkeypatch, kind, name) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(things / "teacher", "model")
    target = Path("model", name)
    if kind == "folder":
        target.unlink(missing_ok=True)
        target.mkdir()
    else:
        content = HOSTILE[kind]
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    for words in (
        ("index", things / "docs.jsonl", "--model", "model"),
        ("finetune", "model", things / "pairs.jsonl", "--steps", "1", *NONE),
        ("distill", things / "docs.jsonl", "--teacher", "model", "--stages", "tokens", *NONE),
        ("train", things / "docs.jsonl", "--base", "model", "--method", "mlm", "--steps", "1", *NONE),
    ):
        outcome = run(*words, "-o", "out", "--overwrite")
        if name == "recipe.json":
            assert outcome.code == 0, "it may be somebody else's, and is not needed"
            continue
        assert outcome.code in (1, 2), outcome.err
        assert f"model/{name}" in error_line(outcome)
        assert "unexpected" not in outcome.err
        assert not Path("out").exists()


def test_files_that_cannot_be_read(run, things, tmp_path) -> None:
    folder = tmp_path / "dir.jsonl"
    folder.mkdir()
    shutil.copytree(things / "beir", tmp_path / "beir")
    (tmp_path / "beir" / "queries.jsonl").unlink()
    (tmp_path / "beir" / "queries.jsonl").mkdir()
    for words in (
        ("evaluate", tmp_path / "beir", "--model", things / "start"),
        ("finetune", things / "start", folder, "-o", tmp_path / "out", *NONE),
        ("finetune", things / "start", things / "beir", "-o", tmp_path / "out", "--negatives-file", folder, *NONE),
        ("answer", things / "reader", "--questions", folder),
        ("train", folder, "-o", tmp_path / "out", *NONE),
        ("search", folder, "x"),
        ("verify", folder),
        (
            "generate",
            things / "docs.jsonl",
            "-o",
            tmp_path / "l",
            "--generator",
            things / "t5",
            "--prompt",
            f"@{folder}",
        ),
    ):
        outcome = run(*words)
        assert outcome.code in (1, 2), words
        assert "unexpected" not in error_line(outcome), outcome.err


@pytest.mark.parametrize("limit", [12, 24, 40])
def test_no_file_descriptors(things, tmp_path, limit) -> None:
    words = ("index", str(things / "docs.jsonl"), "--model", str(things / "static"), "-o", str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=False, cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    if done.returncode:
        assert "too many open files" in done.stderr


NASTY = "\x1b[2J\x1b]0;owned\x07 [/x] [bold]b[/bold] \u202egnp.exe\u2066 \x9b31m \r hidden \x7f"
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def nasty(tmp_path_factory) -> Path:
    """Documents, queries and folders whose texts, titles, ids and names try to take the terminal over."""
    from cli.conftest import TOPICS, sentence

    folder = tmp_path_factory.mktemp("nasty")
    lines = [
        {"_id": f"d{n} [/x]", "title": f"{topic} {NASTY}", "text": f"{sentence(topic, n)} {NASTY} {topic}."}
        for n, topic in enumerate(TOPICS * 12)
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{n}", "text": f"{TOPICS[n % 10]} {n} {NASTY}"}) for n in range(20))
    )
    return folder


def test_nothing_nasty_reaches_the_terminal(run, nasty, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    name = "m[x] [red] [/] \x1b[31m \u202e"
    small = ("--steps", "2", *NONE, "--set", "batch_size=8", "--set", "dimensions=8", "--set", "vocabulary_size=300")
    lines = (nasty / "corpus.jsonl").read_bytes().splitlines()[:3]
    pairs = [
        {"query": f"what {n} {NASTY}?", "positive": {"id": f"p{n} [/x]", "text": f"{NASTY} {n}"}} for n in range(3)
    ]
    Path("bad\x1b[31m[").mkdir()
    Path("bad\x1b[31m[/x].jsonl").write_bytes(b"\n".join([*lines, b'{"text": \x1b[31m[/x]']))
    Path("pairs.jsonl").write_bytes(b"\n".join(map(orjson.dumps, pairs)))
    for words, code in (
        (("train", nasty / "corpus.jsonl", "-o", name, *small), 0),
        (("inspect", nasty / "corpus.jsonl", "-n", "3"), 0),
        (("inspect", nasty / "corpus.jsonl", "-n", "3", "--method", "contriever-inbatch", "--base", "new"), 0),
        (("index", nasty / "corpus.jsonl", "--model", name, "-o", f"index {name}"), 0),
        (("search", f"index {name}", f"river {NASTY}"), 0),
        (("search", f"index {name}", "glacier", "--mode", "lexical"), 0),
        (("verify", name), 0),
        (("train", "bad\x1b[31m[/x].jsonl", "-o", "out", *small), 1),
        (("train", "bad\x1b[31m[/x].jsonl", "-o", "out", "--on-bad", "skip", *small), 0),
        (("train", nasty / "corpus.jsonl", "-o", "o2", "--method", NASTY), 2),
        (("train", nasty / "corpus.jsonl", "-o", "o2", "--set", f"{NASTY}=1"), 2),
        (("train", nasty / "corpus.jsonl", "-o", "o2", "--steps", NASTY), 2),
        (("train", f"missing {NASTY}", "-o", "o2"), 2),
        (("index", nasty / "corpus.jsonl", "--model", f"missing {NASTY}", "-o", "o3"), 2),
        (("methods", NASTY), 2),
        (("mine", "pairs.jsonl", "-o", f"n{name}.jsonl", "--number", "1"), 0),
    ):
        outcome = run(*words)
        assert outcome.code == code, (words, outcome.err)
        for text in (outcome.out, outcome.err):
            assert not FORBIDDEN.search(text), (words, text)


def test_json_is_not_escaped_twice(run, nasty, things, tmp_path) -> None:
    assert run("index", nasty / "corpus.jsonl", "--model", things / "static", "-o", tmp_path / "i").code == 0
    hits = orjson.loads(run("search", tmp_path / "i", "river", "--json").out)["hits"]
    assert "[/x] [bold]b[/bold] gnp.exe" in hits[0]["title"], "marks of direction are removed where documents are read"


def test_an_output_called_like_markup(run, things, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    beir = ("evaluate", things / "beir", "--model")
    for name in ("m[/x]", "[bold]", "m\\"):
        shutil.copytree(things / "start", name)
        outcome = run(*beir, name)
        assert outcome.code == 0, outcome.err
        assert name in "".join(outcome.out.split())
        outcome = run("finetune", name, things / "beir", "-o", f"t{name}", "--steps", "1", *NONE)
        assert outcome.code == 0, outcome.err


def test_output_that_only_takes_ascii(things, tmp_path) -> None:
    command = [sys.executable, "-c", CODE, "inspect", str(things / "docs.jsonl"), "-n", "1"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, check=False, env=env)
    assert done.returncode == 0, done.stderr


def test_shown() -> None:
    assert shown("a\x1b[1m\nb\tc\x9b\u202e") == "a\\x1b[1m b c\\u009b\\u202e"
    assert shown("a\nb\tc\r", lines=True) == "a\nb\tc\\x0d"
    assert shown(os.fsdecode(b"caf\xe9")) == "caf\\xe9"
    assert shown("[/x]", markup=True) == "\\[/x]"
    assert shown("שלום Ελλάδα 日本") == "שלום Ελλάδα 日本"


def test_a_command_with_control_characters_can_be_copied() -> None:
    words = ["printf", "%s|", "a b", "it's", "e\x1b\\'\u202e", os.fsdecode(b"\xff")]
    line = command_line(words)
    assert not FORBIDDEN.search(line)
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert done.stdout == b"".join(os.fsencode(word) + b"|" for word in words[2:])
