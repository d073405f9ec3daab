"""Readers of an index that is replaced and updated meanwhile, all as real processes: each answer is of one version.

``PRETRIEVE_SWAPS=400`` makes it longer: as many new versions, and 200 openings at least.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import searching

SWAPS = int(os.environ.get("PRETRIEVE_SWAPS", "24"))
OPENINGS = min(200, SWAPS)  # at least
MADE = searching.documents(30)
QUERY = MADE[3].text[:40]
KINDS, OPENED = ("command", "opened", "held"), "opened"

READER = """
import contextlib, io, json, sys, time
from pathlib import Path
place, query, kind, end, log = sys.argv[1:]
from pretrieve.cli.app import main
from pretrieve.pipeline.open_index import open_index

def asked(index):
    return [(hit.id, hit.score, hit.text) for hit in index.search(query, k=50)]

def searched():
    sys.argv = ["pretrieve", "search", place, query, "--json", "--full-text", "-k", "50"]
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    assert not code, code
    return [(hit["id"], hit["score"], hit["text"]) for hit in json.loads(out.getvalue())["hits"]]

with open(log, "w") as file:
    held = []
    while not Path(end).exists():
        if kind == "command":
            answers = [searched()]
        elif kind == "opened":
            answers = [asked(open_index(Path(place)))]
        else:  # asked first when later versions are there, and again and again
            held.append([open_index(Path(place)), None])
            answers = []
            for number, (index, before) in enumerate(held[:-4]):
                answers.append(asked(index))
                assert before in (None, answers[-1]), "an index that is held open answers from its version"
                held[number][1] = answers[-1]
            del held[:-12]
        file.write("".join(json.dumps(answer) + "\\n" for answer in answers))
        file.write("opened\\n")
        file.flush()
        time.sleep(0.02)
"""


def version(number: int) -> list[Any]:
    """Documents of a version, as many as no other one nearby has; each third version is new in some of them only."""
    made = [replace(document, text=f"{document.text} v{number}") for document in MADE[: 11 + number % 13]]
    if number % 3:
        return made
    return [old if place % 3 else new for place, (old, new) in enumerate(zip(version(number - 1), made, strict=False))]


def write(path: Path, number: int) -> Path:
    lines = [{"id": one.id, "title": one.title, "text": one.text} for one in version(number)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def changed(run, place: Path, number: int) -> list[Any]:
    """Make a version by a command, and return its answer."""
    docs, index = write(place / "docs.jsonl", number), place / "index"
    how = ("--model", place / "model", "--overwrite") if number % 2 == 0 else ("--update",)
    outcome = run("index", docs, "-o", index, *how)
    assert outcome.code == 0, outcome.err
    outcome = run("search", index, QUERY, "--json", "--full-text", "-k", 50)
    hits = [[hit["id"], hit["score"], hit["text"]] for hit in json.loads(outcome.out)["hits"]]
    assert len(hits) == len(version(number))
    if number % 7 == 0:
        assert run("index", "-o", index, "--compact").code == 0
    return hits


def test_each_answer_is_that_of_one_version(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # nothing is killed here
    searching.static_model(tmp_path / "model", MADE)
    right, end, number = {0: changed(run, tmp_path, 0)}, tmp_path / "end", 0
    with contextlib.ExitStack() as stack:
        readers = []
        for kind in KINDS:
            words = [sys.executable, "-c", READER, tmp_path / "index", QUERY, kind, end, tmp_path / f"{kind}.log"]
            readers.append(stack.enter_context(subprocess.Popen(words, stderr=subprocess.PIPE, text=True)))
            stack.callback(readers[-1].kill)
        while number < SWAPS or openings(tmp_path) < OPENINGS:
            number += 1
            right[number] = changed(run, tmp_path, number)
            if any(reader.poll() is not None for reader in readers):
                break
        end.touch()
        assert [reader.communicate(timeout=60)[1] for reader in readers] == [""] * len(readers)
    seen = Counter[int]()
    for kind in KINDS:
        for line in (tmp_path / f"{kind}.log").read_text().splitlines():
            if line != OPENED:
                answer = json.loads(line)
                newest = max(int(text.rpartition(" v")[2]) for _, _, text in answer)
                assert answer == right[newest], f"{kind}: an answer of no version"
                seen[newest] += 1
    assert len(seen) > 3
    print(f"{number} versions; opened {openings(tmp_path)} times; {seen.total()} answers, of {len(seen)} versions")


def openings(place: Path) -> int:
    return sum(log.read_text().count(f"{OPENED}\n") for log in place.glob("*.log"))
