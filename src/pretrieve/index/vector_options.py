"""How the vectors of an index are stored and searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from pretrieve.core.errors import UsageError
from pretrieve.core.extras import is_installed, require

Dtype = Literal["float32", "float16", "int8"]
RECALL = 0.95  # recall@10 of approximate search, where none is asked for
EXACT = 200_000  # vectors of a part up to which search is exact: beyond, a product takes more than about 50 ms


@dataclass(frozen=True, kw_only=True)
class VectorOptions:
    """How the vectors of an index are stored and searched.

    Attributes:
        dtype: of the vectors on disk.
        recall: recall@10 of approximate search, 0 to 1; 1: exact; None: .95 where faiss is installed, else exact.
        exact_up_to: vectors of a part up to which search is exact.
    """

    dtype: Dtype = "float32"
    recall: float | None = None
    exact_up_to: int = EXACT

    def check(self) -> None:
        """Refuse options that are out of bounds, or need what is not installed.

        Raises:
            UsageError: names the option.
            MissingExtraError: approximate search is asked for, and faiss is not installed.
        """
        if self.dtype not in get_args(Dtype):
            raise UsageError(f"dtype={self.dtype}: it is one of {', '.join(get_args(Dtype))}.")
        if self.recall is not None and not 0 <= self.recall <= 1:
            raise UsageError(f"recall={self.recall}: it is at least 0 and at most 1; 1 is exact search.")
        if self.exact_up_to < 0:
            raise UsageError(f"exact_up_to={self.exact_up_to}: it is at least 0.")
        if self.recall is not None and self.recall < 1:
            require("faiss", "Approximate search (a recall below 1)")

    @property
    def target(self) -> float:
        """Recall@10 to reach; 1 for exact search."""
        if self.recall is not None:
            return self.recall
        return RECALL if is_installed("faiss") else 1.0

    def approximates(self, vectors: int) -> bool:
        """Whether search over so many vectors is approximate."""
        return vectors > self.exact_up_to and self.target < 1

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @staticmethod
    def of(meta: Mapping[str, Any]) -> VectorOptions:
        """Options of an index, by its MANIFEST."""
        facts = meta.get("vectors", {})
        return VectorOptions(**{name: facts[name] for name in ("dtype", "recall", "exact_up_to") if name in facts})
