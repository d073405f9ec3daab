"""Wikitext to headings and paragraphs: templates, tables, references and pictures go, links become their labels.

Everything is linear in the length of the text, whatever is left open in it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection

from pretrieve.text.formats.outline import Outline

FILES = frozenset({"file", "image", "category", "media"})
_KEPT = (  # templates that are text: of a language, of a measure, against line breaks
    (
        re.compile(
            r"\{\{\s*(?:lang\|[^{}|]{1,20}|lang-[\w-]{1,20}|nowrap|nobr|small|transl\|[^{}|]{1,20})\|([^{}|]*)[^{}]*\}\}",
            re.I,
        ),
        r"\1",
    ),
    (re.compile(r"\{\{\s*(?:convert|cvt)\|([^{}|]*)\|([^{}|]*)[^{}]*\}\}", re.I), r"\1 \2"),
)
_DROPPED = ("ref", "gallery", "timeline", "imagemap", "math", "chem", "score", "graph", "templatedata", "hiero")
_EMPTY = re.compile(r"<(?:ref|references)\b[^<>]*/>", re.I)
_BRACES = re.compile(r"\{\{|\}\}|\{\||\|\}(?!\})")
_BRACKETS = re.compile(r"\[\[|\]\]")
_OUTSIDE = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\[\]]{1,2000}[ \t]*([^\[\]\n]{0,1000})\]")
_TAG = re.compile(r"</?[a-z][^<>]{0,2000}>", re.I)
_LINE = re.compile(r"<(?:br|p|div|li|tr|blockquote)\b[^<>]{0,2000}>", re.I)
_QUOTES = re.compile(r"'{2,5}")
_WORDS = re.compile(r"__[A-Z]{3,30}__")
_MARKS = re.compile(r"^[*#:;]+[ \t]*")
_BACK = 20  # open marks among which the one that is closed is looked for
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]{2,8})?")


def outline(source: str, title: str, dropped: Collection[str] = FILES) -> Outline:
    """Headings and paragraphs of a page.

    Args:
        source: its wikitext.
        title: its title, the top of its headings.
        dropped: lower-case names of the namespaces whose links are pictures and categories.
    """
    found = Outline(title)
    found.heading(1, title)
    lines: list[str] = []
    for line in plain(source, dropped).split("\n"):
        text = line.strip()
        level = _level(text)
        if level or not text:
            found.block("\n".join(lines))
            lines = []
        if level:
            found.heading(level, text[level:-level])
        elif text:
            lines.append(_MARKS.sub("", text))
    found.block("\n".join(line for line in lines if line))
    return found


def plain(source: str, dropped: Collection[str] = FILES) -> str:
    """The text of a page, with its headings still between equals signs."""
    text = _without(source, "<!--", "-->")
    text = _EMPTY.sub("", text)
    lowered = text.lower()
    for name in _DROPPED:
        if f"<{name}" in lowered:
            text = _without_tag(text, name)
    for pattern, kept in _KEPT:
        text = pattern.sub(kept, text)
    text = _without_braces(text)
    text = _OUTSIDE.sub(r"\1", _linked(text, dropped))
    text = _TAG.sub("", _LINE.sub("\n", text))
    text = _WORDS.sub("", _QUOTES.sub("", text))
    return html.unescape(html.unescape(text)).replace("\u00a0", " ")


def _level(line: str) -> int:
    """The level of a heading, 0 if a line is none."""
    if not (line.startswith("=") and line.endswith("=") and len(line) > 2):
        return 0
    before, after = len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("="))
    return min(before, after, 6, (len(line) - 1) // 2)


def _without(text: str, opening: str, closing: str) -> str:
    """The text without what stands between two marks; what is not closed stays."""
    pieces: list[str] = []
    start = 0
    while (first := text.find(opening, start)) >= 0 and (last := text.find(closing, first + len(opening))) >= 0:
        pieces.append(text[start:first])
        start = last + len(closing)
    return "".join([*pieces, text[start:]])


def _without_tag(text: str, name: str) -> str:
    """The text without the elements of a name; what is not closed stays."""
    opening, closing = re.compile(rf"<{name}\b[^<>]*>", re.I), re.compile(rf"</{name}\s*>", re.I)
    pieces: list[str] = []
    start = 0
    while (first := opening.search(text, start)) and (last := closing.search(text, first.end())):
        pieces.append(text[start : first.start()])
        start = last.end()
    return "".join([*pieces, text[start:]])


def _without_braces(text: str) -> str:
    """The text without templates and tables, however nested; what is not closed stays."""
    regions: list[tuple[int, int]] = []
    opened: list[tuple[str, int]] = []
    for found in _BRACES.finditer(text):
        mark = found[0]
        if mark[0] == "{":
            opened.append((mark, found.start()))
            continue
        wanted = "{{" if mark == "}}" else "{|"
        near = next((place for place in range(1, len(opened[-_BACK:]) + 1) if opened[-place][0] == wanted), 0)
        if near and (near == 1 or wanted == "{|"):  # a table ends the templates that are left open in it
            first = opened[-near][1]
            del opened[-near:]
            while regions and regions[-1][0] > first:
                regions.pop()
            regions.append((first, found.end()))
    starts = [0, *(end for _, end in regions)]
    ends = [*(first for first, _ in regions), len(text)]
    return "".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def _linked(text: str, dropped: Collection[str]) -> str:
    """The text with the labels of links in place of links, and without pictures and categories."""
    pieces: list[list[str]] = [[]]
    start = 0
    for found in _BRACKETS.finditer(text):
        pieces[-1].append(text[start : found.start()])
        start = found.end()
        if found[0] == "[[":
            pieces.append([])
        elif len(pieces) > 1:
            link = "".join(pieces.pop())
            pieces[-1].append(_label(link, dropped))
    pieces[-1].append(text[start:])
    return "".join("".join(inner) for inner in pieces)


def _label(link: str, dropped: Collection[str]) -> str:
    target, bar, rest = link.partition("|")
    prefix, colon, name = target.partition(":")
    if colon and prefix.strip().lower() in dropped:
        return ""
    if colon and not bar and _LANGUAGE.fullmatch(prefix) and name and name[0].isupper():
        return ""  # the same page in another language
    return rest.rpartition("|")[2] if bar and rest else target.lstrip(":")
