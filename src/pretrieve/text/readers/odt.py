"""OpenDocument texts, presentations and spreadsheets: cut at headings, slides and sheets; comments are left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.files.streams import DamagedStreamError
from pretrieve.text.formats.container import Container, read_parts
from pretrieve.text.formats.sections import Sections
from pretrieve.text.formats.xml_events import Event
from pretrieve.text.records import Fault, Record

SUFFIXES = (".odt", ".odp", ".ods")
_MAIN = "content.xml"
_DROPPED = frozenset({"tracked-changes", "annotation", "automatic-styles", "forms", "sequence-decls", "scripts"})
_BREAKS = {"tab": "\t", "line-break": "\n"}
_SPACES = 100  # most spaces of one element


def read(path: Path, limit: int) -> Iterator[Record | Fault]:
    """Read a document as one record if short, else as one record a section, slide or sheet.

    Args:
        path: the file.
        limit: most bytes of one tag of its XML.
    """
    return read_parts(path, limit, _MAIN, _gather)


def _gather(container: Container, sections: Sections) -> Iterator[Record]:
    if b"encryption-data" in container.bytes("META-INF/manifest.xml"):
        raise DamagedStreamError("encrypted")
    sections.title = container.text("meta.xml", "title")
    sections.facts = container.properties("meta.xml").copy
    body = _Body(sections)
    for event in container.events(_MAIN):
        body.take(event)
        yield from sections.ready()


class _Body:
    """From events to paragraphs and rows."""

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._words: list[str] = []
        self._rows: list[list[str]] = []  # cells of the rows that are open: tables may stand in cells
        self._levels: list[int] = []  # of the paragraphs that are open, 0 for those that are no heading
        self._dropped = self._page = 0
        self._spreadsheet = False

    def take(self, event: Event) -> None:
        """Take the next event."""
        kind, value, attributes, _ = event
        if self._dropped or (kind == "start" and value in _DROPPED):
            self._dropped += (kind == "start") - (kind == "end")
        elif kind == "text":
            if self._levels:
                self._words.append(value)
        elif kind == "start":
            self._start(value, attributes)
        else:
            self._end(value)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("p", "h"):
            self._flush()
            level = attributes.get(":outline-level", "1")
            self._levels.append(int(level) if name == "h" and level.isdecimal() else 0)
        elif name in _BREAKS:
            self._words.append(_BREAKS[name])
        elif name == "s":
            count = attributes.get(":c", "1")
            self._words.append(" " * (min(int(count), _SPACES) if count.isdecimal() else 1))
        elif name == "page":
            self._page += 1
            self._sections.heading(1, f"Slide {self._page}", is_text=False)
        elif name == "table" and not self._rows:
            self._sections.end_lines()
            if not self._levels and attributes.get(":name") and self._spreadsheet:
                self._sections.heading(1, attributes[":name"], is_text=False)
        else:
            self._open_row(name)

    def _open_row(self, name: str) -> None:
        if name == "spreadsheet":
            self._spreadsheet = True
        elif name == "table-row":
            self._flush()
            self._rows.append([])
        elif name == "table-cell" and self._rows:
            self._rows[-1].append("")

    def _end(self, name: str) -> None:
        if name in ("p", "h") and self._levels:
            self._flush()
            self._levels.pop()
        elif name == "table-row" and self._rows:
            self._give(" | ".join(cell for cell in self._rows.pop() if cell), line=True)
        elif name == "table" and not self._rows:
            self._sections.end_lines()

    def _flush(self) -> None:
        text = "".join(self._words).strip()
        self._words = []
        if text and self._levels and self._levels[-1] and not self._rows:
            self._sections.heading(self._levels[-1], text)
        elif text:
            self._give(text)

    def _give(self, text: str, *, line: bool = False) -> None:
        if self._rows and self._rows[-1]:
            cell = " ".join(text.split())
            self._rows[-1][-1] = f"{self._rows[-1][-1]} {cell}".strip()
        elif line:
            self._sections.line(text)
        else:
            self._sections.block(text)
