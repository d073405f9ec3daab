"""Markdown (CommonMark and tables): marks are dropped, long documents are cut at headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pretrieve.text.outline import Outline
from pretrieve.text.records import Fault, Note, Record
from pretrieve.text.streams import whole_text

SUFFIXES = (".md", ".markdown")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document if short, else as one document a section, titled ``Guide > Install``.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    content = whole_text(path, limit)
    if isinstance(content, Fault):
        yield content
        return
    yield from content.notes
    yield from outline(content.text).records(path)


def outline(source: str) -> Outline:
    """Headings and blocks of a Markdown text; YAML front matter gives its title and is dropped."""
    found = Outline()
    if front := _FRONT_MATTER.match(source):
        source = source[front.end() :]
        if title := _TITLE.search(front[1]):
            found.title = title[1].strip()
    tokens = _parser().parse(source)
    for index, token in enumerate(tokens):
        if token.type == "inline" and tokens[index - 1].type == "heading_open":
            found.heading(int(tokens[index - 1].tag[1]), _plain(token.children))
        elif token.type == "inline":
            found.block(_plain(token.children))
        elif token.type in ("fence", "code_block"):
            found.block(token.content)
    return found


def _plain(children: Sequence[Any] | None) -> str:
    words: list[str] = []
    for child in children or ():
        if child.type in ("softbreak", "hardbreak"):
            words.append("\n")
        elif child.type in ("text", "code_inline"):
            words.append(child.content)
        elif child.type == "image":
            words.append(_plain(child.children))
    return "".join(words)


@cache
def _parser() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")
