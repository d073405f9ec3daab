"""A token store made by several processes in shards, each whole or not there, and joined into one artefact.

Beside a store that is made lies the folder ``STORE.shards``: the ``plan`` (tokenizer, documents, where shards end) and
the shards that are done. A run that was stopped goes on at the last whole shard. The joined store has the bytes of one
that a single process makes; its shards are then removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import disk, files
from pretrieve.core.arrays import load_array
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.core.shards import shard_name
from pretrieve.core.types import IntArray, SpecialTokens
from pretrieve.text import parallel
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.documents import Documents
from pretrieve.text.encoding import encode
from pretrieve.text.store import Corpus, Store
from pretrieve.text.store_writer import BATCH, StoreWriter
from pretrieve.text.tokenizer import Tokenizer

PLAN = "plan"
SHARD_BYTES = 32 << 20  # of the documents' lines in a shard: some 15 seconds of a process
_ENDING = ".shards"
_SHARD, _KIND = "store shard", "store plan"


def build(
    target: Path,
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    select: IntArray | None = None,
    sentences: bool = True,
    on_progress: Callable[[int], object] = lambda count: None,
) -> Store:
    """Encode documents into a store, in shards and by several processes where there are enough, and open it.

    Args:
        target: output folder; an existing store is replaced.
        corpus: documents to encode; texts that are not on disk are encoded by this process.
        tokenizer: tokenizer to encode with.
        select: indices of the documents to take, in this order; all by default.
        sentences: find where sentences start.
        on_progress: called with the number of documents that are done since the last call.

    Raises:
        DataError: no document has any token.
        LostRankError: a process was ended; whole shards are kept.
        StorageError: writing to disk failed; whole shards are kept.
    """
    indices = np.arange(len(corpus)) if select is None else select
    cuts = _cuts(corpus, indices) if isinstance(corpus, Documents) else np.array([0, len(indices)])
    if not isinstance(corpus, Documents) or len(cuts) <= 2:
        store = Store.build(target, corpus, tokenizer, select=select, sentences=sentences, replace=True)
        on_progress(len(indices))
        return store
    folder = shards_of(target)
    _begin(folder, corpus, tokenizer, indices, cuts, sentences=sentences)
    made = _shards(folder, corpus, len(cuts) - 1)

    def fill(writer: StoreWriter) -> None:
        for number in range(len(cuts) - 1):
            meta = files.read_manifest(folder / shard_name(number), _SHARD)
            writer.append(folder / shard_name(number), meta["seen"], meta["group_names"])

    try:
        for number in made:
            on_progress(int(cuts[number + 1] - cuts[number]))
    finally:
        made.close()  # ends the processes
        disk.sweep(folder)
    store = Store.write(target, fill, tokenizer, corpus.fingerprint, replace=True)
    disk.remove(folder)
    return store


def shards_of(target: Path) -> Path:
    """The folder of the shards of a store while it is made."""
    return target.with_name(f"{target.name}{_ENDING}")


def planned_tokenizer(target: Path) -> Tokenizer | None:
    """The tokenizer of a store whose making was stopped; None if there is none to go on with."""
    try:
        return _Plan.open(shards_of(target) / PLAN).tokenizer
    except (UsageError, CorruptError):
        return None


def write_shard(job: list[Any]) -> int:
    """Write one shard.

    Args:
        job: the folder of the shards, the folder of the documents, and the number of the shard.

    Returns:
        Its number.

    Raises:
        CorruptError: plan or documents are damaged.
        StorageError: writing to disk failed.
    """
    folder, place, number = Path(job[0]), Path(job[1]), int(job[2])
    plan, documents = _opened(folder, place)
    indices = np.asarray(plan.indices[plan.cuts[number] : plan.cuts[number + 1]])
    meta: dict[str, Any] = {}
    with files.create(folder / shard_name(number), _SHARD, replace=True, meta=meta) as made:
        with StoreWriter(made, plan.tokenizer.specials.vocabulary) as writer:
            for batch in documents.batches(BATCH, indices):
                writer.add(batch, indices, encode(batch, plan.tokenizer, sentences=plan.sentences))
        meta |= {"seen": writer.seen, "group_names": list(writer.groups)}
    return number


@dataclass(frozen=True, eq=False, kw_only=True)
class _Plan:
    """What all shards of a store have in common.

    Attributes:
        tokenizer: tokenizer of the ids.
        indices: (n,) documents to encode.
        cuts: (shards + 1,) where in ``indices`` each shard begins, and the end.
        sentences: whether to find sentences.
        fingerprint: hash of all of it, and of the documents.
    """

    tokenizer: Tokenizer
    indices: IntArray
    cuts: IntArray
    sentences: bool
    fingerprint: str

    @staticmethod
    def open(path: Path) -> _Plan:
        """Open a plan.

        Raises:
            UsageError: there is none.
            CorruptError: it is damaged.
        """
        meta = files.read_manifest(path, _KIND)
        found = Tokenizer(tokenizers.load(path).backend, SpecialTokens(**meta["specials"]))
        return _Plan(
            tokenizer=found,
            indices=load_array(path / "indices"),
            cuts=load_array(path / "cuts", mmap=False),
            sentences=meta["sentences"],
            fingerprint=meta["fingerprint"],
        )


@lru_cache(maxsize=1)
def _opened(folder: Path, documents: Path) -> tuple[_Plan, Documents]:
    return _Plan.open(folder / PLAN), Documents.open(documents)


def _cuts(documents: Documents, indices: IntArray) -> IntArray:
    """Where in ``indices`` shards of about ``SHARD_BYTES`` begin, and the end; every shard has a document."""
    ends = np.cumsum(documents.offsets[indices + 1] - documents.offsets[indices])
    steps = np.arange(SHARD_BYTES, int(ends[-1]) if len(ends) else 0, SHARD_BYTES)
    inner = np.searchsorted(ends, steps, side="right")
    return np.unique(np.concatenate([[0], inner, [len(indices)]])).astype(np.int64)


def _begin(
    folder: Path, documents: Documents, tokenizer: Tokenizer, indices: IntArray, cuts: IntArray, *, sentences: bool
) -> None:
    """Write the plan, or find that it is there; shards of another plan are removed."""
    hashes = [hashlib.sha256(values.astype(np.int64).tobytes()).hexdigest() for values in (indices, cuts)]
    fingerprint = files.fingerprint([documents.fingerprint, tokenizer.fingerprint, *hashes, sentences])
    try:
        same = _Plan.open(folder / PLAN).fingerprint == fingerprint
    except (UsageError, CorruptError):
        same = False
    if same:
        disk.sweep(folder)
        return
    disk.remove(folder)
    meta = {"fingerprint": fingerprint, "sentences": sentences, "specials": asdict(tokenizer.specials)}
    with files.create(folder / PLAN, _KIND, meta=meta) as made:
        tokenizer.save(made)
        made.array("indices", indices.astype(np.int64))
        made.array("cuts", cuts)


def _shards(folder: Path, documents: Documents, count: int) -> Generator[int]:
    """Numbers of all shards, each once it is whole: first those that are there."""
    there = [number for number in range(count) if _is_whole(folder / shard_name(number))]
    yield from there
    missing = sorted(set(range(count)) - set(there))
    jobs = [[str(folder.absolute()), str(documents.path.absolute()), number] for number in missing]
    workers = min(parallel.processors(), len(jobs))
    _opened.cache_clear()
    if workers > 1:
        yield from parallel.mapped(f"{__name__}:{write_shard.__name__}", jobs, workers)
    else:
        yield from map(write_shard, jobs)


def _is_whole(path: Path) -> bool:
    """Whether a shard is there with all of its bytes; what is damaged is made again."""
    try:
        files.verify(path)
    except (UsageError, CorruptError):
        return False
    return True
