"""Distributed training: exchange between processes; a no-op for a single process.

Every rank draws the same global batch and encodes its own slice, so only vectors, gradients and scalars are exchanged.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from pretrieve.core.errors import LostRankError, UsageError
from pretrieve.models.shards import is_part

_BROKEN = ("gloo", "nccl", "closed", "reset by peer", "broken pipe")  # words of a connection's errors, in any case
_SENT = 1 << 24  # values of a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process (``rank`` of ``world``)."""

    rank: int = 0
    world: int = 1

    @staticmethod
    def current() -> Ranks:
        """Return the ranks of the initialised process group (gloo or nccl), or a single process."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return Ranks()
        return Ranks(rank=torch.distributed.get_rank(), world=torch.distributed.get_world_size())

    def share(self, size: int) -> tuple[int, int]:
        """First and one past the last example of this rank in a global batch of ``size``.

        Raises:
            UsageError: the batch does not divide by the number of processes.
        """
        if size % self.world:
            fit = -(-size // self.world) * self.world
            raise UsageError(f"batch_size={size} does not divide by {self.world} processes: use {fit}.")
        mine = size // self.world
        return self.rank * mine, (self.rank + 1) * mine

    def gather(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather all ranks' vectors (B, ...) as (B_global, ...), in rank order, with gradient.

        The gradient of this rank's vectors is the sum over all ranks' losses.
        """
        if self.world == 1:
            return dict(vectors)
        return {name: _gathered(values, self) for name, values in vectors.items()}

    def average_gradients(self, module: nn.Module) -> None:
        """Replace gradients by their mean over ranks, in one message."""
        if self.world == 1:
            return
        parameters = [
            p for p in module.parameters() if p.requires_grad and not is_part(p)
        ]  # parts are averages already
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with exchange():
            torch.distributed.all_reduce(flat)
        flat /= self.world
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def average(self, scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean over ranks of scalars, in one message; NaN (no such example on a rank) is ignored."""
        if self.world == 1 or not scalars:
            return dict(scalars)
        values = torch.stack([value.detach().double() for value in scalars.values()])
        known = ~values.isnan()
        sums = torch.stack([values.nan_to_num(0.0, torch.inf, -torch.inf), known.double()])
        with exchange():
            torch.distributed.all_reduce(sums)
        return dict(zip(scalars, sums[0] / sums[1], strict=True))

    @torch.no_grad()
    def add_up(self, values: Tensor) -> None:
        """Replace values (R, ...), in place, by their sum over ranks, some rows at a time."""
        if self.world == 1 or not values.numel():
            return
        for part in torch.split(values, max(1, _SENT * len(values) // values.numel())):
            with exchange():
                torch.distributed.all_reduce(part)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world > 1:
            with exchange():
                torch.distributed.barrier()

    def largest(self, number: int) -> int:
        """Maximum over ranks."""
        return self._reduced(number, torch.distributed.ReduceOp.MAX)

    def smallest(self, number: int) -> int:
        """Minimum over ranks."""
        return self._reduced(number, torch.distributed.ReduceOp.MIN)

    def of_first(self, number: float) -> float:
        """The number of rank 0; those of the others are ignored."""
        if self.world == 1:
            return number
        value = torch.tensor(number, dtype=torch.float64, device=_device())
        self.spread([value])
        return float(value)

    def text_of_first(self, text: str) -> str:
        """The text of rank 0; those of the others are ignored."""
        if self.world == 1:
            return text
        data = text.encode()
        size = int(self.of_first(len(data)))
        values = torch.zeros(size, dtype=torch.uint8)
        if self.rank == 0:
            values = torch.tensor(list(data), dtype=torch.uint8)
        values = values.to(_device())
        self.spread([values])
        return bytes(values.tolist()).decode()

    @torch.no_grad()
    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Replace the values of tensors by those of rank 0; tensors of which ranks hold parts stay."""
        for values in tensors if self.world > 1 else ():
            if is_part(values):
                continue
            sent = values.detach().contiguous()
            with exchange():
                torch.distributed.broadcast(sent, 0)
            values.detach().copy_(sent)

    def _reduced(self, number: int, operation: Any) -> int:
        if self.world == 1:
            return number
        value = torch.tensor(number, device=_device())
        with exchange():
            torch.distributed.all_reduce(value, op=operation)
        return int(value)


def _device() -> str:
    """Where single numbers are exchanged."""
    return "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"


@contextlib.contextmanager
def exchange() -> Iterator[None]:
    """Turn a broken connection into an error in one line; the SIGTERM that a launcher sends then is ignored."""
    try:
        yield
    except RuntimeError as error:
        broken = any(word in str(error).lower() for word in _BROKEN)
        if not (broken or isinstance(error, torch.distributed.DistError)):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise LostRankError from error


def _gathered(values: Tensor, ranks: Ranks) -> Tensor:
    if not values.requires_grad:
        return _all_gather(values, ranks)
    result: Tensor = _Gather.apply(values, ranks)  # type: ignore[no-untyped-call]
    return result


def _all_gather(values: Tensor, ranks: Ranks) -> Tensor:
    parts = [torch.empty_like(values) for _ in range(ranks.world)]
    with exchange():
        torch.distributed.all_gather(parts, values.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks, ctx.size = ranks, len(values)
        return _all_gather(values, ranks)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        with exchange():
            torch.distributed.all_reduce(total)
        first = ctx.ranks.rank * ctx.size
        return total[first : first + ctx.size], None
