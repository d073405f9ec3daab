"""Queries from a file, and their ranking as a run that trec_eval and ir-measures read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import orjson

from pretrieve.core.errors import DataError, UsageError
from pretrieve.index.asked import check_query
from pretrieve.text.files.streams import COMPRESSED, lines
from pretrieve.text.records import Fault
from pretrieve.text.trec_writing import create_run

_IDS = ("_id", "id", "qid", "query_id", "query-id")
_TEXTS = ("text", "query", "question")
_LONGEST = 1 << 20  # bytes of a line
_NAME = "pretrieve"  # of the system, in a run
_HEADER = frozenset((*_IDS, *_TEXTS))


def queries_of(path: Path) -> dict[str, str]:
    """The queries of a file by their ids.

    ``.jsonl`` has an object a line (``id`` and ``text``, ``query`` or ``question``) or a text; ``.tsv`` has ``id`` and
    text, with or without a header; any other file has a query a line. One without an id is called by its line.

    Args:
        path: the file, perhaps compressed.

    Raises:
        UsageError: there is no such file, or no query in it.
        DataError: a line cannot be read, or an id stands there twice; the text names ``file:line``.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give a file of queries.")
    suffixes = [suffix for suffix in path.suffixes if suffix not in COMPRESSED]
    kind = suffixes[-1].lower() if suffixes else ""
    read = {".jsonl": _of_json, ".ndjson": _of_json, ".tsv": _of_tsv}.get(kind, _of_line)
    found: dict[str, str] = {}
    for item in lines(path, _LONGEST):
        if isinstance(item, Fault):
            raise DataError(f"{item}: fix the line.")
        number, data = item
        where = f"{path}:{number}"
        try:
            line = data.decode().removeprefix("\ufeff" if number == 1 else "").rstrip("\r")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-8 at byte {error.start}: save the file as UTF-8.") from None
        if line.strip() and (pair := read(line, number, where)) is not None:
            name = pair[0] or str(number)
            if name in found:
                raise DataError(f"{where}: a query {name!r:.100} stands there before: give each its own id.")
            found[name] = check_query(pair[1], f"{where}: the query")
    if not found:
        raise UsageError(f"{path} holds no query.")
    return found


def _of_line(line: str, number: int, where: str) -> tuple[str, str] | None:
    return "", line.strip()


def _of_tsv(line: str, number: int, where: str) -> tuple[str, str] | None:
    cells = line.split("\t")
    if len(cells) > 2:
        raise DataError(f"{where}: {len(cells)} columns: an id, a tab and the query were expected.")
    if number == 1 and {cell.strip().lower() for cell in cells} <= _HEADER:
        return None
    return (cells[0].strip(), cells[1].strip()) if len(cells) == 2 else ("", cells[0].strip())


def _of_json(line: str, number: int, where: str) -> tuple[str, str] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{where}: malformed JSON ({error}).") from None
    if isinstance(value, str):
        return "", value
    if not isinstance(value, dict):
        raise DataError(f'{where}: no object and no text: write {{"id": ..., "text": ...}}.')
    text = next((value[name] for name in _TEXTS if isinstance(value.get(name), str)), None)
    if text is None:
        raise DataError(f"{where}: no {', '.join(_TEXTS[:-1])} or {_TEXTS[-1]} with a text; found {', '.join(value)}.")
    identity = next((value[name] for name in _IDS if isinstance(value.get(name), str | int)), "")
    return str(identity), text


def write_run(path: Path, rows: Iterable[tuple[str, Sequence[tuple[str, float]]]]) -> tuple[int, int]:
    """Write a run: ``query Q0 document rank score pretrieve``, a line a hit.

    Args:
        path: the file, packed as its name says; it appears when all is written.
        rows: for each query its id, and ids and scores of documents, best first.

    Returns:
        The number of hits, and of ids with white space, which a run has as ``%20``.

    Raises:
        DataError: two ids would be one in a run.
        StorageError: writing to disk failed.
    """
    with create_run(path, _NAME) as run:
        for query, ranked in rows:
            run.add(query, [document for document, _ in ranked], np.array([score for _, score in ranked], np.float64))
    return run.hits, len(run.escaped)
