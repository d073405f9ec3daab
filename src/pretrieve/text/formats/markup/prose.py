"""XML of any kind, such as DocBook, JATS and TEI: the text of its elements, cut at the titles of sections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.sections import Sections
from pretrieve.text.formats.xml_events import Event
from pretrieve.text.records import Fault, Note, Record

_TITLES = frozenset({"title", "head", "article-title"})
_LEFT_OUT = """
journal-meta contrib-group aff permissions ref-list pub-date history author-notes article-id article-categories
self-uri teiHeader revhistory script style
"""
_DROPPED = frozenset(_LEFT_OUT.split())  # what articles say about themselves, and programs
_INLINE_TAGS = """
a abbr b bold code command em emphasis ext-link filename firstterm footnoteref formula hi i inline-formula italic link
literal monospace named-content olink option phrase quote ref replaceable sc small span strong styled-content sub
subscript sup superscript systemitem term tt u ulink underline uri userinput varname xref
"""
_INLINE = frozenset(_INLINE_TAGS.split())
_CAPTIONS = frozenset({"caption", "fig", "figure", "table", "example", "kwd-group", "item", "biblioentry", "list"})
_LONG = 500  # characters from which a title is none


def records(path: Path, events: Iterator[Event], limit: int) -> Iterator[Record | Fault | Note]:
    """The text of a file as one record if short, else as one record a section.

    Args:
        path: the file.
        events: its events.
        limit: not used.
    """
    sections = Sections(path)
    walk = _Walk(sections)
    for event in events:
        walk.take(event)
        yield from sections.ready()
    if sections.is_empty:
        yield Fault(f"{path}:1", "no text")
    yield from sections.records()


class _Walk:
    """From events to headings and blocks; an element inside running text belongs to it."""

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._words: list[str] = []
        self._open: list[tuple[str, bool]] = []  # the elements that are open, and whether they end a block
        self._first = True
        self._dropped = 0
        self._titled = 0  # depth of the title that is open

    def take(self, event: Event) -> None:
        """Take the next event."""
        kind, value, _, _ = event
        if self._dropped or (kind == "start" and value in _DROPPED):
            self._dropped += (kind == "start") - (kind == "end")
        elif kind == "text":
            self._words.append(value)
        elif kind == "start":
            block = not self._open or (value not in _INLINE and not self._titled)
            if block:
                self._flush()
            if block and value in _TITLES and not (self._open and self._open[-1][0] in _CAPTIONS):
                self._titled = len(self._open) + 1
            self._open.append((value, block))
        elif self._open.pop()[1]:
            self._flush()

    def _flush(self) -> None:
        text = " ".join("".join(self._words).split())
        self._words = []
        level, self._titled = self._titled, 0
        if level and 0 < len(text) < _LONG:
            self._sections.heading(1 if self._first else level, text)
            self._first = False
        elif text:
            self._sections.block(text)
