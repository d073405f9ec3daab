"""Long structured texts cut at their headings: the path of headings becomes the title (free supervision)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pretrieve.text.records import Record

WHOLE = 2_000  # characters up to which a document stays whole: about one passage
PART = 8_000  # characters of the longest part that is cut at paragraphs


@dataclass
class Outline:
    """Blocks of text under headings, gathered in reading order.

    Attributes:
        title: the document's own title, if it says one.
    """

    title: str = ""
    _path: list[tuple[int, str]] = field(default_factory=list)
    _sections: list[tuple[tuple[str, ...], list[str]]] = field(default_factory=lambda: [((), [])])

    def heading(self, level: int, text: str) -> None:
        """Begin a section below the latest heading of a lower level."""
        text = " ".join(text.split())
        if text:
            self._path = [*((depth, name) for depth, name in self._path if depth < level), (level, text)]
            self._sections.append((tuple(name for _, name in self._path), []))

    def block(self, text: str) -> None:
        """Add a paragraph, list or code block to the section."""
        if text.strip():
            self._sections[-1][1].append(text.strip())

    def records(self, path: Path) -> Iterator[Record]:
        """One record for a short document, else one for each section, and for each part of a very long section."""
        sections = [(names, blocks) for names, blocks in self._sections if blocks]
        if sum(len(block) for _, blocks in sections for block in blocks) <= WHOLE:
            yield Record(f"{path}:1", {"id": str(path), **self._as_one()}, fixed=True)
            return
        number = 0
        for names, blocks in sections:
            for part in parts(blocks):
                number += 1
                title = " > ".join(names) or self.title
                yield Record(f"{path}#{number}", {"id": f"{path}#{number}", "title": title, "text": part}, fixed=True)

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


def parts(blocks: list[str]) -> Iterator[str]:
    """Blocks joined to parts of at most 8,000 characters; a longer block is a part of its own."""
    part: list[str] = []
    budget = PART
    for block in blocks:
        if part and len(block) > budget:
            yield "\n\n".join(part)
            part, budget = [], PART
        part.append(block)
        budget -= len(block) + 2
    if part:
        yield "\n\n".join(part)
