"""Word documents: paragraphs, lists, tables and notes; cut at headings. Headers, footers and comments are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.container import Container, read_parts
from pretrieve.text.formats.sections import Sections
from pretrieve.text.formats.xml_events import Event
from pretrieve.text.records import Fault, Record

SUFFIXES = (".docx", ".docm")
_MAIN = "word/document.xml"
_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_TITLE = 0  # level of the style of a title


def read(path: Path, limit: int) -> Iterator[Record | Fault]:
    """Read a document as one record if short, else as one record a section, titled ``Guide > Install``.

    Args:
        path: the file.
        limit: most bytes of one tag of its XML.
    """
    return read_parts(path, limit, _MAIN, _gather)


def _gather(container: Container, sections: Sections) -> Iterator[Record]:
    sections.title = container.text("docProps/core.xml", "title")
    sections.facts = container.properties("docProps/core.xml").copy
    body = _Body(sections, dict(_levels(container)))
    for part in (_MAIN, "word/footnotes.xml", "word/endnotes.xml"):
        for event in container.events(part):
            body.take(event)
            yield from sections.ready()


def _levels(container: Container) -> Iterator[tuple[str, int]]:
    """The level of headings by the id of their style: names of built-in styles are English in every language."""
    style = ""
    for kind, value, attributes, _ in container.events("word/styles.xml"):
        if kind != "start":
            continue
        if value == "style":
            style = attributes.get(":styleId", "")
        elif value == "name" and style:
            name = attributes.get(":val", "")
            if found := _HEADING.fullmatch(name):
                yield style, int(found[1])
            elif name.lower() == "title":
                yield style, _TITLE
        elif value == "outlineLvl" and style and attributes.get(":val", "").isdecimal():
            yield style, min(int(attributes[":val"]) + 1, 10)


class _Body:
    """From events to paragraphs and rows."""

    def __init__(self, sections: Sections, levels: dict[str, int]) -> None:
        self._sections, self._levels = sections, levels
        self._words: list[str] = []
        self._rows: list[list[str]] = []  # cells of the rows that are open: tables may stand in cells
        self._level: int | None = None
        self._text = False
        self._dropped = 0  # depth inside a copy for older programs

    def take(self, event: Event) -> None:
        """Take the next event."""
        kind, value, attributes, _ = event
        if self._dropped or (kind == "start" and value == "Fallback"):
            self._dropped += (kind == "start") - (kind == "end")
        elif kind == "text":
            if self._text:
                self._words.append(value)
        elif kind == "start":
            self._start(value, attributes)
        else:
            self._end(value)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "t":
            self._text = True
        elif name in _BREAKS and not (name == "tab" and attributes):  # else a tab stop
            self._words.append(_BREAKS[name])
        elif name == "pStyle":
            self._level = self._levels.get(attributes.get(":val", ""))
        elif name == "outlineLvl" and attributes.get(":val", "").isdecimal():
            self._level = min(int(attributes[":val"]) + 1, 10)
        elif name == "tr":
            self._flush()
            self._rows.append([])
        elif name == "tc" and self._rows:
            self._flush()
            self._rows[-1].append("")

    def _end(self, name: str) -> None:
        if name == "t":
            self._text = False
        elif name in ("p", "tc"):
            self._flush()
        elif name == "tr" and self._rows:
            row = " | ".join(cell for cell in self._rows.pop() if cell)
            self._give(row, line=True)
        elif name == "tbl" and not self._rows:
            self._sections.end_lines()

    def _flush(self) -> None:
        """End a paragraph."""
        text, level = "".join(self._words).strip(), self._level
        self._words, self._level = [], None
        if not text:
            return
        if self._rows or level is None or level > 9:
            self._give(text)
        elif level == _TITLE:
            self._sections.title = self._sections.title or " ".join(text.split())
            self._sections.heading(1, text) if self._sections.is_empty else self._sections.block(text)
        else:
            self._sections.heading(level + 1, text)

    def _give(self, text: str, *, line: bool = False) -> None:
        if self._rows and self._rows[-1]:
            cell = " ".join(text.split())
            self._rows[-1][-1] = f"{self._rows[-1][-1]} {cell}".strip()
        elif line:
            self._sections.line(text)
        else:
            self._sections.block(text)
