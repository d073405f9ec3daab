"""Long structured texts cut at their headings: the path of headings becomes the title (free supervision)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pretrieve.text.files.streams import whole_text
from pretrieve.text.records import Fault, Mark, Note, Record

WHOLE = 2_000  # characters up to which a document stays whole: about one passage
PART = 8_000  # characters of the longest part that is cut at paragraphs
_FORCED = 4 * PART  # characters after which even a line is cut
_DEEPEST = 10  # levels of headings that are told apart
_INSIDE_WORDS = re.compile("[\u00ad\u2060\ufeff]")  # shown as nothing: they would cut words


class _Section(NamedTuple):
    """The path of headings of a section, its blocks, and the lines of the file where they and the heading begin."""

    names: tuple[str, ...]
    blocks: list[str]
    lines: list[int]
    line: int = 0


@dataclass
class Outline:
    """Blocks of text under headings, gathered in reading order.

    Attributes:
        title: the document's own title, if it says one.
        line: line of the file where what is added next begins; 0 if it is not known.
        facts: gives what the document says of itself: author, date...
    """

    title: str = ""
    line: int = 0
    facts: Callable[[], Mapping[str, object]] | None = None
    _path: list[tuple[int, str]] = field(default_factory=list)
    _sections: list[_Section] = field(default_factory=lambda: [_Section((), [], [])])
    _has_main_heading: bool = False

    def heading(self, level: int, text: str) -> None:
        """Begin a section below the latest heading of a lower level."""
        text = " ".join(_INSIDE_WORDS.sub("", text).split())
        level = min(level, _DEEPEST)
        if text:
            self._has_main_heading |= level == 1
            self._path = [*((depth, name) for depth, name in self._path if depth < level), (level, text)]
            self._sections.append(_Section(tuple(name for _, name in self._path), [], [], self.line))

    def block(self, text: str) -> None:
        """Add a paragraph, list or code block to the section."""
        text = _INSIDE_WORDS.sub("", text).strip()
        if text:
            self._sections[-1].blocks.append(text)
            self._sections[-1].lines.append(self.line)

    def extend(self, other: Outline) -> None:
        """Add the headings and blocks of another outline below what is there."""
        for section in other._sections:
            if section.names:
                self.heading(min(len(section.names), _DEEPEST), section.names[-1])
            for block in section.blocks:
                self.block(block)

    def records(self, path: Path, name: str = "") -> Iterator[Record]:
        """One record for a short document, else one for each section, and for each part of a very long section.

        Args:
            path: the file.
            name: what the document is called in the file, where the file holds several.
        """
        where = name or f"{path}:1"
        name = name or str(path)
        if sum(len(block) for found in self._sections for block in [*found.names[-1:], *found.blocks]) <= WHOLE:
            fields, marks = self._as_one()
            yield Record(where, {"id": name, **fields}, fixed=True, marks=marks, facts=self.facts)
            return
        number = 0
        for section in _with_text(self._sections):
            for part, marks in _marked_parts(section):
                number += 1
                fields = {"id": f"{name}#{number}", "title": self._title(section.names), "text": part}
                where = f"{name}#{number}"
                yield Record(where, fields, fixed=True, marks=marks, facts=self.facts, parent=name)

    def _title(self, names: tuple[str, ...]) -> str:
        """The path of headings, below the document's own title where no heading is the title of all."""
        own = (self.title,) if self.title and not self._has_main_heading and names[:1] != (self.title,) else ()
        return " > ".join((*own, *names)) or self.title

    def _as_one(self) -> tuple[dict[str, str], list[Mark]]:
        title = self.title
        texts: list[str] = []
        marks: list[Mark] = []
        row = 0
        for index, section in enumerate(self._sections):
            blocks = [*zip(section.blocks, section.lines, strict=True)]
            if index and not texts and not title:
                title = section.names[-1]
            elif index and section.names[-1] != title:
                blocks.insert(0, (section.names[-1], section.line))
            for block, line in blocks:
                marks.append(Mark(row, line, section.names))
                row += block.count("\n") + 2
            texts += [block for block, _ in blocks]
        return {"title": title, "text": "\n\n".join(texts) or title}, marks


def _with_text(sections: list[_Section]) -> Iterator[_Section]:
    """The sections that have text; a heading with nothing below becomes text of the section above."""
    held: _Section | None = None
    for index, section in enumerate(sections):
        names = section.names
        below = sections[index + 1].names if index + 1 < len(sections) else ()
        if section.blocks:
            if held is not None:
                yield held
            held = section
        elif names and below[: len(names)] != names:
            if held is None or held.names != names[:-1]:
                if held is not None:
                    yield held
                held = _Section(names[:-1], [], [])
            held.blocks.append(names[-1])
            held.lines.append(section.line)
    if held is not None:
        yield held


def located(text: str, line: int) -> Iterator[tuple[str, Mark]]:
    """A text in parts of at most 8,000 characters, cut at line ends, and where they stand.

    Args:
        text: the text.
        line: line of the file where it begins.
    """
    for part, marks in _marked_parts(_Section((), [text], [line])):
        yield part, marks[0]


def _marked_parts(section: _Section) -> Iterator[tuple[str, list[Mark]]]:
    """Blocks joined to parts of at most 8,000 characters, and where they stand.

    A longer block is cut at line ends, else it is one part.
    """
    part: list[str] = []
    marks: list[Mark] = []
    budget, row = PART, 0
    for block, line in zip(section.blocks, section.lines, strict=True):
        before = rows = 0  # characters and line ends of the block that were given
        for piece in _pieces(block):
            if part and len(piece) > budget:
                yield "\n\n".join(part), marks
                part, marks, budget, row = [], [], PART, 0
            start = block.find(piece, before)
            rows += block.count("\n", before, start)
            marks.append(Mark(row, line and line + rows, section.names))
            before, rows = start + len(piece), rows + piece.count("\n")
            part.append(piece)
            row += piece.count("\n") + 2
            budget -= len(piece) + 2
    if part:
        yield "\n\n".join(part), marks


def _pieces(block: str) -> Iterator[str]:
    """A block cut at line ends to pieces of 8,000 characters; a line of more than 32,000 is cut at a space."""
    start = 0
    while len(block) - start > PART:
        stop = block.rfind("\n", start, start + PART)
        if stop <= start:
            stop = block.find("\n", start, start + _FORCED)
        if stop <= start and len(block) - start <= _FORCED:
            break
        if stop <= start:
            stop = block.rfind(" ", start, start + PART)
        stop = stop if stop > start else start + PART
        yield block[start:stop].strip("\n")
        start = stop
    yield block[start:].strip("\n")


def outlined(
    path: Path, limit: int, outline: Callable[[str], Outline], charset: Callable[[bytes], str | None] | None = None
) -> Iterator[Record | Fault | Note]:
    """Read a file whose text becomes an outline.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
        outline: makes the outline of the text.
        charset: finds the declared charset in the first bytes.
    """
    content = whole_text(path, limit, charset)
    if isinstance(content, Fault):
        yield content
        return
    yield from content.notes
    yield from outline(content.text).records(path)
