"""The gradient of a step, full or with gradient caching; the same for every method and any number of ranks.

``full_step`` keeps the graph of the whole batch. ``cached_step`` (GradCache; Gao et al., RepL4NLP 2021,
arXiv 2101.06983) encodes chunk by chunk twice: first without graphs, to compute the vectors and, with ``compare``,
their gradients; then with graphs, to backpropagate those into the parameters. Memory is one chunk's activations.

Dropout masks depend on (seed, step, index of the chunk's first example in the global batch). Both passes of the cache
use the same masks, and so does a full step with the same chunks, or the same chunks on other ranks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.rng import torch_seed
from pretrieve.core.types import Batch
from pretrieve.models.checks import check_encoded, check_loss
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.training.ranks import Ranks

ALONE = Ranks()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Context of a step: seed, examples and tokens per chunk (0: no limit), ranks, and whether to use bfloat16.

    With ``even``, all ranks encode the same number of chunks, since each one takes part in gathering the layers.
    """

    seed: int = 0
    chunk: int = 0
    chunk_tokens: int = 0
    ranks: Ranks = ALONE
    bfloat16: bool = False
    even: bool = False


@dataclass(slots=True, kw_only=True)
class StepResult:
    """Result of a step: the global mean loss, statistics (scalars), and all ranks' vectors, detached.

    ``batch`` is the global batch, for ``after_step``.
    """

    loss: Tensor
    statistics: dict[str, Tensor] = field(default_factory=dict)
    global_vectors: dict[str, Tensor] = field(default_factory=dict)
    batch: Batch


def full_step(objective: Objective, batch: Batch, step: int, context: StepContext | None = None) -> StepResult:
    """Compute the loss of a global batch and add its gradient to the parameters, keeping the whole graph.

    Args:
        objective: the method.
        batch: the global batch; this rank encodes its share.
        step: the training step.
        context: context of the step; dropout masks are drawn per ``chunk``.
    """
    context = context or StepContext()
    loss, total, pieces, global_vectors = _forward(objective, batch, step, context)
    total.backward()  # type: ignore[no-untyped-call]
    context.ranks.average_gradients(objective)
    return _result(batch, loss, total, pieces, global_vectors, context)


def forward_step(objective: Objective, batch: Batch, step: int, context: StepContext | None = None) -> StepResult:
    """Compute the loss and statistics of a global batch as ``full_step`` does, without a gradient.

    Args:
        objective: the method.
        batch: the global batch; this rank encodes its share.
        step: the training step.
        context: context of the step.
    """
    context = context or StepContext()
    return _result(batch, *_forward(objective, batch, step, context), context)


def cached_step(objective: Objective, batch: Batch, step: int, context: StepContext) -> StepResult:
    """Compute the same as ``full_step`` with the memory of one chunk and a second forward pass.

    Args:
        objective: the method.
        batch: the global batch; this rank encodes its share.
        step: the training step.
        context: context of the step; ``chunk`` examples, or ``chunk_tokens`` tokens, are encoded at a time.
    """
    assert context.chunk > 0 or context.chunk_tokens > 0, "a cached step has chunks"
    local_batch, first = _prepared(objective, batch, step, context)
    with torch.no_grad():
        pieces = [_encode(objective, piece, step, first + at, context) for at, piece in _chunks(local_batch, context)]
    leaves = {name: values.requires_grad_() for name, values in _joined([piece.vectors for piece in pieces]).items()}
    global_vectors = context.ranks.gather(leaves)
    loss = check_loss(objective, objective.compare(leaves, global_vectors, batch, first, step))
    if loss.value.requires_grad:
        loss.value.backward()  # type: ignore[no-untyped-call]
    for at, piece in _chunks(local_batch, context):
        encoded = _encode(objective, piece, step, first + at, context)
        _carry_on(encoded, leaves, at, len(local_batch))
    local = _local(pieces)
    total = loss.value.detach() + (local.mean() if local is not None else 0.0)
    context.ranks.average_gradients(objective)
    return _result(batch, loss, total, pieces, global_vectors, context)


def _forward(
    objective: Objective, batch: Batch, step: int, context: StepContext
) -> tuple[Loss, Tensor, list[Encoded], dict[str, Tensor]]:
    """The loss between examples, the total loss, the result of each chunk, and all ranks' vectors."""
    local_batch, first = _prepared(objective, batch, step, context)
    pieces = [_encode(objective, piece, step, first + at, context) for at, piece in _chunks(local_batch, context)]
    vectors = _joined([piece.vectors for piece in pieces])
    global_vectors = context.ranks.gather(vectors)
    loss = check_loss(objective, objective.compare(vectors, global_vectors, batch, first, step))
    local = _local(pieces)
    total = loss.value + local.mean() if local is not None else loss.value
    return loss, total, pieces, global_vectors


def _prepared(objective: Objective, batch: Batch, step: int, context: StepContext) -> tuple[Batch, int]:
    """This rank's share of the batch, and the index of its first example."""
    local_batch, first = _share(batch, context)
    with torch.no_grad():
        return objective.prepare(local_batch, step), first


def _share(batch: Batch, context: StepContext) -> tuple[Batch, int]:
    first, last = context.ranks.share(len(batch))
    return (batch if context.ranks.world == 1 else batch.slice(first, last)), first


def pieces_of(batch: Batch, context: StepContext) -> Iterator[Batch]:
    """What this rank encodes at once of a global batch: the same objects as in its step, unless it is prepared anew.

    Args:
        batch: the global batch.
        context: context of the step.

    Raises:
        UsageError: the batch does not divide by the number of processes.
    """
    return (piece for _, piece in _chunks(_share(batch, context)[0], context))


def _chunks(batch: Batch, context: StepContext) -> Iterator[tuple[int, Batch]]:
    """Chunks of consecutive examples, with the index of the first of each."""
    edges = _edges(batch, context)
    if len(edges) == 2:
        yield 0, batch
        return
    for start, stop in itertools.pairwise(edges):
        yield start, batch.slice(start, stop)


def _edges(batch: Batch, context: StepContext) -> list[int]:
    """Where chunks begin, and the end; a single example may have more than ``chunk_tokens`` tokens."""
    examples, rows = batch.shape
    ends = np.asarray(batch.rows.offsets)[rows::rows]  # tokens up to each example's end
    edges = [0]
    while edges[-1] < examples:
        start = edges[-1]
        stop = start + context.chunk if context.chunk > 0 else examples
        if context.chunk_tokens > 0:
            before = int(ends[start - 1]) if start else int(batch.rows.offsets[0])
            fitting = int(np.searchsorted(ends, before + context.chunk_tokens, side="right"))
            stop = min(stop, max(fitting, start + 1))
        edges.append(min(stop, examples))
    if context.even and context.chunk_tokens > 0:
        count = context.ranks.largest(len(edges) - 1)
        while len(edges) - 1 < count:  # cut the largest in two
            sizes = np.diff(edges)
            widest = int(sizes.argmax())
            edges.insert(widest + 1, edges[widest] + int(sizes[widest]) // 2)
    return edges


def _encode(objective: Objective, batch: Batch, step: int, first: int, context: StepContext) -> Encoded:
    """Encode one chunk with its dropout masks; vectors are returned in float32 or float64."""
    device = next(objective.parameters()).device
    torch.manual_seed(torch_seed(context.seed, "dropout", step, first))
    with torch.autocast(device.type, torch.bfloat16, enabled=context.bfloat16):
        encoded = check_encoded(objective, objective.encode(batch, step), len(batch))
    if context.bfloat16:
        encoded.vectors = {name: values.float() for name, values in encoded.vectors.items()}
        encoded.example_loss = None if encoded.example_loss is None else encoded.example_loss.float()
    return encoded


def _joined(pieces: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(pieces) == 1:
        return pieces[0]
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def _local(pieces: list[Encoded]) -> Tensor | None:
    """The example losses (B,) of all pieces."""
    found = [piece.example_loss for piece in pieces if piece.example_loss is not None]
    return torch.cat(found) if found else None


def _carry_on(encoded: Encoded, leaves: dict[str, Tensor], start: int, size: int) -> None:
    """Backpropagate the cached gradient of a chunk's vectors, and its example losses, into the parameters."""
    terms = []
    for name, values in encoded.vectors.items():
        gradient = leaves[name].grad
        if values.requires_grad and gradient is not None:
            terms.append((values * gradient[start : start + len(values)]).sum())
    if encoded.example_loss is not None and encoded.example_loss.requires_grad:
        terms.append(encoded.example_loss.sum() / size)
    if terms:
        torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]


def _result(
    batch: Batch,
    loss: Loss,
    total: Tensor,
    pieces: list[Encoded],
    global_vectors: dict[str, Tensor],
    context: StepContext,
) -> StepResult:
    scalars = {"loss": total.detach(), **{name: value.detach() for name, value in loss.statistics.items()}}
    for name in pieces[0].statistics:
        scalars[name] = torch.cat([piece.statistics[name] for piece in pieces]).detach().nanmean()
    scalars = context.ranks.average(scalars)
    return StepResult(
        loss=scalars.pop("loss"),
        statistics=scalars,
        global_vectors={name: values.detach() for name, values in global_vectors.items()},
        batch=batch,
    )
