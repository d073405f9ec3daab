"""HTML pages: scripts, styles and navigation are dropped, long pages are cut at headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrieve.text.outline import Outline
from pretrieve.text.records import Fault, Note, Record
from pretrieve.text.streams import whole_text

SUFFIXES = (".html", ".htm", ".xhtml")
_CHARSET = re.compile(rb"<meta[^>]{1,200}?charset=[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_DROPPED = frozenset({"script", "style", "noscript", "template", "svg", "nav", "head", "iframe", "object", "-comment"})
_INLINE_TAGS = """
a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q s samp small span strike strong sub
sup time tt u var wbr
"""
_INLINE = frozenset(_INLINE_TAGS.split())


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a page as one document if short, else as one document a section, titled ``Guide > Install``.

    Args:
        path: the file, perhaps compressed; UTF-8 unless it declares another charset.
        limit: most bytes of the file.
    """
    content = whole_text(path, limit, _charset)
    if isinstance(content, Fault):
        yield content
        return
    yield from content.notes
    yield from outline(content.text).records(path)


def _charset(head: bytes) -> str | None:
    """The charset that a page declares."""
    found = _CHARSET.search(head)
    return found[1].decode() if found else None


def outline(source: str) -> Outline:
    """Headings and blocks of a page; its ``<title>`` is the title where no heading is."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(source)
    title = tree.css_first("title")
    found = Outline(title=" ".join(title.text().split()) if title else "")
    if tree.body is not None:
        _Walk(found).run(tree.body)
    return found


class _Walk:
    """A walk over the page in reading order, without recursion: pages may be nested thousands deep."""

    def __init__(self, found: Outline) -> None:
        self._found = found
        self._words: list[str] = []

    def run(self, body: Any) -> None:
        """Gather all blocks below ``body``."""
        stack: list[Any] = [body]
        while stack:
            node = stack.pop()
            if node is None:  # the end of a block
                self._flush()
            elif node.tag == "-text":
                self._words.append(node.text_content or "")
            elif node.tag not in _DROPPED:
                self._enter(node, stack)
        self._flush()

    def _enter(self, node: Any, stack: list[Any]) -> None:
        if re.fullmatch(r"h[1-6]", node.tag):
            self._flush()
            self._found.heading(int(node.tag[1]), node.text())
        elif node.tag == "pre":
            self._flush()
            self._found.block(node.text().strip("\n"))
        elif node.tag in _INLINE:
            stack += reversed(_children(node))
        else:
            self._flush()
            stack += [None, *reversed(_children(node))]

    def _flush(self) -> None:
        self._found.block(" ".join("".join(self._words).split()))
        self._words.clear()


def _children(node: Any) -> list[Any]:
    return list(node.iter(include_text=True))
