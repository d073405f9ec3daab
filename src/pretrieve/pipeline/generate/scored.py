"""The lines of ``generate``: queries with positives, negatives and a teacher's scores, as ``finetune`` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrieve.core.extras import require
from pretrieve.core.types import Document
from pretrieve.index.pseudo import full_text
from pretrieve.pipeline.run.blocks import Blocks
from pretrieve.pipeline.run.progress import Listener
from pretrieve.sampling.labels import Labels

if TYPE_CHECKING:
    from pretrieve.generation.teacher import Teacher

_BLOCK = 64  # queries
_EXAMPLES = 5


@dataclass(frozen=True)
class CrossEncoderScorer:
    """Scores pairs with a cross-encoder, if one is given.

    Attributes:
        teacher: cross-encoder; None: no scores.
    """

    teacher: Teacher | None

    @staticmethod
    def open(name: str | None, listener: Listener) -> CrossEncoderScorer:
        """Open a cross-encoder by name.

        Raises:
            UsageError: it is not a cross-encoder.
            MissingExtraError: it needs torch, which is not installed.
        """
        if name is None:
            listener.note("without --cross-encoder there are no scores: false negatives are trained on as negatives.")
            return CrossEncoderScorer(None)
        require("train", f"the cross-encoder {name}")
        from pretrieve.generation.teacher import Teacher

        return CrossEncoderScorer(Teacher(name))

    @property
    def fingerprint(self) -> str:
        """Identity of the teacher; empty without one."""
        return "" if self.teacher is None else self.teacher.fingerprint


def write_scored(labels: Labels, folder: Path, scorer: CrossEncoderScorer, listener: Listener) -> Blocks:
    """Score queries against their documents in blocks, and write training examples, one line per query.

    Args:
        labels: queries, positives and negatives.
        folder: folder of the blocks.
        scorer: cross-encoder.
        listener: receives progress, in queries.

    Raises:
        DataError: a score is not finite.
        StorageError: writing to disk failed.
    """
    blocks = Blocks(folder, len(labels), _BLOCK)
    listener.stage("score" if scorer.teacher else "write", len(labels), "queries")
    blocks.run(lambda items: _lines(labels.select(np.arange(items.start, items.stop)), scorer.teacher), listener)
    return blocks


def _lines(part: Labels, teacher: Teacher | None) -> Iterator[dict[str, Any]]:
    """One record per query; all pairs are scored together, so that texts of similar length share a batch."""
    sides = [
        (
            [part.records[n] for n in part.positives.row(q).tolist()],
            [part.records[n] for n in part.negatives.row(q).tolist()],
        )
        for q in range(len(part))
    ]
    texts = part.texts()
    pairs = [(text, full_text(item)) for text, (good, bad) in zip(texts, sides, strict=True) for item in (*good, *bad)]
    scores = iter([] if teacher is None else teacher.scores(pairs).tolist())
    for name, text, (good, bad) in zip(part.ids, texts, sides, strict=True):
        record: dict[str, Any] = {"id": name, "query": text, "positives": [_shown(item) for item in good]}
        if bad:
            record["negatives"] = [_shown(item) for item in bad]
        if teacher is not None:
            record["positive_scores"] = [round(next(scores), 5) for _ in good]
            record["negative_scores"] = [round(next(scores), 5) for _ in bad]
        yield record


def _shown(document: Document) -> dict[str, str]:
    title = {"title": document.title} if document.title else {}
    return {"id": document.id, **title, "text": document.text}


def examples_of(labels: Labels) -> list[dict[str, str]]:
    """Some queries with their first documents, evenly spaced."""
    places: list[int] = np.linspace(0, len(labels) - 1, min(_EXAMPLES, len(labels))).round().astype(int).tolist()
    texts = labels.texts()
    found = [(texts[place], labels.records[int(labels.positives.row(place)[0])]) for place in places]
    return [{"query": query, "document": document.id, "title": document.title} for query, document in found]
