"""Random damage to an index, to the model under it and to their MANIFESTs: the same answers, or one clear line.

``PRETRIEVE_FLIPS=1000`` makes it longer.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

import searching
from pretrieve.core import files
from pretrieve.core.files import create

FLIPS = int(os.environ.get("PRETRIEVE_FLIPS", "45"))
MADE = searching.documents(40)
QUERIES = [MADE[number].text[:40] for number in (3, 17)]
CODE = "import sys; from pretrieve.cli.app import main; sys.argv[0] = 'pretrieve'; main()"


def write(path: Path, made: list[Any]) -> Path:
    lines = [{"id": document.id, "title": document.title, "text": document.text} for document in made]
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)) + b"\n")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with a copy of its model; one beside it, in two parts; one beside a stock model."""
    folder = tmp_path_factory.mktemp("damaged")
    stock = searching.static_model(folder / "stock", MADE)
    prompts = {"similarity_fn_name": "cosine", "prompts": {"query": MADE[5].title}}
    (stock / "config_sentence_transformers.json").write_bytes(orjson.dumps(prompts))
    for name in ("copied", "linked", "foreign"):
        root = folder / name
        root.mkdir()
        if name == "foreign":
            shutil.copytree(stock, root / "model")
        else:
            with create(root / "model", "model", meta={"weight": 0.5, "passages": 0.3, "recipe": "x"}) as made:
                shutil.copytree(stock, made.path, dirs_exist_ok=True)
                made.adopt()
        link = () if name == "copied" else ("--link-model",)
        whole = write(folder / "all.jsonl", MADE)
        call("index", whole if name != "linked" else write(folder / "some.jsonl", MADE[:30]), "--model", root / "model",
             "-o", root / "index", *link)  # fmt: skip
        if name == "linked":
            call("index", whole, "-o", root / "index", "--update")
        if name == "copied":
            shutil.rmtree(root / "model")
    return folder


def call(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE, *map(str, words)], capture_output=True, text=True, check=True)


def answers(run, index: Path) -> tuple[list[Any], str]:
    """Hits of the queries, and what was wrong in place of them."""
    found = []
    for query in QUERIES:
        outcome = run("search", index, query, "--json", "--full-text")
        if outcome.code:
            lines = outcome.err.strip().splitlines()
            assert len(lines) == 1, outcome.err
            return [], lines[0]
        assert not outcome.err, outcome.err
        found.append(orjson.loads(outcome.out))
    return found, ""


@pytest.mark.parametrize("name", ["copied", "linked", "foreign"])
def test_a_flipped_bit_gives_the_same_answers_or_one_clear_line(run, place: Path, tmp_path: Path, name: str) -> None:
    root = place / name
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    right, error = answers(run, root / "index")
    assert not error
    assert right[0]["hits"]
    draw, seen = random.Random(len(name)), Counter[str]()
    for number in range(FLIPS // 3 + 1):
        path = (
            draw.choice(paths) if number % 4 else draw.choice([p for p in paths if p.name == files.MANIFEST] or paths)
        )
        whole = path.read_bytes()
        if not whole:
            continue
        damaged = bytearray(whole)
        at, bit = draw.randrange(len(damaged)), draw.randrange(8)
        damaged[at] ^= 1 << bit
        copy = tmp_path / "whole"
        path.rename(copy)  # what is mapped stays as it was
        path.write_bytes(damaged)
        try:
            found, error = answers(run, root / "index")
            assert error or found == right, (
                f"{path}: bit {bit} of byte {at} of {len(whole)}: {damaged[at - 20 : at + 20]!r}"
            )
            seen["refused" if error else "unchanged"] += 1
        finally:
            copy.replace(path)
    assert seen["refused"], seen
    assert answers(run, root / "index") == (right, "")


def test_another_model_of_the_same_shape_is_noticed_by_search(run, place: Path, tmp_path: Path) -> None:
    """Also one whose MANIFEST was left as it was, and whose sizes are the same."""
    for name in ("copied", "linked", "foreign"):
        root = Path(shutil.copytree(place / name, tmp_path / name))
        other = searching.static_model(tmp_path / f"{name}-other", MADE, seed=7)
        weights = next(root.rglob("model.safetensors"))
        shutil.copy(other / "model.safetensors", weights)
        outcome = run("search", root / "index", QUERIES[0])
        assert outcome.code == 1
        assert str(weights if name != "foreign" else root / "index") in outcome.err
        assert len(outcome.err.strip().splitlines()) == 1


@pytest.mark.parametrize("field", ["weights", "model", "parts", "k1", "files"])
def test_an_edited_field_of_the_manifest_is_noticed_by_search(run, place: Path, tmp_path: Path, field: str) -> None:
    index = Path(shutil.copytree(place / "copied", tmp_path / "copied")) / "index"
    path = index / files.MANIFEST
    manifest = orjson.loads(path.read_bytes())
    if field == "files":
        manifest["files"] = {}
    elif field == "weights":
        manifest["meta"]["fusion"] = dict.fromkeys(manifest["meta"]["fusion"], 0.9)
    elif field == "k1":
        manifest["meta"]["lexical"]["k1"] = 3.3
    elif field == "parts":
        manifest["meta"]["parts"] = []
    else:
        manifest["meta"]["model"]["location"] = "another"
    path.write_bytes(orjson.dumps(manifest))
    outcome = run("search", index, QUERIES[0])
    assert outcome.code == 1
    assert "MANIFEST.json is damaged (its checksum is another one" in outcome.err


def test_two_commands_on_one_output(place: Path, tmp_path: Path) -> None:
    """One of them makes the index; the other is refused, and says who writes."""
    source = write(tmp_path / "docs.jsonl", searching.documents(400))
    words = ("index", source, "--model", place / "stock", "-o", tmp_path / "index")
    command = [sys.executable, "-c", CODE, *map(str, words)]
    for more in ([], ["--overwrite"], ["--update"]):
        both = [subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(2)]  # fmt: skip
        ends = sorted(((process.communicate(timeout=120), process.returncode) for process in both), key=lambda e: e[1])
        assert ends[0][1] == 0, ends
        (_, error), code = ends[1]
        if more and not code:  # one began when the other had ended: that is no fault
            continue
        assert code in (1, 2)
        assert "is being written by" in error or "exists already" in error, error
        assert "Traceback" not in error
    assert files.verify(tmp_path / "index")
