"""Answering questions with a reader of ``pretrieve read``, and evaluating its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.arrays import load_array
from pretrieve.core.config import options_of
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document, IntArray
from pretrieve.evaluation.answers import answer_recall, has_answer, matcher
from pretrieve.finetuning.open_qa import OpenQuestionAnswering, ReadingOptions
from pretrieve.models import devices
from pretrieve.models.heads import kept_heads, start_from
from pretrieve.pipeline.qa.train_reader import (
    KIND,
    LONGEST_QUESTION,
    READER,
    RETRIEVER,
    STORE,
    VECTORS,
    open_models,
)
from pretrieve.pipeline.run.sources import DOCUMENTS
from pretrieve.sampling.questions import Question, QuestionRows
from pretrieve.text.documents import Documents
from pretrieve.text.encoding import pieces
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer

CUTS = (1, 5, 20, 100)  # of answer recall
_BATCH = 16  # questions answered at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer and where it was read.

    Attributes:
        question: the question.
        text: the answer, as in the document.
        id: id of the document.
        title: title of the document.
        block: the text that contains the answer.
        score: score of the span, including the block's retriever score.
    """

    question: str
    text: str
    id: str
    title: str
    block: str
    score: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """A retriever, a reader, and the documents to answer from.

    Attributes:
        objective: retriever and reader.
        documents: the documents, on disk.
        store: their tokens.
    """

    objective: OpenQuestionAnswering
    documents: Documents
    store: Store

    @staticmethod
    def open(folder: Path) -> Answerer:
        """Open the output of ``train_reader``.

        Raises:
            UsageError: there is no finished reader.
            CorruptError: it is damaged.
        """
        meta = files.read_manifest(folder, KIND)
        encoders, reader, vocabulary = open_models(folder / RETRIEVER, str(folder / READER))
        documents, store = Documents.open(folder / DOCUMENTS), Store.open(folder / STORE)
        sampler = QuestionRows([], vocabulary, encoders[0].specials, min(LONGEST_QUESTION, encoders[0].max_length))
        options = options_of(ReadingOptions, meta["options"])
        vectors = np.array(load_array(folder / VECTORS))
        objective = OpenQuestionAnswering(encoders, reader, store, sampler, None, options, meta["seed"], vectors)
        start_from(objective.spans, kept_heads(reader), "spans")
        devices.place(objective)
        return Answerer(objective=objective.eval(), documents=documents, store=store)

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answer questions.

        Raises:
            UsageError: a question is empty.
        """
        return [answer for answer, _ in self._answered([Question(text=text, answers=()) for text in questions])]

    def evaluate(self, questions: Sequence[Question], *, patterns: bool = False) -> dict[str, Any]:
        """Evaluate answers: exact match, and the share of questions with an answer among the first blocks.

        Args:
            questions: with their answers.
            patterns: the answers are regular expressions (CuratedTrec).

        Raises:
            DataError: a pattern cannot be read.
        """
        right, holds = [], []
        for (answer, blocks), question in zip(self._answered(questions), questions, strict=True):
            right.append(matcher(patterns)(answer.text, question.answers))
            texts = (self._block(int(block)) for block in blocks)
            holds.append([has_answer(text, question.answers, patterns=patterns) for text in texts])
        return {
            "questions": len(questions),
            "exact_match": float(np.mean(right)),
            "answer_recall": {str(cut): share for cut, share in answer_recall(np.array(holds), CUTS).items()},
        }

    def _answered(self, questions: Sequence[Question]) -> list[tuple[Answer, IntArray]]:
        """The answer of each question, and the blocks that were retrieved for it, best first."""
        if not all(question.text.strip() for question in questions):
            raise UsageError("a question is empty: give a question.")
        found: list[tuple[Answer, IntArray]] = []
        sampler = self.objective.questions.of(list(questions))
        self.objective.questions = sampler
        for first in range(0, len(questions), _BATCH):
            numbers = np.arange(first, min(first + _BATCH, len(questions)))
            batch = sampler.rows(numbers)
            starts, stops, _, scores = self.objective.read(batch)
            blocks = self.objective.retrieve(batch.rows, CUTS[-1])
            for row, number in enumerate(numbers):
                answer = self._described(
                    questions[int(number)].text, int(starts[row]), int(stops[row]), float(scores[row])
                )
                found.append((answer, blocks[row]))
        return found

    def _described(self, question: str, start: int, stop: int, score: float) -> Answer:
        block = int(np.searchsorted(self.objective.search_blocks.starts, start, side="right")) - 1
        document = self._document(block)
        return Answer(
            question=question,
            text=self._text(block, start, stop),
            id=document.id,
            title=document.title,
            block=self._block(block),
            score=score,
        )

    def _block(self, block: int) -> str:
        search_blocks = self.objective.search_blocks
        return self._text(block, int(search_blocks.starts[block]), int(search_blocks.stops[block]))

    def _document(self, block: int) -> Document:
        return self.documents[int(self.store.origins[self.objective.search_blocks.documents[block]])]

    def _text(self, block: int, start: int, stop: int) -> str:
        """The characters of tokens ``start`` to ``stop`` of a block."""
        body = int(self.store.bodies[self.objective.search_blocks.documents[block]])
        return original(self._document(block).text, self.store.tokenizer, start - body, stop - body)


def original(text: str, tokenizer: Tokenizer, start: int, stop: int) -> str:
    """Return the characters that tokens ``start`` to ``stop`` of a text were made of.

    Args:
        text: of a document, as it was encoded into a store.
        tokenizer: the store's.
        start: first token, from 0.
        stop: one past the last token.
    """
    parts = []
    for piece in pieces(text):
        offsets = tokenizer.backend.encode(piece, add_special_tokens=False).offsets
        inside = offsets[max(start, 0) : max(stop, 0)]
        if inside:
            parts.append(piece[inside[0][0] : inside[-1][1]])
        start, stop = start - len(offsets), stop - len(offsets)
        if stop <= 0:
            break
    return "".join(parts).strip()
