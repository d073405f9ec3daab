"""Jupyter notebooks: Markdown, code and short text outputs in the order of the cells, cut at headings if long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from pretrieve.text.files.streams import whole_text
from pretrieve.text.formats import markdown
from pretrieve.text.formats.outline import Outline
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".ipynb",)
_OUTPUT = 1_000  # characters of the longest output that is read


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a notebook as one document if short, else as one document a section.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    content = whole_text(path, limit)
    if isinstance(content, Fault):
        yield content
        return
    yield from content.notes
    if not content.text.strip():
        yield Fault(f"{path}:1", "empty document")
        return
    try:
        notebook = orjson.loads(content.text.encode(errors="replace"))
        cells = _cells(notebook)
    except orjson.JSONDecodeError as error:
        yield Fault(f"{path}:{error.lineno}", "malformed JSON", str(error))
        return
    except (TypeError, ValueError) as error:
        yield Fault(f"{path}:1", "not a notebook", str(error))
        return
    found = Outline()
    long = sum(_add(found, cell) for cell in cells)
    if long:
        yield Note(f"{path}:1", "with long outputs that are not read", f"{long:,} outputs")
    yield from found.records(path)


def _cells(notebook: object) -> list[Mapping[str, Any]]:
    """The cells of a notebook of format 4, or of 3, where they stand in worksheets.

    Raises:
        ValueError: it has none.
    """
    if not isinstance(notebook, dict):
        raise ValueError("it is no object")
    sheets = notebook.get("worksheets")
    holders = [notebook, *(sheets if isinstance(sheets, list) else [])]
    lists = [holder["cells"] for holder in holders if isinstance(holder, dict) and "cells" in holder]
    if not lists or not all(isinstance(cells, list) for cells in lists):
        raise ValueError("it has no list of cells")
    return [cell for cells in lists for cell in cells if isinstance(cell, dict)]


def _add(found: Outline, cell: Mapping[str, Any]) -> int:
    """Add a cell to the outline; returns the number of outputs that are too long."""
    source = _joined(cell.get("source", cell.get("input")))
    if cell.get("cell_type") == "markdown":
        markdown.add(found, source)
    elif cell.get("cell_type") == "heading":
        level = cell.get("level")
        found.heading(level if isinstance(level, int) else 1, source)
    else:
        found.block(source)
    outputs = cell.get("outputs")
    texts = [_output(output) for output in outputs if isinstance(output, dict)] if isinstance(outputs, list) else []
    for text in texts:
        if len(text) <= _OUTPUT:
            found.block(text)
    return sum(len(text) > _OUTPUT for text in texts)


def _output(output: Mapping[str, Any]) -> str:
    """The text of an output: what was printed, the value, or the error without its trace."""
    if "ename" in output:
        return f"{output['ename']}: {output.get('evalue', '')}"
    data = output.get("data")
    if isinstance(data, dict):
        return _joined(data.get("text/markdown", data.get("text/plain")))
    return _joined(output.get("text"))


def _joined(source: object) -> str:
    if isinstance(source, list):
        return "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""
