"""Reading questions with their answers from a file."""

from __future__ import annotations

import ast
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.disk import storage
from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.shown import shown
from pretrieve.text import corpus
from pretrieve.text.corpus import OnBad, ReadReport
from pretrieve.text.files.streams import stem, text_lines
from pretrieve.text.records import Fault, Note

_LIMIT = 1 << 20  # bytes of a line
_QUESTION, _ANSWERS = "question", ("answers", "answer")
_EXAMPLE = 'write lines like {"question": "...", "answers": ["..."]}'
_NAMED = 20  # fields that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and every answer that counts as right."""

    text: str
    answers: tuple[str, ...]


@dataclass
class QuestionReport:
    """What reading questions found.

    Attributes:
        reading: bad lines by reason, notes, and examples of both.
        unused: number of lines with a field that is not used, by its name.
    """

    reading: ReadReport = field(default_factory=ReadReport)
    unused: Counter[str] = field(default_factory=Counter)

    def lines(self, path: Path) -> list[str]:
        """What a user should know, one line each.

        Args:
            path: the file.
        """
        named = self.unused.most_common(_NAMED)
        found = [f"{path}: the field {name!r} is not used (lines: {count:,})." for name, count in named]
        rest = len(self.unused) - len(named)
        found += [f"{path}: {rest:,} further fields are not used."] if rest else []
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in self.reading.faults.most_common())
        found += [f"{path}: left out: bad lines: {self.reading.bad:,} ({reasons})."] if reasons else []
        return [shown(line) for line in [*found, *self.reading.examples]]


def read_questions(
    path: Path, *, on_bad: OnBad = "auto", quarantine: Path | None = None, report: QuestionReport | None = None
) -> list[Question]:
    """Read questions: JSON Lines with ``question`` and ``answers`` (or ``answer``, as NQ-open), or DPR's tables.

    DPR's tables have the suffix ``.csv`` or ``.tsv``, a tab between the question and a list of answers as Python
    writes it, and no header. All may be compressed (``.gz``, ``.zst``).

    Args:
        path: the file.
        on_bad: policy for bad lines.
        quarantine: with ``on_bad="quarantine"``, the file that they are written to.
        report: counts, filled while reading.

    Raises:
        UsageError: no such file, or an unknown suffix.
        DataError: a line has no question or no answer and ``on_bad`` is fail, or no line is good.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file with questions.")
    suffix = stem(path)[1]
    if suffix not in (".jsonl", ".ndjson", ".csv", ".tsv"):
        raise UsageError(f"{path}: questions are read from .jsonl, or from DPR's .csv and .tsv.")
    report = QuestionReport() if report is None else report
    found: list[Question] = []
    with storage(path), contextlib.ExitStack() as stack:
        refuse = corpus.policy(on_bad, quarantine, stack)
        for item in _read(path, report, table=suffix in (".csv", ".tsv")):
            if isinstance(item, Fault):
                report.reading.count(item)
                refuse(item, named=True)
            else:
                found.append(item)
    if not found:
        bad = f": {report.reading.examples[0]}" if report.reading.bad else ""
        raise DataError(f"{path} holds no question{bad}.")
    return found


def _read(path: Path, report: QuestionReport, *, table: bool) -> Iterator[Question | Fault]:
    for item in text_lines(path, _LIMIT):
        if isinstance(item, Note):
            report.reading.note(item)
        elif isinstance(item, Fault):
            yield item
        elif item[1].strip():
            where = f"{path}:{item[0]}"
            question, answers, unused = _row(item[1]) if table else _object(item[1])
            made = _question(where, question, answers, item[1])
            if isinstance(made, Question):
                report.unused.update(unused)
            yield made


_Row = tuple[object, object, list[str]]  # question, answers, names of fields that are not used


def _object(line: str) -> _Row:
    try:
        record: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None, None, []
    if not isinstance(record, dict):
        return None, None, []
    key = next((key for key in _ANSWERS if record.get(key) is not None), _ANSWERS[0])
    empty: tuple[object, ...] = (None, "", [], {})
    unused = [name for name, value in record.items() if name not in (_QUESTION, key) and value not in empty]
    return record.get(_QUESTION), record.get(key), unused


def _row(line: str) -> _Row:
    question, _, answers = line.partition("\t")
    try:
        return question, ast.literal_eval(answers.strip().strip('"').replace('""', '"')), []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return question, None, []


def _question(where: str, question: object, answers: object, line: str) -> Question | Fault:
    answers = [answers] if isinstance(answers, str) else answers
    if not isinstance(question, str) or not question.strip():
        return Fault(where, "no question", _EXAMPLE, line)
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        return Fault(where, "no list of answers", _EXAMPLE, line)
    return Question(text=" ".join(question.split()), answers=tuple(dict.fromkeys(answers)))
