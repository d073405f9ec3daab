"""What of a web page is no content: navigation, banners of cookies, advertisements, footers.

The page says it by elements (``nav``, ``footer``), roles, and words in classes and ids. A region is never dropped where
it holds much of the page, and if little is left, all is kept: losing content is worse than keeping a menu.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate

_MOST = 0.5  # share of a page's text up to which a region may be dropped
_LEAST = 0.25  # share of a page's text that has to be left
_MAIN = 0.6  # share of what is left from which <main> is the whole page
_LINKS = 0.5  # share of linked text from which what looks like a menu is one
_CERTAIN_WORDS = """
cookie cookies consent gdpr ccpa breadcrumb breadcrumbs nav navbar navigation navheader navfooter sphinxsidebar
skip skiplink ad ads advert advertisement adsense sponsored newsletter popup modal social pagination pager linenos
lineno gutter headerlink noprint offscreen
"""
_LIKELY_WORDS = """
sidebar menu toc header footer masthead toolbar banner related recommended promo share sharing subscribe sitemap
languages topbar
"""
_CERTAIN, _LIKELY = frozenset(_CERTAIN_WORDS.split()), frozenset(_LIKELY_WORDS.split())
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_INVISIBLE = re.compile(r"(?:^|[;\s])(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)


class Strength(IntEnum):
    """How surely a region is no content."""

    NONE = 0
    LIKELY = 1
    CERTAIN = 2
    HIDDEN = 3


_TAGS = {
    "nav": Strength.CERTAIN,
    "dialog": Strength.CERTAIN,
    "header": Strength.CERTAIN,
    "footer": Strength.CERTAIN,
    "aside": Strength.LIKELY,
    "menu": Strength.LIKELY,
}
_ROLES = {
    "navigation": Strength.CERTAIN,
    "banner": Strength.CERTAIN,
    "contentinfo": Strength.CERTAIN,
    "search": Strength.CERTAIN,
    "dialog": Strength.CERTAIN,
    "alertdialog": Strength.CERTAIN,
    "complementary": Strength.LIKELY,
    "menu": Strength.LIKELY,
    "menubar": Strength.LIKELY,
}


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list item, table or heading.

    Attributes:
        text: its words.
        level: of a heading, from 1; 0 for all else.
        linked: characters of it that are links.
    """

    text: str
    level: int = 0
    linked: int = 0


@dataclass(slots=True)
class Region:
    """Blocks that stand in one element.

    Attributes:
        start: the first block.
        strength: how surely it is no content; none: it is the ``main`` element.
        name: id of the element.
        inside: it is a part of the ``main`` element.
        stop: the block after the last.
    """

    start: int
    strength: Strength
    name: str = ""
    inside: bool = False
    stop: int = 0


def strength_of(tag: str, attributes: Mapping[str, str | None], *, inside: bool) -> Strength:
    """How surely an element is no content, by its tag and attributes.

    Args:
        tag: name of the element.
        attributes: its attributes.
        inside: it stands inside ``main`` or ``article``, whose headers and footers are content.
    """
    strength = _TAGS.get(tag, Strength.NONE)
    if inside and tag in ("header", "footer"):
        strength = Strength.NONE
    if not attributes or tag == "body":
        return strength
    if is_hidden(attributes):
        return Strength.HIDDEN
    named = tag not in ("section", "article", "dl", "dt", "dd")  # their ids come from headings and names
    return max(
        strength,
        _ROLES.get(attributes.get("role") or "", Strength.NONE),
        _strength_of_name(attributes.get("class") or ""),
        _strength_of_name(attributes.get("id") or "") if named else Strength.NONE,
    )


def is_hidden(attributes: Mapping[str, str | None]) -> bool:
    """Whether an element is not shown; the panels of tabs are shown one at a time."""
    if attributes.get("role") == "tabpanel":
        return False
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return True
    style = attributes.get("style")
    return attributes.get("aria-hidden") == "true" or bool(style and _INVISIBLE.search(style))


@lru_cache(maxsize=10_000)
def _strength_of_name(name: str) -> Strength:
    words = {word.lower() for word in _WORD.findall(name)}
    if words & _CERTAIN:
        return Strength.CERTAIN
    return Strength.LIKELY if words & _LIKELY else Strength.NONE


def content(blocks: Sequence[Block], regions: Sequence[Region]) -> list[Block]:
    """The blocks of a page that are its content."""
    sizes = [0, *accumulate(len(block.text) for block in blocks)]
    links = [0, *accumulate(block.linked for block in blocks)]
    kept = _without(blocks, regions, sizes, links)
    if sum(len(blocks[index].text) for index in kept) < _LEAST * sizes[-1]:
        hidden = [region for region in regions if region.strength is Strength.HIDDEN]
        kept = _without(blocks, hidden, sizes, links)
    return [blocks[index] for index in _main(blocks, regions, kept)]


def _without(
    blocks: Sequence[Block], regions: Sequence[Region], sizes: Sequence[int], links: Sequence[int]
) -> list[int]:
    """Numbers of the blocks that stand in no region that is dropped."""
    has_main = any(region.strength is Strength.NONE for region in regions)
    dropped = bytearray(len(blocks))
    reached = 0
    titles = [index for index, block in enumerate(blocks) if block.level == 1]
    for region in regions:  # in the order of their starts, outer ones first
        start, stop = max(region.start, reached), region.stop
        size = sizes[region.stop] - sizes[region.start]
        if stop <= start or region.strength is Strength.NONE or size > _MOST * sizes[-1]:
            continue
        dense = links[region.stop] - links[region.start] >= _LINKS * size
        if region.strength is Strength.LIKELY and not dense and (region.inside or not has_main):
            continue
        if _has_only_title(region, titles) or _is_named_by_heading(region, blocks):
            continue
        dropped[start:stop] = b"\1" * (stop - start)
        reached = stop
    return [index for index, gone in enumerate(dropped) if not gone]


def _has_only_title(region: Region, titles: Sequence[int]) -> bool:
    """Whether the only main heading of the page stands in a region."""
    return (
        bool(titles) and region.start <= titles[0] and titles[-1] < region.stop and region.strength != Strength.HIDDEN
    )


def _is_named_by_heading(region: Region, blocks: Sequence[Block]) -> bool:
    """Whether the id of an element is made of its first heading, as anchors of a section are."""
    first = blocks[region.start]
    return bool(first.level and region.name) and _slug(first.text) == _slug(region.name)


def _slug(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _main(blocks: Sequence[Block], regions: Sequence[Region], kept: list[int]) -> list[int]:
    """What stands in ``main``, and the title before it, where that is most of the page."""
    inside = bytearray(len(blocks))
    for region in regions:
        if region.strength is Strength.NONE and not region.inside:
            inside[region.start : region.stop] = b"\1" * (region.stop - region.start)
    size = sum(len(blocks[index].text) for index in kept)
    within = [index for index in kept if inside[index]]
    if sum(len(blocks[index].text) for index in within) < _MAIN * size or not within:
        return kept
    if any(blocks[index].level == 1 for index in within):
        return within
    return [index for index in kept if inside[index] or blocks[index].level == 1]
