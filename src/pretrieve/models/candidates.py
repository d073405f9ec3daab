"""A stale index of blocks: vectors by a frozen snapshot of an encoder in training, refreshed at intervals.

Guu et al., *REALM*, ICML 2020: the index only selects the candidate blocks; their scores are
recomputed with the weights of the step. Candidates depend only on options, seed and step: snapshots are taken at fixed
steps and saved in the checkpoint, and vectors that are encoded in the background are used from a fixed step on, for
which training waits if necessary. Processes that train together encode a share of the blocks each.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pretrieve.core.types import FloatArray, IntArray, Rows
from pretrieve.models import devices
from pretrieve.models.devices import autocast
from pretrieve.models.encoder import Encoder
from pretrieve.models.inference import parts_of
from pretrieve.sampling.search_blocks import SearchBlocks, as_text

_TOKENS = 1 << 14  # tokens per batch
_SCORES = 1 << 26  # scores held at a time


class Blocks(Protocol):
    """The indexed rows, numbered from 0."""

    @property
    def lengths(self) -> IntArray:
        """Tokens of each row, (M,)."""
        ...

    def rows(self, blocks: IntArray) -> Rows:
        """The rows with these numbers (R,)."""
        ...


class Together(Protocol):
    """The processes that train together, of which this is one."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def world(self) -> int:
        """Number of processes."""
        ...

    def add_up(self, values: Tensor) -> None:
        """Replace values, in place, by their sum over all processes, which make this call together."""
        ...


class StaleIndex(nn.Module):
    """Vectors of M blocks by an earlier snapshot of an encoder.

    Attributes:
        stale: the snapshot of the vectors in use; frozen, without dropout.
        coming: the snapshot that is encoded in the background; None if training waits for refreshes.
        built: step at which ``stale`` was taken.
        pending: step at which ``coming`` was taken, or -1.

    Args:
        encoder: encoder of blocks; copied.
        blocks: the indexed blocks.
        every: steps between snapshots.
        lag: steps from a snapshot to its use when encoded in the background, 1 to ``every``; 0: training waits.
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
        self._end: weakref.finalize[..., StaleIndex] | None = (
            None  # stops the background work when the index is discarded
        )
        self._vectors: Tensor | None = None
        self._of = -1  # the ``built`` that ``_vectors`` belong to
        self._before: Tensor | None = None
        self._together: Together | None = None
        self.train(False)

    def train(self, mode: bool = True) -> StaleIndex:
        """Stay in evaluation mode, whatever the objective's mode."""
        super().train(False)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # a copy recomputes its vectors: a thread cannot be copied, and the vectors follow from the snapshots
        return {
            **self.__dict__,
            "_work": None,
            "_end": None,
            "_vectors": None,
            "_of": -1,
            "_before": None,
            "_together": None,
        }

    @contextlib.contextmanager
    def divided(self, together: Together) -> Iterator[None]:
        """Encode a share of the blocks in each process while the block runs; all processes search at the same steps.

        What one of them does alone in the meantime, such as an evaluation, comes after a call of ``vectors`` in all.

        Args:
            together: the processes; they have the same weights.
        """
        if together.world == 1:
            yield
            return
        assert self._work is None, "nothing is encoded yet"
        self._vectors, self._of, self._before, self._together = None, -1, None, together
        try:
            yield
        finally:
            self._together = None

    def vectors(self) -> Tensor:
        """The vectors in use, (M, D); computed from the snapshot at the start and after a resume."""
        if self._vectors is None or self._of != int(self.built):
            self._before = self._vectors
            found = encode_blocks(self.stale, self._blocks, share=_share_of(self._together))
            self._vectors, self._of = _whole(found, self._together), int(self.built)
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
        """Start using the pending vectors, or take a snapshot of the encoder, at the steps of the schedule."""
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
        self._work = _Work(self.coming, self._blocks, _share_of(self._together))
        self._end = weakref.finalize(self, self._work.halt)

    def _swap(self) -> None:
        """Replace weights, vectors and step together."""
        assert self.coming is not None
        if self._work is None:
            self._start()
        assert self._work is not None
        assert self._end is not None
        fresh = _whole(self._work.result(), self._together)
        self._end.detach()
        _copy(self.coming, self.stale)
        self._before, self._vectors, self._of = self._vectors, fresh, int(self.pending)
        self.built.copy_(self.pending)
        self.pending.fill_(-1)
        self._work = None


class _Work:
    """Encoding in a background thread, which stops when the index is discarded."""

    def __init__(self, encoder: Encoder, blocks: Blocks, share: tuple[int, int]) -> None:
        self._found: Tensor | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(encoder, blocks, share), name="refresh", daemon=True)
        self._thread.start()

    def _run(self, encoder: Encoder, blocks: Blocks, share: tuple[int, int]) -> None:
        try:
            self._found = encode_blocks(encoder, blocks, self._stop, share=share)
        except BaseException as error:
            self._error = error  # raised when the result is awaited

    def result(self) -> Tensor:
        """Wait for the vectors of this process's share."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found

    def halt(self) -> None:
        """Stop the thread after the current batch."""
        self._stop.set()
        self._thread.join()


@torch.no_grad()
def encode_blocks(
    encoder: Encoder, blocks: Blocks, stop: threading.Event | None = None, *, share: tuple[int, int] = (0, 1)
) -> Tensor:
    """Encode all blocks, shortest first, a batch of some 16,000 tokens at a time: (M, D).

    Args:
        encoder: encoder in evaluation mode; one vector per row.
        blocks: the blocks to encode.
        stop: event that stops encoding early; the remaining vectors are zero.
        share: (i, n): batches i, i + n, i + 2 n, ... are encoded, and the vectors of all others are zero. Batches do
            not depend on n, so the sum over all i is what a single process encodes, to the last bit.
    """
    lengths = blocks.lengths
    order = np.argsort(lengths, kind="stable")
    parameter = next(encoder.parameters())
    found = torch.zeros(len(order), encoder.dimensions, dtype=parameter.dtype, device=parameter.device)
    for part in parts_of(lengths[order], _TOKENS)[share[0] :: share[1]]:
        if stop is not None and stop.is_set():
            break
        with autocast(found.device):
            vectors = encoder(blocks.rows(order[part]))[:, 0]
        found[devices.put(order[part], found.device)] = vectors.to(found)
    return found


def _share_of(together: Together | None) -> tuple[int, int]:
    return (0, 1) if together is None else (together.rank, together.world)


def _whole(vectors: Tensor, together: Together | None) -> Tensor:
    """All vectors, from those of each process's share."""
    if together is not None:
        together.add_up(vectors)
    return vectors


def _highest(queries: Tensor, vectors: Tensor, number: int) -> IntArray:
    size = max(1, _SCORES // len(vectors))
    return np.concatenate([_top(part @ vectors.T, number) for part in torch.split(queries, size)])


def _top(scores: Tensor, number: int) -> IntArray:
    """Columns of the highest scores, ties by column (``topk`` alone does not define the order of ties)."""
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
    """Candidate blocks, best first: ``blocks`` (B, number), -1 for missing ones.

    ``hits`` (B,) is 1.0 if one of them contains all answers, otherwise 0.0.
    """

    blocks: IntArray
    hits: FloatArray


def choose(
    index: StaleIndex, search_blocks: SearchBlocks, queries: Tensor, origins: IntArray, sentences: Rows,
    answers: list[list[IntArray]], number: int,
) -> Candidates:  # fmt: skip
    """Find candidates for each query that do not contain the masked sentence itself.

    Excludes the block of the sentence and every other block that contains it (REALM's trivial retrievals). Fetches
    more candidates than needed, and doubles the number where too many are excluded.

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
        ranked = index.search(queries[devices.put(todo, queries.device)], fetch)
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
