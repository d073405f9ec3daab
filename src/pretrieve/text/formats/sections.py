"""Documents of any length, in bounded memory: sections are given as records as soon as there are many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from pretrieve.text.formats.outline import Outline
from pretrieve.text.records import Record

_HELD = 1 << 20  # characters that are gathered before some are given
_LINES = 2_000  # characters of a block of lines, such as rows of a table


class Sections:
    """Headings and blocks of a long document.

    Args:
        path: the file, for places and ids.
        title: the document's own title, if it says one.

    Attributes:
        facts: gives what the document says of itself: author, date...
        page: page or slide of what is added next, from 1; 0 where there are none.
    """

    def __init__(self, path: Path, title: str = "") -> None:
        self._path, self.title = path, title
        self.facts: Callable[[], Mapping[str, object]] | None = None
        self.page = 0
        self._outline = Outline(title)
        self._headings: list[tuple[int, str]] = []
        self._lines: list[str] = []
        self._size = self._given = self._waiting = 0

    @property
    def is_empty(self) -> bool:
        """Whether no text was gathered yet."""
        return not (self._size or self._given or self._lines)

    def heading(self, level: int, text: str, *, is_text: bool = True) -> None:
        """Begin a section below the latest heading of a lower level.

        Args:
            level: from 1.
            text: of the heading.
            is_text: the heading is text of the document; else a label, such as the name of a sheet.
        """
        self.end_lines()
        text = " ".join(text.split())
        if text:
            self._outline.line = self.page
            self._headings = [*((depth, name) for depth, name in self._headings if depth < level), (level, text)]
            self._outline.heading(level, text)
            self._size += len(text) * is_text

    def block(self, text: str) -> None:
        """Add a paragraph."""
        self.end_lines()
        self._add(text)

    def line(self, text: str) -> None:
        """Add a line, such as the row of a table; lines are gathered to blocks."""
        if text.strip():
            self._lines.append(text)
            self._waiting += len(text)
        if self._waiting > _LINES:
            self.end_lines()

    def end_lines(self) -> None:
        """End a block of lines."""
        if self._lines:
            self._add("\n".join(self._lines))
            self._lines, self._waiting = [], 0

    def ready(self) -> Iterator[Record]:
        """Records, where much was gathered; to be called again and again."""
        if self._size > _HELD:
            yield from self._numbered()

    def records(self) -> Iterator[Record]:
        """What is left; a short document is one record."""
        self.end_lines()
        if self._given:
            yield from self._numbered()
        elif not self.is_empty:
            self._outline.title = self.title
            yield from map(self._paged, self._outline.records(self._path))

    def _paged(self, record: Record) -> Record:
        """A record whose lines are pages: it has the first as a field, and no lines."""
        page = record.marks[0].line if record.marks else 0
        if not page:
            return replace(record, facts=self.facts)
        facts, marks = self.facts, [mark._replace(line=0) for mark in record.marks]
        return replace(record, facts=lambda: {**(facts() if facts else {}), "page": page}, marks=marks)

    def _add(self, text: str) -> None:
        self._outline.line = self.page
        self._outline.block(text)
        self._size += len(text)

    def _numbered(self) -> Iterator[Record]:
        self._outline.title = self.title
        for record in self._outline.records(self._path):
            self._given += 1
            name = f"{self._path}#{self._given}"
            fields = {**record.fields, "id": name}
            yield replace(self._paged(record), where=name, fields=fields, parent=str(self._path))
        self._outline = Outline(self.title)
        for level, text in self._headings:
            self._outline.heading(level, text)
        self._size = 0


def named(records: Iterable[Record], where: str, name: str, title: str = "") -> Iterator[Record]:
    """Records of an outline that is one of many in a file: its own ids, and its title before those of its sections.

    Args:
        records: of ``Outline.records(as_path(where))``.
        where: place, for messages.
        name: id of the document; parts have a number after it.
        title: of the document.
    """
    for record in records:
        number = str(record.fields["id"]).removeprefix(where)
        inner = str(record.fields["title"])
        if title and inner != title and not inner.startswith(f"{title} > "):
            inner = f"{title} > {inner}" if inner else title
        fields = {"id": name + number, "title": inner, "text": record.fields["text"]}
        line = 0 if record.marks and record.marks[0].line else line_of(where)
        yield replace(record, where=where + number, fields=fields, line=line, parent=name if number else "")


def line_of(where: str) -> int:
    """The line that a place ends with, 0 if there is none."""
    number = where.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def as_path(where: str) -> Path:
    """A place in a file, for ``Outline.records``, which asks no more of a path than its name."""
    return cast(Path, where)
