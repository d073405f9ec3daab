"""Presentations of PowerPoint: a slide with its tables and its speaker's notes is a section, titled by its title."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.container import Container, read_parts
from pretrieve.text.formats.sections import Sections
from pretrieve.text.formats.xml_events import Event
from pretrieve.text.records import Fault, Record

SUFFIXES = (".pptx", ".pptm")
_MAIN = "ppt/presentation.xml"
_TITLES = ("title", "ctrTitle")
_SMALL = ("sldNum", "dt", "ftr", "hdr", "sldImg")  # placeholders of numbers, dates, headers and footers


def read(path: Path, limit: int) -> Iterator[Record | Fault]:
    """Read a presentation as one record if short, else as one record a slide.

    Args:
        path: the file.
        limit: most bytes of one tag of its XML.
    """
    return read_parts(path, limit, _MAIN, _gather)


def _gather(container: Container, sections: Sections) -> Iterator[Record]:
    sections.title = container.text("docProps/core.xml", "title")
    sections.facts = container.properties("docProps/core.xml").copy
    for number, name in enumerate(_slides(container), start=1):
        _slide(container, name, number, sections)
        yield from sections.ready()


def _slides(container: Container) -> Iterator[str]:
    """The names of the slides in their order."""
    related = container.related(_MAIN)
    for kind, value, attributes, _ in container.events(_MAIN):
        if kind == "start" and value == "sldId":
            yield related.get(attributes.get(":id", ""), ("", ""))[1]


def _slide(container: Container, name: str, number: int, sections: Sections) -> None:
    slide = _Shapes()
    for event in container.events(name):
        slide.take(event)
    sections.page = number
    sections.heading(1, slide.title or f"Slide {number}", is_text=False)
    for text in slide.texts or [slide.title]:
        sections.block(text)
    for kind, target in container.related(name).values():
        if kind == "notesSlide":
            notes = _Shapes()
            for event in container.events(target):
                notes.take(event)
            for text in notes.texts:
                sections.block(text)


class _Shapes:
    """The title and the texts of a slide.

    Attributes:
        title: of the slide, if it has one.
        texts: of its shapes and tables.
    """

    def __init__(self) -> None:
        self.title = ""
        self.texts: list[str] = []
        self._kind = ""  # of the placeholder
        self._words: list[str] = []
        self._lines: list[str] = []
        self._cells: list[str] | None = None
        self._text = False

    def take(self, event: Event) -> None:
        """Take the next event."""
        kind, value, attributes, _ = event
        if kind == "text":
            if self._text:
                self._words.append(value)
        elif kind == "start":
            self._start(value, attributes)
        else:
            self._end(value)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "t":
            self._text = True
        elif name == "ph":
            self._kind = attributes.get("type", "body")
        elif name == "br":
            self._words.append("\n")
        elif name == "tr":
            self._cells = []

    def _end(self, name: str) -> None:
        if name == "t":
            self._text = False
        elif name == "p":
            self._lines.append("".join(self._words).strip())
            self._words = []
        elif name == "tc" and self._cells is not None:
            self._cells.append(" ".join(self._take_lines()))
        elif name == "tr" and self._cells is not None:
            self._lines.append(" | ".join(cell for cell in self._cells if cell))
            self._cells = None
        elif name in ("sp", "graphicFrame"):
            self._shape()

    def _shape(self) -> None:
        lines, kind = self._take_lines(), self._kind
        self._kind = ""
        if kind in _TITLES and not self.title:
            self.title = " ".join(lines)
        elif lines and kind not in _SMALL:
            self.texts.append("\n".join(lines))

    def _take_lines(self) -> list[str]:
        """The lines since the last call; in a row, those of the cell."""
        lines, self._lines = self._lines, []
        return [line for line in lines if line]
