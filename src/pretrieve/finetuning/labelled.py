"""The sampler of fine-tuning: a query, one of its positives, and n negatives, hard or random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pretrieve.core.bounds import TOKENS, check_bounds
from pretrieve.core.errors import DataError
from pretrieve.core.files import fingerprint
from pretrieve.core.types import Batch, Document, IntArray, Rows, SpecialTokens
from pretrieve.index.pseudo import full_text
from pretrieve.sampling.batches import Address, Mixture
from pretrieve.sampling.labels import Labels
from pretrieve.sampling.spans import lay_out, offsets_of, read, surround
from pretrieve.text.encoding import first_words
from pretrieve.text.store import Store

_TRIES = 10  # draws of a random negative
UNKNOWN = np.float32(np.nan)  # a teacher's score that was not given


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Options of the sampler.

    Attributes:
        negatives: number of negatives per positive.
        hard: probability that a negative is a hard negative of the query instead of a random document.
        query_length: maximum length of a query in tokens, special tokens included.
        passage_length: maximum length of a document in tokens, special tokens included.
    """

    negatives: int = 1
    hard: float = 1.0
    query_length: int = 64
    passage_length: int = 256

    def __post_init__(self) -> None:
        check_bounds(self, 0, 10_000, "negatives")
        check_bounds(self, 0, 1, "hard")
        check_bounds(self, 3, TOKENS, "query_length", "passage_length")


@dataclass(frozen=True)
class Texts:
    """Texts of documents and queries as in search: prompt, title, separator and text.

    The parts are joined before tokenization, because tokenizing them separately can give other tokens.

    Attributes:
        labels: the labels.
        prompts: prompts of queries and of documents.
        separator: separator of title and text.
        lengths: maximum tokens of a query and of a document; further text is not tokenized.
    """

    labels: Labels
    prompts: tuple[str, str] = ("", "")
    separator: str = " "
    lengths: tuple[int, int] = (1 << 60, 1 << 60)

    def __len__(self) -> int:
        return len(self.labels.records)

    @property
    def fingerprint(self) -> str:
        """Hash of all texts, in order."""
        return fingerprint([self.labels.records.fingerprint, self.prompts, self.separator, self.lengths])

    def batches(self, size: int = 1024, select: IntArray | None = None) -> Iterator[list[Document]]:
        """All records, or those of some indices, in lists of at most ``size``; one without a text stays empty."""
        places = iter(range(len(self)) if select is None else select.tolist())
        for batch in self.labels.records.batches(size, select):
            yield [self._joined(document, place) for document, place in zip(batch, places, strict=False)]

    def _joined(self, document: Document, place: int) -> Document:
        side = int(place < self.labels.size)
        text = self.prompts[side] + full_text(document, self.separator) if document.text.strip() else ""
        return replace(document, title="", text=first_words(text, self.lengths[side]))


class Labelled:
    """Rows of labelled examples: [query, positive, negative 1 .. n], N = 2 + n.

    ``documents`` of a batch are the queries (index in the labels); ``per_example["keys"]`` (B, 1 + n) are the documents
    of the rows, and ``per_example["teacher"]`` (B, 1 + n) another model's scores of them, where there are any.

    Attributes:
        labels: the labels.
        mixture: the queries with tokens and at least one positive with tokens.
        some: the documents with tokens.

    Args:
        labels: the labels.
        store: token store of ``Texts(labels, ...)``.
        specials: special tokens of the encoder.
        draw: options of the sampler.

    Raises:
        DataError: no query can be used.
    """

    def __init__(self, labels: Labels, store: Store, specials: SpecialTokens, draw: Draw) -> None:
        self.labels, self._store, self._specials, self._draw = labels, store, specials, draw
        self._tokens = np.asarray(store.tokens)
        self._starts, self._ends = np.asarray(store.starts), np.asarray(store.ends)
        self._place = np.full(len(labels.records), -1, np.int64)  # of each record in the store; -1 without tokens
        self._place[np.asarray(store.origins)] = np.arange(len(store))
        relevant = labels.canonical[labels.positives.tokens]
        self._pairs = np.sort(np.repeat(np.arange(len(labels)), labels.positives.lengths) * labels.size + relevant)
        sides = [self._usable(number) for number in (0, 1)]
        (self._positives, self._negatives), self._teacher = zip(*sides, strict=True)
        usable = (self._positives.lengths > 0) & (self._place[labels.places] >= 0)
        self._queries = np.flatnonzero(usable)
        self.some = np.flatnonzero(self._place[: labels.size] >= 0)  # documents to draw random negatives from
        if not len(self._queries):
            raise DataError(
                "no labelled query and its document have tokens of this model: check the language of the model."
            )
        self.mixture = Mixture(sizes=np.array([len(self._queries)], np.int64), shares=np.ones(1))

    def of(self, labels: Labels, *, negatives: int) -> Labelled:
        """Return a sampler of other queries over the same records.

        Args:
            labels: a selection of the labels.
            negatives: number of negatives per positive.
        """
        return Labelled(labels, self._store, self._specials, replace(self._draw, negatives=negatives))

    @property
    def hard(self) -> float:
        """Probability that a negative is a hard negative of the query."""
        return self._draw.hard

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one example of each query (B,)."""
        rng = address.generator("labels")
        queries = self._queries[items]
        counts = self._positives.lengths[queries]
        chosen = self._positives.offsets[queries] + (rng.random(len(items)) * counts).astype(np.int64)
        keys, teacher = self._with_negatives(queries, self._positives.tokens[chosen], self._teacher[0][chosen], rng)
        facts = {"keys": keys, "teacher": teacher}
        shape = (len(queries), 1 + keys.shape[1])
        return Batch(rows=self.rows(queries, keys), shape=shape, documents=queries, per_example=facts)

    def rows(self, queries: IntArray, keys: IntArray) -> Rows:
        """Rows of queries (B,) and, after each, of its documents (B, 1 + n)."""
        return self._rows(np.concatenate([self.labels.places[queries][:, None], keys], axis=1))

    def passages(self, documents: IntArray) -> Rows:
        """Rows of documents (R,)."""
        return self._rows(documents[:, None])

    def passage_lengths(self, documents: IntArray) -> IntArray:
        """Tokens of the rows of documents (R,)."""
        lengths: IntArray = self._pieces(documents[:, None])[1].sum(axis=(1, 2))
        return lengths

    def positive(self, queries: IntArray, documents: IntArray) -> np.ndarray:
        """Whether documents, or others with the same text, are labelled relevant to queries; both of one shape."""
        wanted = queries * self.labels.size + self.labels.canonical[documents]
        found = np.searchsorted(self._pairs, wanted)
        same: np.ndarray = self._pairs[np.minimum(found, len(self._pairs) - 1)] == wanted
        return same

    def _usable(self, number: int) -> tuple[Rows, np.ndarray]:
        """Positives (0) or negatives (1) that have tokens, no positive among negatives; a teacher's scores of them."""
        rows = (self.labels.positives, self.labels.negatives)[number]
        teacher = self.labels.teacher
        scores = np.full(len(rows.tokens), UNKNOWN) if teacher is None else teacher[number]
        owners = np.repeat(np.arange(len(rows)), rows.lengths)
        keep = self._place[rows.tokens] >= 0
        if number:
            keep &= ~self.positive(owners, rows.tokens)
        return Rows(rows.tokens[keep], offsets_of(np.bincount(owners[keep], minlength=len(rows)))), scores[keep]

    def _with_negatives(
        self, queries: IntArray, positives: IntArray, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[IntArray, np.ndarray]:
        """Documents (B, 1 + n) and a teacher's scores of them."""
        size, count = len(queries), self._draw.negatives
        hard = _sample(self._negatives, queries, count, rng)
        hard[rng.random((size, count)) >= self._draw.hard] = -1
        teacher, drawn = np.full(hard.shape, UNKNOWN), np.full(hard.shape, -1)
        known = hard >= 0
        teacher[known], drawn[known] = self._teacher[1][hard[known]], self._negatives.tokens[hard[known]]
        drawn = self._fill(queries, drawn, rng)
        return np.concatenate([positives[:, None], drawn], 1), np.concatenate([scores[:, None], teacher], 1)

    def _fill(self, queries: IntArray, drawn: IntArray, rng: np.random.Generator) -> IntArray:
        """Fill missing hard negatives with random documents; redraw documents that are positives.

        After some tries a positive is left in place (all documents may be positives); the loss masks it.
        """
        missing = drawn < 0
        for _ in range(_TRIES):
            if not missing.any():
                break
            drawn[missing] = self.some[rng.integers(len(self.some), size=int(missing.sum()))]
            missing &= self.positive(np.broadcast_to(queries[:, None], drawn.shape), drawn)
        return drawn

    def _rows(self, records: IntArray) -> Rows:
        """Rows of records (B, N)."""
        starts, lengths = self._pieces(records)
        return read(self._tokens, lay_out(starts.reshape(-1, 3), lengths.reshape(-1, 3)), self._specials)

    def _pieces(self, records: IntArray) -> tuple[IntArray, IntArray]:
        """Starts and lengths (B, N, 3) of [CLS] text [SEP], cut to the limits."""
        places = self._place[records]
        queries = records >= self.labels.size
        limits = np.where(queries, self._draw.query_length, self._draw.passage_length) - self._specials.around()
        lengths = np.minimum(self._ends[places] - self._starts[places], limits)
        flat = surround(self._starts[places].reshape(-1, 1), lengths.reshape(-1, 1), self._specials)
        return flat[0].reshape(*records.shape, 3), flat[1].reshape(*records.shape, 3)


def _sample(rows: Rows, index: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Places (B, count) in ``rows.tokens`` of different members of each row, -1 where a row has fewer."""
    lengths = rows.lengths[index]
    widest = int(lengths.max(initial=0))
    draws = rng.random((len(index), max(widest, count)))
    draws[np.arange(draws.shape[1]) >= lengths[:, None]] = 2.0  # beyond the row: last in the order
    order = np.argsort(draws, axis=1)[:, :count]
    return np.where(order < lengths[:, None], rows.offsets[index][:, None] + order, -1)
