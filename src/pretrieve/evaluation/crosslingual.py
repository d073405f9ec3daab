"""Cross-lingual retrieval: queries in one language, documents in another, every pair of languages.

A folder holds the same documents and the same queries in several languages: ``corpus/<language>.jsonl``,
``queries/<language>.jsonl`` and one ``qrels/<split>.tsv`` for all pairs (also ``.gz``), as XQuAD does (Artetxe et al.,
*On the cross-lingual transferability of monolingual representations*, ACL 2020, made a retrieval set).

Besides each pair alone, all languages are searched as one collection, where every translation of a relevant document
is relevant: how many of the first ten are in the query's own language shows a system's language bias (Roy et al.,
*LAReQA*, EMNLP 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import Document, FloatArray
from pretrieve.evaluation.benchmark import DEFAULT_METRICS, Row, Test, depth_of, judge, parse_metrics, rank
from pretrieve.evaluation.benchmark import compare as compare_rows
from pretrieve.evaluation.collection import Collection, read_corpus, read_qrels, read_queries
from pretrieve.evaluation.significance import bootstrap_interval, holm, paired_permutation
from pretrieve.index.dense import TextEncoder
from pretrieve.index.index import Index, IndexOptions, Mode
from pretrieve.models.bag import Bag

WITHIN, ACROSS, POOLED = "same language", "other languages", "all languages pooled"
_TOP = 10  # hits whose languages are counted


@dataclass(frozen=True, kw_only=True)
class Languages:
    """A collection in L languages: documents and queries by language; ids and judgements are common to all."""

    name: str
    split: str
    documents: Mapping[str, Sequence[Document]]
    queries: Mapping[str, Mapping[str, str]]
    qrels: Mapping[str, Mapping[str, int]]

    @property
    def codes(self) -> tuple[str, ...]:
        """The languages, sorted."""
        return tuple(sorted(self.documents))

    def pair(self, query: str, document: str) -> Collection:
        """Queries in one language over documents in another."""
        return Collection(
            name=f"{self.name} {query}-{document}",
            split=self.split,
            documents=self.documents[document],
            queries=self.queries[query],
            qrels=self.qrels,
        )

    def pooled(self, query: str) -> Collection:
        """Queries in one language over the documents of all; ids are ``language/id``, all translations are relevant."""
        documents = [
            replace(document, id=f"{code}/{document.id}") for code in self.codes for document in self.documents[code]
        ]
        qrels = {
            name: {f"{code}/{document}": grade for code in self.codes for document, grade in grades.items()}
            for name, grades in self.qrels.items()
        }
        name = f"{self.name} {query}-all"
        return Collection(name=name, split=self.split, documents=documents, queries=self.queries[query], qrels=qrels)


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """One system in one mode.

    Attributes:
        system: its name.
        mode: how it searched.
        values: by metric, (L, L, Q): queries in the first language, documents in the second, in the order of codes.
        pooled: by metric, (L, Q): queries in each language, over the documents of all.
        own_share: (L,) part of the first ten of the pool that are in the query's language; 1 / L without a bias.
    """

    system: str
    mode: Mode
    values: Mapping[str, FloatArray]
    pooled: Mapping[str, FloatArray]
    own_share: FloatArray

    def matrix(self, metric: str) -> FloatArray:
        """Means over queries, (L, L)."""
        return np.asarray(self.values[metric].mean(axis=2))

    def by_query(self, metric: str, part: str) -> FloatArray:
        """Mean over the pairs of a part (``WITHIN``, ``ACROSS`` or ``POOLED``) for every query, (Q,).

        The same question in several languages is one sample, not many: intervals and tests are over questions.
        """
        if part == POOLED:
            return np.asarray(self.pooled[metric].mean(axis=0))
        values = self.values[metric]
        diagonal = np.eye(len(values), dtype=bool)
        return np.asarray(values[diagonal if part == WITHIN else ~diagonal].mean(axis=0))

    def part(self, part: str) -> Row:
        """The means of a part as a row of a result."""
        return Row(
            system=self.system,
            mode=self.mode,
            values={metric: self.by_query(metric, part) for metric in self.values},
        )


@dataclass(frozen=True, kw_only=True)
class PairTest:
    """Paired tests of row ``a`` against row ``b`` in each pair of languages, (L, L), by the first metric.

    ``differences`` are means of a - b; ``p_holm`` is corrected over the pairs.
    """

    a: str
    b: str
    metric: str
    differences: FloatArray
    p_holm: FloatArray


@dataclass(frozen=True, kw_only=True)
class CrossLingualResult:
    """What ``evaluate_pairs`` found.

    Attributes:
        collection: its name.
        split: of the judgements.
        languages: their codes, in the order of all matrices.
        queries: number of questions.
        rows: systems.
        tests: by part (same language, other languages, pooled): as in ``benchmark.Result``.
        pair_tests: models against each other in the same mode, in each pair of languages.
        notes: what else to know, such as the chosen weights of fusion.
    """

    collection: str
    split: str
    languages: tuple[str, ...]
    queries: int
    rows: Sequence[PairRow]
    tests: Mapping[str, Sequence[Test]]
    pair_tests: Sequence[PairTest]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """The matrices and the tables of tests."""
        from pretrieve.evaluation.matrix import pair_markdown

        return pair_markdown(self)

    def to_json(self) -> dict[str, Any]:
        """As JSON: matrices, means with 95 % intervals, tests."""
        return {
            "collection": self.collection,
            "split": self.split,
            "languages": list(self.languages),
            "queries": self.queries,
            "rows": [_row_json(row) for row in self.rows],
            "tests": {
                part: [
                    {name: getattr(test, name) for name in ("a", "b", "metric", "difference", "p", "p_holm")}
                    for test in tests
                ]
                for part, tests in self.tests.items()
            },
            "pair_tests": [
                {
                    "a": test.a,
                    "b": test.b,
                    "metric": test.metric,
                    "differences": test.differences.tolist(),
                    "p_holm": test.p_holm.tolist(),
                }
                for test in self.pair_tests
            ],
            "notes": dict(self.notes),
        }


def is_cross_lingual(folder: Path) -> bool:
    """Say whether a folder has one corpus and one set of queries for each language."""
    return (folder / "corpus").is_dir() and (folder / "queries").is_dir()


def load_languages(folder: Path, split: str = "test", *, titles: bool = True) -> Languages:
    """Read a folder of ``corpus/<language>``, ``queries/<language>`` and one ``qrels/<split>``.

    Args:
        folder: where it is.
        split: name of a file in ``qrels/``.
        titles: keep the documents' titles.

    Raises:
        UsageError: a part is not there, or there are fewer than two languages.
        DataError: a line cannot be read, or a judged query is missing in a language.
    """
    codes, others = (_codes(folder / part) for part in ("corpus", "queries"))
    if codes != others or len(codes) < 2:
        raise UsageError(
            f"{folder}: corpus/ has the languages {', '.join(sorted(codes)) or 'none'} and queries/ "
            f"{', '.join(sorted(others)) or 'none'}: the same two or more are needed, one .jsonl file each."
        )
    qrels = read_qrels(folder, split)
    documents = {code: list(read_corpus(folder, f"corpus/{code}", titles=titles)) for code in codes}
    queries = {
        code: _judged(read_queries(folder, f"queries/{code}"), qrels, folder / "queries" / code) for code in codes
    }
    if not qrels:
        raise DataError(f"{folder / 'qrels' / split}.tsv holds no judgement.")
    return Languages(name=folder.absolute().name, split=split, documents=documents, queries=queries, qrels=qrels)


def evaluate_pairs(
    collection: Languages,
    models: Mapping[str, TextEncoder],
    *,
    modes: Sequence[Mode] = ("dense", "hybrid"),
    metrics: Sequence[str] = DEFAULT_METRICS,
    options: IndexOptions = IndexOptions(),  # noqa: B008 - frozen
    told: Callable[[str], None] = lambda text: None,
) -> CrossLingualResult:
    """Rank every language's documents for every language's queries by words, and by every model in every mode.

    Args:
        collection: documents and queries in L languages.
        models: encoders by the name to show.
        modes: of the models; the lexical row is always there.
        metrics: names that ir-measures knows; pairs are tested by the first.
        options: of the index; the weight of fusion is chosen for each corpus, from the documents alone.
        told: hears which corpus was judged.

    Raises:
        UsageError: unknown metric or mode.
    """
    measures = parse_metrics(metrics)
    depth = depth_of(measures)
    systems: list[tuple[str, Mode]] = [("BM25", "lexical")]
    systems += [(name, mode) for name in models for mode in modes if mode != "lexical"]
    found: dict[tuple[str, Mode], list[list[dict[str, FloatArray]]]] = {system: [] for system in systems}
    shares: dict[tuple[str, Mode], list[float]] = {system: [] for system in systems}
    notes: dict[str, Any] = {name: {"fusion": {}, "fingerprint": models[name].fingerprint} for name in models}
    models = {name: _remembering(encoder) for name, encoder in models.items()}
    if "hybrid" not in modes:
        options = replace(options, dense=1.0)  # nobody asks for the weight, which takes long to choose
    for code in (*collection.codes, None):  # one corpus after the other; all of them at the end
        collections = [collection.pooled(q) if code is None else collection.pair(q, code) for q in collection.codes]
        indices = _indices(collections[0], models, options)
        for name in models:
            notes[name]["fusion"][code or "all"] = indices[name].fusion.dense
        for name, mode in systems:
            judged = []
            for query, asked in zip(collection.codes, collections, strict=True):
                rankings = list(rank(indices[name], asked, max(depth, _TOP), mode, drop_same_id=False))
                cut = [(number, hits[:depth]) for number, hits in rankings]
                judged.append(judge(iter(cut), asked, measures))
                if code is None:
                    shares[name, mode].append(_share(rankings, query))
            found[name, mode].append(judged)
        told(code or "all languages")
    rows = [_row(name, mode, found[name, mode], shares[name, mode]) for name, mode in systems]
    return CrossLingualResult(
        collection=collection.name,
        split=collection.split,
        languages=collection.codes,
        queries=len(collection.qrels),
        rows=rows,
        tests={part: compare_rows([row.part(part) for row in rows]) for part in (WITHIN, ACROSS, POOLED)},
        pair_tests=_pair_tests(rows),
        notes=notes,
    )


def _codes(folder: Path) -> set[str]:
    names = {path.name.removesuffix(".gz") for path in folder.glob("*.jsonl*")}
    return {name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl")}


def _judged(queries: Mapping[str, str], qrels: Mapping[str, Any], where: Path) -> dict[str, str]:
    missing = [query for query in qrels if query not in queries]
    if missing:
        raise DataError(f"{where}.jsonl has no query {missing[0]!r}, which is judged: every language needs them all.")
    return {query: queries[query] for query in qrels}


def _indices(collection: Collection, models: Mapping[str, TextEncoder], options: IndexOptions) -> dict[str, Index]:
    words = Index.of(collection.documents, None, options)
    found = {"BM25": words}
    for name, encoder in models.items():
        found[name] = Index.of(collection.documents, encoder, options, lexical=words.lexical)
    return found


class _Remembering:
    """A model that encodes a query once: the same ones are asked of every corpus."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder, self._known = encoder, dict[str, FloatArray]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= dict(zip(new, self._encoder.encode_queries(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def _remembering(encoder: TextEncoder) -> TextEncoder:
    """The model with a memory; a static one needs none."""
    remembering: Any = encoder if isinstance(encoder, Bag) else _Remembering(encoder)
    found: TextEncoder = remembering
    return found


def _share(rankings: Sequence[tuple[str, list[str]]], code: str) -> float:
    """Part of the first ten hits that are in a language, over all queries."""
    hits = [hit.partition("/")[0] == code for _, ids in rankings for hit in ids[:_TOP]]
    return float(np.mean(hits)) if hits else float("nan")


def _row(name: str, mode: Mode, judged: list[list[dict[str, FloatArray]]], shares: list[float]) -> PairRow:
    """Turn values by corpus and language of the queries into those by language and corpus; the last corpus is all."""
    metrics = judged[0][0]
    return PairRow(
        system=name,
        mode=mode,
        values={metric: np.array([[one[metric] for one in part] for part in judged[:-1]]).swapaxes(0, 1)
                for metric in metrics},
        pooled={metric: np.array([one[metric] for one in judged[-1]]) for metric in metrics},
        own_share=np.array(shares),
    )  # fmt: skip


def _pair_tests(rows: Sequence[PairRow]) -> list[PairTest]:
    tests = []
    for place, b in enumerate(rows):
        for a in rows[place + 1 :]:
            if a.mode == b.mode and a.system != b.system:
                metric = next(iter(a.values))
                first, second = a.values[metric], b.values[metric]
                size = len(first)
                ps = holm([paired_permutation(first[q, d], second[q, d]) for q in range(size) for d in range(size)])
                tests.append(
                    PairTest(
                        a=a.part(WITHIN).name,
                        b=b.part(WITHIN).name,
                        metric=metric,
                        differences=np.asarray((first - second).mean(axis=2)),
                        p_holm=np.array(ps).reshape(size, size),
                    )
                )
    return tests


def _row_json(row: PairRow) -> dict[str, Any]:
    parts = {}
    for part in (WITHIN, ACROSS, POOLED):
        values = {metric: row.by_query(metric, part) for metric in row.values}
        parts[part] = {
            "metrics": {metric: float(one.mean()) for metric, one in values.items()},
            "ci95": {metric: list(bootstrap_interval(one)) for metric, one in values.items()},
        }
    return {
        "system": row.system,
        "mode": row.mode,
        "parts": parts,
        "matrices": {metric: row.matrix(metric).tolist() for metric in row.values},
        "own language among the first ten": row.own_share.tolist(),
    }
