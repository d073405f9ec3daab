"""The fused probe: what do a system's vectors add to BM25, measured without labels on held-out documents?

Kinds of queries, each of which misses something:

* *known item*: a title, a first or any other sentence has to find the document it was taken from, without it. Words
  that the two share answer most of them, so vectors that learn topics gain little here.
* *titled*: where titles repeat, as those of contracts and policies on their passages, people
  name the title: the title and the first words of a sentence have to find the sentence's document.
* *topical*: a title or the first words of a document have to find the ten documents that a committee finds with the
  whole document as the query, itself left out. Long queries are reliable, short ones are realistic. The
  committee is BM25 and every trained system; it favours large weights, as most of its members are
  vectors, and its members over others.
* *lexical*: the same with BM25 alone as the committee. It favours no system's vectors.

Every score is that of a fused search: standardised BM25 plus a weight times the standardised vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import Document, FloatArray, IntArray
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.fuse import gain_of_first, standardise
from pretrieve.index.hits import sentence_spans
from pretrieve.index.lexical import Lexical, Titles
from pretrieve.index.pseudo import PseudoQueries, Records, full_text, pseudo_queries

Encode = Callable[[Sequence[str]], FloatArray]
WEIGHTS = (0.25, 0.5, 1.0, 2.0)
SENTENCE, TITLED, TOPICAL, LEXICAL = "sentence", "titled", "topical", "lexical"
_RELEVANT = 10  # documents in a committee's ranking
_MEMBER = 0.5  # weight of each trained system in the committee, beside BM25
_OPENING = 12  # words of the query of a document without a title
_REPEATED = 0.5  # share of repeated titles above which queries include the title
_FIRST_WORDS = 5  # of a sentence, in a query that names the title
_DISCOUNTS = 1 / np.log2(np.arange(2, _RELEVANT + 2))


@dataclass(frozen=True, kw_only=True)
class FusedProbeOptions:
    """Size of the probe.

    Attributes:
        queries: maximum number of known-item queries of each kind.
        topical: maximum number of topical queries.
        distractors: maximum number of documents beside the held-out ones.
        seed: seed of the drawn documents, titles and sentences.
        languages: languages of the documents.
        known: kinds of known items to use.
    """

    queries: int = 300
    topical: int = 200
    distractors: int = 4000
    seed: int = 0
    languages: tuple[str, ...] = ("en",)
    known: tuple[str, ...] = ("title", "lead", "sentence")


@dataclass(frozen=True, kw_only=True)
class FusedScores:
    """What the probe saw.

    Attributes:
        bm25: nDCG@10 of BM25 alone for every query, (Q,) by kind of query.
        fused: the same of each system, (weights, Q) by system and kind; weights are ``WEIGHTS``.
        pool: number of documents searched.
    """

    bm25: Mapping[str, FloatArray]
    fused: Mapping[str, Mapping[str, FloatArray]]
    pool: int

    @property
    def queries(self) -> int:
        """Number of queries of all kinds."""
        return sum(len(values) for values in self.bm25.values())

    def gain(self, system: str, kind: str) -> FloatArray:
        """Mean gain of a system over BM25 at every weight, (weights,)."""
        return np.asarray((self.fused[system][kind] - self.bm25[kind]).mean(axis=1))


class FusedProbe:
    """Queries and documents of a probe, drawn once.

    Args:
        documents: all documents.
        held_out: (H,) indices of the held-out documents.
        options: options of the probe.
    """

    def __init__(
        self, documents: Records, held_out: IntArray, options: FusedProbeOptions = FusedProbeOptions()
    ) -> None:
        rest = np.setdiff1d(np.arange(len(documents)), held_out)
        chosen = generator(options.seed, "probe/distractors").permutation(rest)[: options.distractors]
        own = [documents[index] for index in held_out.tolist()]
        pool = [*own, *(documents[index] for index in np.sort(chosen).tolist())]
        self._texts = [full_text(document) for document in pool]
        self._lexical = Lexical.build(Analyzer(Analysis(languages=options.languages)), self._texts)
        known = pseudo_queries(own, options.queries, options.seed, sentence_spans)
        self._known: dict[str, PseudoQueries] = {found.kind: found for found in known if found.kind in options.known}
        if SENTENCE in self._known and repeated_titles(documents) > _REPEATED:
            self._known[TITLED] = _titled(self._known[SENTENCE], own)
        order = generator(options.seed, "probe/topical").permutation(len(own))[: options.topical]
        self._asking = np.sort(order)
        self._short = [own[index].title or " ".join(own[index].text.split()[:_OPENING]) for index in self._asking]

    @property
    def texts(self) -> int:
        """Number of texts, short and long, that each system encodes."""
        known = sum(2 * len(queries) for queries in self._known.values())
        return len(self._texts) + known + len(self._short)

    def __call__(self, start: Mapping[str, Encode], trained: Mapping[str, Encode]) -> FusedScores:
        """Evaluate BM25, and BM25 fused with each system.

        Args:
            start: systems outside the committee.
            trained: members of the committee, beside BM25.
        """
        bm25: dict[str, FloatArray] = {}
        fused: dict[str, dict[str, FloatArray]] = {name: {} for name in (*start, *trained)}
        vectors = {name: _unit(encode(self._texts)) for name, encode in {**start, **trained}.items()}
        for kind, queries in self._known.items():
            lexical = self._known_scores(queries)
            bm25[kind] = gain_of_first(lexical, queries.documents)
            for name, encode in {**start, **trained}.items():
                vectors_of_queries = _unit(encode(queries.queries))
                dense = vectors_of_queries @ vectors[name].T
                own = np.einsum("qd,qd->q", vectors_of_queries, _unit(encode(queries.remainders)))
                dense[np.arange(len(dense)), queries.documents] = own
                fused[name][kind] = np.stack(
                    [gain_of_first(scores, queries.documents) for scores in _fusions(lexical, dense)]
                )
        if len(self._asking):
            self._ask_topical(start, trained, vectors, bm25, fused)
        return FusedScores(bm25=bm25, fused=fused, pool=len(self._texts))

    def _known_scores(self, queries: PseudoQueries) -> FloatArray:
        """BM25's scores (Q, R), standardised; the own document is scored without its query."""
        scores = self._lexical.scores(queries.queries)
        pairs = self._lexical.score_pairs(queries.queries, queries.remainders)
        scores[np.arange(len(scores)), queries.documents] = pairs
        return standardise(scores)

    def _ask_topical(
        self,
        start: Mapping[str, Encode],
        trained: Mapping[str, Encode],
        vectors: Mapping[str, FloatArray],
        bm25: dict[str, FloatArray],
        fused: dict[str, dict[str, FloatArray]],
    ) -> None:
        whole = standardise(self._lexical.scores([self._texts[index] for index in self._asking]))
        committee = whole.copy()
        for name in trained:
            committee += np.float32(_MEMBER) * standardise(vectors[name][self._asking] @ vectors[name].T)
        relevant = {LEXICAL: self._first(whole), TOPICAL: self._first(committee)}
        lexical = standardise(self._lexical.scores(self._short))
        for kind, documents in relevant.items():
            bm25[kind] = self._gains(lexical, documents)
        for name, encode in {**start, **trained}.items():
            dense = _unit(encode(self._short)) @ vectors[name].T
            found = [{kind: self._gains(scores, rows) for kind, rows in relevant.items()}
                     for scores in _fusions(lexical, dense)]  # fmt: skip
            fused[name] |= {kind: np.stack([row[kind] for row in found]) for kind in relevant}

    def _first(self, scores: FloatArray) -> IntArray:
        """The ten best documents of each topical query, (Q, 10), best first, without the own one."""
        scores = scores.copy()
        scores[np.arange(len(scores)), self._asking] = -np.inf
        size = min(_RELEVANT, scores.shape[1] - 1)
        found = np.argpartition(-scores, size - 1, axis=1)[:, :size]
        order = np.argsort(-np.take_along_axis(scores, found, 1), axis=1, kind="stable")
        return np.asarray(np.take_along_axis(found, order, 1))

    def _gains(self, scores: FloatArray, relevant: IntArray) -> FloatArray:
        """nDCG@10 (Q,) where ten documents are equally relevant."""
        found = self._first(scores)
        hits = (found[:, :, None] == relevant[:, None, :]).any(axis=2)
        ideal = _DISCOUNTS[: relevant.shape[1]].sum()
        return np.asarray(hits @ _DISCOUNTS[: found.shape[1]] / ideal)


def repeated_titles(documents: Records) -> float:
    """Share of the documents with a title whose title an earlier document has too, 0 to 1."""
    titles = Titles()
    for _ in titles.watch(documents):
        pass
    return titles.repeated


def _titled(queries: PseudoQueries, documents: Sequence[Document]) -> PseudoQueries:
    """Put the title before the first words of each sentence; the relevant documents are the same."""
    named = [
        f"{documents[place].title} {_first_words(query)}".strip()
        for place, query in zip(queries.documents.tolist(), queries.queries, strict=True)
    ]
    return replace(queries, queries=named)


def _first_words(sentence: str) -> str:
    """The first words of a sentence, or the first third of one without spaces."""
    words = sentence.split()
    return " ".join(words[:_FIRST_WORDS]) if len(words) > _FIRST_WORDS else sentence[: max(8, len(sentence) // 3)]


def _fusions(lexical: FloatArray, dense: FloatArray) -> list[FloatArray]:
    standard = standardise(dense)
    return [lexical + np.float32(weight) * standard for weight in WEIGHTS]


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
