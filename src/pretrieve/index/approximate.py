"""Approximate nearest neighbours of the vectors of one part, by faiss: candidates, which ``Dense`` scores exactly.

Inverted lists (IVF) of RaBitQ codes: one bit a dimension and eight bytes a vector (Gao & Long, *RaBitQ*, SIGMOD 2024);
of vectors of few dimensions, whose bits say little, one byte a dimension. Lists that are looked at, and candidates that
are scored, are the fewest that reach the recall that is asked for on held-out queries.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pretrieve.core.arrays import check_bytes
from pretrieve.core.errors import CorruptError
from pretrieve.core.extras import require
from pretrieve.core.files import Folder
from pretrieve.core.numbers import each_once
from pretrieve.core.rng import generator
from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.compressed import Vectors, blocks
from pretrieve.index.recall import DEPTH, exact_border
from pretrieve.index.scoring import best_scores

if TYPE_CHECKING:
    import faiss

SUFFIX = ".near"  # of the file of an array's neighbours
_SAMPLED = 32  # vectors for each list that the lists are learnt from
_ROUNDS = 8  # of k-means
_BITS = 64  # dimensions from which on a bit of each is enough
_BLOCK = 1 << 14  # vectors that are added at once
_GATHERED = 1 << 12  # documents whose vectors are gathered at once
_RESCORED = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)  # candidates that may be scored exactly
_SCANNED = 1 / 16  # what a code costs in a list that is looked at, of what a candidate costs that is scored
_FEW = 20_000  # allowed documents that are all scored, at most


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How neighbours are searched, and what was measured of it.

    Attributes:
        lists: inverted lists.
        probes: lists that are looked at for a query.
        rescored: candidates that are scored exactly for a query of ten hits.
        recall: recall@10 of exact search on held-out queries that took no part in choosing.
        queries: how many.
        kind: of the queries.
    """

    lists: int
    probes: int
    rescored: int
    recall: float
    queries: int
    kind: str


@dataclass(frozen=True, kw_only=True)
class Approximate:
    """Neighbours of the documents of a part.

    Attributes:
        index: of faiss.
        views: vectors of a document.
        settings: how it is searched.
    """

    index: faiss.IndexIVF
    views: int
    settings: Settings

    @staticmethod
    def open(path: Path, facts: Mapping[str, Any], views: int, size: int) -> Approximate:
        """Map what ``build`` wrote.

        Args:
            path: of the vectors; the neighbours lie beside it.
            facts: the settings.
            views: vectors of a document.
            size: documents.

        Raises:
            MissingExtraError: faiss is not installed.
            CorruptError: the file is damaged, or does not fit the documents.
        """
        require("faiss", f"Search in {path.parent}, which is approximate,")
        import faiss

        place = path.with_name(path.name + SUFFIX)
        check_bytes(place)
        try:
            index = faiss.read_index(str(place), faiss.IO_FLAG_MMAP_IFC)
            settings = Settings(**facts)
        except (RuntimeError, TypeError):
            raise CorruptError(f"{place} is damaged: make the index again.") from None
        if not isinstance(index, faiss.IndexIVF) or index.ntotal != size * views or index.nlist != settings.lists:
            raise CorruptError(f"{place} does not fit the documents: make the index again.")
        return Approximate(index=index, views=views, settings=settings)

    def __len__(self) -> int:
        return int(self.index.ntotal) // self.views

    def serves(self, n: int, may: BoolArray | None) -> bool:
        """Whether it is to be asked: not where few documents are allowed, or a good part of them is wanted.

        Args:
            n: documents of a query.
            may: (R,) documents that are allowed; None: all.
        """
        count = len(self) if may is None else int(np.count_nonzero(may))
        return count > max(4 * n, min(len(self) // 20, _FEW))

    def find(self, queries: FloatArray, n: int, may: BoolArray | None = None) -> list[IntArray]:
        """Places of candidates for each query (Q, D), at least 2 n if as many are found, in no order.

        Args:
            queries: Q vectors.
            n: documents that are wanted of them.
            may: (R,) documents that are allowed; None: all.
        """
        fraction: float = 1.0 if may is None else max(int(np.count_nonzero(may)), 1) / len(self)
        wanted = self.settings.rescored
        while wanted < 2 * n:
            wanted *= 2
        probes: float = max(self.settings.probes, 2 * wanted * self.settings.lists / len(self))
        found = self._search(queries, wanted * self.views, int(np.ceil(probes / fraction)), may)
        if self.views == 1:  # each is there once
            return [np.sort(row[row >= 0]) for row in found]
        return [each_once(row[row >= 0] // self.views) for row in found]

    def _search(self, queries: FloatArray, count: int, probes: int, may: BoolArray | None) -> IntArray:
        """Vectors (Q, count) of each query, best first, -1 where there are fewer."""
        import faiss

        options: dict[str, Any] = {"nprobe": min(probes, self.settings.lists)}
        if may is not None:
            bits = np.packbits(np.repeat(may, self.views), bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(int(self.index.ntotal), faiss.swig_ptr(bits))
        count = min(count, int(self.index.ntotal))
        parameters = faiss.SearchParametersIVF(**options)
        _, found = self.index.search(np.ascontiguousarray(queries), count, params=parameters)
        return np.asarray(found)


def build(
    folder: Folder, name: str, vectors: Vectors, queries: FloatArray, target: float, kind: str
) -> dict[str, Any] | None:
    """Write the neighbours of an array of vectors beside it.

    The codes are in memory while they are made (at 256 dimensions 48 bytes a vector), and a sample of the vectors.

    Args:
        folder: of the artefact.
        name: of the array.
        vectors: the array.
        queries: held-out queries: half of them choose the settings, half measure the recall.
        target: recall@10 to reach.
        kind: of the queries.

    Returns:
        The settings; None where the recall is not reached: nothing is written, search is exact.

    Raises:
        StorageError: writing to disk failed.
    """
    import faiss

    index = _trained(vectors)
    for _, some in blocks(vectors, max(1, _BLOCK // _views(vectors))):
        index.add(some.reshape(-1, some.shape[-1]))
    settings = _chosen(index, vectors, queries, target, kind)
    if settings is None:
        return None
    with folder.open(name + SUFFIX) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
    return dict(vars(settings))


def _views(vectors: Vectors) -> int:
    return int(vectors.shape[1]) if vectors.ndim == 3 else 1


def _trained(vectors: Vectors) -> faiss.IndexIVF:
    """An empty index whose lists are learnt from a sample."""
    import faiss

    size, views = vectors.shape[-1], _views(vectors)
    lists = max(1, int(2 * np.sqrt(len(vectors) * views)))
    count = min(len(vectors), -(-_SAMPLED * lists // views))
    rows = np.sort(generator(0, "approximate/sample").choice(len(vectors), count, replace=False))
    codes = "RaBitQ" if size >= _BITS else "SQ8"
    index: Any = faiss.index_factory(size, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = _ROUNDS, 1, 4 * _SAMPLED
    index.train(np.asarray(vectors[rows]).reshape(-1, size))
    return cast("faiss.IndexIVF", index)


def _chosen(index: faiss.IndexIVF, vectors: Vectors, queries: FloatArray, target: float, kind: str) -> Settings | None:
    """The lists and candidates that reach the target with the least work.

    On one half of the queries by more than two standard errors; and on the other, whose recall is what is told: that of
    the half that chooses is too high, as many queries find all of their neighbours or none.
    """
    border, lists = exact_border(queries, vectors), int(index.nlist)
    first, last = slice(0, None, 2), slice(1, None, 2)
    steps = sorted({step for power in range(lists.bit_length()) for step in (1 << power, 3 << power) if step < lists})
    steps.append(lists)

    def looking_at(probes: int) -> Approximate:
        settings = Settings(lists=lists, probes=probes, rescored=_RESCORED[-1], recall=0, queries=0, kind=kind)
        return Approximate(index=index, views=_views(vectors), settings=settings)

    @cache
    def sure(probes: int) -> FloatArray:
        """What recall is at least, for each number of candidates."""
        found = _recalls(looking_at(probes), vectors, queries[first], border[first])
        return np.asarray(found.mean(axis=1) - 2 * found.std(axis=1) / np.sqrt(found.shape[1]))

    @cache
    def measured(probes: int) -> FloatArray:
        return _recalls(looking_at(probes), vectors, queries[last], border[last])

    enough = bisect_left(steps, True, key=lambda probes: bool(sure(probes)[-1] >= target))  # more lists find more
    scanned = _SCANNED * index.ntotal / lists  # of a list
    tried = ((probes, which) for probes in steps[enough:] for which in range(len(_RESCORED)))
    for probes, which in sorted(tried, key=lambda found: scanned * found[0] + _RESCORED[found[1]]):
        if sure(probes)[which] >= target and (own := measured(probes)[which]).mean() >= target:
            settings = looking_at(probes).settings
            return replace(settings, rescored=_RESCORED[which], recall=float(own.mean()), queries=len(own))
    return None


def _recalls(near: Approximate, vectors: Vectors, queries: FloatArray, border: FloatArray) -> FloatArray:
    """Recall@10 of each query (counts, Q), when so many candidates are scored."""
    recall = np.zeros((len(_RESCORED), len(queries)))
    wanted = min(DEPTH, len(vectors))
    rows = near._search(queries, _RESCORED[-1] * near.views, near.settings.probes, None)
    for place, (row, query) in enumerate(zip(rows, queries, strict=True)):
        documents = row[row >= 0] // near.views
        hit = np.zeros(len(documents), bool)
        for start in range(0, len(documents), _GATHERED):
            some = slice(start, start + _GATHERED)
            hit[some] = best_scores(query[None], np.asarray(vectors[documents[some]]))[0] >= border[place]
        for which, count in enumerate(_RESCORED):
            found = len(np.unique(documents[: count * near.views][hit[: count * near.views]]))
            recall[which, place] = min(wanted, found) / wanted
    return recall
