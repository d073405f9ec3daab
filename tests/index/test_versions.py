"""Readers while an index is changed and replaced, and writers that are killed.

``PRETRIEVE_SWAPS=400`` makes the readers' test longer: as many new versions, opened half as often at least.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pretrieve.core import files
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.lexical import BM25
from pretrieve.models.bag import Bag
from searching import documents, static_model

MADE = documents(24)
OPTIONS = IndexOptions(bm25=BM25(), dense=0.5, languages=("en",))
SWAPS = int(os.environ.get("PRETRIEVE_SWAPS", "0"))
TEST = Path(__file__).parent.parent

WRITER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from pretrieve.core import disk
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.lexical import BM25
from pretrieve.models.bag import Bag
from searching import documents
target, stop, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
made, seen = documents(24), 0
os.fsync = lambda descriptor: None
def fault(operation, path):
    global seen
    seen += 1
    if seen == stop:
        os.kill(os.getpid(), signal.SIGKILL)
bag = Bag.load(target.parent / "model")
index = None if kind == "build" else Index.open(target, bag)
disk.fault_point = fault
if kind == "build":
    options = IndexOptions(bm25=BM25(), dense=0.5, languages=("en",))
    Index.build(target, made[:12], bag, options, replace=True)
elif kind == "update":
    index.add(made[8:20], remove=True)
elif kind == "compact":
    index.compact()
elif kind == "merge":
    index.add(made[22:23])
print(seen)
"""


def write(target: Path, kind: str, stop: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WRITER, str(target), str(stop), kind, str(TEST)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def found(index: Index) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for document in MADE[8:14] for hit in index.search(document.text[:40], k=30)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    bag = Bag.load(static_model(tmp_path / "model", MADE))
    index = Index.build(tmp_path / "index", MADE[:10], bag, OPTIONS)
    index.add(MADE[10:16])
    return tmp_path / "index"


@pytest.mark.parametrize("kind", ["build", "update", "compact"])
def test_killed_anywhere_the_index_is_the_one_before_or_after(place: Path, kind: str) -> None:
    """At every operation of the disk at first, then at some of the many that are alike."""
    before, copy = found(Index.open(place)), place.with_name("index-copy")
    shutil.copytree(place, copy)
    points = int(write(copy, kind).stdout)
    after = found(Index.open(copy))
    assert points > 30
    seen = []
    for stop in [*range(1, points, max(1, points // 6)), *range(points - 3, points + 1)]:
        assert write(place, kind, stop).returncode == -signal.SIGKILL
        assert files.verify(place)["files"] > 10
        seen.append(found(Index.open(place)))
        if seen[-1] == after != before:
            break
    assert all(answers in (before, after) for answers in seen)
    assert seen[0] == before
    assert write(place, kind).returncode == 0
    assert found(Index.open(place)) == after
    names = {path.name for path in place.parent.iterdir()}
    assert names == {"index", "index-copy", "model"}, "what killed writers left is swept"


def test_killed_while_parts_are_merged_the_index_is_the_one_before_or_after(place: Path) -> None:
    """The eighth small part: it is added, and all eight are merged."""
    index = Index.open(place)
    for number in range(16, 22):
        index, _ = index.add(MADE[number : number + 1])
    before, copy = found(index), place.with_name("index-copy")
    shutil.copytree(place, copy)
    points = int(write(copy, "merge").stdout)
    after = found(Index.open(copy))
    assert len(files.load_manifest(place, "index")["meta"]["parts"]) == 8
    assert len(files.load_manifest(copy, "index")["meta"]["parts"]) == 2, "merged"
    seen = []
    for stop in [*range(points // 3, points, points // 7), points - 1, points]:
        shutil.rmtree(copy)
        shutil.copytree(place, copy)
        assert write(copy, "merge", stop).returncode == -signal.SIGKILL
        assert files.verify(copy)["files"] > 10
        seen.append(found(Index.open(copy)))
    assert {len(answers) for answers in seen} == {len(before), len(after)}
    assert all(answers in (before, after) for answers in seen)
    assert write(copy, "compact").returncode == 0
    assert found(Index.open(copy)) == after


READER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pretrieve.index.index import Index
from searching import documents
made = documents(24)
print("ready", flush=True)
count = 0
while not Path(sys.argv[3]).exists():
    index = Index.open(Path(sys.argv[1]))
    names = {document.id for document in index.documents}
    hits = index.search(made[3].text[:40], k=30)
    assert {hit.id for hit in hits} == names, (len(hits), len(names))
    version = {hit.text.rsplit(" ", 1)[-1] for hit in hits}
    assert len(version) == 1, version
    count += 1
print(count)
"""


def test_readers_meet_one_version_while_an_index_is_changed_and_replaced(tmp_path: Path) -> None:
    """Each version has another number of documents, and its number at the end of every text."""
    bag = Bag.load(static_model(tmp_path / "model", MADE))

    def version(number: int) -> list:
        return [replace(document, text=f"{document.text} v{number}") for document in MADE[: 10 + number % 9]]

    index = Index.build(tmp_path / "index", version(0), bag, OPTIONS)
    command = [sys.executable, "-c", READER, str(tmp_path / "index"), str(TEST), str(tmp_path / "end")]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    end, number = time.monotonic() + 8, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        while time.monotonic() < end or number < SWAPS:
            number += 1
            if number % 3:
                index, _ = index.add(version(number), remove=True)
            else:
                index = Index.build(tmp_path / "index", version(number), bag, OPTIONS, replace=True)
    (tmp_path / "end").touch()
    opened = 0
    for reader in readers:
        out, error = reader.communicate(timeout=60)
        assert reader.returncode == 0, error
        assert int(out) > 3
        opened += int(out)
    assert number > 5
    print(f"{number} versions, opened {opened} times")
    assert opened >= SWAPS / 2
