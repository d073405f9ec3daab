"""Output of WikiExtractor: ``<doc id="12" url="..." title="Anarchism">``, lines of text, ``</doc>``."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.files.streams import text_lines
from pretrieve.text.formats.outline import Outline
from pretrieve.text.formats.sections import as_path, named
from pretrieve.text.records import Fault, Note, Record

_HEAD = re.compile(r'<doc id="([^"]*)".*? title="(.*)">\s*')
_URL = re.compile(r'<doc [^<>]*?\burl="([^"<>]*)"')
_NO_DOC = 'expected <doc id="..." title="...">'


def recognises(head: bytes) -> bool:
    """Whether a file begins as these do."""
    return head.lstrip().startswith(b'<doc id="')


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read the pages of a file.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line, and most characters of a page.
    """
    page: _Page | None = None
    for item in text_lines(path, limit):
        if not isinstance(item, tuple):
            yield item
            continue
        number, line = item
        if page is None and line.strip():
            head = _HEAD.fullmatch(line)
            if head is None:
                yield Fault(f"{path}:{number}", "no page of WikiExtractor", _NO_DOC, line[:1000])
                continue
            url = _URL.match(line)
            page = _Page(f"{path}:{number}", html.unescape(head[1]), html.unescape(head[2]), url[1] if url else "")
        elif page is not None and line.strip() == "</doc>":
            yield from page.records()
            page = None
        elif page is not None:
            page.add(line)
            if page.size > limit:
                yield Fault(page.where, "too long", f"a page of more than {limit:,} characters")
                page = None
    if page is not None:
        yield Fault(page.where, "cut page", "no </doc> before the end of the file")


class _Page:
    """A page that is being read.

    Attributes:
        where: its place.
        size: its characters so far.
    """

    def __init__(self, where: str, name: str, title: str, url: str = "") -> None:
        self.where, self._name, self._title = where, name, title
        self._outline = Outline(title, facts=lambda: {"page": name, "article": title, "url": html.unescape(url)})
        self.size = 0
        self._outline.heading(1, title)

    def add(self, line: str) -> None:
        """Add a line; the first repeats the title."""
        text = html.unescape(line).strip()
        if self.size or text != self._title:
            self._outline.block(text)
        self.size += len(line) + 1

    def records(self) -> Iterator[Record]:
        """The page as a record, or as several if it is long."""
        yield from named(self._outline.records(as_path(self.where)), self.where, self._name or self.where)
