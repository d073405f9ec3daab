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
from pretrieve.core.types import Document, FloatArray, TextEncoder
from pretrieve.evaluation.benchmark import DEFAULT_METRICS, depth_of, evaluate_rankings, parse_metrics, rank
from pretrieve.evaluation.benchmark import compare as compare_rows
from pretrieve.evaluation.crosslingual_result import ACROSS, POOLED, WITHIN, CrossLingualResult, PairRow, PairTest
from pretrieve.evaluation.data_facts import data_facts, data_warnings
from pretrieve.evaluation.significance import holm, paired_permutation
from pretrieve.index.index import Index, IndexOptions, Mode
from pretrieve.models.bag import Bag
from pretrieve.text.beir import Collection, check_ids, name_of, read_corpus, read_texts
from pretrieve.text.beir_files import beir_file, beir_root, split_file
from pretrieve.text.files.streams import COMPRESSED
from pretrieve.text.qrels import parse_qrels

_TOP = 10  # hits whose languages are counted


@dataclass(frozen=True, kw_only=True)
class Languages:
    """A collection in L languages: documents and queries by language; ids and qrels are shared by all.

    ``repeated`` counts lines that say what an earlier one says: of the qrels, and of the queries by language.
    """

    name: str
    split: str
    documents: Mapping[str, Sequence[Document]]
    queries: Mapping[str, Mapping[str, str]]
    qrels: Mapping[str, Mapping[str, int]]
    repeated: Mapping[str, int] = field(default_factory=dict)

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
            repeated={"queries": self.repeated.get(query, 0), "qrels": self.repeated.get("qrels", 0)},
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


def is_cross_lingual(folder: Path) -> bool:
    """Whether a folder has one corpus and one set of queries per language."""
    root = beir_root(folder)
    return (root / "corpus").is_dir() and (root / "queries").is_dir()


def load_languages(folder: Path, split: str = "test", *, titles: bool = True, max_passage: bool = False) -> Languages:
    """Read a folder of ``corpus/<language>``, ``queries/<language>`` and one ``qrels/<split>``.

    Args:
        folder: where it is.
        split: name of a file in ``qrels/``.
        titles: keep the documents' titles.
        max_passage: several documents of a language may have one id: they are passages of one document.

    Raises:
        UsageError: a part is not there, or there are fewer than two languages.
        DataError: a line cannot be read, an id is given twice, or a query of the qrels is missing in a language.
    """
    root = beir_root(folder)
    codes, others = (_codes(root / part) for part in ("corpus", "queries"))
    if codes != others or len(codes) < 2:
        raise UsageError(
            f"{folder}: corpus/ has the languages {', '.join(sorted(codes)) or 'none'} and queries/ "
            f"{', '.join(sorted(others)) or 'none'}: the same two or more are needed, one .jsonl file each."
        )
    parsed = parse_qrels(split_file(folder, split))
    qrels = parsed.grades
    documents = {code: list(read_corpus(folder, f"corpus/{code}", titles=titles)) for code in codes}
    for code in documents if not max_passage else ():
        check_ids(documents[code])
    read = {code: read_texts(beir_file(root, f"queries/{code}")) for code in codes}
    queries = {code: _labelled_queries(texts, qrels, root / "queries" / code) for code, (texts, _) in read.items()}
    if not qrels:
        raise DataError(f"{root / 'qrels' / split}.tsv holds no qrels.")
    repeated = {"qrels": parsed.repeated, **{code: count for code, (_, count) in read.items()}}
    return Languages(
        name=name_of(folder), split=split, documents=documents, queries=queries, qrels=qrels, repeated=repeated
    )


def evaluate_pairs(
    collection: Languages,
    models: Mapping[str, TextEncoder],
    *,
    modes: Sequence[Mode] = ("dense", "hybrid"),
    metrics: Sequence[str] = DEFAULT_METRICS,
    max_passage: bool = False,
    options: IndexOptions = IndexOptions(),  # noqa: B008 - frozen
    on_progress: Callable[[str], None] = lambda text: None,
) -> CrossLingualResult:
    """Rank every language's documents for every language's queries by BM25, and by every model in every mode.

    Args:
        collection: documents and queries in L languages.
        models: encoders by display name.
        modes: search modes of the models; BM25 is always included.
        metrics: names that ir-measures knows; pairs are tested by the first.
        max_passage: documents of a language may share an id: the best place of an id counts.
        options: options of the index; the fusion weight is chosen per corpus, from the documents alone.
        on_progress: called with the name of each corpus after it is evaluated.

    Raises:
        UsageError: unknown metric or mode.
        DataError: documents of a language share an id, and ``max_passage`` is not given.
    """
    measures = parse_metrics(metrics)
    data = _facts(collection, max_passage=max_passage)
    systems: list[tuple[str, Mode]] = [("BM25", "lexical")]
    systems += [(name, mode) for name in models for mode in modes if mode != "lexical"]
    found: dict[tuple[str, Mode], list[list[dict[str, FloatArray]]]] = {system: [] for system in systems}
    shares: dict[tuple[str, Mode], list[float]] = {}  # those of the last corpus, which is all, stay
    notes: dict[str, Any] = {name: {"fusion": {}, "fingerprint": models[name].fingerprint} for name in models}
    models = {name: _remembering(encoder) for name, encoder in models.items()}
    if "hybrid" not in modes:
        options = replace(options, dense=1.0)  # no hybrid search: skip the slow choice of the weight
    for code in (*collection.codes, None):  # one corpus after another, and all of them together at the end
        collections = [collection.pooled(q) if code is None else collection.pair(q, code) for q in collection.codes]
        indices = _indices(collections[0], models, options)
        for name in models:
            notes[name]["fusion"][code or "all"] = indices[name].fusion.dense
        for name, mode in systems:
            values, shares[name, mode] = _evaluated(indices[name], collections, collection.codes, measures, mode)
            found[name, mode].append(values)
        on_progress(code or "all languages")
    rows = [_row(name, mode, found[name, mode], shares[name, mode]) for name, mode in systems]
    return CrossLingualResult(
        collection=collection.name,
        split=collection.split,
        languages=collection.codes,
        queries=len(collection.qrels),
        ids=list(collection.qrels),
        rows=rows,
        tests={part: compare_rows([row.part(part) for row in rows]) for part in (WITHIN, ACROSS, POOLED)},
        pair_tests=_pair_tests(rows),
        notes=notes,
        data=data,
        warnings=[
            f"{code}: {line}" for code, facts in data.items() for line in data_warnings(facts, drop_same_id=None)
        ],
    )


def _evaluated(
    index: Index, collections: Sequence[Collection], codes: Sequence[str], measures: Mapping[str, Any], mode: Mode
) -> tuple[list[dict[str, FloatArray]], list[float]]:
    """The values of the queries in each language over one corpus, and the shares of hits in their own language."""
    values, shares = [], []
    for query, collection in zip(codes, collections, strict=True):
        rankings = list(rank(index, collection, max(depth_of(measures), _TOP), mode, drop_same_id=False))
        values.append(evaluate_rankings(iter(rankings), collection, measures))
        shares.append(_share(rankings, query))
    return values, shares


def _facts(collection: Languages, *, max_passage: bool) -> dict[str, dict[str, int]]:
    """What is counted in the data of each language; ids that repeat are refused, unless asked for."""
    for code in collection.codes if not max_passage else ():
        check_ids(collection.documents[code])
    return {code: data_facts(collection.pair(code, code)) for code in collection.codes}


def _codes(folder: Path) -> set[str]:
    listed = folder.iterdir() if folder.is_dir() else ()
    names = [path.name for path in listed if not path.name.startswith(".")]
    endings = [f".jsonl{packed}" for packed in ("", *COMPRESSED)]
    return {name.removesuffix(ending) for name in names for ending in endings if name.endswith(ending)}


def _labelled_queries(queries: Mapping[str, str], qrels: Mapping[str, Any], where: Path) -> dict[str, str]:
    missing = [query for query in qrels if query not in queries]
    if missing:
        raise DataError(
            f"{where}.jsonl has no query {missing[0]!r}, which has qrels: every language needs all queries."
        )
    return {query: queries[query] for query in qrels}


def _indices(collection: Collection, models: Mapping[str, TextEncoder], options: IndexOptions) -> dict[str, Index]:
    bm25 = Index.of(collection.documents, None, options)
    found = {"BM25": bm25}
    for name, encoder in models.items():
        found[name] = Index.of(collection.documents, encoder, options, lexical=bm25.lexical)
    return found


class _Remembering:
    """A model that caches query vectors: all corpora have the same queries."""

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
    """The model with a cache; a static one needs none."""
    remembering: Any = encoder if isinstance(encoder, Bag) else _Remembering(encoder)
    found: TextEncoder = remembering
    return found


def _share(rankings: Sequence[tuple[str, list[str]]], code: str) -> float:
    """Part of the first ten hits that are in a language, over all queries."""
    hits = [hit.partition("/")[0] == code for _, ids in rankings for hit in ids[:_TOP]]
    return float(np.mean(hits)) if hits else float("nan")


def _row(name: str, mode: Mode, evaluated: list[list[dict[str, FloatArray]]], shares: list[float]) -> PairRow:
    """Turn values by corpus and language of the queries into those by language and corpus; the last corpus is all."""
    metrics = evaluated[0][0]
    return PairRow(
        system=name,
        mode=mode,
        values={metric: np.array([[one[metric] for one in part] for part in evaluated[:-1]]).swapaxes(0, 1)
                for metric in metrics},
        pooled={metric: np.array([one[metric] for one in evaluated[-1]]) for metric in metrics},
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
