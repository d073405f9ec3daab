"""An index that is served: opened once, and again when it was changed on disk, while the old one answers."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pretrieve.core.errors import PretrieveError, UsageError
from pretrieve.core.files import MANIFEST
from pretrieve.core.types import Document
from pretrieve.index.asked import MODES
from pretrieve.index.find import search
from pretrieve.index.ids import hashes
from pretrieve.index.index import Index
from pretrieve.models.bag import Bag
from pretrieve.pipeline.open_index import open_index

_FIRST = 40  # characters of the first query


class Served:
    """One index, by the name that requests give.

    Args:
        name: of its folder.
        path: its folder.
        index: what is there; default: it is opened.

    Attributes:
        name: of its folder.
        path: its folder.
        index: as it is now; a request takes it once and keeps it to its end.
        opened: how often it was opened.
        problem: why a change on disk could not be opened; empty where it could.
        encoding: held while a model that is not static is used, whose tokenizer serves one thread at a time.
    """

    def __init__(self, name: str, path: Path, index: Index | None = None) -> None:
        self.name, self.path = name, path
        self._seen = self._version()
        self.index: Index = open_index(path) if index is None else index
        self.opened, self.problem = 1, ""
        self._lock = threading.Lock()

    @property
    def described(self) -> str:
        """What it is of, for people."""
        return str(self.path)

    @property
    def encoding(self) -> AbstractContextManager[object]:
        """What a search by vectors holds."""
        dense = self.index.dense
        return nullcontext() if dense is None or isinstance(dense.encoder, Bag) else self._lock

    def answer_once(self) -> None:
        """Answer a query, so that no client waits for what is loaded by the first one."""
        first = next(iter(self.index.documents), None)
        if first is not None:
            search(self.index, f"{first.title} {first.text}"[:_FIRST].strip() or "-", 1)

    def refresh(self) -> bool:
        """Take the index anew if there is another version of it; one that cannot be had leaves the old one in place.

        Returns:
            Whether there was a change.
        """
        version = self._version()
        if version == self._seen:
            return False
        try:
            self.index = self._anew()
        except (PretrieveError, OSError) as error:
            self.problem = str(error)
        else:
            self.opened, self.problem = self.opened + 1, ""
        self._seen = version
        return True

    def _version(self) -> object:
        """What changes with each MANIFEST: the file, its time and its size."""
        try:
            facts = (self.path / MANIFEST).stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size

    def _anew(self) -> Index:
        """The index of the version that is there now."""
        return open_index(self.path)


def open_all(paths: Sequence[Path]) -> dict[str, Served]:
    """Open indexes, by the names of their folders.

    Args:
        paths: of their folders.

    Raises:
        PretrieveError: one cannot be opened.
        UsageError: two have one name, or one has that of a ranking.
    """
    found: dict[str, Served] = {}
    for path in paths:
        name = path.resolve().name
        check_name(name, str(path), found)
        found[name] = Served(name, path)
    return found


def check_name(name: str, described: str, served: Mapping[str, Served]) -> None:
    """Refuse a name that would be there twice.

    Args:
        name: of an index.
        described: what it is of.
        served: the others by name.

    Raises:
        UsageError: another has it, or a ranking.
    """
    if name in served:
        raise UsageError(
            f"two indexes are called {name} ({served[name].described}, {described}): rename or leave out one."
        )
    if name in MODES:
        raise UsageError(f"{described} is called as a ranking is: rename its folder, to tell them apart on the page.")


def number_of(index: Index, name: str) -> int | None:
    """The number of the document with an id, if the index has it.

    Args:
        index: the index.
        name: the id.
    """
    members = index.members
    wanted = hashes([name], 1)
    for start, part in zip(members.starts.tolist(), members.parts, strict=False):
        for place in part.find(wanted)[1].tolist():
            if part.names[place] == name and (members.alive is None or members.alive[start + place]):
                return int(start + place)
    return None


def document_of(index: Index, name: str) -> Document | None:
    """The document with an id, if the index has it.

    Args:
        index: the index.
        name: the id.
    """
    number = number_of(index, name)
    return None if number is None else index.numbered[number]
