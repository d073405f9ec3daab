"""The blocks of an HTML page in reading order, and its regions that may be no content; boilerplate.py judges them.

The walk is one pass without recursion: pages may be nested thousands deep. Cells of a table row are parted by ``|``,
and a row is a line; a cell of several paragraphs is layout, its paragraphs are blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pretrieve.text.formats.boilerplate import Block, Region, is_hidden, strength_of

_DROPPED_TAGS = "style noscript template svg head iframe object select datalist audio video canvas frameset"
_DROPPED = frozenset({*_DROPPED_TAGS.split(), "-comment", "-doctype"})
_INLINE_TAGS = """
a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr output q rb rp rt rtc ruby s samp
small span strike strong sub sup time tt u var wbr
"""
_INLINE = frozenset(_INLINE_TAGS.split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LONG_HEADING = 400  # characters from which a heading is one that was never closed
_BUTTON = 25  # characters from which a button is the heading of a part that unfolds
_ANCHORS = frozenset("#¶§🔗⚓")
_NESTED = 400  # tags nested in each other up to which a page is parsed as it is
_MANY = 2000
_NESTING_TAGS = """
a address article aside b big blockquote center code dd details dir div dl dt em fieldset figcaption figure font footer
form h1 h2 h3 h4 h5 h6 header hgroup i li listing main menu nav nobr ol pre s section small span strike strong summary
tt u ul
"""
_TAG = re.compile(rf"<(/?)(?:{'|'.join(_NESTING_TAGS.split())})(?![\w-])[^<>]*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _End:
    """What is done when all below an element was walked."""

    action: Callable[[], None]


class PageBlocks:
    """The blocks and regions below an element."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.regions: list[Region] = []
        self._words: list[str] = []  # of a line
        self._lines: list[str] = []  # of a block
        self._filled = False  # the line has a word
        self._before = ""  # what parts the next word from the line: a new block, or a cell
        self._cells = self._links = self._linked = self._mains = self._articles = 0

    def walk(self, root: Any) -> None:
        """Gather all below an element."""
        stack: list[Any] = [_End(self._flush), root]
        while stack:
            node = stack.pop()
            if isinstance(node, _End):
                node.action()
            elif node.tag == "-text":
                self._add(node.text_content or "")
            elif node.tag not in _DROPPED:
                self._enter(node, node.tag or "", stack)

    def _enter(self, node: Any, tag: str, stack: list[Any]) -> None:
        attributes = node.attributes
        if tag in _INLINE or "-" in tag:
            self._inline(node, tag, attributes, stack)
        elif tag in _ALONE:
            _ALONE[tag](self, node, attributes)
        elif tag in _HEADINGS:
            self._flush()
            stack += [_End(lambda: self._heading(_HEADINGS[tag])), *_below(node)]
        else:
            self._block(node, tag, attributes, stack)

    def _inline(self, node: Any, tag: str, attributes: Any, stack: list[Any]) -> None:
        if attributes and is_hidden(attributes):
            return
        if tag == "a":
            if (node.text() or "").strip() in _ANCHORS:
                return
            self._links += 1
            stack.append(_End(self._end_link))
        stack += _below(node)

    def _block(self, node: Any, tag: str, attributes: Any, stack: list[Any]) -> None:
        strength = strength_of(tag, attributes, inside=bool(self._mains or self._articles))
        is_main = tag == "main" or attributes.get("role") == "main"
        if strength or is_main:
            self._flush()
            region = Region(len(self.blocks), strength, attributes.get("id") or "", inside=self._mains > 0)
            self.regions.append(region)
            stack.append(_End(lambda: self._end_region(region)))
        if is_main or tag == "article":
            self._count(1, is_main)
            stack.append(_End(lambda: self._count(-1, is_main)))
        if tag in ("td", "th"):
            self._before = "cell"
            self._cells += 1
            stack.append(_End(self._end_cell))
        elif tag == "tr":
            self._newline()
            stack.append(_End(self._newline))
        else:
            hard = tag == "table"
            self._border(hard=hard)
            stack.append(_End(lambda: self._border(hard=hard)))
        stack += _below(node)

    def _add(self, text: str) -> None:
        if not text or text.isspace():
            self._words.append(" ")
            return
        if self._filled and self._before == "cell":
            self._words.append(" | ")
        elif self._before == "block":
            self._flush()
        self._before = ""
        self._filled = True
        self._words.append(text)
        if self._links:
            self._linked += len(text)

    def _newline(self) -> None:
        if self._filled:
            self._lines.append(" ".join("".join(self._words).split()))
        self._words.clear()
        self._filled, self._before = False, ""

    def _flush(self) -> None:
        self._newline()
        if self._lines:
            self.blocks.append(Block("\n".join(self._lines), linked=self._linked))
        self._lines, self._linked = [], 0

    def _border(self, *, hard: bool) -> None:
        """The begin or end of a block; inside a cell it only counts if more of the cell follows."""
        if hard or not self._cells:
            self._flush()
        elif self._filled and self._before != "cell":
            self._before = "block"

    def _heading(self, level: int) -> None:
        self._newline()
        text = " ".join(self._lines)
        if len(text) > _LONG_HEADING:
            self._flush()
        elif text:
            self.blocks.append(Block(text, level))
        self._lines, self._linked = [], 0

    def _end_link(self) -> None:
        self._links -= 1

    def _end_cell(self) -> None:
        self._cells -= 1
        self._before = "cell"

    def _end_region(self, region: Region) -> None:
        self._flush()
        region.stop = len(self.blocks)

    def _count(self, step: int, is_main: bool) -> None:
        if is_main:
            self._mains += step
        else:
            self._articles += step

    def _break(self, node: Any, attributes: Any) -> None:
        self._newline()

    def _rule(self, node: Any, attributes: Any) -> None:
        self._flush()

    def _image(self, node: Any, attributes: Any) -> None:
        self._add(f" {attributes.get('alt') or ''} ")

    def _pre(self, node: Any, attributes: Any) -> None:
        self._flush()
        if text := (node.text() or "").strip("\n"):
            self.blocks.append(Block(text))

    def _button(self, node: Any, attributes: Any) -> None:
        text = node.text() or ""
        if len(text.strip()) >= _BUTTON:
            self._add(text)

    def _math(self, node: Any, attributes: Any) -> None:
        source = node.css_first("annotation")
        self._add(f" {attributes.get('alttext') or (source.text() if source else node.text())} ")

    def _script(self, node: Any, attributes: Any) -> None:
        if (attributes.get("type") or "").startswith("math/"):
            self._add(f" {node.text()} ")


_ALONE: dict[str, Callable[[PageBlocks, Any, Any], None]] = {
    "br": PageBlocks._break,
    "hr": PageBlocks._rule,
    "img": PageBlocks._image,
    "pre": PageBlocks._pre,
    "listing": PageBlocks._pre,
    "button": PageBlocks._button,
    "math": PageBlocks._math,
    "script": PageBlocks._script,
}


def shallow(source: str) -> str:
    """The source of a page without tags nested hundreds deep in each other, on which a parser takes quadratic time."""
    if source.count("<") < _MANY:
        return source
    depth = deepest = 0
    for tag in _TAG.finditer(source):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    if deepest <= _NESTED:
        return source
    depth = 0

    def keep(tag: re.Match[str]) -> str:
        nonlocal depth
        if not tag[1]:
            depth += 1
            return tag[0] if depth <= _NESTED else " "
        depth = max(0, depth - 1)
        return tag[0] if depth < _NESTED else " "

    return _TAG.sub(keep, source)


def _below(node: Any) -> list[Any]:
    """The children of an element, last first, as a stack takes them."""
    children = list(node.iter(include_text=True))
    children.reverse()
    return children
