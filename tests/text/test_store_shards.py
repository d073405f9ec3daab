"""A store that several processes make in shards: the bytes of one process, resumed at the last whole shard."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from pretrieve.core import files, manifest
from pretrieve.core.errors import DataError, LostRankError, StorageError
from pretrieve.core.types import Document, IntArray
from pretrieve.text import parallel, store_shards
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer, train

WORDS = ["baki", "dolu", "mane", "pora", "nelu", "tiso", "ravi", "kumo"]


def made(count: int = 300) -> list[Document]:
    """Documents of several lengths and groups, some without a token, one longer than a shard."""
    found = []
    for number in range(count):
        size = 4000 if number == 41 else number % 60
        text = " ".join(f"{WORDS[(number * place) % 8]} {place}." for place in range(1, size + 2))
        text = "\u200b" if number % 29 == 5 else text
        found.append(Document(id=str(number), title=f"t {number}" * (number % 3), text=text, group=f"g{number // 70}"))
    return found


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train([document.text for document in made()], vocabulary_size=200)


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Documents:
    monkeypatch.setattr(store_shards, "SHARD_BYTES", 9_000)
    return Documents.write(tmp_path / "documents", made())


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "parallel import work" in " ".join(child.cmdline())]


@pytest.mark.parametrize("count", ["1", "2"])
@pytest.mark.parametrize("select", [None, np.array([7, 3, 41, 290, 5, 34, 100])], ids=["all", "some"])
@pytest.mark.parametrize("sentences", [True, False])
def test_the_bytes_are_those_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents, tokenizer, count: str, select: IntArray, sentences: bool
) -> None:
    monkeypatch.setenv(parallel.WORKERS, count)
    alone = Store.build(tmp_path / "alone", documents, tokenizer, select=select, sentences=sentences)
    done: list[int] = []
    store = store_shards.build(
        tmp_path / "store", documents, tokenizer, select=select, sentences=sentences, on_progress=done.append
    )
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "alone")
    assert store.fingerprint == alone.fingerprint
    assert len(done) > 2 if select is None else len(done) == 2, "in shards"
    assert sum(done) == len(documents if select is None else select)
    assert {path.name for path in tmp_path.iterdir()} == {"documents", "alone", "store"}
    files.verify(tmp_path / "store")


def test_few_documents_are_not_worth_a_process(tmp_path: Path, monkeypatch, tokenizer) -> None:
    documents = Documents.write(tmp_path / "documents", made())
    monkeypatch.setattr(parallel, "mapped", None)
    monkeypatch.setattr(store_shards, "write_shard", None)
    store_shards.build(tmp_path / "store", documents, tokenizer)


def test_documents_without_any_token_are_refused(tmp_path: Path, monkeypatch, tokenizer) -> None:
    monkeypatch.setattr(store_shards, "SHARD_BYTES", 100)
    monkeypatch.setenv(parallel.WORKERS, "2")
    documents = Documents.write(tmp_path / "documents", [Document(id=str(n), text="\u200b") for n in range(9)])
    with pytest.raises(DataError, match="none of 9 documents has any token"):
        store_shards.build(tmp_path / "store", documents, tokenizer)


class Stop(BaseException):
    """A signal."""


def stopped_after(shards: int, then: Callable[[], object]) -> Callable[[int], None]:
    seen: list[int] = []

    def progress(count: int) -> None:
        seen.append(count)
        if len(seen) == shards:
            then()

    return progress


def interrupt() -> None:
    raise Stop


def kill_one() -> None:
    workers()[0].kill()


@pytest.mark.parametrize(("count", "then", "error"), [("1", interrupt, Stop), ("2", interrupt, Stop),
                                                      ("2", kill_one, LostRankError)])  # fmt: skip
def test_a_stopped_run_goes_on_at_its_last_whole_shard(
    tmp_path: Path, monkeypatch, documents, tokenizer, count: str, then, error
) -> None:
    monkeypatch.setenv(parallel.WORKERS, count)
    monkeypatch.setattr(parallel, "_AHEAD", 1)  # else a process may have made all of its shards before it is killed
    Store.build(tmp_path / "alone", documents, tokenizer)
    with pytest.raises(error):
        store_shards.build(tmp_path / "store", documents, tokenizer, on_progress=stopped_after(3, then))
    assert not workers()
    folder = store_shards.shards_of(tmp_path / "store")
    assert not (tmp_path / "store").exists()
    left = {path.name: path.stat().st_mtime_ns for path in folder.glob("*/MANIFEST.json")}
    assert left
    there = {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("shard-*/MANIFEST.json")}
    assert 3 <= len(there) < 40
    assert not list(folder.glob(".pretrieve-*")), "nothing half-written"
    assert store_shards.planned_tokenizer(tmp_path / "store").fingerprint == tokenizer.fingerprint

    again: list[int] = []

    def written(job: list[object]) -> int:
        again.append(int(str(job[2])))
        return write_shard(job)

    write_shard = store_shards.write_shard
    monkeypatch.setenv(parallel.WORKERS, "1")
    monkeypatch.setattr(store_shards, "write_shard", written)
    store_shards.build(tmp_path / "store", documents, tokenizer)
    assert again
    assert not {f"shard-{number:06}" for number in again} & set(there), "what is whole is not made again"
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "alone")
    assert not folder.exists()
    assert store_shards.planned_tokenizer(tmp_path / "store") is None


def test_damage_and_another_plan_are_noticed(tmp_path: Path, monkeypatch, documents, tokenizer) -> None:
    monkeypatch.setenv(parallel.WORKERS, "1")
    monkeypatch.setattr(manifest, "_EDGE", 64)  # what opening checks of a file's ends
    documents = Documents.write(documents.path, made(), replace=True)
    for name, options in (("alone", {}), ("plain", {"sentences": False})):
        Store.build(tmp_path / name, documents, tokenizer, **options)
    folder = store_shards.shards_of(tmp_path / "store")

    def stop_again() -> None:
        with pytest.raises(Stop):
            store_shards.build(tmp_path / "store", documents, tokenizer, on_progress=stopped_after(4, interrupt))

    stop_again()
    tokens = folder / "shard-000001" / "tokens"
    data = bytearray(tokens.read_bytes())
    data[len(data) // 2] ^= 1
    tokens.write_bytes(data)
    (folder / "shard-000002" / "bodies").unlink()
    store_shards.build(tmp_path / "store", documents, tokenizer)
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "alone")
    stop_again()
    store_shards.build(tmp_path / "store", documents, tokenizer, sentences=False)
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "plain")
    stop_again()
    (folder / "plan" / "cuts").write_bytes(b"")
    store_shards.build(tmp_path / "store", documents, tokenizer)
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "alone")


@pytest.mark.parametrize("count", ["1", "2"])
def test_an_error_of_the_disk_is_one_line_from_any_process(
    tmp_path: Path, monkeypatch, documents, tokenizer, count: str
) -> None:
    monkeypatch.setenv(parallel.WORKERS, count)
    begin = store_shards._begin

    def spoilt(folder: Path, *arguments: object, **options: object) -> None:
        begin(folder, *arguments, **options)
        (folder / "shard-000002").write_text("a file")

    monkeypatch.setattr(store_shards, "_begin", spoilt)
    with pytest.raises((StorageError, ValueError), match="shard-000002"):
        store_shards.build(tmp_path / "store", documents, tokenizer)
    assert not workers()


MEMORY = """
import sys
from pathlib import Path
import psutil
from pretrieve.text import parallel
folder, documents, shards = sys.argv[1:]
jobs = [[folder, documents, int(number)] for number in shards.split(",")]
results = parallel.mapped("pretrieve.text.store_shards:write_shard", jobs, 2)
peak = 0
for _ in results:
    for child in psutil.Process().children():
        status = Path(f"/proc/{child.pid}/status").read_text()
        peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]))
print(peak)
"""


def test_memory_of_a_process_does_not_grow_with_its_shards(tmp_path: Path, monkeypatch, tokenizer) -> None:
    text = "It is baki dolu mane word after word. " * 300
    documents = Documents.write(tmp_path / "documents", (Document(id=str(n), text=text) for n in range(1200)))
    monkeypatch.setattr(store_shards, "SHARD_BYTES", 1 << 20)
    indices = np.arange(len(documents))
    cuts = store_shards._cuts(documents, indices)
    store_shards._begin(tmp_path / "s.shards", documents, tokenizer, indices, cuts, sentences=True)

    def peak(shards: range) -> int:
        words = [str(tmp_path / "s.shards"), str(documents.path), ",".join(map(str, shards))]
        done = subprocess.run([sys.executable, "-c", MEMORY, *words], check=True, capture_output=True, env=os.environ)
        return int(done.stdout)

    few, many = peak(range(2)), peak(range(len(cuts) - 1))
    assert len(cuts) > 10
    assert many < 200_000  # kilobytes
    assert many - few < 15_000
