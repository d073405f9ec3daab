"""Changing an index on disk: documents are added, replaced and removed by a new part beside the old ones.

What changed is told by hashes of the documents: only new texts are encoded. Merging parts is in ``compaction.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.commits import Revision, revise
from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import BoolArray, Document, FloatArray, IntArray, TextEncoder
from pretrieve.index.analysis import Analyzer
from pretrieve.index.compaction import compact, enter, next_part
from pretrieve.index.dense import Dense
from pretrieve.index.filling import changing, complete
from pretrieve.index.ids import hashes
from pretrieve.index.opening import Opened
from pretrieve.index.parts import Part, PartWriter, content_of, name_of, write_gone
from pretrieve.index.pseudo import full_text
from pretrieve.index.vector_options import VectorOptions
from pretrieve.text.documents import Documents
from pretrieve.text.language import detect

_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What an update did, in documents.

    Attributes:
        new: were not in the index.
        changed: had another text, title or other record.
        removed: were in the index.
        unchanged: are as they were.
        encoded: texts that were encoded by the model.
    """

    new: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    encoded: int = 0

    def describe(self) -> str:
        """As text: ``"3 new, 1 changed, 2 removed, 40 unchanged; 4 encoded"``."""
        counts = {name: getattr(self, name) for name in ("new", "changed", "removed", "unchanged")}
        return f"{', '.join(f'{count:,} {name}' for name, count in counts.items())}; {self.encoded:,} encoded"

    def facts(self) -> dict[str, int]:
        """As JSON."""
        return {name: getattr(self, name) for name in ("new", "changed", "removed", "unchanged", "encoded")}


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Given documents beside those of an index.

    Attributes:
        write: (n,) places of the given documents that are new or changed.
        numbers: (n,) number of the document that each replaces; -1 for none.
        same_text: (n,) whether its text is the same, so that its vector is.
        seen: (R,) documents of the index that were given.
    """

    write: IntArray
    numbers: IntArray
    same_text: BoolArray
    seen: BoolArray


def update(path: Path, opened: Opened, documents: Documents, *, remove: bool) -> Changes:
    """Add documents to an index and replace those whose id is there; the caller holds the lock.

    Args:
        path: the index.
        opened: it, with its model.
        documents: the documents.
        remove: remove all others.

    Returns:
        What was done.

    Raises:
        DataError: two of the documents have one id, or the model gives values that are not finite.
        StorageError: writing to disk failed; the index is unchanged.
    """
    compared = _compare(opened, documents)
    living = opened.members.numbers
    removed = living[~compared.seen[living]] if remove else np.zeros(0, np.int64)
    replaced = compared.numbers[compared.numbers >= 0]
    known = int(compared.seen.sum())
    changes = Changes(
        new=len(compared.write) - len(replaced),
        changed=len(replaced),
        removed=len(removed),
        unchanged=known - len(replaced),
        encoded=int((~compared.same_text).sum()),
    )
    if len(compared.write) or len(removed):
        gone = _places(opened, np.sort(np.concatenate([replaced, removed])))
        with changing(path, opened) as change, revise(path, "index") as revision:
            change.write(revision, *_write(revision, opened, documents, compared, gone), gone)
        compact(path)
    complete(path)
    return changes


def delete(path: Path, opened: Opened, names: Sequence[str]) -> Changes:
    """Delete documents by id; the caller holds the lock.

    Raises:
        UsageError: an id is not in the index, or all documents would be deleted.
        StorageError: writing to disk failed; the index is unchanged.
    """
    wanted = list(dict.fromkeys(names))
    found, places = find(opened, wanted)
    if missing := sorted(set(range(len(wanted))) - set(places.tolist())):
        shown = ", ".join(repr(wanted[place]) for place in missing[:3])
        raise UsageError(f"{path} has no document {shown}{' ...' if missing[3:] else ''}: nothing was deleted.")
    if len(found) == opened.members.count:
        raise UsageError(f"no document would be left in {path}: remove the folder instead.")
    if len(found):
        with changing(path, opened) as change, revise(path, "index") as revision:
            number = next_part(revision)
            gone = _places(opened, np.sort(found))
            write_gone(revision.folder, number, gone)
            enter(revision, number, 0, gone)
            change.write(revision, number, 0, gone)
        compact(path)
    complete(path)
    return Changes(removed=len(found), unchanged=opened.members.count - len(found))


def find(opened: Opened, names: Sequence[str]) -> tuple[IntArray, IntArray]:
    """Numbers of the documents with some ids, and the place of each's id among them."""
    members, keys = opened.members, hashes(names, len(names))
    numbers, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start, ids in zip(members.starts.tolist(), members.parts, strict=False):
        at, within = ids.find(keys)
        own = start + within.astype(np.int64)
        here = np.ones(len(own), bool) if members.alive is None else members.alive[own]
        here &= np.array([ids.names[n] == names[place] for n, place in zip(within.tolist(), at.tolist(), strict=True)],
                         bool)  # fmt: skip
        numbers.append(own[here])
        places.append(at[here])
    return np.concatenate(numbers), np.concatenate(places)


def _compare(opened: Opened, documents: Documents) -> _Compared:
    encoder = _encoder(opened)
    separator: str = getattr(encoder, "separator", " ")
    seen = np.zeros(opened.members.size, bool)
    write, numbers, same = [], [], []
    keys = np.zeros(len(documents), np.uint64)
    start = 0
    for batch in documents.batches(_BATCH):
        names = [document.id for document in batch]
        keys[start : start + len(batch)] = hashes(names, len(names))
        known = np.full(len(batch), -1, np.int64)
        found, places = find(opened, names)
        known[places] = found
        seen[found] = True
        for place, (document, number) in enumerate(zip(batch, known.tolist(), strict=True)):
            before = b"" if number < 0 else _content(opened, number)
            now = content_of(document, separator)
            if before != now:
                write.append(start + place)
                numbers.append(number)
                same.append(before[16:] == now[16:])
        start += len(batch)
    _refuse_twice(documents, keys)
    return _Compared(
        write=np.array(write, np.int64), numbers=np.array(numbers, np.int64), same_text=np.array(same, bool), seen=seen
    )


def _refuse_twice(documents: Documents, keys: IntArray) -> None:
    order = np.argsort(keys, kind="stable")
    for place in np.flatnonzero(keys[order][1:] == keys[order][:-1]).tolist():
        first, second = int(order[place]), int(order[place + 1])
        if (name := documents[first].id) == documents[second].id:
            raise DataError(f"documents {first:,} and {second:,} both have the id {name!r}: nothing was changed.")


def _content(opened: Opened, number: int) -> bytes:
    part, place = _place(opened, number)
    return bytes(part.contents[place].tobytes())


def _place(opened: Opened, number: int) -> tuple[Part, int]:
    full = [part for part in opened.parts if part.documents is not None]
    at = int(np.searchsorted(opened.members.starts, number, "right")) - 1
    return full[at], number - int(opened.members.starts[at])


def _places(opened: Opened, numbers: IntArray) -> IntArray:
    """Numbers of documents as (n, 2) number of the part and place in it."""
    full = np.array([part.number for part in opened.parts if part.documents is not None], np.int64)
    at = np.searchsorted(opened.members.starts, numbers, "right") - 1
    return np.stack([full[at], numbers - opened.members.starts[at]], axis=1).reshape(-1, 2)


def _encoder(opened: Opened) -> TextEncoder:
    assert opened.dense is not None
    return opened.dense.encoder


def _write(
    revision: Revision, opened: Opened, documents: Documents, compared: _Compared, gone: IntArray
) -> tuple[int, int]:
    """Write a new part; returns its number and how many documents it has."""
    number, folder = next_part(revision), revision.folder
    third = None if opened.third is None else opened.third.encoder
    passages = bool(opened.meta["lexical"]["passages"])
    writer = PartWriter(folder=folder, encoder=_encoder(opened), third=third, passages=passages,
                        options=VectorOptions.of(opened.meta))  # fmt: skip
    if not len(compared.write):
        write_gone(folder, number, gone)
        enter(revision, number, 0, gone)
        return number, 0
    chosen = (document for batch in documents.batches(select=compared.write) for document in batch)
    stored = Documents.write(folder.path / name_of(number) / "documents", chosen, meta=_reading(documents))
    assert isinstance(opened.lexical.analyzer, Analyzer)
    analyzer = replace(opened.lexical.analyzer, detect=detect)
    measured = writer.write(
        number,
        stored,
        analyzer,
        ready={
            name: _vectors(dense, stored, compared)
            for name, dense in (("vectors", opened.dense), ("third", opened.third))
            if dense is not None
        },
        gone=gone,
    )
    folder.adopt()
    enter(revision, number, len(stored), gone, measured)
    return number, len(stored)


def _reading(documents: Documents) -> dict[str, Any]:
    return {name: value for name, value in documents.meta.items() if name not in ("documents", "fingerprint")}


def _vectors(dense: Dense, documents: Documents, compared: _Compared) -> Iterator[FloatArray]:
    """Vectors of a new part: those of unchanged texts are copied, the others encoded."""
    separator: str = getattr(dense.encoder, "separator", " ")
    start = 0
    for batch in documents.batches(_BATCH):
        here = slice(start, start + len(batch))
        same, numbers = compared.same_text[here], compared.numbers[here]
        texts = [
            full_text(document, separator) for document, kept in zip(batch, same.tolist(), strict=True) if not kept
        ]
        found = np.empty((len(batch), *dense.parts[0].shape[1:]), np.float32)
        if texts:
            found[~same] = dense.of_texts(texts)
        if same.any():
            found[same] = dense.take(numbers[same])
        yield found
        start += len(batch)


@contextlib.contextmanager
def stored_for_update(
    path: Path, documents: Iterable[Document], meta: Mapping[str, Any] | None = None
) -> Iterator[Documents]:
    """Documents on disk beside an index, for the time of an update.

    Raises:
        DataError: there are none.
        StorageError: writing to disk failed.
    """
    with files.scratch(path.resolve().parent, path.name) as folder:
        yield Documents.write(folder.path / "documents", documents, meta=meta)
