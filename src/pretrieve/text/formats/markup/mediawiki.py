"""Dumps of MediaWiki (``pages-articles.xml``): each article is a document; redirects and other pages are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from pretrieve.text.formats.markup.wikitext import FILES, outline
from pretrieve.text.formats.outline import Outline
from pretrieve.text.formats.sections import as_path, named
from pretrieve.text.formats.xml_events import Event, trees
from pretrieve.text.records import Fault, Note, Record

ROOTS = ("mediawiki",)
_PLAIN = ("wikitext", "")  # models of content that are text
_NAMESPACES = ("6", "14")  # of files and of categories


def records(path: Path, events: Iterator[Event], limit: int) -> Iterator[Record | Fault | Note]:
    """The articles of a dump.

    Args:
        path: the file.
        events: its events.
        limit: most bytes of a page.
    """
    dropped = set(FILES)
    left_out: Counter[str] = Counter()
    for tree, line in trees(events, ("page", "siteinfo"), limit):
        if tree is None:
            yield Fault(f"{path}:{line}", "too long", f"a page of more than {limit:,} bytes")
        elif tree.tag == "siteinfo":
            dropped |= {
                (space.text or "").lower() for space in tree.iter("namespace") if space.get("key") in _NAMESPACES
            }
        elif reason := _no_article(tree):
            left_out[reason] += 1
        else:
            where, title = f"{path}:{line}", tree.findtext("title", "")
            page = outline(tree.findtext("revision/text", ""), title, dropped)
            page.facts = partial(_facts, tree, page)
            yield from named(page.records(as_path(where)), where, tree.findtext("id", "") or where)
    if left_out:
        detail = ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())
        yield Note(str(path), "with pages that are no articles, left out", detail)


def _facts(page: Element, found: Outline) -> dict[str, object]:
    """What a dump says of an article: its title, number, revision, and when and by whom that was made."""
    names = {"page": "id", "revision": "revision/id", "date": "revision/timestamp"}
    facts: dict[str, object] = {name: page.findtext(path, "") for name, path in names.items()}
    return {**facts, "article": found.title, "author": page.findtext("revision/contributor/username", "")}


def _no_article(page: Element) -> str:
    """Why a page is no article; empty if it is one."""
    if page.findtext("ns", "0") != "0":
        return "of other namespaces"
    if page.find("redirect") is not None or page.findtext("revision/text", "")[:9].upper() == "#REDIRECT":
        return "redirects"
    if page.findtext("revision/model", "") not in _PLAIN:
        return "of data or programs"
    return "" if page.findtext("revision/text", "").strip() else "empty"
