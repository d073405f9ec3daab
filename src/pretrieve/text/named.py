"""Collections by name: ``ir_datasets:NAME`` and ``beir:NAME``, through the library ir_datasets (extra ``ir``)."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import DataError, UsageError, suggest
from pretrieve.core.extras import require
from pretrieve.text.records import Record

_SCHEMES = {"ir_datasets": "", "beir": "beir/"}  # what stands before a name there
_PARTS = {"docs": "documents", "queries": "queries", "qrels": "qrels"}


def is_named(source: str) -> bool:
    """Whether a source names a collection."""
    return source.partition(":")[0] in _SCHEMES and ":" in source


def named_records(source: str) -> Iterator[Record]:
    """The documents of a collection as records of ``id``, ``title`` and ``text``.

    Args:
        source: ``ir_datasets:NAME`` or ``beir:NAME``.

    Raises:
        MissingExtraError: ir_datasets is not installed.
        UsageError: there is no such collection, or it has no documents.
        DataError: it cannot be fetched or read.
    """
    found = _opened(source, "docs")
    for number, document in enumerate(_items(source, found.docs_iter), start=1):
        fields = _fields(document)
        yield Record(f"{source}:{number}", fields, fields, fixed=True)


@contextlib.contextmanager
def collection_folder(source: Path, split: str) -> Iterator[Path]:
    """A BEIR folder: the one given, or that of a named collection while the block runs.

    Args:
        source: a folder, or ``ir_datasets:NAME`` or ``beir:NAME``.
        split: the collection ``NAME/SPLIT`` is taken where there is one, else ``NAME``.

    Raises:
        MissingExtraError: ir_datasets is not installed.
        UsageError: there is no such collection, or it has no documents, queries or qrels.
        DataError: it cannot be fetched or read.
    """
    if not is_named(str(source)) or source.exists():
        yield source
        return
    found = _opened(f"{source}", *_PARTS, split=split)
    with tempfile.TemporaryDirectory(prefix="pretrieve-named-") as place:
        folder = Path(place) / str(source).partition(":")[2].replace("/", "-")
        documents = (_fields(one) for one in _items(str(source), found.docs_iter))
        _write(folder / "corpus.jsonl", ({"_id": one.pop("id"), **one} for one in documents))
        queries = _items(str(source), found.queries_iter)
        _write(folder / "queries.jsonl", ({"_id": one.query_id, "text": _text(one)} for one in queries))
        with files.create_file(folder / "qrels" / f"{split}.tsv") as file:
            file.write(b"query-id\tcorpus-id\tscore\n")
            for one in _items(str(source), found.qrels_iter):
                file.write(f"{one.query_id}\t{one.doc_id}\t{one.relevance}\n".encode())
        yield folder


def _opened(source: str, *parts: str, split: str = "") -> Any:
    """A collection of the library that has these parts."""
    require("ir", source)
    scheme, _, name = source.partition(":")
    registry = importlib.import_module("ir_datasets").registry
    full = f"{_SCHEMES[scheme]}{name.strip('/')}"
    known = [one.removeprefix(_SCHEMES[scheme]) for one in registry if one.startswith(_SCHEMES[scheme])]
    for one in ([f"{full}/{split}"] if split else []) + [full]:
        try:
            found = registry[one]
        except KeyError:
            continue
        lacking = [word for part, word in _PARTS.items() if part in parts and not getattr(found, f"has_{part}")()]
        if not lacking:
            return found
        raise UsageError(
            f"{source}: {one} of ir_datasets has no {' and no '.join(lacking)}: name a part of it that has."
        )
    raise UsageError(f"{source}: ir_datasets has no such collection.{suggest(name, known)}")


def _items(source: str, items: Any) -> Iterator[Any]:
    """What an iterator of the library gives; its many ways to fail are one line."""
    try:
        yield from items()
    except (OSError, RuntimeError, ValueError) as error:  # a failed request is an OSError
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"{source} cannot be fetched or read ({reason:.200}): look at the network, or at what ir_datasets asks "
            f"to be put into {Path.home() / '.ir_datasets'}."
        ) from None


def _fields(document: Any) -> dict[str, str]:
    """A document; one without a text of its own is what the library takes for its text."""
    if isinstance(text := getattr(document, "text", None), str):
        title = getattr(document, "title", "")
        return {"id": document.doc_id, "title": title if isinstance(title, str) else "", "text": text}
    return {"id": document.doc_id, "title": "", "text": _text(document)}


def _text(item: Any) -> str:
    return str(item.default_text())


def _write(path: Path, records: Iterable[dict[str, str]]) -> None:
    with files.create_file(path) as file:
        for record in records:
            file.write(orjson.dumps(record) + b"\n")
