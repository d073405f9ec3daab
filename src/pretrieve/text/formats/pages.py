"""HTML to an outline: whole pages without their boilerplate, and fragments that stand in other texts."""

from __future__ import annotations

import re
from typing import Any

from pretrieve.text.formats.boilerplate import Block, content
from pretrieve.text.formats.outline import Outline
from pretrieve.text.formats.page_blocks import PageBlocks, shallow

_SITE = "meta[property='og:site_name'],meta[name='application-name'],meta[name='apple-mobile-web-app-title']"
_SAID = {
    "author": [("meta[name='author' i]", "content"), ("meta[property='article:author']", "content")],
    "date": [
        ("meta[property='article:published_time']", "content"),
        ("meta[name='date' i]", "content"),
        ("meta[name='dc.date' i]", "content"),
    ],
    "modified": [("meta[property='article:modified_time']", "content")],
    "language": [("html[lang]", "lang")],
    "url": [("link[rel='canonical']", "href"), ("meta[property='og:url']", "content")],
    "keywords": [("meta[name='keywords' i]", "content")],
}
_BETWEEN = r"\s*(?:\s[-|–—·•:/»«>]|[|»«—:])\s*"  # between a title and the name of its site


def outline(source: str) -> Outline:
    """The outline of a page: its content, without navigation, banners and what is hidden.

    The title is that of the page, without the name of its site.
    """
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(shallow(source))
    walk = PageBlocks()
    if tree.body is not None:
        walk.walk(tree.body)
    blocks = content(walk.blocks, walk.regions)
    found = Outline(title=_title(tree, blocks), facts=lambda: _facts(tree))
    add(found, blocks)
    return found


def fragment(source: str) -> list[Block]:
    """The blocks of a piece of HTML in another text; nothing of it is boilerplate."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(shallow(source))
    walk = PageBlocks()
    if tree.body is not None:
        walk.walk(tree.body)
    return walk.blocks


def add(found: Outline, blocks: list[Block]) -> None:
    """Add blocks to an outline."""
    for block in blocks:
        if block.level:
            found.heading(block.level, block.text)
        else:
            found.block(block.text)


def _facts(tree: Any) -> dict[str, object]:
    """What the head of a page says of it: author, date, language, address."""
    found: dict[str, object] = {}
    for name, choices in _SAID.items():
        for selector, attribute in choices:
            node = tree.css_first(selector)
            value = (node.attributes.get(attribute) or "").strip() if node is not None else ""
            if value and name not in found:
                found[name] = value
    return found


def _title(tree: Any, blocks: list[Block]) -> str:
    """The title of a page, without the name of its site: the site's own word for it, else the heading says it."""
    node = tree.head.css_first("title") if tree.head is not None else None
    title = " ".join(node.text().split()) if node is not None else ""
    for meta in tree.head.css(_SITE) if tree.head is not None else ():
        site = re.escape(" ".join((meta.attributes.get("content") or "").split()))
        short = re.sub(rf"{_BETWEEN}{site}$|^{site}{_BETWEEN}", "", title, flags=re.IGNORECASE) if site else title
        if short:
            title = short
    heading = next((block.text for block in blocks if block.level == 1), "")
    if heading and re.match(re.escape(heading) + _BETWEEN, title, re.IGNORECASE):
        return heading
    return title
