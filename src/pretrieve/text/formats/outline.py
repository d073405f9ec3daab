"""Long structured texts cut at their headings: the path of headings becomes the title (free supervision)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pretrieve.text.files.streams import whole_text
from pretrieve.text.records import Fault, Note, Record

WHOLE = 2_000  # characters up to which a document stays whole: about one passage
PART = 8_000  # characters of the longest part that is cut at paragraphs
_FORCED = 4 * PART  # characters after which even a line is cut
_DEEPEST = 10  # levels of headings that are told apart
_INSIDE_WORDS = re.compile("[\u00ad\u2060\ufeff]")  # shown as nothing: they would cut words


@dataclass
class Outline:
    """Blocks of text under headings, gathered in reading order.

    Attributes:
        title: the document's own title, if it says one.
    """

    title: str = ""
    _path: list[tuple[int, str]] = field(default_factory=list)
    _sections: list[tuple[tuple[str, ...], list[str]]] = field(default_factory=lambda: [((), [])])
    _has_main_heading: bool = False

    def heading(self, level: int, text: str) -> None:
        """Begin a section below the latest heading of a lower level."""
        text = " ".join(_INSIDE_WORDS.sub("", text).split())
        level = min(level, _DEEPEST)
        if text:
            self._has_main_heading |= level == 1
            self._path = [*((depth, name) for depth, name in self._path if depth < level), (level, text)]
            self._sections.append((tuple(name for _, name in self._path), []))

    def block(self, text: str) -> None:
        """Add a paragraph, list or code block to the section."""
        text = _INSIDE_WORDS.sub("", text).strip()
        if text:
            self._sections[-1][1].append(text)

    def extend(self, other: Outline) -> None:
        """Add the headings and blocks of another outline below what is there."""
        for names, blocks in other._sections:
            if names:
                self.heading(min(len(names), _DEEPEST), names[-1])
            for block in blocks:
                self.block(block)

    def records(self, path: Path, name: str = "") -> Iterator[Record]:
        """One record for a short document, else one for each section, and for each part of a very long section.

        Args:
            path: the file.
            name: what the document is called in the file, where the file holds several.
        """
        where = name or f"{path}:1"
        name = name or str(path)
        if sum(len(block) for names, blocks in self._sections for block in [*names[-1:], *blocks]) <= WHOLE:
            yield Record(where, {"id": name, **self._as_one()}, fixed=True)
            return
        number = 0
        for names, blocks in _with_text(self._sections):
            for part in parts(blocks):
                number += 1
                fields = {"id": f"{name}#{number}", "title": self._title(names), "text": part}
                yield Record(f"{name}#{number}", fields, fixed=True)

    def _title(self, names: tuple[str, ...]) -> str:
        """The path of headings, below the document's own title where no heading is the title of all."""
        own = (self.title,) if self.title and not self._has_main_heading and names[:1] != (self.title,) else ()
        return " > ".join((*own, *names)) or self.title

    def _as_one(self) -> dict[str, str]:
        title = self.title
        texts: list[str] = []
        for index, (names, blocks) in enumerate(self._sections):
            if index and not texts and not title:
                title = names[-1]
            elif index and names[-1] != title:
                texts.append(names[-1])
            texts += blocks
        return {"title": title, "text": "\n\n".join(texts) or title}


_Section = tuple[tuple[str, ...], list[str]]


def _with_text(sections: list[_Section]) -> Iterator[_Section]:
    """The sections that have text; a heading with nothing below becomes text of the section above."""
    held: _Section | None = None
    for index, (names, blocks) in enumerate(sections):
        below = sections[index + 1][0] if index + 1 < len(sections) else ()
        if blocks:
            if held is not None:
                yield held
            held = (names, blocks)
        elif names and below[: len(names)] != names:
            if held is None or held[0] != names[:-1]:
                if held is not None:
                    yield held
                held = (names[:-1], [])
            held[1].append(names[-1])
    if held is not None:
        yield held


def parts(blocks: list[str]) -> Iterator[str]:
    """Blocks joined to parts of at most 8,000 characters; a longer block is cut at line ends, else it is one part."""
    part: list[str] = []
    budget = PART
    for block in blocks:
        for piece in _pieces(block):
            if part and len(piece) > budget:
                yield "\n\n".join(part)
                part, budget = [], PART
            part.append(piece)
            budget -= len(piece) + 2
    if part:
        yield "\n\n".join(part)


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
