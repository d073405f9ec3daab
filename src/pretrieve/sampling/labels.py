"""Labels: queries, their relevant documents, and their hard negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pretrieve.core import files
from pretrieve.core.types import FloatArray, IntArray, Rows
from pretrieve.text.documents import Documents


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Q queries over n documents.

    Attributes:
        records: the n documents, then the queries, so that one store holds the tokens of both.
        size: number of documents, n.
        places: index of each query in ``records``, (Q,).
        ids: ids of the queries, (Q).
        canonical: (n,) for each document the first with the same title and text: copies of a positive are positives.
        positives: row q lists the documents relevant to query q; no row is empty.
        negatives: row q lists hard negatives of query q; rows may be empty.
        teacher: another model's scores of all positives and of all negatives, in the order of the rows, NaN where
            unknown; None where there are none.
        answers: strings that answer each query (DPR's files bring them): a document with one of them is no negative to
            be mined; None where there are none.
    """

    records: Documents
    size: int
    places: IntArray
    ids: Sequence[str]
    canonical: IntArray
    positives: Rows
    negatives: Rows
    teacher: tuple[FloatArray, FloatArray] | None = None
    answers: Sequence[Sequence[str]] | None = None

    def __len__(self) -> int:
        return len(self.places)

    @property
    def fingerprint(self) -> str:
        """Hash of documents, queries, labels, teacher scores and answers."""
        sides = (self.positives, self.negatives)
        parts = [self.places, *[part for side in sides for part in (side.tokens, side.offsets)], *(self.teacher or ())]
        answers = [] if self.answers is None else [self.answers]
        return files.fingerprint([self.records.fingerprint, self.size, *[part.tolist() for part in parts], *answers])

    def texts(self) -> list[str]:
        """Texts of the queries, (Q)."""
        return [self.records[int(place)].text for place in self.places]

    def select(self, index: IntArray) -> Labels:
        """Keep some queries, by index (Q',), in that order."""
        teacher = self.teacher
        if teacher is not None:
            teacher = teacher[0][self.positives.places(index)], teacher[1][self.negatives.places(index)]
        return replace(
            self,
            places=self.places[index],
            ids=[self.ids[number] for number in index.tolist()],
            positives=self.positives.take(index),
            negatives=self.negatives.take(index),
            teacher=teacher,
            answers=None if self.answers is None else [self.answers[number] for number in index.tolist()],
        )

    def with_negatives(self, negatives: Rows) -> Labels:
        """Return the labels with other negatives (Q rows), without teacher scores."""
        assert len(negatives) == len(self)
        teacher = self.teacher
        if teacher is not None:
            teacher = teacher[0], np.full(len(negatives.tokens), np.nan, np.float32)
        return replace(self, negatives=negatives, teacher=teacher)
