"""Markdown (CommonMark, tables, footnotes, HTML) to an outline: marks are dropped, the text is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pretrieve.text.formats import front_matter, pages
from pretrieve.text.formats.outline import Outline

_NESTED = 100  # lists and quotes in each other
_DEEP = re.compile(r"^(?:[ \t]*(?:>|[*+-][ \t]|\d{1,9}[.)][ \t])){40,}", re.MULTILINE)
_INDENTED = re.compile(r"^[ \t]{80,}", re.MULTILINE)
_TASK = re.compile(r"^\[[ xX]\]\s+")
_NOTE_MARK = re.compile(r"\[\^[^\]\s]{1,80}\](?::[ \t]*)?")
_DIRECTIVE = re.compile(r"^:{3,}[ \t]*(?:\{?[\w.-]*\}?)(?=\s|$)[ \t]*", re.MULTILINE)  # ::: note Title
_BREAK = re.compile(r"<br\b", re.IGNORECASE)
_ALT = re.compile(r"<img\b[^<>]{0,2000}?\balt\s*=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)')", re.IGNORECASE)
_COMPONENT = re.compile(r"<[A-Z][\w.]*(?:\s[^<>]{0,2000}?)??\s(?:title|label|summary)=\"([^\"<>]+)\"")
_MDX = re.compile(
    r"^(?:import\s[^\n]*?['\"][^\n]*|export\s+(?:const|default|let|var|function|\{)[^\n]*)$|\{/\*.{0,5000}?\*/\}",
    re.M | re.S,
)


def outline(source: str, *, mdx: bool = False) -> Outline:
    """Headings and blocks of a Markdown text, the title of its front matter, and its description as the first block.

    Args:
        source: the text.
        mdx: it is MDX: imports, exports and comments in braces are no text.
    """
    whole = source
    title, descriptions, source = front_matter.divided(source)
    found = Outline(title=title.strip(), facts=lambda: front_matter.facts(whole))
    found.line = 1
    for text in descriptions:
        found.block(text)
    first = 1 + whole.count("\n", 0, len(whole) - len(source))
    add(found, _without_mdx(source) if mdx else source, first)
    return found


def add(found: Outline, source: str, first: int = 0) -> None:
    """Add the headings and blocks of a Markdown text to an outline.

    Args:
        found: the outline.
        source: the text.
        first: line of the file where it begins; 0 if it is not known.
    """
    tokens = _parser().parse(_INDENTED.sub(" " * 80, _DEEP.sub("", source)))
    rows: list[list[str]] = []
    table = 0
    for index, token in enumerate(tokens):
        if first and token.map:
            found.line = first + token.map[0] + (token.type == "fence")
        if token.type == "inline":
            _inline(found, tokens[index - 1], token, rows)
        elif token.type in ("fence", "code_block"):
            found.block(token.content)
        elif token.type == "html_block":
            _html(found, token.content)
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "table_open":
            table = found.line
        elif token.type == "table_close":
            found.line = table
            found.block("\n".join(" | ".join(cell for cell in row if cell) for row in rows))
            rows.clear()


def _inline(found: Outline, before: Any, token: Any, rows: list[list[str]]) -> None:
    text = _plain(token.children)
    if before.type == "heading_open":
        found.heading(int(before.tag[1]), text)
    elif before.type in ("th_open", "td_open"):
        rows[-1].append(" ".join(text.split()))
    else:
        text = _DIRECTIVE.sub("", text) if ":::" in text else text
        found.block(_TASK.sub("", text))


def _html(found: Outline, source: str) -> None:
    """Add a block of HTML; the titles of components of MDX are text too."""
    for title in _COMPONENT.findall(source):
        found.block(title)
    pages.add(found, pages.fragment(source))


def _plain(children: Sequence[Any] | None) -> str:
    return _NOTE_MARK.sub("", "".join(_words(children)))


def _words(children: Sequence[Any] | None) -> Iterator[str]:
    stack = list(reversed(children or ()))
    while stack:
        child = stack.pop()
        if child.type in ("softbreak", "hardbreak"):
            yield "\n"
        elif child.type in ("text", "code_inline"):
            yield child.content
        elif child.type == "image":
            stack += reversed(child.children or ())
        elif child.type == "html_inline":
            yield "\n" if _BREAK.match(child.content) else " ".join("".join(alt) for alt in _ALT.findall(child.content))


def _without_mdx(source: str) -> str:
    """A text without what MDX adds to Markdown, outside of fenced code."""
    pieces = re.split(r"^(```.*?^```[ \t]*$)", source, flags=re.MULTILINE | re.DOTALL)
    return "".join(piece if number % 2 else _MDX.sub("", piece) for number, piece in enumerate(pieces))


@cache
def _parser() -> Any:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import reference

    def definition(state: Any, start: int, end: int, silent: bool) -> bool:
        """A definition of a link; that of a footnote is a paragraph."""
        place = state.bMarks[start] + state.tShift[start]
        return not state.src.startswith("[^", place) and reference(state, start, end, silent)

    parser = MarkdownIt("commonmark", {"maxNesting": _NESTED}).enable(["table", "strikethrough"])
    parser.block.ruler.at("reference", definition)
    return parser
