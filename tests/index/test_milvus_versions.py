"""An index whose collection is on a server, while it changes: every search is of the version before or after.

The server is Milvus Lite behind a port, a process of its own; writers are killed at each of their steps, and readers
are processes too.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import forks
import labelling
from milvus_server import model as model
from milvus_server import server as server
from pretrieve.core.types import Document
from pretrieve.index.backends import Address
from pretrieve.index.index import Index
from pretrieve.index.options import IndexOptions
from pretrieve.models.bag import Bag

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pymilvus") is None, reason="the extra `milvus` is not installed"
)
SIZE, K = 90, 7


def documents(*, longer: bool = False) -> tuple[list[Document], list[Document]]:
    """Those of before, and of after an update that adds, changes and removes, or makes all of them longer."""
    texts, _ = labelling.toy(SIZE + 5)
    found = [Document(id=one["_id"], title=one["title"], text=one["text"]) for one in texts]
    after = [replace(one, text=f"{one.text} end") if number % 9 == 0 else one for number, one in enumerate(found)]
    if longer:
        after = [replace(one, text=f"{one.text} {one.text} more") for one in after]
    return found[:SIZE], after[3:]


def queries() -> list[str]:
    texts, _ = labelling.toy(SIZE + 5)
    return [" ".join(texts[number]["text"].rstrip(".").split()[:3]) for number in (0, 1, 9, 18, SIZE + 1)]


def hits(index: Index) -> dict[str, list[list[tuple[str, float]]]]:
    modes: tuple[Any, ...] = ("lexical", "dense")
    return {
        mode: [[(hit.id, round(hit.score, 5)) for hit in found] for found in index.search_many(queries(), K, mode)]
        for mode in modes
    }


def write(report: Connection, path: str, model: str, longer: bool, stop: int) -> None:
    """In a process of its own: the update, killed at a step; or, of -1, waiting for a word at each."""
    from pretrieve.core import disk

    done = 0

    def fault(operation: str, place: Path) -> None:
        nonlocal done
        if operation.startswith("store ") or (operation == "rename" and place.name == "MANIFEST.json"):
            if done == stop:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1
            if stop < 0:
                report.send(operation)
                report.recv()

    disk.fault_point = fault
    Index.open(Path(path), Bag.load(Path(model))).add(documents(longer=longer)[1], remove=True)
    os._exit(0)


def write_again(report: Connection) -> None:
    """In a process of its own, that has loaded what takes seconds: each update is a process of its own."""
    import pymilvus

    from pretrieve.text.language import detect

    assert pymilvus
    detect("some words of a language")
    while True:
        arguments = report.recv()
        child = os.fork()
        if not child:
            write(report, *arguments)
        report.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def read(path: Path, model: Path) -> tuple[dict[str, list[list[tuple[str, float]]]], list[str]]:
    """Hits of an index that is opened now, and what was noted."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        found = hits(Index.open(path, Bag.load(model)))
    return found, [str(one.message) for one in noted]


def rows(path: Path) -> tuple[int, Mapping[str, str]]:
    """The number of rows in the collection, and what it says of itself."""
    store = Index.open(path, with_model=False).store
    assert store is not None
    assert store.backend is not None
    return len(store.backend.keys()), store.backend.facts() or {}


def build(path: Path, model: Path, address: str) -> Index:
    where = Address.parse(address)
    return Index.build(path, documents()[0], Bag.load(model), IndexOptions(dense=1.0), store=where)


@pytest.fixture(scope="module")
def writers() -> Iterator[Connection]:
    here, there = forks.SERVER.Pipe()
    process = forks.SERVER.Process(target=write_again, args=(there,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process.start()
    there.close()
    yield here
    process.kill()
    process.join()


@pytest.fixture(scope="module", params=[False, True], ids=["small", "longer"])
def expected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path) -> Any:
    """Hits of before and after, by the folder alone."""
    folder, found = tmp_path_factory.mktemp("expected"), []
    index = Index.build(folder / "index", documents()[0], Bag.load(model), IndexOptions(dense=1.0))
    found.append(hits(index))
    found.append(hits(index.add(documents(longer=request.param)[1], remove=True)[0]))
    assert found[0] != found[1]
    return request.param, found


def test_a_killed_writer_leaves_before_or_after(
    tmp_path: Path, server: str, model: Path, writers: Connection, expected: Any
) -> None:
    longer, (before, after) = expected
    path, seen = tmp_path / "index", []
    index = build(path, model, f"{server}/killed_{int(longer)}")
    for stop in range(100):
        writers.send((str(path), str(model), longer, stop))
        ended = writers.recv()
        found, noted = read(path, model)
        assert found in (before, after), stop
        assert noted == []  # the collection answers
        seen.append(found == after)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        index, _ = index.add(documents()[0], remove=True)
        size, facts = rows(path)
        assert (size, facts["changing"], len(facts["versions"].split())) == (SIZE, "", 1), stop
        assert read(path, model) == (before, [])
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (False, True)
    assert len(seen) >= 7
    assert rows(path)[0] == len(documents()[1])


def test_readers_go_on_while_a_writer_works(
    tmp_path: Path, server: str, model: Path, writers: Connection, expected: Any
) -> None:
    longer, (before, after) = expected
    path = tmp_path / "index"
    old = build(path, model, f"{server}/open_{int(longer)}")
    writers.send((str(path), str(model), longer, -1))
    seen: list[str] = []
    while (step := writers.recv()) != 0:
        assert hits(old) == before, seen
        assert read(path, model) == (after if "rename" in seen else before, []), seen
        seen.append(step)
        writers.send("go")
    assert seen[:4] == ["store alter", "store write", "store alter", "rename"]
    assert "store delete" in seen
    assert hits(old) == before
