"""Books as EPUB: the chapters in reading order, each cut at its headings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pretrieve.text.files.decoding import by_mark
from pretrieve.text.files.streams import DamagedStreamError
from pretrieve.text.formats.container import Container, opened, resolved
from pretrieve.text.formats.pages import outline
from pretrieve.text.formats.sections import as_path, named
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".epub",)
_INDEX = "META-INF/container.xml"
_SECRET = "META-INF/encryption.xml"  # noqa: S105


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read the chapters of a book: each as one record if short, else as one record a section.

    Args:
        path: the file.
        limit: most bytes of a chapter.
    """
    try:
        with opened(path, limit) as container:
            book = _book(container)
            if book is None:
                yield Fault(f"{path}:1", "damaged EPUB", f"{_INDEX} names no book")
                return
            if book.chapters and book.secret.issuperset(book.chapters):
                yield Fault(f"{path}:1", "encrypted", "its chapters are")
                return
            for chapter in book.chapters:
                yield from _chapter(path, container, chapter, book)
    except DamagedStreamError as error:
        yield error.fault(f"{path}:1")


@dataclass(slots=True)
class _Book:
    """What the package file of a book says: title, chapters in order, which are encrypted, author, date, language."""

    title: str
    chapters: list[str]
    secret: frozenset[str]
    said: dict[str, object]


def _book(container: Container) -> _Book | None:
    package = next((found["full-path"] for found in _starts(container, _INDEX, "rootfile") if "full-path" in found), "")
    if package not in container.names:
        return None
    items = {
        found.get("id", ""): resolved(package, found.get("href", "")) for found in _starts(container, package, "item")
    }
    spine = [items.get(found.get("idref", ""), "") for found in _starts(container, package, "itemref")]
    secret = frozenset(resolved("", found.get("URI", "")) for found in _starts(container, _SECRET, "CipherReference"))
    said = container.properties(package)
    return _Book(container.text(package, "title"), [name for name in spine if name], secret, said)


def _starts(container: Container, part: str, name: str) -> Iterator[dict[str, str]]:
    """The attributes of all elements of a name."""
    for kind, value, attributes, _ in container.events(part):
        if kind == "start" and value == name:
            yield attributes


def _chapter(path: Path, container: Container, name: str, book: _Book) -> Iterator[Record | Fault]:
    where = f"{path}/{name}"
    if name in book.secret or name not in container.names:
        yield Fault(where, "encrypted" if name in book.secret else "damaged EPUB", "a chapter")
        return
    try:
        data = container.bytes(name)
    except DamagedStreamError as error:
        yield error.fault(where)
        return
    encoding = by_mark(data)
    found = outline(data.decode(encoding.codec if encoding else "utf-8", errors="replace"))
    found.facts = book.said.copy
    for record in named(found.records(as_path(where)), where, where, book.title):
        if record.fields["text"]:  # a page with a picture alone has none
            yield record
