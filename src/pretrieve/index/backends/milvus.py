"""Milvus, or Milvus Lite in a file, through pymilvus.

Index types are those that Milvus Lite has: it takes others without a word, and fails to build them later.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrieve.core.errors import StorageError, UsageError
from pretrieve.core.extras import require
from pretrieve.core.types import FloatArray, IntArray
from pretrieve.index.backends import Address, Field, Found, Row, Weights

if TYPE_CHECKING:
    from pymilvus import MilvusClient

KINDS = ("FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8")
DEEPEST = 16_384  # Milvus' own limit of a search
_FACTS = 4_096  # Milvus' own limit of an array
_PREFIX = "pretrieve."
_FIELDS = ("key", "content", "facts", "lexical", "dense")
_TOGETHER = 16  # queries of a call
_BATCH = 8_192
_TIMEOUT = 60.0
_BUILT: dict[str, dict[str, Any]] = {
    "HNSW": {"M": 16, "efConstruction": 200},
    "HNSW_SQ": {"M": 16, "efConstruction": 200, "sq_type": "SQ8"},
    "IVF_FLAT": {"nlist": 1024},
    "IVF_SQ8": {"nlist": 1024},
}


class Milvus:
    """A collection of Milvus.

    Args:
        client: of pymilvus.
        address: of the collection.
    """

    deepest = DEEPEST

    def __init__(self, client: MilvusClient, address: Address) -> None:
        self._client, self._address = client, address
        self.exact = address.kind == "FLAT"

    @staticmethod
    def connect(address: Address) -> Milvus:
        """Reach a server, or open a file.

        Raises:
            MissingExtraError: pymilvus is not installed.
            StorageError: there is no server, or the file cannot be opened.
            UsageError: its kind is none that Milvus Lite has.
        """
        if address.kind not in KINDS:
            raise UsageError(f"--store-index {address.kind!r:.50}: one of {', '.join(KINDS)}.")
        require("milvus", "An index in Milvus")
        if address.is_file and not Path(address.place).parent.is_dir():
            raise StorageError(f"{address.place}: its folder does not exist: make it, or give another place.")
        with _explained(address, "cannot be reached; is the server running, or the file used by another process?"):
            from pymilvus import MilvusClient

            for name in ("pymilvus", "milvus_lite"):  # they print tracebacks of what is explained here
                logging.getLogger(name).setLevel(logging.CRITICAL)
            client = MilvusClient(address.place, token=os.environ.get("MILVUS_TOKEN", ""), timeout=_TIMEOUT)
        return Milvus(client, address)

    def close(self) -> None:
        """Let go of the server or the file."""
        self._client.close()

    def exists(self) -> bool:
        """Whether there is a collection."""
        with _explained(self._address):
            return bool(self._client.has_collection(self._address.collection))

    def create(self, dimensions: int, *, replace: bool) -> None:
        """Make an empty collection.

        Args:
            dimensions: of the dense vectors.
            replace: replace one that is there.

        Raises:
            UsageError: it is there and not to be replaced, or is none of pretrieve.
            StorageError: the server refuses.
        """
        name = self._address.collection
        if self.exists():
            self.check()
            if not replace:
                raise UsageError(f"{self._address.describe()} exists: give another name, or --overwrite.")
            with _explained(self._address):
                self._client.drop_collection(name)
        with _explained(self._address):
            from pymilvus import DataType

            schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("key", DataType.INT64, is_primary=True)
            schema.add_field("content", DataType.INT64)
            schema.add_field("facts", DataType.ARRAY, element_type=DataType.INT64, max_capacity=_FACTS)
            schema.add_field("lexical", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimensions)
            kinds = self._client.prepare_index_params()
            kind = self._address.kind
            kinds.add_index("lexical", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
            kinds.add_index("dense", index_type=kind, metric_type="IP", params=_BUILT.get(kind, {}))
            self._client.create_collection(name, schema=schema, index_params=kinds, consistency_level="Strong")

    def check(self) -> None:
        """Make a collection ready to be asked; refuse one that is missing, or is none of pretrieve.

        Raises:
            StorageError: it is missing.
            UsageError: it has other fields.
        """
        if not self.exists():
            raise StorageError(
                f"there is no {self._address.describe()}: restore it, or fill it anew with `pretrieve index --update`."
            )
        with _explained(self._address):
            fields = {one["name"] for one in self._client.describe_collection(self._address.collection)["fields"]}
        if fields != {*_FIELDS}:
            raise UsageError(
                f"{self._address.describe()} is none of pretrieve (fields {', '.join(sorted(fields))[:200]}): give "
                "another name."
            )
        with _explained(self._address):
            self._client.load_collection(self._address.collection)  # one of Milvus Lite is not, in a new process

    def facts(self) -> dict[str, str]:
        """See ``Backend``."""
        with _explained(self._address):
            found = self._client.describe_collection(self._address.collection).get("properties") or {}
        return {name.removeprefix(_PREFIX): text for name, text in found.items() if name.startswith(_PREFIX)}

    def keep_facts(self, facts: Mapping[str, str]) -> None:
        """See ``Backend``."""
        with _explained(self._address):
            named = {f"{_PREFIX}{name}": text for name, text in facts.items()}
            self._client.alter_collection_properties(self._address.collection, named)

    def contents(self) -> tuple[IntArray, IntArray]:
        """See ``Backend``."""
        pairs: list[tuple[int, int]] = []
        with _explained(self._address):
            rows = self._client.query_iterator(
                self._address.collection, batch_size=_BATCH, filter="", output_fields=["key", "content"],
                consistency_level="Strong",
            )  # fmt: skip
            while batch := rows.next():
                pairs += [(row["key"], row["content"]) for row in batch]
            rows.close()
        found = np.array(pairs, np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def write(self, rows: Sequence[Row]) -> None:
        """See ``Backend``."""
        with _explained(self._address):
            self._client.upsert(
                self._address.collection,
                [
                    {
                        "key": row.key,
                        "content": row.content,
                        "facts": [*row.facts],
                        "lexical": {**row.lexical},
                        "dense": row.dense.astype(np.float32).tolist(),
                    }
                    for row in rows
                ],
            )

    def delete(self, keys: IntArray) -> None:
        """See ``Backend``."""
        with _explained(self._address):
            for start in range(0, len(keys), _BATCH):
                self._client.delete(self._address.collection, ids=keys[start : start + _BATCH].tolist())

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
                    self._address.collection,
                    given[start : start + _TOGETHER],
                    filter=where,
                    limit=n,
                    output_fields=["key"],
                    search_params={"metric_type": "IP", "params": self._params(field, n)},
                    anns_field=field,
                    consistency_level="Strong",
                )
                for hits in answers:
                    keys = np.array([hit["key"] for hit in hits], np.int64)
                    found.append((keys, np.array([hit["distance"] for hit in hits], np.float32)))
        return found

    def _params(self, field: Field, n: int) -> dict[str, Any]:
        if field == "lexical":
            return {}
        if self._address.kind.startswith("HNSW"):
            return {"ef": min(32_768, max(64, n))}
        return {"nprobe": 64} if self._address.kind.startswith("IVF") else {}


@contextlib.contextmanager
def _explained(address: Address, what: str = "") -> Iterator[None]:
    """One line in place of what pymilvus raises.

    Raises:
        StorageError: Milvus refuses.
    """
    try:
        yield
    except (StorageError, UsageError):
        raise
    except Exception as error:  # grpc's, Milvus Lite's and pymilvus' have no common class
        reason = getattr(error, "message", None) or str(error) or type(error).__name__
        line = " ".join(str(reason).split())[:300]
        raise StorageError(f"{address.describe()}{f' {what}' if what else ''} ({line})") from error
