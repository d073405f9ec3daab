"""The static encoder: a row's vector is the mean of its tokens' vectors.

It trains from scratch at millions of tokens a second on one core and exports as a stock sentence-transformers
``StaticEmbedding``. Its random initialisation, each token's Gaussian vector scaled by the token's inverse document
frequency, is already a retriever: the cosine of two such bags estimates the cosine of their tf-idf vectors (random
projection, Johnson & Lindenstrauss 1984; Achlioptas, *Database-friendly random projections*, 2003).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray, IntArray, Rows, Similarity, SpecialTokens
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder

_CHUNK = 1 << 22  # tokens counted at once: 4 million keep the counting under 100 MB


class TokenizedDocuments(Protocol):
    """Interface of a token store for the initialisation: tokens, document boundaries and special tokens."""

    @property
    def tokens(self) -> IntArray:
        """All token ids, (T,), usually memory-mapped."""
        ...

    @property
    def documents(self) -> IntArray:
        """Where each document starts in ``tokens``, and the end, (number of documents + 1,)."""
        ...

    @property
    def specials(self) -> SpecialTokens:
        """Special tokens and the size of the vocabulary."""
        ...


class StaticEncoder(Encoder):
    """A bag of token vectors: the mean over the row, not normalised; compared by cosine.

    Attributes:
        embedding: the token vectors, an ``nn.EmbeddingBag`` of (vocabulary, D), float32.

    Args:
        weights: token vectors (vocabulary, D); copied.
        specials: the special tokens of the tokenizer; a bag uses no [CLS] and [SEP].
        max_length: maximum length of a row in training, in tokens; inference has no limit.
        similarity: similarity function of the vectors.
    """

    def __init__(
        self,
        weights: FloatArray | Tensor,
        specials: SpecialTokens,
        *,
        max_length: int = 512,
        similarity: Similarity = "cosine",
    ) -> None:
        super().__init__()
        start = torch.as_tensor(weights, dtype=torch.float32).clone()
        assert start.ndim == 2
        assert len(start) >= specials.vocabulary, "a vector for each id"
        self.embedding = nn.EmbeddingBag.from_pretrained(start, freeze=False, mode="mean")
        self.dimensions = start.shape[1]
        self.max_length = max_length
        self.specials = replace(specials, cls=None, sep=None)  # no special tokens around rows
        self.similarity = similarity

    @classmethod
    def from_store(
        cls, store: TokenizedDocuments, dimensions: int, seed: int, *, max_length: int = 512
    ) -> StaticEncoder:
        """Initialise with random vectors scaled by inverse document frequency.

        Args:
            store: the documents.
            dimensions: D.
            seed: the run's seed; the same store and seed give the same vectors.
            max_length: maximum length of a row in training, in tokens.
        """
        vocabulary = store.specials.vocabulary
        idf = inverse_document_frequencies(store.tokens, store.documents, vocabulary)
        bare = replace(store.specials, cls=None, sep=None)  # no special tokens around rows
        return cls(random_vectors(idf, dimensions, seed), bare, max_length=max_length)

    @torch.no_grad()
    def scale(self, tokens: IntArray, factor: float) -> None:
        """Multiply the vectors of some tokens, given by their ids."""
        self.embedding.weight[torch.from_numpy(np.asarray(tokens, np.int64))] *= factor

    def forward(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R rows as (R, 1, D): means of token vectors, not normalised; an empty row is zero.

        Args:
            rows: ragged token ids.
            segments: ignored, a bag has no token types.
        """
        weight = self.embedding.weight
        if weight.device.type == "cpu":
            return _bag_of_means(weight, rows).unsqueeze(1)
        vectors: Tensor = self.embedding(*rows.once(_bags, weight.device))
        return vectors.unsqueeze(1)


def inverse_document_frequencies(tokens: IntArray, documents: IntArray, vocabulary: int) -> FloatArray:
    """Count in how many documents each token occurs, and return ln(1 + (N - df + 1/2) / (df + 1/2)).

    That is the idf of BM25, positive everywhere (Robertson & Zaragoza 2009, with Lucene's 1 +).

    Args:
        tokens: all token ids, (T,); read in chunks, so a memory-mapped array stays on disk.
        documents: where documents start, and the end, (N + 1,).
        vocabulary: number of ids.

    Returns:
        (vocabulary,), float32.
    """
    frequencies = np.zeros(vocabulary, np.int64)
    first = 0
    total = len(documents) - 1
    while first < total:
        last = int(np.searchsorted(documents, documents[first] + _CHUNK, side="right")) - 1
        last = min(max(last, first + 1), total)
        frequencies += _document_frequencies(tokens, documents[first : last + 1], vocabulary)
        first = last
    return np.log1p((total - frequencies + 0.5) / (frequencies + 0.5)).astype(np.float32)


def random_vectors(scale: FloatArray, dimensions: int, seed: int) -> FloatArray:
    """Draw Gaussian vectors of expected squared length ``scale**2``.

    Args:
        scale: (vocabulary,), usually the idf.
        dimensions: D.
        seed: seed of the run.

    Returns:
        (vocabulary, D), float32.
    """
    vectors = generator(seed, "static-start").standard_normal((len(scale), dimensions), dtype=np.float32)
    vectors *= (scale / np.sqrt(dimensions)).astype(np.float32)[:, None]
    return vectors


def _document_frequencies(tokens: IntArray, documents: IntArray, vocabulary: int) -> npt.NDArray[np.int64]:
    starts = np.asarray(documents - documents[0])
    here = tokens[int(documents[0]) : int(documents[-1])]
    columns = _transpose(here, starts, vocabulary)
    # the documents of each token now lie side by side in ascending order: count where they change
    changes = np.ones(len(columns.indices) + 1, np.int64)
    changes[1:-1] = columns.indices[1:] != columns.indices[:-1]
    begins = columns.indptr[:-1][np.diff(columns.indptr) > 0]
    changes[begins] = 1
    counted = np.concatenate([[0], np.cumsum(changes[:-1])])
    return np.asarray(np.diff(counted[columns.indptr]), dtype=np.int64)


def _transpose(tokens: IntArray, offsets: IntArray, vocabulary: int) -> Any:
    """List for each token the rows that hold it, by SciPy's counting sort (10 times faster than sorting)."""
    index = np.int32 if len(tokens) < 2**31 else np.int64
    ones = np.broadcast_to(np.ones(1, np.int8), len(tokens))
    rows = scipy.sparse.csr_array(
        (ones, tokens.astype(index), offsets.astype(index)), shape=(len(offsets) - 1, vocabulary), copy=False
    )
    return rows.tocsc()


def _bags(rows: Rows, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens and where each row starts, int64, on a device."""
    tokens, offsets = (
        devices.put(np.ascontiguousarray(array, dtype=np.int64), device) for array in (rows.tokens, rows.offsets[:-1])
    )
    return tokens, offsets


def _columns(rows: Rows, vocabulary: int) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens of rows (in ascending order), of each the rows that hold it, end to end, and where those begin."""
    columns = _transpose(rows.tokens, rows.offsets, vocabulary)
    touched = np.flatnonzero(np.diff(columns.indptr))
    return torch.from_numpy(touched), torch.from_numpy(columns.indices), torch.from_numpy(columns.indptr[touched])


def _bag_of_means(weight: Tensor, rows: Rows) -> Tensor:
    vectors: Tensor = _BagOfMeans.apply(weight, rows)  # type: ignore[no-untyped-call]
    return vectors


class _BagOfMeans(torch.autograd.Function):
    """Means of rows of ``weight`` on a CPU, where the stock backward pass takes ten times as long.

    The gradient of a token's vector is the sum of its rows' gradients: again a sum of bags, of the transposed lists.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Rows) -> Tensor:
        ctx.rows, ctx.weight = rows, weight
        tokens, offsets = rows.once(_bags, weight.device)
        table = (
            weight.detach()
        )  # or the stock forward pass would also note which row each token is of: a tenth of a step
        return F.embedding_bag(tokens, table, offsets, mode="sum").mul_(_inverse_lengths(rows))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        rows: Rows = ctx.rows
        weight: Tensor = ctx.weight
        touched, places, starts = rows.once(_columns, len(weight))
        sums = F.embedding_bag(places, gradients[0] * _inverse_lengths(rows), starts, mode="sum")
        table = weight.grad if weight.is_leaf else None
        if table is not None:
            # Added in place: a table of 64 MB a call would be mapped, cleared and unmapped, half the time of a step.
            table.index_add_(0, touched, sums)
            return None, None
        return torch.zeros_like(weight).index_copy_(0, touched, sums), None


def _inverse_lengths(rows: Rows) -> Tensor:
    lengths = np.maximum(rows.lengths, 1).astype(np.float32)
    return torch.from_numpy(1 / lengths).unsqueeze(1)
