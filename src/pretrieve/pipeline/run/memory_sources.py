"""Sources of a run that a Python program gives: files and folders, or the documents themselves.

Documents in memory are read into a temporary folder by the checks of all sources, and are then the source
``memory:FINGERPRINT`` of the run: its recipe and its command say so, and a resumed run knows them again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pretrieve.core.errors import UsageError
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.arguments import text_of
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.sources import DOCUMENTS, read_documents
from pretrieve.pipeline.run.workspace import beside
from pretrieve.text import memory
from pretrieve.text.corpus import OnBad
from pretrieve.text.documents import Documents
from pretrieve.text.fields import Fields
from pretrieve.text.files.streams import stem
from pretrieve.text.readers import by_scheme, by_suffix
from pretrieve.text.records import Record

NAME = "texts"  # what messages call what was given
SOURCE = f"{memory.SCHEME}:{NAME}"  # in a request that is checked before its sources are read
_LOOKS = 100  # items of a list that are looked at
_LONGEST = 4096  # characters of a path
_FEW = 3  # words that a list holds more of, if they are documents and no misspelt sources


@contextlib.contextmanager
def sources_of(
    given: Any, listener: Listener, *, output: Path, on_bad: OnBad, fields: Fields | None = None
) -> Iterator[tuple[str, ...]]:
    """Sources for a request; those in memory can be read while the block runs.

    A text or a path is a source, and so is each of a list whose items all are paths, look like paths, or name
    sources. Anything else holds documents.

    Args:
        given: one or several sources, or documents of one of ``memory.KINDS``.
        listener: receives progress.
        output: what the run writes; quarantined records go beside it.
        on_bad: policy for records that cannot be used.
        fields: field names of records.

    Raises:
        UsageError: it is neither, or both.
        DataError: a record is bad and the policy is to fail, or there is no document.
    """
    if isinstance(given, str | os.PathLike):
        yield (_named(given),)
        return
    given = _peeked(given)
    if isinstance(given, list | tuple) and not given:
        raise UsageError("there are no documents: the list is empty.")
    if isinstance(given, list | tuple) and _names_sources(given):
        yield tuple(map(os.fspath, given))
        return
    leads = processes.current().leads  # each of several processes reads its own texts; the first one's are used
    with tempfile.TemporaryDirectory(prefix="pretrieve-texts-") as folder:
        with memory.holding(NAME, lambda: memory.records_of(given, NAME)) as source:
            documents = read_documents(
                [source],
                Path(folder) / DOCUMENTS,
                listener,
                fields=fields or Fields(),
                on_bad=on_bad,
                quarantine=beside(output if leads else Path(folder) / NAME, ".quarantine.jsonl"),
            )
        with memory.holding(documents.fingerprint, lambda: _records(documents)) as source:
            yield (source,)


def _named(given: str | os.PathLike[str]) -> str:
    """One source.

    Raises:
        UsageError: it is a text, and no path.
    """
    text = os.fspath(given)
    if isinstance(given, str) and (len(text) > _LONGEST or "\n" in text.strip()):
        raise UsageError(f"{NAME}={text!r:.60} is one text, and no path: give a list of texts.")
    return text_of(text, "sources")


def _records(documents: Documents) -> Iterator[Record]:
    for number, document in enumerate(documents):
        fields = {"id": document.id, "title": document.title, "text": document.text, "group": document.group}
        yield Record(f"{NAME}[{number}]", fields, fields, fixed=True)


def _peeked(given: Any) -> Any:
    """A generator of paths as a list; any other as a generator again, with its first item."""
    if not isinstance(given, Iterator):
        return given
    first = list(itertools.islice(given, 1))
    whole = itertools.chain(first, given)
    return list(whole) if first and _is_source(first[0]) else whole


def _names_sources(items: Sequence[Any]) -> bool:
    """Whether the items of a list are sources, and not texts.

    Raises:
        UsageError: some are.
    """
    named = text = None
    for number, item in enumerate(itertools.islice(items, _LOOKS)):
        if not _is_source(item):
            text = text or (number, item)
        elif isinstance(item, os.PathLike) or _exists(item) or _has_scheme(item):
            named = named or (number, item)
        if named and text:
            raise UsageError(
                f"{NAME}[{named[0]}] is a source ({str(named[1])!r:.80}) and {NAME}[{text[0]}] is none "
                f"({text[1]!r:.80}): give a list of sources, or of texts; texts also as records, {{'text': ...}}."
            )
    return text is None or (
        len(items) <= _FEW and all(isinstance(item, str) and item.split() == [item] for item in items)
    )


def _is_source(item: Any) -> bool:
    """Whether an item names a source, or looks as if it was meant to: a misspelt path is no text."""
    if isinstance(item, os.PathLike):
        return True
    return isinstance(item, str) and (_exists(item) or _has_scheme(item) or _looks_like_path(item))


def _exists(text: str) -> bool:
    if not text or len(text) > _LONGEST or "\n" in text:
        return False
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def _has_scheme(text: str) -> bool:
    return bool(re.fullmatch(r"\w+:\S+", text)) and text.partition(":")[0] in by_scheme()


def _looks_like_path(text: str) -> bool:
    if not text or len(text) > _LONGEST or re.search(r"\s", text) or "://" in text:
        return False
    return os.sep in text or stem(Path(text))[1] in by_suffix()
