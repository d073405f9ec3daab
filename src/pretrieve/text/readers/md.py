"""Markdown (CommonMark, tables, footnotes, HTML, MDX, R Markdown): long documents are cut at headings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text import markdown
from pretrieve.text.records import Fault, Note, Record
from pretrieve.text.streams import stem, whole_text

SUFFIXES = (".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd")


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
    yield from markdown.outline(content.text, mdx=stem(path)[1] == ".mdx").records(path)
