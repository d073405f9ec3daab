"""Shared types: ragged rows, batches, documents and special tokens.

Legend of axes for the whole package: **B** examples, **N** rows an example, **V** vectors a row, **D** dimensions,
**S** all tokens of a batch laid end to end, **R** rows (= B * N in a batch). There is no padding: the layout
of rows for the hardware is left to the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[np.generic]
Similarity = Literal["dot", "cosine"]
Scalar = str | int | float | bool
FieldValue = Scalar | Sequence[Scalar]  # of a document's field; dates are ISO 8601 strings
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document as a reader gives it; ``where`` is ``file:line`` for messages.

    ``fields`` and ``place`` are for search alone: they are no part of what is trained on or encoded.
    """

    id: str
    text: str
    title: str = ""
    group: str = ""  # language or source: what multilingual sampling draws over
    where: str = ""
    fields: Mapping[str, FieldValue] = field(default_factory=dict, hash=False)  # author, date, url, ...
    place: str = ""  # ``file:line`` below the source, where fields are kept
    parent: str = ""  # id of the document that it is a passage of


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """Ids of the tokens that samplers put around and into rows; a static encoder has no ``cls`` and ``sep`` (None)."""

    cls: int | None
    sep: int | None
    mask: int | None
    pad: int
    unknown: int | None
    vocabulary: int  # number of ids; replacement draws from [first_ordinary, vocabulary)
    first_ordinary: int  # lowest id that is no special token

    def around(self) -> int:
        """Number of tokens that one segment gains: 2 with [CLS] and [SEP], 0 without."""
        return (self.cls is not None) + (self.sep is not None)


@dataclass(frozen=True, slots=True)
class Rows:
    """Ragged rows of token ids: ``tokens`` (S,), ``offsets`` (R+1,); row r is ``tokens[offsets[r]:offsets[r+1]]``."""

    tokens: IntArray
    offsets: IntArray
    made: dict[tuple[Hashable, ...], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def once(self, make: Callable[..., _Made], *arguments: Hashable) -> _Made:
        """What a function makes of these rows, made once: an encoder's layout, which the trainer has made ahead.

        Args:
            make: a pure function of rows and ``arguments``; what it returns is not changed afterwards.
            arguments: hashable.
        """
        key = (make, *arguments)
        if key not in self.made:
            self.made[key] = make(self, *arguments)
        found: _Made = self.made[key]
        return found

    @property
    def lengths(self) -> IntArray:
        """Tokens in each row, (R,)."""
        return np.diff(self.offsets)

    def row(self, index: int) -> IntArray:
        """Token ids of one row."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def places(self, index: IntArray) -> IntArray:
        """Where the tokens of chosen rows (R',) stand in ``tokens``, row after row."""
        lengths = self.lengths[index]
        before = np.cumsum(lengths) - lengths
        found: IntArray = np.repeat(self.offsets[index] - before, lengths) + np.arange(lengths.sum())
        return found

    def take(self, index: IntArray) -> Rows:
        """Choose rows by index (R',), in that order."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths[index])]).astype(np.int64)
        return Rows(self.tokens[self.places(index)], offsets)

    @staticmethod
    def of(rows: Sequence[Sequence[int] | IntArray]) -> Rows:
        """Build from a list of rows (small inputs and tests; samplers build theirs vectorised)."""
        lengths = [len(row) for row in rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        parts = [np.asarray(row, dtype=np.int64) for row in rows]
        return Rows(np.concatenate(parts) if parts else np.zeros(0, np.int64), offsets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a sampler yields and an objective encodes: B examples of N ragged rows each.

    Row ``n`` of example ``b`` is row ``b * N + n`` of ``rows``. The three mappings hold whatever else a method needs,
    by what it is aligned with, so that a batch can be sliced without knowing the method:

    * ``per_token`` (S,): masked-language-model labels, segment ids, ...
    * ``per_row`` (B*N, ...): prompts, language, ...
    * ``per_example`` (B, ...): "the sentence was removed", number of masks, ...
    """

    rows: Rows
    shape: tuple[int, int]
    documents: IntArray  # (B,) index in the store of the document each example came from
    per_token: Mapping[str, Array] = field(default_factory=dict)
    per_row: Mapping[str, Array] = field(default_factory=dict)
    per_example: Mapping[str, Array] = field(default_factory=dict)
    views: dict[tuple[str, int, int], Batch] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return self.shape[0]

    def view(self, kind: str, first: int, last: int) -> Batch:
        """What ``slice`` and ``columns`` return: the same object each time, so that its rows are laid out once.

        Args:
            kind: slice or columns.
            first: first example or row.
            last: one past the last.
        """
        key = (kind, first, last)
        if key not in self.views:
            self.views[key] = self._slice(first, last) if kind == "slice" else self._columns(first, last)
        return self.views[key]

    def slice(self, start: int, stop: int) -> Batch:
        """Examples ``start`` to ``stop``, as a batch (views of the same memory, no copies of tokens)."""
        return self.view("slice", start, stop)

    def column(self, n: int) -> Batch:
        """Row ``n`` of every example, as a batch of shape (B, 1): how a method encodes its two sides apart."""
        return self.columns(n, n + 1)

    def columns(self, first: int, last: int) -> Batch:
        """Rows ``first`` to ``last``, exclusive, of every example, as a batch of shape (B, last - first)."""
        return self.view("columns", first, last)

    def _slice(self, start: int, stop: int) -> Batch:
        n = self.shape[1]
        offsets = self.rows.offsets[start * n : stop * n + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        return replace(
            self,
            rows=Rows(self.rows.tokens[first:last], offsets - first),
            shape=(stop - start, n),
            documents=self.documents[start:stop],
            per_token={name: values[first:last] for name, values in self.per_token.items()},
            per_row={name: values[start * n : stop * n] for name, values in self.per_row.items()},
            per_example={name: values[start:stop] for name, values in self.per_example.items()},
        )

    def _columns(self, first: int, last: int) -> Batch:
        size, width = self.shape
        index = (np.arange(size)[:, None] * width + np.arange(first, last)).reshape(-1)
        places = self.rows.places(index)
        return replace(
            self,
            rows=self.rows.take(index),
            shape=(size, last - first),
            per_token={name: values[places] for name, values in self.per_token.items()},
            per_row={name: values[index] for name, values in self.per_row.items()},
        )


class TextEncoder(Protocol):
    """Texts in, vectors out, with the model's own prompts; the interface of a model for an index."""

    @property
    def fingerprint(self) -> str:
        """Identity of weights and tokenizer."""
        ...

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared."""
        ...

    @property
    def location(self) -> str:
        """Where the model is."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) float32 of queries."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (R, D) float32 of documents, or (R, V, D) where a document has several vectors."""
        ...
