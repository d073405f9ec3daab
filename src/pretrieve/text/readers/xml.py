"""XML: dumps of MediaWiki and StackExchange, PubMed, feeds, output of WikiExtractor, and any other by its text."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from pretrieve.text.files.streams import DamagedStreamError, chunks
from pretrieve.text.formats.markup import feeds, mediawiki, prose, pubmed, stackexchange, wiki_extractor
from pretrieve.text.formats.xml_events import Event, events
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".xml", ".rss", ".atom", ".nxml", ".dbk")
_HEAD = 4096
_Records = Callable[[Path, Iterator[Event], int], Iterator[Record | Fault | Note]]
_MODULES: tuple[tuple[tuple[str, ...], _Records], ...] = (
    (mediawiki.ROOTS, mediawiki.records),
    (stackexchange.ROOTS, stackexchange.records),
    (pubmed.ROOTS, pubmed.records),
    (feeds.ROOTS, feeds.records),
)
_KINDS: dict[str, _Records] = {root: records for roots, records in _MODULES for root in roots}


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file by the kind that its first element names; a fault ends it.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a record and of a tag.
    """
    try:
        data = chunks(path)
        first = next(data, b"")
        if not first:
            yield Fault(f"{path}:1", "empty file")
        elif wiki_extractor.recognises(first[:_HEAD]):
            yield from wiki_extractor.read(path, limit)
        else:
            yield from _parsed(path, events(itertools.chain([first], data), limit), limit)
    except DamagedStreamError as error:
        yield error.fault(f"{path}:1")


def _parsed(path: Path, found: Iterator[Event], limit: int) -> Iterator[Record | Fault | Note]:
    start = next(event for event in found if event[0] == "start")  # expat knows no file without an element
    if start[1] in stackexchange.TABLES:
        yield Fault(f"{path}:1", "no posts", f"the {start[1]} of StackExchange")
    else:
        yield from _kind(start[1])(path, itertools.chain([start], found), limit)


def recognises(head: bytes) -> bool:
    """Whether a file without a known suffix is XML, or output of WikiExtractor."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_page = b"<html" in head.lower()
    return (start.startswith((b"<?xml", b"<mediawiki")) and not is_page) or wiki_extractor.recognises(head)


def _kind(root: str) -> _Records:
    return _KINDS.get(root, prose.records)
