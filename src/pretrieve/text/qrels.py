"""Qrels: which documents are relevant to a query, in three columns as BEIR has them, or in TREC's four."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pretrieve.core.errors import DataError
from pretrieve.text.beir_files import beir_lines, decoded

_WHOLE = re.compile(r"([+-]?[0-9]{1,9})(\.0*)?")  # 1.0 is 1
_ITERATIONS = ("0", "q0")  # TREC's second column where it says nothing; another value may be a subtopic


@dataclass
class Qrels:
    """Grades of documents by query.

    Attributes:
        grades: for each query the ids and grades of documents.
        first: ``file:line`` of each query's first line.
        repeated: number of lines that say what an earlier one says.
    """

    grades: dict[str, dict[str, int]] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    repeated: int = 0

    def add(self, query: str, document: str, grade: int, where: str) -> None:
        """Take a line.

        Raises:
            DataError: the document has another grade already.
        """
        self.first.setdefault(query, where)
        known = self.grades.setdefault(query, {})
        if document not in known:
            known[document] = grade
        elif known[document] == grade:
            self.repeated += 1
        else:
            raise DataError(
                f"{where}: document {document!r} of query {query!r} has grade {grade} here and {known[document]} in a "
                "line before: leave one of them."
            )


def parse_qrels(path: Path) -> Qrels:
    """Read a file of qrels, with or without a header.

    Columns are ``query document grade``, or ``query 0 document grade`` as in TREC's files; parted by tabs, or by spaces
    where a line has no tab.

    Args:
        path: the file, perhaps packed.

    Raises:
        DataError: a line cannot be read, or a document has two grades for a query; the text names ``file:line``.
    """
    found, columns = Qrels(), 0
    for number, (line, where) in enumerate(beir_lines(path)):
        text = decoded(line, where)
        fields = text.split("\t") if "\t" in text else text.split()
        if number == 0 and _is_header(fields):
            continue
        columns = columns or len(fields)
        query, document, grade = _columns(fields, columns, where)
        found.add(query, document, _grade(grade, where), where)
    return found


def binary(qrels: Mapping[str, Mapping[str, int]], relevant_from: int) -> tuple[dict[str, dict[str, int]], str]:
    """Qrels in which a grade is 1 or 0.

    Args:
        qrels: for each query the ids and grades of documents.
        relevant_from: the lowest grade that is 1.

    Returns:
        The same queries and documents with these grades, and what was changed, in a sentence.
    """
    made = {query: {name: int(grade >= relevant_from) for name, grade in one.items()} for query, one in qrels.items()}
    positive = sum(grade > 0 for one in qrels.values() for grade in one.values())
    kept = sum(sum(one.values()) for one in made.values())
    lost = sum(
        any(grade > 0 for grade in qrels[query].values()) and not any(one.values()) for query, one in made.items()
    )
    return made, (
        f"Grades are binary: {relevant_from} and above count 1, which are {kept:,} of {positive:,} above 0; "
        f"{lost:,} queries have no relevant document because of it, and count 0."
    )


def _is_header(fields: Sequence[str]) -> bool:
    """Whether names of columns stand in the first line: no digit is in them."""
    return len(fields) in (3, 4) and not any(character.isdigit() for name in fields for character in name)


def _columns(fields: Sequence[str], columns: int, where: str) -> tuple[str, str, str]:
    """Query, document and grade of a line."""
    if len(fields) not in (3, 4) or len(fields) != columns:
        expected = "four fields were" if columns == 4 else "three fields parted by tabs were"
        raise DataError(f"{where}: {expected} expected (query, {'0, ' * (columns == 4)}document, grade).")
    if len(fields) == 4 and fields[1].strip().lower() not in _ITERATIONS:
        raise DataError(
            f"{where}: the second of four columns is {fields[1]!r}, and 0 or Q0 in TREC's qrels: leave it out if "
            "the others are query, document and grade."
        )
    query, document, grade = fields[0], fields[-2], fields[-1]
    for name, value in (("query", query), ("document", document)):
        if not value.strip():
            raise DataError(f"{where}: the id of the {name} is empty.")
        if "\0" in value:
            raise DataError(f"{where}: NUL character in the id of the {name}.")
    return query, document, grade


def _grade(text: str, where: str) -> int:
    whole = _WHOLE.fullmatch(text.strip())
    if whole is None:
        raise DataError(f"{where}: the grade {text!r} is not a whole number.")
    return int(whole[1])
