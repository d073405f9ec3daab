"""The sampler that draws questions for training; ``question_files.py`` reads them."""

from __future__ import annotations

import numpy as np

from pretrieve.core.errors import DataError
from pretrieve.core.files import fingerprint
from pretrieve.core.types import Batch, IntArray, Rows, SpecialTokens
from pretrieve.sampling.batches import Address, Mixture, mixture
from pretrieve.sampling.question_files import Question as Question
from pretrieve.sampling.question_files import read_questions as read_questions
from pretrieve.sampling.spans import CLS, SEP, lay_out, read
from pretrieve.text.tokenizer import Tokenizer


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
