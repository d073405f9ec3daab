"""Shards of vectors on disk: each one artefact that NumPy, PyArrow or safetensors read directly.

``VECTORS/shard-000000/`` holds documents 0 to ``shard_size - 1`` of the sources, and so on. In ``npy`` and
``safetensors`` the ids are a JSON list, ``ids.json``, and the vectors ``vectors.npy``, or the tensor ``vectors`` of
``vectors.safetensors``; in ``parquet`` both are columns of ``vectors.parquet``. The MANIFEST says which model and which
documents they are of. Vectors are as the model gives them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from pretrieve.core import files
from pretrieve.core.disk import TEMPORARY
from pretrieve.core.errors import CorruptError, DataError, FingerprintError, UsageError
from pretrieve.core.extras import require
from pretrieve.core.shards import shard_name, shard_number
from pretrieve.core.types import Document, FloatArray, TextEncoder
from pretrieve.text.documents import plain_line
from pretrieve.text.passages import WORDS

Format = Literal["npy", "parquet", "safetensors"]
Precision = Literal["float32", "float16"]
KIND = "vectors"
_IDS = "ids.json"
_SHOWN = 5  # shards that are named in a message
_OWN = ("model", "configuration", "described", "kind", "format", "dtype", "shard_size")  # equal in all shards
_WORDS = {"kind": "vectors of", "dtype": "--dtype", "format": "--format", "shard_size": "--shard-size"}


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard that was read: R ids, vectors (R, D) or (R, V, D), and what its MANIFEST says."""

    ids: list[str]
    vectors: FloatArray
    meta: Mapping[str, Any]


def numbers_in(folder: Path) -> list[int]:
    """Numbers of the whole shards in a folder, ascending.

    Raises:
        UsageError: the folder holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder for the vectors.")
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        number = shard_number(path.name)
        if number is None and not path.name.startswith("."):
            raise UsageError(f"{folder} holds {path.name}, which is no shard of vectors: choose another folder.")
        if number is not None and (path / files.MANIFEST).is_file():
            found.append(number)
    return sorted(found)


def facts_of(encoder: TextEncoder, *, queries: bool, passages: int = 0) -> dict[str, Any]:
    """What a MANIFEST says of the model: its fingerprints, and how it was told to encode and to cut documents."""
    described = dict(getattr(encoder, "described", {}))
    if not queries:
        described.pop("query_prompt", None)
    return {
        "model": encoder.fingerprint,
        "configuration": getattr(encoder, "configuration", ""),
        "described": described,
        "similarity": encoder.similarity,
        "kind": "queries" if queries else "documents",
        **({"passages": passages} if passages else {}),
    }


def passage_options(words: int) -> list[str]:
    """The options that cut documents into passages of so many words; 0: none."""
    if not words:
        return []
    return ["--passages", *(["--passage-words", str(words)] if words != WORDS else [])]


def check_passages(folder: Path, meta: Mapping[str, Any], words: int) -> None:
    """Refuse vectors of documents that are cut otherwise.

    Args:
        folder: of the vectors.
        meta: of one of them.
        words: of the passages that documents are cut into; 0: they are not.

    Raises:
        FingerprintError: they are cut otherwise; the text names the options.
    """
    before = meta.get("passages", 0)
    if before != words:
        has, now = (f"passages of {count} words" if count else "whole documents" for count in (before, words))
        options = " ".join(passage_options(before))
        fix = f"give {options}" if before else "leave --passages out"
        raise FingerprintError(
            f"{folder} holds vectors of {has}, and this command is for {now}: {fix}, or encode again."
        )


def check_same(folder: Path, numbers: Iterable[int], facts: Mapping[str, Any], model: str) -> None:
    """Refuse shards of another model, or that were made otherwise.

    Args:
        folder: of the shards.
        numbers: of those that are there.
        facts: of this command; what it does not say may be anything.
        model: its model's name.

    Raises:
        FingerprintError: a shard is of another command; the text names what differs.
    """
    for number in numbers:
        path = folder / shard_name(number)
        meta = read_meta(path)
        if meta["kind"] == facts["kind"]:
            check_passages(folder, meta, facts.get("passages", 0))
        for name in (name for name in _OWN if name in facts and meta.get(name) != facts[name]):
            if name in ("model", "configuration", "described"):
                found = f"{name} {meta.get(name)}, and {model} has {facts[name]}"
                raise FingerprintError(f"{path} is of another model ({found}): give that one, or another folder.")
            other = f"{_WORDS[name]} {meta.get(name)}, and is now {facts[name]}"
            raise FingerprintError(f"{path} was written with {other}: repeat that command, or choose another folder.")


class RecordsDigest:
    """Fingerprint of some documents: of their ids, titles, texts and groups, in order.

    Attributes:
        count: number of documents added.
    """

    def __init__(self) -> None:
        self._sha256, self.count = hashlib.sha256(), 0

    def add(self, document: Document) -> None:
        """Add a document."""
        self._sha256.update(plain_line(document))
        self.count += 1

    @property
    def value(self) -> str:
        """Hexadecimal."""
        return self._sha256.hexdigest()[:16]


def check_documents(path: Path, meta: Mapping[str, Any], fingerprint: str, count: int) -> None:
    """Refuse a shard whose documents are not those that are read now.

    Raises:
        FingerprintError: they are others; the text has both fingerprints.
    """
    if (fingerprint, count) != (meta["documents"], meta["count"]):
        raise FingerprintError(
            f"{path} is of other documents (fingerprint {meta['documents']} of {meta['count']:,} documents; now "
            f"{fingerprint} of {count:,}): give the same sources and options, or choose another folder."
        )


def refuse_missing(folder: Path, missing: list[str], total: int, size: int) -> None:
    """Refuse a collection with shards that are not there.

    Args:
        folder: of the shards.
        missing: their names.
        total: number of shards.
        size: documents of a shard.

    Raises:
        DataError: names the first of them.
    """
    if not missing:
        return
    first = int(missing[0].rpartition("-")[2]) * size
    raise DataError(
        f"{folder}: {len(missing):,} of {total:,} shards are missing: {named(missing)} (the first holds documents "
        f"{first:,} to {first + size - 1:,}): run `pretrieve encode` as before to write them."
    )


def named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def read_meta(path: Path) -> dict[str, Any]:
    """What the MANIFEST of a shard says, its files unread.

    Raises:
        UsageError: there is no shard.
        CorruptError: the MANIFEST is damaged.
    """
    return dict(files.load_manifest(path, KIND)["meta"])


def sweep(folder: Path, part: tuple[int, int]) -> None:
    """Remove what killed processes left of the shards of a part; call it while holding the part's lock.

    Args:
        folder: of the shards.
        part: (i, n): shards i, i + n, ...
    """
    names = (path.name.removeprefix(TEMPORARY).partition(".")[0] for path in folder.glob(f"{TEMPORARY}*"))
    for number in set(map(shard_number, names)):
        if number is not None and number % part[1] == part[0]:
            files.sweep(folder, shard_name(number))


def write_shard(folder: Path, number: int, ids: Sequence[str], vectors: FloatArray, meta: Mapping[str, Any]) -> None:
    """Write a shard, whole or not at all.

    Args:
        folder: of the shards.
        number: of this one.
        ids: R ids.
        vectors: (R, D) or (R, V, D).
        meta: for the MANIFEST; its ``format`` chooses the format.

    Raises:
        StorageError: writing to disk failed.
    """
    with files.create(folder / shard_name(number), KIND, replace=True, meta=meta) as made:
        if meta["format"] == "parquet":
            made.write("vectors.parquet", _to_parquet(ids, vectors))
            return
        made.json(_IDS, list(ids))
        if meta["format"] == "safetensors":
            import safetensors.numpy

            made.write("vectors.safetensors", safetensors.numpy.save({"vectors": vectors}))
            return
        with made.open("vectors.npy") as file:
            header = io.BytesIO()
            described = {"descr": vectors.dtype.str, "fortran_order": False, "shape": vectors.shape}
            np.lib.format.write_array_header_1_0(header, described)
            file.write(header.getvalue())
            file.write(vectors.reshape(-1).view(np.uint8).data)


def read_shard(path: Path) -> Shard:
    """Read a shard, every byte of it checked.

    Raises:
        UsageError: there is no such shard.
        CorruptError: it is damaged.
        MissingExtraError: its format is not installed.
    """
    files.verify(path)
    meta = files.read_manifest(path, KIND)
    if meta["format"] == "parquet":
        require("parquet", f"{path}, whose format is Parquet,")
        ids, vectors = _from_parquet(path / "vectors.parquet", meta)
    else:
        ids = orjson.loads((path / _IDS).read_bytes())
        if meta["format"] == "safetensors":
            require("train", f"{path}, whose format is safetensors,")
            import safetensors.numpy

            vectors = safetensors.numpy.load_file(path / "vectors.safetensors")["vectors"]
        else:
            vectors = np.load(path / "vectors.npy", mmap_mode="r", allow_pickle=False)
    if not len(ids) == len(vectors) == meta["count"]:
        raise CorruptError(
            f"{path}: {len(ids)} ids and {len(vectors)} vectors, {meta['count']} expected: make it again."
        )
    return Shard(ids=ids, vectors=vectors, meta=meta)


def _to_parquet(ids: Sequence[str], vectors: FloatArray) -> bytes:
    import pyarrow
    import pyarrow.parquet

    column = pyarrow.array(vectors.reshape(-1))
    for size in reversed(vectors.shape[1:]):
        column = pyarrow.FixedSizeListArray.from_arrays(column, size)
    sink = pyarrow.BufferOutputStream()
    table = pyarrow.table({"id": pyarrow.array(ids, pyarrow.string()), "vector": column})
    pyarrow.parquet.write_table(table, sink, compression="none", use_dictionary=False)
    return bytes(sink.getvalue().to_pybytes())


def _from_parquet(path: Path, meta: Mapping[str, Any]) -> tuple[list[str], FloatArray]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path).combine_chunks()
    column = table["vector"].combine_chunks()
    for _ in meta["shape"]:
        column = column.flatten()
    vectors = np.asarray(column.to_numpy(zero_copy_only=False)).reshape(-1, *meta["shape"])
    return table["id"].to_pylist(), vectors
