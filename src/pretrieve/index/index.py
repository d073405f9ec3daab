"""The index of a collection: documents, BM25, vectors and fusion weights; one artefact, opened by memory mapping.

Artefact of kind ``index``: ``documents/`` (records), ``words/`` (BM25), ``vectors``, ``ranks`` (order of the ids), and
in the MANIFEST how text was analysed, which model the vectors are of (and how many views a document has, where it has
several), and the weights of fusion.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError, UsageError, VersionError
from pretrieve.core.types import BoolArray, Document, FloatArray, IntArray, TextEncoder
from pretrieve.index.analysis import Analysis, Analyzer, languages_of
from pretrieve.index.asked import MODES, Mode, check_mode, check_queries, check_query, check_top_k
from pretrieve.index.candidates import Candidates, find_candidates
from pretrieve.index.columns import Columns
from pretrieve.index.dense import Dense
from pretrieve.index.fuse import FOREIGN_SHORT_WEIGHT, OWN_WEIGHT, Fusion, choose
from pretrieve.index.hits import Hit, describe, sentence_spans
from pretrieve.index.ids import Ids, Members
from pretrieve.index.lexical import Lexical, Titles
from pretrieve.index.lexical import choose as choose_bm25
from pretrieve.index.options import IndexOptions
from pretrieve.index.pseudo import Records, full_text, pseudo_queries
from pretrieve.index.rankers import Best, Queries, Ranker
from pretrieve.index.ranking import best_groups
from pretrieve.index.sharing import Sharing
from pretrieve.index.stop_words import StopWords
from pretrieve.models.bag import Bag, third_ranker
from pretrieve.models.model_options import ModelOptions
from pretrieve.text.documents import Documents
from pretrieve.text.language import detect

__all__ = ["MODES", "Index", "IndexOptions", "Mode"]

_SHORT = 20  # words of a document below which no pseudo-query can be taken from it
_BLOCK = 1 << 24  # maximum number of scores in memory
_QUERIES = 1024  # queries that are encoded at once


@dataclass(frozen=True, kw_only=True)
class Index:
    """Search over R documents by BM25, by vectors, or by both.

    An index on disk is copied, and sent to other processes, by its folder; one in memory with all that it holds.

    Attributes:
        documents: the documents.
        lexical: BM25.
        dense: the vectors; None for lexical search only.
        fusion: weights of the rankers.
        members: their ids and order.
        third: vectors of a static model beside those of a retrieval model.
        path: its folder; None in memory.
    """

    documents: Records
    lexical: Lexical
    dense: Dense | None
    fusion: Fusion
    members: Members
    third: Dense | None = None
    path: Path | None = None

    @staticmethod
    def of(
        documents: Records,
        encoder: TextEncoder | None = None,
        options: IndexOptions = IndexOptions(),  # noqa: B008 - frozen
        *,
        lexical: Lexical | None = None,
    ) -> Index:
        """Index documents in memory.

        Args:
            documents: R documents.
            encoder: the model; None: lexical search only.
            options: options of the index.
            lexical: BM25 of the same documents, if already indexed.

        Raises:
            DataError: the model gives values that are not finite.
        """
        fits = lexical is not None and (lexical.passages is not None or not _passages(encoder, options))
        lexical = lexical if lexical is not None and fits else _lexical(documents, encoder, options)
        members = Members((Ids.of([document.id for document in documents]),))
        dense = None if encoder is None else Dense.build(encoder, _batches(_texts(documents, encoder)), members)
        static = _third_ranker(encoder)
        return Index(
            documents=documents,
            lexical=lexical,
            dense=dense,
            fusion=_fusion(documents, lexical, dense, options, static),
            members=members,
            third=None if static is None else Dense.build(static[0], _batches(_texts(documents, static[0])), members),
        )

    @staticmethod
    def build(
        target: Path,
        documents: Iterable[Document],
        encoder: TextEncoder,
        options: IndexOptions = IndexOptions(),  # noqa: B008 - frozen
        *,
        replace: bool = False,
        vectors: Callable[[Documents], Iterable[FloatArray]] | None = None,
    ) -> Index:
        """Index documents on disk; vectors are streamed to it.

        Args:
            target: output folder.
            documents: the documents; read once.
            encoder: the model.
            options: options of the index.
            replace: replace an existing index.
            vectors: gives the vectors of the documents in order, encoded before; default: they are encoded here.

        Raises:
            DataError: there are no documents, or the model gives values that are not finite.
            UsageError: ``target`` exists.
            StorageError: writing to disk failed; nothing is left on disk.
        """
        meta: dict[str, Any] = {}
        with files.create(target, "index", replace=replace, meta=meta) as folder:
            stored = Documents.write(folder.path / "documents", documents, meta=_kept_facts(documents))
            lexical = _lexical(stored, encoder, options)
            lexical.write(folder, "words")
            Columns.write(folder, "columns", stored)
            if vectors is None:
                Dense.write(folder, "vectors", encoder, _batches(_texts(stored, encoder)), len(stored))
            else:
                Dense.store(folder, "vectors", encoder, vectors(stored), len(stored))
            if (static := _third_ranker(encoder)) is not None:
                Dense.write(folder, "third", static[0], _batches(_texts(stored, static[0])), len(stored))
            ids = Ids.of([document.id for document in stored])
            ids.write(folder, "")
            dense = Dense.open([folder.path / "vectors"], encoder, Members((ids,)))
            folder.adopt()
            meta |= _facts(stored, lexical, dense, _fusion(stored, lexical, dense, options, static), static)
        return Index.open(target, encoder)

    @staticmethod
    def open(path: Path, encoder: TextEncoder | None = None) -> Index:
        """Open what ``build`` wrote; data is read only as queries need it.

        Args:
            path: the index's folder.
            encoder: the model; default: the one that the index names, if it is static.

        Raises:
            UsageError: there is no index, or its model no longer exists or must be given.
            CorruptError: it is damaged.
            VersionError: an earlier version of this package made it.
            FingerprintError: the index was built with another model.
        """
        meta = files.read_manifest(path, "index")
        if encoder is None:
            encoder = _static_model(meta["model"], path)
        _check_model(path, meta["model"], encoder)
        static = _third_ranker(encoder) if "third" in meta["model"] else None
        if (None if static is None else static[0].fingerprint) != meta["model"].get("third"):
            raise FingerprintError(f"{path}: the static model beside {encoder.location} is another one: index again.")
        members = Members((Ids.open(path),))
        return Index(
            documents=Documents.open(path / "documents"),
            lexical=Lexical.open(path / "words", _opened_analyzer(path, meta), meta["lexical"]),
            dense=Dense.open([path / "vectors"], encoder, members),
            fusion=Fusion(**meta["fusion"]),
            members=members,
            third=None if static is None else Dense.open([path / "third"], static[0], members),
            path=path.absolute(),
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Copies, and other processes, open an index on disk again with the same model."""
        if self.path is None or self.dense is None:
            return super().__reduce_ex__(protocol)
        return Index.open, (self.path, self.dense.encoder)

    @cached_property
    def columns(self) -> Sequence[Columns]:
        """The fields of the documents, for each part; those of an index in memory are gathered when first asked for."""
        path = None if self.path is None else self.path / "columns"
        return [Columns.of(self.documents) if path is None else Columns.open(path)]

    def __len__(self) -> int:
        return self.members.count

    def describe(self) -> str:
        """Describe in a few lines what is indexed, how text is analysed, and the fusion weights."""
        assert isinstance(self.lexical.analyzer, Analyzer)
        languages = ", ".join(self.lexical.analyzer.analysis.languages)
        lines = [f"{len(self):,} documents; {len(self.lexical.vocabulary):,} different terms (languages: {languages})."]
        lines.append(f"{self.lexical.describe()}.")
        if self.dense is not None:
            size, views = self.dense.size, self.dense.views
            several = f", {views} a document," if views > 1 else ""
            lines.append(f"Vectors of {size} dimensions{several} by {self.dense.encoder.location}.")
            others = {"best passage": self.fusion.passages, "static model": self.fusion.third}
            shown = "".join(f", {name} {weight:g}" for name, weight in others.items() if weight)
            lines.append(f"Fusion: BM25 1, vectors {self.fusion.dense:g}{shown}: {self.fusion.reason}.")
        return "\n".join(lines)

    def search(self, query: str, k: int = 10, mode: Mode = "hybrid", *, allowed: BoolArray | None = None) -> list[Hit]:
        """Find the k best documents for a query, best first; ties go by id.

        Args:
            query: what to search for.
            k: number of hits.
            mode: hybrid, dense or lexical.
            allowed: (R,) documents that may be found, by their numbers in ``members``; all without it.

        Raises:
            UsageError: the query is no text or blank, ``k`` is below 1, or the mode is unknown.
        """
        ((found, scores),) = self.rank([check_query(query)], check_top_k(k), mode, allowed=allowed)
        return self._hits(query, found, scores, mode)

    def search_many(
        self, queries: Iterable[str], k: int = 10, mode: Mode = "hybrid", *, allowed: BoolArray | None = None
    ) -> list[list[Hit]]:
        """Find the k best documents for each of many queries; faster than one after the other.

        Raises:
            UsageError: as ``search``; a query is named by its place.
        """
        asked = check_queries(list(queries))
        ranked = zip(asked, self.rank(asked, check_top_k(k), mode, allowed=allowed), strict=True)
        return [self._hits(query, found, scores, mode) for query, (found, scores) in ranked]

    def _hits(self, query: str, found: IntArray, scores: FloatArray, mode: Mode) -> list[Hit]:
        documents = [self.documents[index] for index in found.tolist()]
        return describe(query, documents, scores.tolist(), self.lexical, self.dense if mode != "lexical" else None)

    def rank(
        self,
        queries: Sequence[str],
        k: int,
        mode: Mode = "hybrid",
        *,
        groups: IntArray | None = None,
        allowed: BoolArray | None = None,
    ) -> Iterator[Best]:
        """Find the k best documents for each of many queries.

        Args:
            queries: Q texts.
            k: documents per query; lexical search returns fewer where fewer share a word with it.
            mode: lexical, dense or hybrid.
            groups: (R,) documents of one group are one hit, at the place of the best (``ranking.groups_of``).
            allowed: (R,) documents that may be found; all without it.

        Yields:
            For each query the documents' numbers (<= k,), best first, and their scores.

        Raises:
            UsageError: unknown mode.
        """
        check_mode(mode)
        for some in Queries(queries).blocks(_QUERIES):
            if groups is None:
                yield from self._best(some, k, mode, allowed)
            else:
                yield from best_groups(partial(self._best, mode=mode, allowed=allowed), some, k, groups)

    def _best(self, queries: Queries, k: int, mode: Mode, allowed: BoolArray | None) -> Iterator[Best]:
        ranker: Ranker = self.words
        if mode == "dense" and self.dense is not None:
            ranker = self.dense
        elif mode == "hybrid" and self.dense is not None and self.fusion.dense:
            rankers, weights = zip(*self.rankers(), strict=True)
            for found in self.candidates(rankers, queries, k, allowed):
                yield from found.best(weights, k)
            return
        for some in queries.blocks(self.block):
            yield from ranker.top(some, k, allowed)

    @property
    def ranks(self) -> IntArray:
        """(R,) order of the documents' ids."""
        return self.members.ranks

    @property
    def words(self) -> Ranker:
        """BM25 as a ranker."""
        return Sharing(self.lexical, self.members)

    def rankers(self) -> list[tuple[Ranker, float]]:
        """What is fused, with the weight of each: BM25, the vectors, the best passage, the static model."""
        found: list[tuple[Ranker, float]] = [(self.words, 1.0)]
        if self.dense is not None and self.fusion.dense:
            found.append((self.dense, self.fusion.dense))
            if self.fusion.passages and self.lexical.passages is not None:
                found.append((Sharing(self.lexical.passages, self.members), self.fusion.passages))
            if self.fusion.third and self.third is not None:
                found.append((self.third, self.fusion.third))
        return found

    def candidates(
        self, rankers: Sequence[Ranker], queries: Queries, k: int, allowed: BoolArray | None = None
    ) -> Iterator[Candidates]:
        """Candidates of queries by some rankers, in blocks; see ``candidates.find_candidates``."""
        return find_candidates(rankers, queries, k, self.members, block=self.block, allowed=allowed)

    @property
    def block(self) -> int:
        """Queries that are scored at once, so that memory is bounded."""
        views = 1 if self.dense is None else self.dense.views
        return max(1, _BLOCK // max(1, self.members.size * views))


def _check_model(path: Path, built: Mapping[str, Any], encoder: TextEncoder) -> None:
    """Refuse another model than the index was built with, and the same one whose configuration has changed."""
    if encoder.fingerprint != built["fingerprint"]:
        raise FingerprintError(
            f"{path} was built with model {built['fingerprint']} ({built['location']}), but the model is now "
            f"{encoder.fingerprint} ({encoder.location}): restore or give the first, or index again."
        )
    now = getattr(encoder, "configuration", None)
    if now != built.get("configuration", now):  # an older index does not say
        raise FingerprintError(
            f"{path} was built with another configuration ({built['configuration']}, now {now}) of {encoder.location}: "
            "its modules, pooling, length or dimensions have changed. Restore the model, or index again."
        )


def _static_model(built: Mapping[str, Any], index: Path) -> TextEncoder:
    folder = Path(built["location"])
    if not folder.is_dir():
        raise UsageError(
            f"{folder}, the model of {index}, no longer exists: give its new place with --model, or index again."
        )
    if not Bag.readable(folder):
        raise UsageError(f"{folder}, the model of {index}, is no static model: open it, and give it as the encoder.")
    return Bag.load(folder, ModelOptions(**built.get("described", {})))


def _third_ranker(encoder: TextEncoder | None) -> tuple[Bag, float] | None:
    """The static model that was trained beside the encoder, and its weight."""
    return None if encoder is None else third_ranker(Path(encoder.location))


def _lexical(documents: Records, encoder: TextEncoder | None, options: IndexOptions) -> Lexical:
    titles = Titles()
    texts = map(full_text, titles.watch(documents))
    bm25 = options.bm25 or partial(choose_bm25, titles=titles)
    return Lexical.build(_analyzer(documents, options), texts, bm25, passages=_passages(encoder, options) > 0)


def _passages(encoder: TextEncoder | None, options: IndexOptions) -> float:
    """Weight of the best passage: as given, or as the model was trained for."""
    return options.passages if options.passages is not None else float(getattr(encoder, "passages", 0.0))


def _analyzer(documents: Records, options: IndexOptions) -> Analyzer:
    languages = options.languages
    if languages is None:
        languages = languages_of((full_text(documents[index]) for index in _sample(documents)), detect)
    return Analyzer(Analysis(languages=languages, stop_words=options.stop_words, stemmer=options.stemmer), detect)


def _opened_analyzer(path: Path, meta: Mapping[str, Any]) -> Analyzer:
    """The analyzer of the documents, with the stop words of that time: a library's lists change."""
    try:
        analysis = Analysis(**meta["analysis"] | {"languages": tuple(meta["analysis"]["languages"])})
        lists = {language: StopWords.from_facts(meta["stop_words"][language]) for language in analysis.languages}
    except (KeyError, TypeError):
        raise VersionError(f"{path} was made by an earlier version of pretrieve: index the documents again.") from None
    return Analyzer(analysis, stop_words=lists)


def _sample(documents: Records) -> range:
    """Numbers of some two hundred documents, evenly spaced."""
    return range(0, len(documents), max(1, len(documents) // 200))


def _fusion(
    documents: Records, lexical: Lexical, dense: Dense | None, options: IndexOptions, static: tuple[Bag, float] | None
) -> Fusion:
    if dense is None:
        return Fusion(dense=0.0, reason="there are no vectors")
    passages = _passages(dense.encoder, options)
    weight = 0.0 if static is None else static[1]
    return replace(_vector_weight(documents, lexical, dense, options), passages=passages, third=weight)


def _vector_weight(documents: Records, lexical: Lexical, dense: Dense, options: IndexOptions) -> Fusion:
    """Weight of the vectors: as given, as chosen in training, or by pseudo-queries."""
    if options.dense is not None:
        return Fusion(dense=options.dense, reason="given")
    own = isinstance(dense.encoder, Bag)
    if isinstance(dense.encoder, Bag) and dense.encoder.weight is not None:
        # Pseudo-queries from its training documents would favour the model.
        return Fusion(dense=dense.encoder.weight, reason="saved by the model's training")
    lengths = [len(full_text(documents[index]).split()) for index in _sample(documents)]
    if np.median(lengths) < _SHORT:
        return Fusion(
            dense=OWN_WEIGHT if own else FOREIGN_SHORT_WEIGHT,
            reason="the default for documents too short to take queries out of",
        )
    sets = pseudo_queries(documents, options.pseudo_queries, options.seed, sentence_spans)
    return choose(lexical, dense, sets, own=own, block=max(1, min(64, _BLOCK // (len(documents) * dense.views))))


def _facts(
    documents: Documents, lexical: Lexical, dense: Dense, fusion: Fusion, static: tuple[Bag, float] | None
) -> dict[str, Any]:
    assert isinstance(lexical.analyzer, Analyzer)
    encoder = dense.encoder
    folder = Path(encoder.location)  # or a name on the hub
    return {
        "documents": documents.fingerprint,
        "analysis": asdict(lexical.analyzer.analysis),
        "stop_words": {language: found.facts() for language, found in lexical.analyzer.lists.items()},
        "lexical": lexical.facts(),
        "fusion": fusion.facts(),
        "model": {
            "fingerprint": encoder.fingerprint,
            "location": str(folder.absolute()) if folder.is_dir() else encoder.location,
            "similarity": encoder.similarity,
            "described": dict(getattr(encoder, "described", {})),
            **({"configuration": found} if (found := getattr(encoder, "configuration", "")) else {}),
            **({} if static is None else {"third": static[0].fingerprint}),
            **({"views": dense.views} if dense.views > 1 else {}),
        },
    }


def _kept_facts(documents: Iterable[Document]) -> dict[str, Any]:
    """What is known of how documents were read."""
    own = ("documents", "fingerprint")
    return (
        {name: v for name, v in documents.meta.items() if name not in own} if isinstance(documents, Documents) else {}
    )


def _texts(documents: Records, encoder: TextEncoder) -> Iterator[str]:
    """Texts for the model: some expect a separator between title and text."""
    separator: str = getattr(encoder, "separator", " ")
    return (full_text(document, separator) for document in documents)


def _batches(texts: Iterable[str], size: int = 1024) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
