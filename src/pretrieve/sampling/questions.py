"""Questions with their answers, from a file; and the sampler that draws them for training."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from pretrieve.core.disk import storage
from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.files import fingerprint
from pretrieve.core.types import Batch, IntArray, Rows, SpecialTokens
from pretrieve.sampling.batches import Address, Mixture, mixture
from pretrieve.sampling.spans import CLS, SEP, lay_out, read
from pretrieve.text.records import Note
from pretrieve.text.streams import stem, text_lines
from pretrieve.text.tokenizer import Tokenizer

_LIMIT = 1 << 20  # bytes of a line
_KEYS = ("answers", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and every answer that counts as right."""

    text: str
    answers: tuple[str, ...]


def read_questions(path: Path) -> list[Question]:
    """Read questions: JSON Lines with ``question`` and ``answers`` (or ``answer``, as NQ-open), or DPR's tables.

    DPR's tables have the suffix ``.csv`` or ``.tsv``, a tab between the question and a list of answers as Python
    writes it, and no header. All may be compressed (``.gz``, ``.zst``).

    Raises:
        UsageError: no such file, or an unknown suffix.
        DataError: a line has no question or no answer.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file with questions.")
    suffix = stem(path)[1]
    if suffix not in (".jsonl", ".ndjson", ".csv", ".tsv"):
        raise UsageError(f"{path}: questions are read from .jsonl, or from DPR's .csv and .tsv.")
    with storage(path):
        found = list(_read(path, table=suffix in (".csv", ".tsv")))
    if not found:
        raise DataError(f"{path} holds no question.")
    return found


def _read(path: Path, *, table: bool) -> Iterator[Question]:
    for item in text_lines(path, _LIMIT):
        if isinstance(item, Note):  # a guessed encoding
            continue
        if not isinstance(item, tuple):
            raise DataError(f"{item}: fix the file of questions.")
        number, line = item
        if line.strip():
            yield _question(f"{path}:{number}", *(_row(line) if table else _object(line)))


def _object(line: str) -> tuple[object, object]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(record, dict):
        return None, None
    return record.get("question"), next((record[key] for key in _KEYS if record.get(key) is not None), None)


def _row(line: str) -> tuple[object, object]:
    question, _, answers = line.partition("\t")
    try:
        return question, ast.literal_eval(answers.strip().strip('"').replace('""', '"'))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return question, None


def _question(where: str, question: object, answers: object) -> Question:
    answers = [answers] if isinstance(answers, str) else answers
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: no question: write lines like {_EXAMPLE}.")
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        raise DataError(f"{where}: no list of answers: write lines like {_EXAMPLE}.")
    return Question(text=" ".join(question.split()), answers=tuple(dict.fromkeys(answers)))


_EXAMPLE = '{"question": "...", "answers": ["..."]}'


class QuestionRows:
    """The sampler of questions: one row an example, [CLS] question [SEP].

    Attributes:
        mixture: the questions; an example's ``documents`` is the number of its question.
        bare: the questions without special tokens.
        fingerprint: of questions and answers.

    Args:
        questions: the questions.
        tokenizer: tokenizer of the encoder.
        specials: special tokens of the encoder.
        longest: maximum length of a row in tokens; longer questions are cut.

    Raises:
        DataError: a question has no token.
    """

    mixture: Mixture

    def __init__(self, questions: list[Question], tokenizer: Tokenizer, specials: SpecialTokens, longest: int) -> None:
        rows = tokenizer.encode([question.text for question in questions])
        if not rows.lengths.all():
            empty = int(np.flatnonzero(rows.lengths == 0)[0])
            raise DataError(f"the question {questions[empty].text!r} has no token: remove it.")
        self._tokenizer, self._specials, self._longest = tokenizer, specials, longest - specials.around()
        self.bare = rows
        self.mixture = mixture(None, len(rows), 1.0)
        self.fingerprint = fingerprint([[question.text, *question.answers] for question in questions])

    def of(self, questions: list[Question]) -> QuestionRows:
        """Return a sampler of other questions."""
        return QuestionRows(questions, self._tokenizer, self._specials, self._longest + self._specials.around())

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one row of each question (B,)."""
        return self.rows(items)

    def rows(self, items: IntArray) -> Batch:
        """The rows of questions (B,)."""
        one = np.ones_like(items)
        lengths = np.minimum(self.bare.lengths[items], self._longest)
        starts = np.stack([CLS * one, self.bare.offsets[:-1][items], SEP * one], axis=1)
        sizes = [(self._specials.cls is not None) * one, lengths, (self._specials.sep is not None) * one]
        rows = read(self.bare.tokens, lay_out(starts, np.stack(sizes, axis=1)), self._specials)
        return Batch(rows=rows, shape=(len(items), 1), documents=np.asarray(items))

    def without_specials(self, items: IntArray) -> Rows:
        """The questions (B,) as they are, for the reader's rows."""
        lengths = self.bare.lengths[items]
        positions = lay_out(self.bare.offsets[:-1][items][:, None], lengths[:, None])
        return read(self.bare.tokens, positions, self._specials)


class SomeQuestions:
    """The sampler of some of the questions, by their numbers; an example's ``documents`` is the number among all.

    Args:
        sampler: sampler of all questions.
        numbers: (Q',) numbers of the questions to draw.
    """

    mixture: Mixture

    def __init__(self, sampler: QuestionRows, numbers: IntArray) -> None:
        self._sampler, self._numbers = sampler, numbers
        self.mixture = mixture(None, len(numbers), 1.0)

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one row of each question (B,)."""
        return self._sampler.rows(self._numbers[items])
