"""A stale index of blocks: vectors by a frozen snapshot of an encoder that goes on learning, refreshed now and then.

Guu et al., *REALM*, ICML 2020: the index only chooses which blocks are looked at; their scores are
computed anew with the weights of the step. What a run sees is a function of its options, seed and step: a snapshot is
taken at fixed steps, it is part of the checkpoint, and in the background too its vectors come into use at a fixed step,
for which training waits if it has to.
"""

from __future__ import annotations

import threading
import weakref
from copy import deepcopy
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pretrieve.core.types import FloatArray, IntArray, Rows
from pretrieve.models.encoder import Encoder
from pretrieve.models.inference import parts_of
from pretrieve.sampling.search_blocks import SearchBlocks, as_text

_TOKENS = 1 << 14  # encoded at once
_SCORES = 1 << 26  # kept at once


class Blocks(Protocol):
    """What is indexed: rows, numbered from 0."""

    @property
    def lengths(self) -> IntArray:
        """Tokens of each row, (M,)."""
        ...

    def rows(self, blocks: IntArray) -> Rows:
        """The rows of some numbers (R,)."""
        ...


class StaleIndex(nn.Module):
    """Vectors of M blocks as an encoder gave them some steps ago.

    Attributes:
        stale: the snapshot that the vectors in use are made with; frozen, without dropout.
        coming: the snapshot that is being encoded in the background; None where refreshing waits.
        built: steps done when ``stale`` was taken.
        pending: steps done when ``coming`` was taken, or -1.

    Args:
        encoder: of blocks; copied.
        blocks: what is indexed.
        every: steps from snapshot to snapshot.
        lag: steps from a snapshot to its use, in the background, 1 to ``every``; 0: training waits for the new vectors.
    """

    built: Tensor
    pending: Tensor

    def __init__(self, encoder: Encoder, blocks: Blocks, *, every: int, lag: int = 0) -> None:
        super().__init__()
        assert 0 <= lag <= every
        self._blocks, self._every, self._lag = blocks, every, lag
        self.stale = deepcopy(encoder).requires_grad_(False)
        self.coming = deepcopy(self.stale) if lag else None
        self.register_buffer("built", torch.tensor(0))
        self.register_buffer("pending", torch.tensor(-1))
        self._work: _Work | None = None
        self._end: weakref.finalize[..., StaleIndex] | None = None  # halts the work where the index is given up
        self._vectors: Tensor | None = None
        self._of = -1  # the ``built`` that ``_vectors`` belong to
        self._before: Tensor | None = None
        self.train(False)

    def train(self, mode: bool = True) -> StaleIndex:
        """Stay without dropout, whatever the objective does."""
        super().train(False)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # a copy makes its own vectors: a thread cannot be copied, and the vectors follow from the snapshots
        return {**self.__dict__, "_work": None, "_end": None, "_vectors": None, "_of": -1, "_before": None}

    def vectors(self) -> Tensor:
        """The vectors in use, (M, D), made from the snapshot if they are not at hand (at the start, after a resume)."""
        if self._vectors is None or self._of != int(self.built):
            self._before = self._vectors
            self._vectors, self._of = encode_blocks(self.stale, self._blocks), int(self.built)
        if self._work is None and int(self.pending) >= 0:
            self._start()
        return self._vectors

    def search(self, queries: Tensor, number: int) -> IntArray:
        """The blocks with the highest inner products, best first, ties by number: (B, number), number <= M."""
        return _highest(queries, self.vectors(), number)

    def overlap(self, queries: Tensor, number: int) -> FloatArray | None:
        """Share of the best ``number`` that the vectors before the last refresh have too, (B,); only once a refresh."""
        now = self.search(queries, number)
        before, self._before = self._before, None
        if before is None:
            return None
        same = _highest(queries, before, number)[:, :, None] == now[:, None]
        return np.asarray(same.any(axis=2).mean(axis=1))

    @torch.no_grad()
    def after_step(self, encoder: Encoder, step: int) -> None:
        """Put the pending vectors to use, or take a snapshot of the encoder, if this is the step for it."""
        done = step + 1
        if self._lag and int(self.pending) >= 0 and done == int(self.pending) + self._lag:
            self._swap()
        if done % self._every == 0 and self.coming is None:
            _copy(encoder, self.stale)
            self.built.fill_(done)
        elif done % self._every == 0:
            assert self.coming is not None
            _copy(encoder, self.coming)
            self.pending.fill_(done)
            self._start()

    def _start(self) -> None:
        assert self.coming is not None
        self._work = _Work(self.coming, self._blocks)
        self._end = weakref.finalize(self, self._work.halt)

    def _swap(self) -> None:
        """Take over all at once: weights, vectors, and the step they belong to."""
        assert self.coming is not None
        if self._work is None:
            self._start()
        assert self._work is not None
        assert self._end is not None
        fresh = self._work.result()
        self._end.detach()
        _copy(self.coming, self.stale)
        self._before, self._vectors, self._of = self._vectors, fresh, int(self.pending)
        self.built.copy_(self.pending)
        self.pending.fill_(-1)
        self._work = None


class _Work:
    """Encoding in a thread of its own, which halts when nobody wants the result any more."""

    def __init__(self, encoder: Encoder, blocks: Blocks) -> None:
        self._found: Tensor | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(encoder, blocks), name="refresh", daemon=True)
        self._thread.start()

    def _run(self, encoder: Encoder, blocks: Blocks) -> None:
        try:
            self._found = encode_blocks(encoder, blocks, self._stop)
        except BaseException as error:
            self._error = error  # raised again where the result is awaited

    def result(self) -> Tensor:
        """Wait for the vectors."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found

    def halt(self) -> None:
        """End the thread after the batch that it is at."""
        self._stop.set()
        self._thread.join()


@torch.no_grad()
def encode_blocks(encoder: Encoder, blocks: Blocks, stop: threading.Event | None = None) -> Tensor:
    """Encode all blocks, shortest first, a batch of some 16,000 tokens at a time: (M, D).

    Args:
        encoder: without dropout; one vector a row.
        blocks: what to encode.
        stop: ends the work early; what is missing is then zero.
    """
    lengths = blocks.lengths
    order = np.argsort(lengths, kind="stable")
    parameter = next(encoder.parameters())
    found = torch.zeros(len(order), encoder.dimensions, dtype=parameter.dtype, device=parameter.device)
    for part in parts_of(lengths[order], _TOKENS):
        if stop is not None and stop.is_set():
            break
        found[torch.from_numpy(order[part]).to(found.device)] = encoder(blocks.rows(order[part]))[:, 0]
    return found


def _highest(queries: Tensor, vectors: Tensor, number: int) -> IntArray:
    size = max(1, _SCORES // len(vectors))
    return np.concatenate([_top(part @ vectors.T, number) for part in torch.split(queries, size)])


def _top(scores: Tensor, number: int) -> IntArray:
    """Columns of the highest scores, ties by column; which of equal ones ``topk`` takes is nobody's promise."""
    values, columns = (found.cpu().numpy() for found in scores.topk(number, dim=1))
    tied = (scores >= scores.new_tensor(values[:, -1:])).sum(dim=1).cpu().numpy() > number
    columns = np.take_along_axis(columns, np.lexsort((columns, -values), axis=1), axis=1)
    for row in np.flatnonzero(tied).tolist():
        columns[row] = np.argsort(-scores[row].cpu().numpy(), kind="stable")[:number]
    return np.asarray(columns, np.int64)


def _copy(source: nn.Module, target: nn.Module) -> None:
    """Copy all weights and buffers."""
    for values, mine in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        mine.copy_(values)


class Candidates(NamedTuple):
    """Chosen blocks, best first: ``blocks`` (B, number), -1 where there are not so many.

    ``hits`` (B,) says whether one of them holds every piece of text that was asked for, 1.0 or 0.0.
    """

    blocks: IntArray
    hits: FloatArray


def choose(
    index: StaleIndex, search_blocks: SearchBlocks, queries: Tensor, origins: IntArray, sentences: Rows,
    answers: list[list[IntArray]], number: int,
) -> Candidates:  # fmt: skip
    """Find candidates for each query that do not simply contain the answer's own sentence.

    The block that the sentence came from is left out, and every other that contains the sentence (REALM's
    trivial retrievals). More are fetched than wanted, and twice as many again where too many are left out.

    Args:
        index: index of ``search_blocks``.
        search_blocks: the blocks.
        queries: (B, D), on the index's device.
        origins: (B,) block of each query's sentence.
        sentences: B rows without special tokens, nothing masked.
        answers: of each query the pieces that are masked in it.
        number: most candidates of a query.
    """
    blocks, hits = np.full((len(sentences), number), -1), np.zeros(len(sentences))
    todo, fetch = np.arange(len(sentences)), min(len(search_blocks), 2 * number + 2)
    while len(todo):
        ranked = index.search(queries[torch.from_numpy(todo).to(queries.device)], fetch)
        missing = []
        for row, found in zip(todo.tolist(), ranked.tolist(), strict=True):
            kept = _not_trivial(found, int(origins[row]), as_text(sentences.row(row)), search_blocks, number)
            blocks[row, : len(kept)] = [block for block, _ in kept]
            hits[row] = any(all(as_text(piece) in body for piece in answers[row]) for _, body in kept)
            if len(kept) < number:
                missing.append(row)
        todo = np.array(missing if fetch < len(search_blocks) else [], np.int64)
        fetch = min(len(search_blocks), 2 * fetch)
    return Candidates(blocks, hits)


def _not_trivial(
    found: list[int], origin: int, sentence: str, search_blocks: SearchBlocks, number: int
) -> list[tuple[int, str]]:
    """The first ``number`` blocks, with their bodies, that are not the origin and do not contain the sentence."""
    kept: list[tuple[int, str]] = []
    for block in found:
        if block != origin and sentence not in (body := search_blocks.body(block)):
            kept.append((block, body))
            if len(kept) == number:
                break
    return kept
