"""What the teacher of ``distill`` reads: pieces of documents up to a token budget; vectors are stored in blocks."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrieve.core.errors import DataError
from pretrieve.core.rng import shuffled
from pretrieve.core.types import FloatArray, IntArray, Rows
from pretrieve.finetuning.distillation import Taught
from pretrieve.methods.structure import Options, Sampler
from pretrieve.pipeline.run.blocks import Blocks
from pretrieve.pipeline.run.progress import Listener
from pretrieve.sampling.batches import Address
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer

Encode = Callable[[Sequence[str]], FloatArray]
BLOCK = 256  # texts that the teacher encodes between two writes
_DOCUMENTS = 64  # drawn at once
_ROUNDS = 8  # passes over a small collection, each with other pieces
_AROUND = 2  # special tokens of a row
_TIMED = 64  # documents that a teacher is timed with
_LEAST = 5_000  # minimum number of document tokens, however few the minutes


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Texts for the teacher: N documents, and Q queries out of each.

    Attributes:
        keys: N rows of tokens, the documents.
        queries: N Q rows of tokens, those of the first document first.
        documents: (N,) index of each document in the store.
    """

    keys: Rows
    queries: Rows
    documents: IntArray

    @property
    def tokens(self) -> int:
        """Tokens that the teacher reads, special tokens included."""
        return sum(len(rows.tokens) + _AROUND * len(rows) for rows in (self.keys, self.queries))

    def taught(self, keys: FloatArray, queries: FloatArray) -> Taught:
        """The pieces with the teacher's vectors of documents (N, D) and queries (N Q, D)."""
        offsets = np.concatenate([self.keys.offsets, self.keys.offsets[-1] + self.queries.offsets[1:]])
        size = len(self.documents)
        return Taught(
            rows=Rows(np.concatenate([self.keys.tokens, self.queries.tokens]), offsets),
            vectors=np.concatenate([keys, queries]),
            keys=np.arange(size),
            queries=size + np.arange(len(self.queries)).reshape(size, -1),
            documents=self.documents,
        )


def texts_of(rows: Rows, tokenizer: Tokenizer) -> list[str]:
    """The texts of some rows; a piece of a word at the start of one is read without its mark."""
    return [tokenizer.decode(rows.row(index)).removeprefix("##").strip() for index in range(len(rows))]


def draw_pieces(store: Store, tokens: int, *, window: int, queries: int, seed: int) -> Pieces:
    """Draw documents, cut to a window, and queries out of them, until the teacher's budget is spent.

    Queries are titles, titles with a few words, first words, sentences and spans, as ``methods/structure.py`` draws
    them; the documents stay whole, since the teacher scores the pair.

    Args:
        store: the documents, in the student's tokens.
        tokens: budget of the teacher, in tokens.
        window: tokens of the longest document.
        queries: number of queries of each document.
        seed: seed of the run.

    Raises:
        DataError: no document is long enough.
    """
    options = Options(
        lead=0.5, sentence=1.0, span=1.0, crop=0.0, remove=0.0, title_in_key=1.0, window=window, titled_share=0.0
    )
    sampler = Sampler(store, store.tokenizer.bare(), options)
    count = sampler.mixture.items
    if not count:
        raise DataError("no document is long enough to distil with: give more text.")
    keys: list[IntArray] = []
    query_rows: list[IntArray] = []
    documents: list[int] = []
    spent = 0
    for first in range(0, count * _ROUNDS, _DOCUMENTS):
        places = np.arange(first, min(first + _DOCUMENTS, count * _ROUNDS))
        drawn = [_drawn(sampler, places, count, seed, stream) for stream in range(queries)]
        for number in range(len(places)):
            key, own = drawn[0][0].row(2 * number + 1), [part.row(2 * number) for part, _ in drawn]
            spent += len(key) + sum(map(len, own)) + _AROUND * (1 + len(own))
            if spent > tokens and documents:
                return Pieces(keys=Rows.of(keys), queries=Rows.of(query_rows), documents=np.array(documents))
            keys.append(key)
            query_rows += own
            documents.append(int(drawn[0][1][number]))
    return Pieces(keys=Rows.of(keys), queries=Rows.of(query_rows), documents=np.array(documents))


def _drawn(sampler: Sampler, places: IntArray, count: int, seed: int, stream: int) -> tuple[Rows, IntArray]:
    """Rows [query, document] of the documents at some places of a shuffled round, and which they are."""
    rounds = places // count
    items = np.concatenate(
        [shuffled(places[rounds == r] % count, count, seed, "distil/documents", int(r)) for r in np.unique(rounds)]
    )
    step = int(places[0]) * 64 + stream
    batch = sampler.draw(items, Address(seed=seed, step=step, epochs=rounds))
    return batch.rows, batch.documents


def taught_vectors(folder: Path, encode: Encode, texts: Sequence[str], listener: Listener) -> FloatArray:
    """The teacher's vectors (R, D) of some texts, of length one; blocks already on disk are read.

    They are stored in half precision: cosines are equal to four digits.

    Args:
        folder: folder of the blocks.
        encode: the teacher's encoder of queries or documents.
        texts: R texts; an empty one gets a zero vector.
        listener: receives progress for every block.

    Raises:
        DataError: a vector is not finite, a text has several vectors, or all texts are empty.
        StorageError: writing to disk failed.
    """
    if not any(texts):
        raise DataError(
            "the teacher's tokenizer knows no word of these documents: choose a teacher that reads their language."
        )
    blocks = Blocks(folder, len(texts), BLOCK)

    def make(items: range) -> Iterator[object]:
        part = [texts[index] for index in items]
        there = [text for text in part if text]
        vectors = iter(_encoded(encode, there) if there else ())
        for text in part:
            yield base64.b64encode(next(vectors).tobytes()).decode() if text else ""

    blocks.run(make, listener)
    found = [np.frombuffer(base64.b64decode(value), np.float16) for value in blocks.values()]
    width = max(map(len, found))
    return np.stack([row.astype(np.float32) if len(row) else np.zeros(width, np.float32) for row in found])


def _encoded(encode: Encode, texts: list[str]) -> FloatArray:
    vectors = encode(texts)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise DataError("the teacher gives vectors that are not finite, or several for a text.")
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(vectors / lengths, np.float16)


def tokens_for_minutes(encode: Encode, store: Store, minutes: float, window: int) -> int:
    """Tokens of documents that a teacher reads in some minutes, after its vocabulary; timed on some of them.

    Args:
        encode: the teacher's encoder of documents.
        store: the documents.
        minutes: time for vocabulary and documents.
        window: tokens of the longest document.
    """
    starts = np.asarray(store.starts)[np.linspace(0, len(store) - 1, min(len(store), _TIMED)).astype(np.int64)]
    rows = Rows.of([np.asarray(store.tokens[start : start + window], np.int64) for start in starts])
    texts = texts_of(rows, store.tokenizer)
    encode(texts[:4])  # the first call is slow
    before = time.perf_counter()
    encode(texts)
    speed = (len(rows.tokens) + _AROUND * len(rows)) / max(time.perf_counter() - before, 1e-6)
    return max(_LEAST, int(minutes * 60 * speed) - (1 + _AROUND) * store.specials.vocabulary)
