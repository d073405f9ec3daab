"""Where the best documents of a ranker are looked up outside an index's folder: one file for each engine.

The folder stays whole: scores of candidates are computed from it, as without a backend, so that hits are the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from pretrieve.core.errors import UsageError
from pretrieve.core.types import FloatArray, IntArray

Field = Literal["lexical", "dense"]
Weights = Mapping[int, float]  # of a sparse vector, by dimension
Found = tuple[IntArray, FloatArray]  # keys of documents and their scores, best first
COLLECTION = "pretrieve"  # of a file, where no name is given
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_ADDRESS = "give milvus://host:19530/collection, or a file that ends in .db"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A document as a backend keeps it.

    Attributes:
        key: hash of its id, int64.
        content: hash of what it holds, int64.
        facts: hashes of the values of its fields, int64.
        lexical: weights of its terms.
        dense: its vector.
    """

    key: int
    content: int
    facts: Sequence[int]
    lexical: Weights
    dense: FloatArray


class Backend(Protocol):
    """Keeps a sparse and a dense vector of each document, and finds the best by inner product."""

    exact: bool  # whether the best by ``dense`` are surely found
    deepest: int  # documents that one search can return

    def facts(self) -> dict[str, str]:
        """What ``keep_facts`` was given."""
        ...

    def keep_facts(self, facts: Mapping[str, str]) -> None:
        """Keep facts of the whole collection."""
        ...

    def contents(self) -> tuple[IntArray, IntArray]:
        """Keys and content hashes of all documents, int64."""
        ...

    def write(self, rows: Sequence[Row]) -> None:
        """Write documents; one whose key is there is replaced."""
        ...

    def delete(self, keys: IntArray) -> None:
        """Delete documents by key."""
        ...

    def search(
        self, field: Field, queries: Sequence[Weights] | FloatArray, n: int, facts: Sequence[Sequence[int]] = ()
    ) -> list[Found]:
        """The best documents for each query.

        Args:
            field: which vector.
            queries: Q vectors.
            n: documents of each, at most ``deepest``.
            facts: of each sequence a document has at least one; () for all documents.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a collection is.

    Attributes:
        place: ``http://host:port``, or the path of a file.
        collection: its name.
        kind: type of the index of dense vectors.
    """

    place: str
    collection: str
    kind: str = "FLAT"

    @staticmethod
    def parse(text: str, kind: str = "FLAT") -> Address:
        """Read what ``--store`` is given.

        Raises:
            UsageError: it is no address; the text says what to give.
        """
        if "://" not in text:
            if not text.endswith(".db"):
                raise UsageError(f"--store {text!r:.200}: {_ADDRESS}.")
            return Address(place=str(Path(text).absolute()), collection=COLLECTION, kind=kind)
        try:
            parts = urlsplit(text)
            port = parts.port or 19530
        except ValueError:
            raise UsageError(f"--store {text!r:.200}: the port is no number; {_ADDRESS}.") from None
        if parts.scheme not in ("milvus", "milvus+tls") or not parts.hostname:
            raise UsageError(f"--store {text!r:.200}: {_ADDRESS}.")
        if parts.username is not None or parts.password is not None:
            raise UsageError("--store keeps its address in the index: give user:password as MILVUS_TOKEN instead.")
        name = parts.path.strip("/")
        if not _NAME.fullmatch(name):
            raise UsageError(f"--store {text!r:.200}: the collection's name has letters, digits and _ alone.")
        scheme = "https" if parts.scheme == "milvus+tls" else "http"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return Address(place=f"{scheme}://{host}:{port}", collection=name, kind=kind)

    @property
    def is_file(self) -> bool:
        """Whether it is a file, without a server."""
        return "://" not in self.place

    def meta(self, index: Path) -> dict[str, Any]:
        """As an index keeps it; a file by its path from the index."""
        place = os.path.relpath(self.place, index.absolute()) if self.is_file else self.place
        return {"place": place, "collection": self.collection, "kind": self.kind}

    @staticmethod
    def of(meta: Mapping[str, Any], index: Path) -> Address | None:
        """The address in the MANIFEST of an index; None where it has none."""
        found = meta.get("store")
        if found is None:
            return None
        address = Address(**found)
        if not address.is_file:
            return address
        place = os.path.normpath(index.absolute() / address.place)
        return Address(place=place, collection=address.collection, kind=address.kind)

    def describe(self) -> str:
        """As text, for messages."""
        return f"collection {self.collection} of {self.place} ({self.kind})"
