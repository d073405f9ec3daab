"""How an index is built."""

from __future__ import annotations

from dataclasses import dataclass, field

from pretrieve.index.lexical import BM25
from pretrieve.index.vector_options import VectorOptions


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """How an index is built.

    Attributes:
        bm25: parameters of BM25; default: chosen by the documents' lengths and titles (``lexical.choose``).
        stop_words: stop words of queries: ``"auto"``, ``"none"``, or the name or file of a list; see ``Analysis``.
        stemmer: ``"auto"``, ``"none"``, or the name of a Snowball stemmer.
        languages: ISO 639-1 codes; default: detected from the documents.
        dense: fusion weight of the vectors, >= 0; default: chosen by pseudo-queries.
        passages: fusion weight of BM25's best passage, >= 0; default: as the model was trained for, or 0.
        pseudo_queries: number of pseudo-queries of each kind.
        seed: seed of the pseudo-queries.
        vectors: how vectors are stored and searched.
    """

    bm25: BM25 | None = None
    stop_words: str = "auto"
    stemmer: str = "auto"
    languages: tuple[str, ...] | None = None
    dense: float | None = None
    passages: float | None = None
    pseudo_queries: int = 300
    seed: int = 0
    vectors: VectorOptions = field(default_factory=VectorOptions)
