"""Tensors of which every rank holds a part: the part, and norms over all parts. See ``training/sharding.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def is_part(tensor: Tensor) -> bool:
    """Whether this rank holds only a part of a tensor."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor, in the same memory; the tensor itself where it is whole."""
    part: Any = tensor
    return part.to_local() if is_part(tensor) else tensor


def locals_of(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What this rank holds of each tensor."""
    return [local(tensor) for tensor in tensors]


@torch.no_grad()
def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The norm of all tensors together; the same on all ranks, which call it together where tensors are in parts.

    Args:
        tensors: at least one; whole ones are equal on all ranks.
    """
    parts = [local(tensor) for tensor in tensors if is_part(tensor)]
    if not parts:
        return torch.nn.utils.get_total_norm(tensors)
    squares = torch.nn.utils.get_total_norm(parts).double().square()
    torch.distributed.all_reduce(squares)
    whole = [tensor for tensor in tensors if not is_part(tensor)]
    if whole:
        squares = squares + torch.nn.utils.get_total_norm(whole).double().square()
    return squares.sqrt().to(parts[0].dtype)


@torch.no_grad()
def clip(parameters: Sequence[torch.nn.Parameter], most: float, norm: Tensor) -> None:
    """Scale gradients down where their norm is above a maximum.

    Args:
        parameters: with gradients.
        most: maximum norm.
        norm: of all gradients, from ``total_norm``.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not any(is_part(gradient) for gradient in gradients):
        torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)
        return
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in locals_of(gradients):
        gradient.mul_(factor)
