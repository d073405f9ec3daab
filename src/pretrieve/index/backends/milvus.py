"""Milvus, or Milvus Lite in a file, through pymilvus.

Index types are those that Milvus Lite has: it takes others without a word, and fails to build them later.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrieve.core import disk
from pretrieve.core.errors import LockedError, PretrieveError, StorageError, UsageError
from pretrieve.core.extras import require
from pretrieve.core.types import FloatArray, IntArray
from pretrieve.index.backends import Address, Field, Found, Row, Weights

if TYPE_CHECKING:
    from pymilvus import MilvusClient

KINDS = ("FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8")
DEEPEST = 16_384  # Milvus' own limit of a search
_FACTS = 4_096  # Milvus' own limit of an array
_PREFIX = "pretrieve."
_FIELDS = {"key", "document", "facts", "lexical", "dense"}
_TOGETHER = 16  # queries of a call
_DELETED = 8_192  # keys of a call
_WRITTEN = 1_000  # rows of a call
_BYTES = 8 << 20  # of a call that writes, about: a server takes 64 MiB at most
_CONNECT, _ASK, _WORK = 10.0, 20.0, 600.0  # seconds that a server may take to be reached, to answer, and to build
_AWAY = ("DEADLINE_EXCEEDED", "UNAVAILABLE", "server unavailable")  # in what grpc and pymilvus say
_BUILT: dict[str, dict[str, Any]] = {
    "HNSW": {"M": 16, "efConstruction": 200},
    "HNSW_SQ": {"M": 16, "efConstruction": 200, "sq_type": "SQ8"},
    "IVF_FLAT": {"nlist": 1024},
    "IVF_SQ8": {"nlist": 1024},
}


class Milvus:
    """A collection of Milvus, whether it is there or not; see ``Backend``.

    Args:
        client: of pymilvus.
        address: of the collection.
    """

    deepest = DEEPEST

    def __init__(self, client: MilvusClient, address: Address) -> None:
        self._client, self._address, self._name = client, address, address.collection
        self.exact = address.kind == "FLAT"
        # Milvus Lite is in this process: it cannot be away, and takes its time.
        self._ask, self._work = (_WORK, _WORK) if address.is_file else (_ASK, _WORK)

    @staticmethod
    @contextlib.contextmanager
    def opened(address: Address) -> Iterator[Milvus]:
        """``connect``, for the time of a block."""
        backend = Milvus.connect(address)
        try:
            yield backend
        finally:
            backend.close()

    @staticmethod
    def connect(address: Address) -> Milvus:
        """Reach a server, or open a file.

        Raises:
            MissingExtraError: pymilvus is not installed.
            StorageError: there is no server, or the file cannot be opened.
            LockedError: another process uses the file.
            UsageError: its kind is none that Milvus Lite has.
        """
        if address.kind not in KINDS:
            raise UsageError(f"--store-index {address.kind!r:.50}: one of {', '.join(KINDS)}.")
        require("milvus", "An index in Milvus")
        if address.is_file and not Path(address.place).parent.is_dir():
            raise StorageError(f"{address.place}: its folder does not exist: make it, or give another place.")
        with _explained(address, "cannot be opened"):
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it prints of its pings what nobody can act on
            from pymilvus import MilvusClient

            for name in ("pymilvus", "milvus_lite"):  # they print tracebacks of what is explained here
                logging.getLogger(name).setLevel(logging.CRITICAL)
            try:
                client = MilvusClient(address.place, token=os.environ.get("MILVUS_TOKEN", ""), timeout=_CONNECT)
            except Exception:
                if address.is_file and _locked(Path(address.place) / "LOCK"):
                    raise LockedError(
                        f"{address.place} is used by another process, and Milvus Lite serves one at a time: wait for "
                        "it, or use a server."
                    ) from None
                raise
        return Milvus(client, address)

    def close(self) -> None:
        """Let go of the server or the file."""
        self._client.close()

    def facts(self) -> dict[str, str] | None:
        """See ``Backend``.

        Raises:
            UsageError: the collection is none of pretrieve.
            StorageError: Milvus refuses.
        """
        with _explained(self._address):
            if not self._client.has_collection(self._name, timeout=self._ask):
                return None
            found = self._client.describe_collection(self._name, timeout=self._ask)
        fields = {one["name"] for one in found["fields"]}
        if fields != _FIELDS:
            raise UsageError(
                f"{self._address.describe()} is none of pretrieve, or of an earlier version (fields "
                f"{', '.join(sorted(fields))[:200]}): give another name."
            )
        properties = found.get("properties") or {}
        return {name.removeprefix(_PREFIX): text for name, text in properties.items() if name.startswith(_PREFIX)}

    def keep_facts(self, facts: Mapping[str, str]) -> None:
        """See ``Backend``."""
        with self._changing("alter"):
            self._client.alter_collection_properties(self._name, _named(facts), timeout=self._ask)

    def drop(self) -> None:
        """Remove the collection.

        Raises:
            StorageError: Milvus refuses.
        """
        with self._changing("drop"):
            self._client.drop_collection(self._name, timeout=self._work)

    def create(self, dimensions: int, facts: Mapping[str, str]) -> None:
        """Make an empty collection.

        Args:
            dimensions: of the dense vectors.
            facts: as ``keep_facts``.

        Raises:
            StorageError: Milvus refuses.
        """
        with self._changing("create"):
            from pymilvus import DataType

            schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("key", DataType.INT64, is_primary=True)
            schema.add_field("document", DataType.INT64)
            schema.add_field("facts", DataType.ARRAY, element_type=DataType.INT64, max_capacity=_FACTS)
            schema.add_field("lexical", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimensions)
            kinds, kind = self._client.prepare_index_params(), self._address.kind
            kinds.add_index("lexical", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
            kinds.add_index("dense", index_type=kind, metric_type="IP", params=_BUILT.get(kind, {}))
            self._client.create_collection(
                self._name, schema=schema, index_params=kinds, properties=_named(facts), consistency_level="Strong",
                timeout=self._work,
            )  # fmt: skip

    def load(self) -> None:
        """Make the collection ready to be asked: one of Milvus Lite is not, in a new process.

        Raises:
            StorageError: Milvus refuses.
        """
        with _explained(self._address):
            self._client.load_collection(self._name, timeout=self._work)

    def keys(self) -> IntArray:
        """See ``Backend``."""
        found: list[int] = []
        with _explained(self._address):
            rows = self._client.query_iterator(
                self._name, batch_size=_DELETED, filter="", output_fields=["key"], consistency_level="Strong",
                timeout=self._work,
            )  # fmt: skip
            while batch := rows.next():
                found += [row["key"] for row in batch]
            rows.close()
        return np.array(found, np.int64)

    def write(self, rows: Sequence[Row]) -> None:
        """See ``Backend``."""
        start, size = 0, 0
        for stop, row in enumerate(rows):
            size += 8 * len(row.lexical) + 4 * len(row.dense) + 8 * len(row.facts)
            if size > _BYTES or stop - start == _WRITTEN:
                self._write(rows[start:stop])
                start, size = stop, 0
        self._write(rows[start:])

    def _write(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        with self._changing("write"):
            given = [
                {
                    "key": row.key,
                    "document": row.document,
                    "facts": [*row.facts],
                    "lexical": {**row.lexical},
                    "dense": row.dense.astype(np.float32),
                }
                for row in rows
            ]
            self._client.upsert(self._name, given, timeout=self._work)

    def settle(self) -> None:
        """Have what was written put to disk and indexed; searches find it before, and are slower.

        Raises:
            StorageError: Milvus refuses.
        """
        with self._changing("flush"):
            self._client.flush(self._name, timeout=self._work)

    def delete(self, keys: IntArray) -> None:
        """See ``Backend``."""
        for start in range(0, len(keys), _DELETED):
            with self._changing("delete"):
                some = keys[start : start + _DELETED].tolist()
                self._client.delete(self._name, ids=some, timeout=self._work)

    def search(
        self, field: Field, queries: Sequence[Weights] | FloatArray, n: int, facts: Sequence[Sequence[int]] = ()
    ) -> list[Found]:
        """See ``Backend``."""
        given: list[Any] = [
            one.astype(np.float32).tolist() if isinstance(one, np.ndarray) else {**one} for one in queries
        ]
        # Hashes are numbers: nothing of the user's is written into the expression.
        where = " and ".join(f"array_contains_any(facts, {[int(one) for one in some]})" for some in facts)
        found: list[Found] = []
        with _explained(self._address):
            for start in range(0, len(given), _TOGETHER):
                answers = self._client.search(
                    self._name,
                    given[start : start + _TOGETHER],
                    filter=where,
                    limit=n,
                    output_fields=["document"],
                    search_params={"metric_type": "IP", "params": self._params(field, n)},
                    anns_field=field,
                    consistency_level="Strong",
                    timeout=self._ask,
                )
                found += [_found(hits) for hits in answers]
        return found

    def _params(self, field: Field, n: int) -> dict[str, Any]:
        if field == "lexical":
            return {}
        if self._address.kind.startswith("HNSW"):
            return {"ef": min(32_768, max(64, n))}
        return {"nprobe": 64} if self._address.kind.startswith("IVF") else {}

    @contextlib.contextmanager
    def _changing(self, operation: str) -> Iterator[None]:
        """``_explained``, where a test may stop the process."""
        disk.fault_point(f"store {operation}", Path(self._name))
        with _explained(self._address):
            yield


def _named(facts: Mapping[str, str]) -> dict[str, str]:
    return {f"{_PREFIX}{name}": text for name, text in facts.items()}


def _found(hits: Sequence[Any]) -> Found:
    keys = np.array([hit["key"] for hit in hits], np.int64)
    documents = np.array([hit["entity"]["document"] for hit in hits], np.int64)
    return Found(keys, documents, np.array([hit["distance"] for hit in hits], np.float32))


def _locked(path: Path) -> bool:
    """Whether somebody holds the lock of a file of Milvus Lite."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def _explained(address: Address, what: str = "") -> Iterator[None]:
    """One line in place of what pymilvus raises.

    Raises:
        StorageError: Milvus refuses.
    """
    try:
        yield
    except PretrieveError:
        raise
    except Exception as error:  # grpc's, Milvus Lite's and pymilvus' have no common class
        reason = getattr(error, "message", None) or str(error) or type(error).__name__
        if any(word in f"{reason} {error!r}" for word in _AWAY):
            raise StorageError(f"{address.describe()} cannot be reached: is its server running?") from error
        line = " ".join(str(reason).split())[:300]
        raise StorageError(f"{address.describe()}{f' {what}' if what else ''} ({line})") from error
