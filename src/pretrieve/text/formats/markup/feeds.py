"""Feeds, RSS and Atom: an entry is a document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from pretrieve.text.formats.pages import outline
from pretrieve.text.formats.sections import as_path, named
from pretrieve.text.formats.xml_events import Event, text_of, trees
from pretrieve.text.records import Fault, Note, Record

ROOTS = ("rss", "RDF", "feed")
_ENTRIES = ("item", "entry")
_BODIES = ("encoded", "content", "description", "summary")  # the fullest first


def records(path: Path, events: Iterator[Event], limit: int) -> Iterator[Record | Fault | Note]:
    """The entries of a feed, named by their address.

    Args:
        path: the file.
        events: its events.
        limit: most bytes of an entry.
    """
    for tree, line in trees(events, _ENTRIES, limit):
        where = f"{path}:{line}"
        if tree is None:
            yield Fault(where, "too long", f"an entry of more than {limit:,} bytes")
            continue
        title = text_of(tree.find("title"))
        body = next((text for name in _BODIES if (text := _text(tree.find(name)))), "")
        found = outline(body)
        found.title = title
        found.facts = partial(_facts, tree)
        for record in named(found.records(as_path(where)), where, _name(tree) or where, title):
            if not record.fields["text"]:
                record = replace(record, fields={**record.fields, "text": title}, marks=())
            yield record


def _facts(entry: Element) -> dict[str, object]:
    """Address, date, author and categories of an entry."""
    links = [text_of(entry.find("link")), *(link.get("href", "") for link in entry.findall("link"))]
    dates = [text_of(entry.find(name)) for name in ("pubDate", "published", "date", "updated")]
    authors = [text_of(entry.find(name)) for name in ("creator", "author/name", "author")]
    labels = [text_of(item) or item.get("term", "") for item in entry.findall("category")]
    first = {"url": links, "date": dates, "author": authors}
    found: dict[str, object] = {name: next(filter(None, values), "") for name, values in first.items()}
    return {**found, "categories": [label for label in labels if label]}


def _text(element: Element | None) -> str:
    return "" if element is None else "".join(element.itertext())


def _name(entry: Element) -> str:
    """What identifies an entry: its id, or its address."""
    found = [text_of(entry.find(name)) for name in ("guid", "id", "link")]
    found += [link.get("href", "") for link in entry.findall("link")]
    return next((name for name in found if name and name.isprintable() and len(name) <= 500), "")
