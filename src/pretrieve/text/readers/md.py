"""Markdown (CommonMark, tables, footnotes, HTML, MDX, R Markdown): long documents are cut at headings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pretrieve.text.files.streams import stem
from pretrieve.text.formats import markdown
from pretrieve.text.formats.outline import outlined
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd")


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document if short, else as one document a section, titled ``Guide > Install``.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    return outlined(path, limit, partial(markdown.outline, mdx=stem(path)[1] == ".mdx"))
