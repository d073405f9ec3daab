"""Where the best documents of a ranker are looked up outside an index's folder: one file for each engine.

The folder stays whole: scores of candidates are computed from it, as without a backend, so that hits are the same.
A row is written once and never changed: another content of a document, or other weights of its words, is another row,
so that two versions of an index can be in one collection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from pretrieve.core.errors import UsageError
from pretrieve.core.types import FloatArray, IntArray

Field = Literal["lexical", "dense"]
Weights = Mapping[int, float]  # of a sparse vector, by dimension
COLLECTION = "pretrieve"  # of a file, where no name is given
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_ADDRESS = "give milvus://host:19530/collection, or a file that ends in .db"


class Found(NamedTuple):
    """What a search found for a query, best first.

    Attributes:
        keys: of the rows.
        documents: hashes of the documents' ids.
        scores: inner products.
    """

    keys: IntArray
    documents: IntArray
    scores: FloatArray


@dataclass(frozen=True, kw_only=True)
class Row:
    """A document as a backend keeps it.

    Attributes:
        key: hash of document, content and weighting (``rows.keys_of``), int64.
        document: hash of its id, int64.
        facts: hashes of the values of its fields (``facts.py``), int64.
        lexical: weights of its terms.
        dense: its vector.
    """

    key: int
    document: int
    facts: Sequence[int]
    lexical: Weights
    dense: FloatArray


class Backend(Protocol):
    """Keeps a sparse and a dense vector of each document, and finds the best by inner product."""

    exact: bool  # whether the best by ``dense`` are surely found
    deepest: int  # rows that one search can return

    def facts(self) -> dict[str, str] | None:
        """What ``keep_facts`` was given; None where there is no collection."""
        ...

    def keep_facts(self, facts: Mapping[str, str]) -> None:
        """Keep facts of the whole collection; others stay."""
        ...

    def keys(self) -> IntArray:
        """Keys of all rows, int64."""
        ...

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows; one whose key is there is replaced."""
        ...

    def delete(self, keys: IntArray) -> None:
        """Delete rows."""
        ...

    def search(
        self, field: Field, queries: Sequence[Weights] | FloatArray, n: int, facts: Sequence[Sequence[int]] = ()
    ) -> list[Found]:
        """The best rows for each query.

        Args:
            field: which vector.
            queries: Q vectors.
            n: rows of each, at most ``deepest``.
            facts: of each sequence a row has at least one; () for all rows.
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
        if parts.username is not None or parts.password is not None:
            raise UsageError("--store keeps its address in the index: give user:password as MILVUS_TOKEN instead.")
        if parts.scheme not in ("milvus", "milvus+tls") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"--store {text!r:.200}: {_ADDRESS}.")
        name = parts.path.removeprefix("/")
        if not _NAME.fullmatch(name):
            raise UsageError(f"--store {text!r:.200}: the collection's name has letters, digits and _ alone.")
        scheme = "https" if parts.scheme == "milvus+tls" else "http"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return Address(place=f"{scheme}://{host}:{port}", collection=name, kind=kind)

    @property
    def is_file(self) -> bool:
        """Whether it is a file, without a server."""
        return "://" not in self.place

    def meta(self, index: Path) -> dict[str, str]:
        """As an index keeps it; a file by its path from the index."""
        place = os.path.relpath(self.place, index.absolute()) if self.is_file else self.place
        return {"place": place, "collection": self.collection, "kind": self.kind}

    @staticmethod
    def of(meta: Mapping[str, str], index: Path) -> Address:
        """What ``meta`` gave."""
        address = Address(place=meta["place"], collection=meta["collection"], kind=meta["kind"])
        if not address.is_file:
            return address
        place = os.path.normpath(index.absolute() / address.place)
        return Address(place=place, collection=address.collection, kind=address.kind)

    def describe(self) -> str:
        """As text, for messages."""
        return f"collection {self.collection} of {self.place} ({self.kind})"
