"""What an item is: a document, a window, a window of the whole stream, or a block of sentences.

A source numbers the items of a store and says which span of tokens each one is. Everything is computed from the
store's boundaries, vectorised; nothing is copied.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import BoolArray, IntArray
from pretrieve.sampling.batches import Address, Mixture, mixture


class TokenStore(Protocol):
    """What a source reads of a token store (``text/store.py``): boundaries in tokens, absolute."""

    @property
    def tokens(self) -> IntArray:
        """All tokens, (S,), without special tokens."""
        ...

    @property
    def starts(self) -> IntArray:
        """First token of each document, (n,)."""
        ...

    @property
    def bodies(self) -> IntArray:
        """First token after the title of each document, (n,)."""
        ...

    @property
    def ends(self) -> IntArray:
        """One past the last token of each document, (n,)."""
        ...

    @property
    def sentences(self) -> IntArray:
        """First token of each sentence of the bodies, and a sentinel, (m+1,)."""
        ...

    @property
    def document_sentences(self) -> IntArray:
        """First sentence of each document, and m, (n+1,)."""
        ...

    @property
    def groups(self) -> IntArray:
        """Group (language or source) of each document, (n,)."""
        ...

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups."""
        ...

    @property
    def word_starts(self) -> BoolArray:
        """Whether a token of the vocabulary begins a word, (vocabulary,)."""
        ...

    @property
    def lettered(self) -> BoolArray:
        """Whether a token of the vocabulary holds a letter or a digit, (vocabulary,)."""
        ...


class Spans(NamedTuple):
    """Spans of the store: ``documents`` (B,), ``starts`` (B,) and ``stops`` (B,), absolute."""

    documents: IntArray
    starts: IntArray
    stops: IntArray


class Source(Protocol):
    """Items of a store, and the span of each."""

    @property
    def mixture(self) -> Mixture:
        """How many items there are, and how their groups are weighed."""
        ...

    def spans(self, items: IntArray, address: Address) -> Spans:
        """Return the spans of items (B,)."""
        ...


class Whole:
    """One item a document: its body.

    Args:
        store: the documents.
        minimum: documents with fewer tokens are left out.
        coefficient: exponent of group sizes (``batches.mixture``).
    """

    def __init__(self, store: TokenStore, minimum: int = 2, coefficient: float = 1.0) -> None:
        self._bodies, self._ends = np.asarray(store.bodies), np.asarray(store.ends)
        self._documents = np.flatnonzero(self._ends - self._bodies >= minimum)
        self.mixture = mixture(np.asarray(store.groups)[self._documents], len(self._documents), coefficient)

    def spans(self, items: IntArray, address: Address) -> Spans:
        """Return the spans of items (B,)."""
        documents = self._documents[items]
        return Spans(documents, self._bodies[documents], self._ends[documents])


class Windows:
    """Bodies cut into the fewest windows of at most ``length`` tokens, of equal size within a document.

    Args:
        store: the documents.
        length: tokens of the longest window.
        minimum: documents with fewer tokens are left out.
        coefficient: exponent of group sizes (``batches.mixture``).
        keep: (groups,) whether a group's windows are items.
    """

    def __init__(
        self, store: TokenStore, length: int = 256, minimum: int = 2, coefficient: float = 1.0,
        keep: BoolArray | None = None,
    ) -> None:  # fmt: skip
        self._bodies = np.asarray(store.bodies)
        self._sizes = np.asarray(store.ends) - self._bodies
        self._counts = np.where(self._sizes >= minimum, -(-self._sizes // length), 0)
        self._first = np.concatenate([[0], np.cumsum(self._counts)])
        items = int(self._first[-1])
        whole = coefficient == 1.0 and keep is None
        groups = None if whole else np.repeat(np.asarray(store.groups), self._counts)
        self.mixture = mixture(groups, items, coefficient, keep)

    def spans(self, items: IntArray, address: Address) -> Spans:
        """Return the spans of items (B,)."""
        documents = np.searchsorted(self._first, items, side="right") - 1
        number, counts, sizes = items - self._first[documents], self._counts[documents], self._sizes[documents]
        bodies = self._bodies[documents]
        return Spans(documents, bodies + sizes * number // counts, bodies + sizes * (number + 1) // counts)


class Concatenated:
    """Windows of ``length`` tokens over documents laid end to end, as Contriever was trained.

    They take no notice of where a document ends, but stay within a run of documents of one group: the published code
    has a stream for each language. The offset of the first window is drawn anew for every epoch, from (seed, epoch)
    alone. A window belongs to the document of its first token.

    Args:
        store: the documents.
        length: tokens of a window; a shorter run is one window, or none below half of it.
        coefficient: exponent of group sizes (``batches.mixture``).
        keep: (groups,) whether the windows of a group are items.
    """

    def __init__(
        self, store: TokenStore, length: int = 256, coefficient: float = 1.0, keep: BoolArray | None = None
    ) -> None:
        self._starts, self._length = np.asarray(store.starts), length
        groups = np.asarray(store.groups)
        first = np.flatnonzero(np.diff(groups, prepend=-1))  # documents that start a run
        self._runs = self._starts[first]
        sizes = np.diff(self._runs, append=len(store.tokens))
        counts = np.maximum((sizes - length + 1) // length, sizes >= max(2, length // 2))
        self._lengths = np.minimum(sizes, length)
        self._room = sizes - counts * self._lengths  # tokens that the windows of a run leave over
        self._firsts = np.concatenate([[0], np.cumsum(counts)])
        whole = coefficient == 1.0 and keep is None
        owners = None if whole else np.repeat(groups[first], counts)
        self.mixture = mixture(owners, int(self._firsts[-1]), coefficient, keep)

    def spans(self, items: IntArray, address: Address) -> Spans:
        """Return the spans of items (B,)."""
        epochs, where = np.unique(address.epochs, return_inverse=True)
        offsets = [generator(address.seed, "window offset", int(epoch)).integers(self._length) for epoch in epochs]
        runs = np.searchsorted(self._firsts, items, side="right") - 1
        starts = np.array(offsets, np.int64)[where] % (self._room[runs] + 1)
        starts += self._runs[runs] + (items - self._firsts[runs]) * self._lengths[runs]
        owners = np.searchsorted(self._starts, starts, side="right") - 1
        return Spans(owners, starts, starts + self._lengths[runs])


class BlockSpans(NamedTuple):
    """Blocks of sentences: ``documents`` (B,), and their sentences ``first`` (B,) to ``last`` (B,), exclusive."""

    documents: IntArray
    first: IntArray
    last: IntArray


class Blocks:
    """Consecutive sentences of a document, packed greedily up to ``length`` tokens with title and special tokens.

    A sentence is never split and a block never leaves its document; a sentence that is too long makes a block alone.
    Source: ORQA (Lee et al., ACL 2019), ``wiki_preprocessor.py``: 3 + title + body <= 288.

    Attributes:
        sizes: (items,) sentences of each block.

    Args:
        store: the documents.
        length: tokens of the longest block, everything included; None makes a document one block.
        around: special tokens of a block: 3 for [CLS] title [SEP] body [SEP].
        least: blocks of fewer sentences are left out.
        coefficient: exponent of group sizes (``batches.mixture``).
    """

    def __init__(
        self, store: TokenStore, length: int | None, *, around: int = 3, least: int = 1, coefficient: float = 1.0
    ) -> None:
        self._sentences, self._ends = np.asarray(store.sentences), np.asarray(store.ends)
        document_sentences = np.asarray(store.document_sentences)
        titles = np.asarray(store.bodies) - np.asarray(store.starts)
        self._owners = np.repeat(np.arange(len(titles)), np.diff(document_sentences))  # document of each sentence
        self._last = document_sentences[1:]
        room = len(store.tokens) + 0 * titles if length is None else np.maximum(length - around - titles, 1)
        first = _packed(self._sentences, self._ends, document_sentences, self._owners, room)
        sizes = np.diff(first, append=len(self._owners))
        self._first, self.sizes = first[sizes >= least], sizes[sizes >= least]
        groups = None if coefficient == 1.0 else np.asarray(store.groups)[self._owners[self._first]]
        self.mixture = mixture(groups, len(self._first), coefficient)

    def blocks(self, items: IntArray) -> BlockSpans:
        """Return the sentences of items (B,)."""
        first = self._first[items]
        return BlockSpans(self._owners[first], first, first + self.sizes[items])

    def spans(self, items: IntArray, address: Address) -> Spans:
        """Return the spans of items (B,)."""
        documents, first, last = self.blocks(items)
        return Spans(documents, self.sentence(first)[0], self.sentence(last - 1)[1])

    def sentence(self, index: IntArray) -> tuple[IntArray, IntArray]:
        """First token and one past the last token of sentences (B,)."""
        documents = self._owners[index]
        is_last = index + 1 == self._last[documents]
        return self._sentences[index], np.where(is_last, self._ends[documents], self._sentences[index + 1])


def _packed(
    sentences: IntArray, ends: IntArray, document_sentences: IntArray, owners: IntArray, room: IntArray
) -> IntArray:
    """First sentence of each block: from every sentence, where the next block would start; then walk all documents."""
    limits = np.minimum(sentences[:-1] + room[owners], ends[owners])
    index = np.arange(len(owners))
    following = np.searchsorted(sentences, limits, side="right") - 1
    following = np.where(limits == ends[owners], document_sentences[owners + 1], following)
    following = np.clip(following, index + 1, document_sentences[owners + 1])
    current = document_sentences[:-1][np.diff(document_sentences) > 0]
    blocks = []
    while len(current):
        blocks.append(current)
        after = following[current]
        current = after[after < document_sentences[owners[current] + 1]]
    return np.sort(np.concatenate(blocks)) if blocks else np.zeros(0, np.int64)
