"""Merging the parts of an index: parts of similar size, where there are ``MERGED`` of them.

So each document is written again a few times (the logarithm of the number of documents), however many small updates
there are (O'Neil et al., *The log-structured merge-tree*, 1996).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.commits import Revision, revise
from pretrieve.core.types import IntArray
from pretrieve.index.parts import Part, alive_of, merge_parts, name_of
from pretrieve.index.vector_options import VectorOptions

MERGED = 8  # parts of similar size that are merged into one


def next_part(revision: Revision) -> int:
    """Number of a new part."""
    number = int(revision.meta["next_part"])
    revision.meta["next_part"] = number + 1
    return number


def enter(
    revision: Revision, number: int, documents: int, gone: IntArray, measured: Mapping[str, Any] | None = None
) -> None:
    """Make a part, which is written, one of the index.

    Args:
        revision: of the index.
        number: of the part.
        documents: how many it has.
        gone: (deleted, 2) number of a part and place in it, of the documents that it deletes.
        measured: for each of its arrays of vectors what was measured.
    """
    parts = [dict(one) for one in revision.meta["parts"]]
    for one in parts:
        one["deleted"] += int((gone[:, 0] == one["number"]).sum())
    parts.append({"number": number, "documents": documents, "deleted": 0, "deletes": len(gone)})
    if measured:
        parts[-1]["measured"] = dict(measured)
    revision.meta["parts"] = parts


def compact(path: Path, *, whole: bool = False) -> int:
    """Merge parts of similar size, where there are ``MERGED`` of them, and those of which most is deleted.

    Args:
        path: the index; the caller holds its lock.
        whole: merge all parts into one.

    Returns:
        The number of parts that were merged.

    Raises:
        StorageError: writing to disk failed; the index is as it was before or between two merges.
    """
    count = 0
    while True:
        with files.reading(path, "index") as facts:
            chosen = _chosen(facts["parts"], whole=whole)
            if not chosen:
                return count
            passages = facts["lexical"]["passages"]
            parts = [Part.open(path, one["number"], one["documents"], passages=passages) for one in facts["parts"]]
            _merge(path, parts, chosen)
        count += len(chosen)
        whole = False


def _chosen(parts: Sequence[Mapping[str, int]], *, whole: bool) -> list[int]:
    """Places of the parts to merge."""
    if whole:
        changed = any(part["deleted"] or part["deletes"] for part in parts)
        return [*range(len(parts))] if len(parts) > 1 or changed else []
    levels: dict[int, list[int]] = {}
    for place, part in enumerate(parts):
        if part["deleted"] * 2 > part["documents"]:
            return [place]
        levels.setdefault(_level(part["documents"] + part["deletes"]), []).append(place)
    return next((places for _, places in sorted(levels.items()) if len(places) >= MERGED), [])


def _level(size: int) -> int:
    level = 0
    while size >= MERGED:
        size //= MERGED
        level += 1
    return level


def _merge(path: Path, parts: Sequence[Part], chosen: Sequence[int]) -> None:
    alive, numbers = alive_of(parts), {parts[place].number for place in chosen}
    stay = {part.number for part in parts} - numbers
    full = [place for place in chosen if parts[place].documents is not None]
    kept = [None if (which := alive[place]) is None else np.flatnonzero(which) for place in full]
    gone = np.concatenate([parts[place].gone for place in chosen])
    gone = gone[np.isin(gone[:, 0], sorted(stay))]
    with revise(path, "index") as revision:
        number = next_part(revision)
        options = VectorOptions.of(revision.meta)
        vectors = ["vectors", *(["third"] if "third" in revision.meta["model"] else [])]
        scales = [f"{name}.scales" for name in vectors] if options.dtype == "int8" else []
        measured: dict[str, Any] = {}
        size = sum(
            len(parts[place]) if places is None else len(places) for place, places in zip(full, kept, strict=True)
        )
        if size or len(gone):
            arrays, merged = [*vectors, *scales, "contents"], [parts[place] for place in full]
            measured = merge_parts(revision.folder, number, merged, kept, gone, arrays, options)
            revision.folder.adopt()
        for one in numbers:
            revision.drop(f"{name_of(one)}/")
        revision.meta["parts"] = [one for one in revision.meta["parts"] if one["number"] in stay]
        if size or len(gone):
            enter(revision, number, size, np.zeros((0, 2), np.int64), measured)
            revision.meta["parts"][-1]["deletes"] = len(gone)
