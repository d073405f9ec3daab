"""Mine hard negatives: documents that BM25 or a model ranks high but that are not labelled relevant.

Karpukhin et al., *Dense passage retrieval*, EMNLP 2020 (BM25 negatives); Xiong et al., *ANCE*, ICLR 2021 (the model's
own); Qu et al., *RocketQA*, NAACL 2021 (on false negatives). Queries are processed in blocks, each written to disk when
it is done, so that memory is bounded and an interrupted run resumes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from pretrieve.core import files
from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray, IntArray, Rows, TextEncoder
from pretrieve.evaluation.answers import has_answer
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.pseudo import full_text
from pretrieve.index.rankers import Best, Queries, Ranker
from pretrieve.index.vector_options import VectorOptions
from pretrieve.pipeline.finetune.read_labels import LabelSource, documents_by_id, read_and_report
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.recipe import check_same, plain
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.workspace import beside
from pretrieve.sampling.labels import Labels
from pretrieve.text.corpus import OnBad
from pretrieve.text.documents import Documents

By = Literal["bm25", "model", "both"]
_BLOCK, _SCORES = 256, 1 << 24  # queries of a block, and maximum number of scores in memory
_INDEX = "index"  # of the documents, among the parts of an unfinished run
_EXACT = IndexOptions(dense=1.0, vectors=VectorOptions(recall=1))  # batches of queries: approximate search saves little
_SHOWN = 200  # characters of a text shown in the file


@dataclass(frozen=True, kw_only=True)
class MineOptions:
    """How negatives are chosen.

    Attributes:
        by: ranker: BM25, a model, or half of the negatives by each.
        number: negatives per query.
        depth: number of top documents to draw from; equal to ``number``, the top ones are taken.
        skip: number of top documents to skip: they are often relevant but unlabelled.
        relative_margin: least distance of a negative's score below the best positive's, as a fraction of that score:
            0.05 leaves out documents that score above 95 % of it, as likely relevant. None: no limit.
        seed: seed of the draws.
    """

    by: By = "bm25"
    number: int = 30
    depth: int = 200
    skip: int = 0
    relative_margin: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.depth - self.skip or self.skip < 0:
            raise UsageError(f"number={self.number}: must be at least 1 and at most depth - skip.")
        if self.relative_margin is not None and not 0 <= self.relative_margin <= 1:
            raise UsageError(f"relative_margin={self.relative_margin}: it must be between 0 and 1; 0.05 is usual.")


def mine(
    labels: Labels, model: TextEncoder | None, output: Path, options: MineOptions, listener: Listener,
    *, index: Index | None = None, vectors: Callable[[Documents], Iterable[FloatArray]] | None = None,
) -> int:  # fmt: skip
    """Mine hard negatives and write them, one JSON line per query, with the texts.

    Args:
        labels: queries, documents, and what is relevant.
        model: ranker, where ``options.by`` needs one.
        output: the file; ``load_negatives`` reads it. An interrupted run resumes from ``output.parts``.
        options: see ``MineOptions``.
        listener: receives progress.
        index: index of the documents of the labels, if one exists.
        vectors: gives the vectors of the documents by the model, in order, if they are encoded already.

    Returns:
        The number of negatives.

    Raises:
        UsageError: a model is needed.
        FingerprintError: the parts on disk are of other labels, another model or other options.
        StorageError: writing to disk failed.
    """
    if options.by != "bm25" and model is None:
        raise UsageError("mining by a model needs one: give its folder or name.")
    parts = _parts(output)
    with files.lock(parts):
        files.sweep(output.absolute().parent, output.name)
        _begin(parts, labels, model, options)
        if index is None:
            index = _index(parts, labels, model if options.by != "bm25" else None, listener, vectors)
        miner = _Miner(labels, index, options)
        listener.stage("mine", len(labels), "queries")
        size = max(1, min(_BLOCK, _SCORES // labels.size))
        for start in range(0, len(labels), size):
            block = np.arange(start, min(start + size, len(labels)))
            part = parts / f"{start:09d}.jsonl"
            if not part.is_file():
                files.write_file(part, b"".join(miner.lines(block)))
            listener.advance(len(block))
        count = _join(parts, output)
    shutil.rmtree(parts)
    return count


def _join(parts: Path, output: Path) -> int:
    """Join the parts into one file, and count the negatives."""
    count = 0
    with files.create_file(output) as file:
        for part in sorted(parts.glob("*.jsonl")):
            data = part.read_bytes()
            count += data.count(b'"score":')
            file.write(data)
    return count


def load_negatives(labels: Labels, path: Path) -> Rows:
    """Read what ``mine`` wrote: for each query, known by its text or else its id, its negatives (Q rows of documents).

    Raises:
        UsageError: there is no such file.
        DataError: a line is no such record, names documents that are not there, or all are of other queries.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; make it with `pretrieve mine`.")
    documents, found, texts = documents_by_id(labels), dict[str, list[int]](), labels.texts()
    named = dict(zip(labels.ids, texts, strict=True))
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = orjson.loads(line)
                # by text where there is one: generated ids are positions, which other labels share
                query = record["query"] if "query" in record else named.get(record["id"], "")
                found[query] = [documents[negative["id"]] for negative in record["negatives"]]
            except KeyError as error:
                raise DataError(
                    f"{path}:{number}: {error} is not known: these negatives are of other labels."
                ) from None
            except (ValueError, TypeError):
                raise DataError(f"{path}:{number}: not a line of `pretrieve mine`.") from None
    if found.keys().isdisjoint(texts):
        raise DataError(f"{path} holds no query of these labels: it was mined for others.")
    return Rows.of([found.get(text, []) for text in texts])


def check_file(output: Path, sources: Sequence[str | Path]) -> None:
    """Check that negatives can be written to a file, before any work.

    Raises:
        UsageError: it is a folder, one of the sources, or was not written by ``mine``.
    """
    if output.is_dir() or not output.name:
        raise UsageError(f"{output} is a folder: give --output the name of a file, such as negatives.jsonl.")
    files.check_apart(output, sources)
    if output.is_file() and output.stat().st_size:
        with output.open("rb") as file:
            start = file.readline(1 << 16)
        if not (start.startswith(b'{"id":') and b'"query":' in start and b'"positives":' in start):
            raise UsageError(f"{output} exists, and was not written by `pretrieve mine`: choose another name.")


def mine_source(
    source: Path, model: TextEncoder | None, output: Path, options: MineOptions, listener: Listener,
    *, split: str = "train", documents: Sequence[str] = (), on_bad: OnBad = "auto",
) -> tuple[int, int]:  # fmt: skip
    """Read labels and mine negatives for them; return the numbers of negatives and of queries.

    Args:
        source: a BEIR folder, or a file of labels.
        model: ranker, where ``options.by`` needs one.
        output: the file of negatives; bad records go to ``output.quarantine.jsonl`` if they are quarantined.
        options: see ``MineOptions``.
        listener: receives progress.
        split: split of a BEIR folder.
        documents: further sources of documents, for a file of labels.
        on_bad: policy for bad records of labels and documents.

    Raises:
        PretrieveError: as ``check_file``, ``read_source`` and ``mine``.
    """
    processes.current().check_first("mining")
    check_file(output, [source, *documents])
    with stoppable(lambda: _advice(output)), tempfile.TemporaryDirectory() as temporary:
        quarantine = beside(output, ".quarantine.jsonl")
        where = LabelSource(path=source, split=split, documents=documents, on_bad=on_bad, quarantine=quarantine)
        labels, found = read_and_report(where, Path(temporary) / "records", listener)
        if found.with_negatives:
            listener.note(f"{source}: its negatives are among the documents to search, and not copied to the output.")
        return mine(labels, model, output, options, listener), len(labels)


def _advice(output: Path) -> str:
    """What an interrupted run has saved, as advice on how to resume."""
    if (parts := _parts(output)).is_dir():
        return f"mined negatives are saved in {parts}; run the same command again to resume"
    return "nothing was written; run the same command again"


def _parts(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def _begin(parts: Path, labels: Labels, model: TextEncoder | None, options: MineOptions) -> None:
    """Record what the parts belong to, or refuse those of another run."""
    facts = {
        "labels": labels.fingerprint,
        "model": model.fingerprint if model is not None and options.by != "bm25" else "",
        "options": asdict(options),
    }
    said = parts / "run.json"
    if said.is_file():
        check_same(orjson.loads(said.read_bytes()), plain(facts))
    files.sweep(parts)
    files.write_file(said, files.to_json(facts))


def is_indexed(output: Path) -> bool:
    """Whether an interrupted run has indexed the documents, or is finished: nothing is left to encode."""
    return output.is_file() or (_parts(output) / _INDEX / files.MANIFEST).is_file()


def _index(
    parts: Path, labels: Labels, model: TextEncoder | None, listener: Listener,
    vectors: Callable[[Documents], Iterable[FloatArray]] | None,
) -> Index:  # fmt: skip
    """Index the documents; vectors of a model are stored on disk and reused when a run resumes."""
    documents = _Collection(labels.records, labels.size)
    if model is None:
        listener.stage("index", labels.size, "documents")
        return Index.of(documents)
    target = parts / _INDEX
    if (target / files.MANIFEST).is_file():
        return Index.open(target, model)
    listener.stage("index", labels.size, "documents")
    return Index.build(target, iter(documents), model, _EXACT, replace=True, vectors=vectors)


@dataclass(frozen=True)
class _Collection:
    """The documents of labels, without the queries that follow them."""

    records: Documents
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return self.records[range(self.size)[index]]

    def __iter__(self) -> Iterator[Any]:
        for batch in self.records.batches(select=np.arange(self.size)):
            yield from batch


@dataclass(frozen=True)
class _Miner:
    """Chooses negatives for queries; holds what all blocks share."""

    labels: Labels
    index: Index
    options: MineOptions

    def lines(self, block: IntArray) -> Iterator[bytes]:
        """The records of a block of queries."""
        part = self.labels.select(block)
        texts = part.texts()
        found = [(name, self._ranked(ranker, part, texts)) for name, ranker in self._rankers()]
        for row, number in enumerate(block.tolist()):
            chosen: dict[int, tuple[float, str]] = {}
            for place, (name, ranked) in enumerate(found):
                share = (self.options.number - len(chosen)) // (len(found) - place)
                scores = self._candidates(*ranked[row], part.positives.row(row), list(chosen))
                documents = list(scores)
                order = generator(self.options.seed, f"mine/{name}", number).permutation(len(documents)).tolist()
                answers = part.answers[row] if part.answers is not None else ()
                drawn = islice((at for at in order if not self._answered(documents[at], answers)), share)
                chosen |= {documents[at]: (scores[documents[at]], name) for at in sorted(drawn)}
            yield orjson.dumps(_record(part, texts, row, chosen)) + b"\n"

    def _rankers(self) -> Iterator[tuple[By, Ranker]]:
        if self.options.by in ("bm25", "both"):
            yield "bm25", self.index.words
        if self.options.by in ("model", "both"):
            assert self.index.dense is not None
            yield "model", self.index.dense

    def _ranked(self, ranker: Ranker, part: Labels, texts: Sequence[str]) -> list[tuple[Best, float]]:
        """For each query more documents than can be candidates, one of each text, and the best score of a positive."""
        queries, canonical = Queries(texts), self.labels.canonical
        beside = int(part.positives.lengths.max(initial=0)) + self.options.number
        allowed = canonical == np.arange(len(canonical))
        best = ranker.top(queries, self.options.depth + beside, allowed)
        positives = [part.positives.row(row) for row in range(len(texts))]
        highest = (float(scores.max()) for scores in ranker.score_documents(queries, positives))
        return list(zip(best, highest, strict=True))

    def _answered(self, document: int, answers: Sequence[str]) -> bool:
        """Whether a document holds an answer (DPR, section 3.2: such a passage is not a negative)."""
        return bool(answers) and has_answer(full_text(self.labels.records[document]), answers)

    def _candidates(self, ranked: Best, positive: float, positives: IntArray, taken: list[int]) -> dict[int, float]:
        """Scores of the candidates, best first: without positives, copies of positives, and duplicates."""
        canonical, options = self.labels.canonical, self.options
        seen = set(canonical[positives].tolist()) | set(canonical[taken].tolist())
        limit = np.inf
        if options.relative_margin is not None:
            limit = positive - options.relative_margin * abs(positive)
        pairs = zip(ranked[0].tolist(), ranked[1].tolist(), strict=True)
        found = [(document, score) for document, score in pairs if document not in seen]
        return {document: score for document, score in found[options.skip : options.depth] if score <= limit}


def _record(part: Labels, texts: Sequence[str], row: int, chosen: dict[int, tuple[float, str]]) -> dict[str, Any]:
    def shown(document: int) -> dict[str, str]:
        record = part.records[document]
        return {"id": record.id, "text": f"{record.title} {record.text}".strip()[:_SHOWN]}

    return {
        "id": part.ids[row],
        "query": texts[row],
        "positives": [shown(document) for document in part.positives.row(row).tolist()],
        "negatives": [
            {**shown(document), "score": round(score, 4), "by": name} for document, (score, name) in chosen.items()
        ],
    }
