"""Rows without padding: how ragged rows lie end to end, and an attention function for stock models that knows it.

Rows are laid out sorted by length. Rows of equal length are then one dense block of memory, so that attention and
means run over blocks with stock kernels, no mask and no copy; the result is exact. On a GPU in half precision one
variable-length kernel does it all (Dao, *FlashAttention-2*, 2023).

Packing with restarted position ids alone is silently wrong under plain attention: tokens of one row see the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrieve.core.types import IntArray, Rows
from pretrieve.models import devices

_ATTENTION = "pretrieve-packed"


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """The layout of R rows of S tokens in all: sorted by length, rows of equal length side by side.

    Attributes:
        ids: token ids in the layout's order, (S,), int64.
        tokens: for each place of the layout the place in the rows' own order, (S,).
        order: the same, in the host's memory.
        positions: position of each token in its row, from 0, (S,).
        blocks: (rows, length) of each run of rows of equal length.
        offsets: where each row starts in the layout, and the end, (R + 1,), int32.
        restore_rows: place in the layout of each row, (R,).
        restore_tokens: place in the layout of each token, (S,).
    """

    ids: Tensor
    tokens: Tensor
    order: IntArray
    positions: Tensor
    blocks: list[tuple[int, int]]
    offsets: Tensor
    restore_rows: Tensor
    restore_tokens: Tensor
    bands: dict[tuple[int, int, bool], Tensor] = field(default_factory=dict)  # windows of local attention, made once

    @staticmethod
    def of(rows: Rows, device: torch.device) -> Packing:
        """Lay out rows, none of them empty; the copies to an accelerator are not waited for."""
        lengths = np.asarray(rows.lengths, dtype=np.int64)
        assert len(lengths)
        assert lengths.min() > 0, "rows are not empty"
        order = np.argsort(lengths, kind="stable")
        ordered = lengths[order]
        offsets = np.concatenate([[0], np.cumsum(ordered)])
        positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], ordered)
        tokens = np.repeat(np.asarray(rows.offsets)[:-1][order], ordered) + positions
        sizes, counts = np.unique(ordered, return_counts=True)

        def put(values: IntArray) -> Tensor:
            return devices.put(values, device)

        return Packing(
            ids=put(np.asarray(rows.tokens, dtype=np.int64)[tokens]),
            tokens=put(tokens),
            order=tokens,
            positions=put(positions),
            blocks=list(zip(counts.tolist(), sizes.tolist(), strict=True)),
            offsets=put(offsets.astype(np.int32)),
            restore_rows=put(_inverse(order)),
            restore_tokens=put(_inverse(tokens)),
        )

    def laid_out(self, values: IntArray) -> Tensor:
        """Integers of each token (S,), given in the rows' own order, as int64 in the layout's order."""
        return devices.put(np.asarray(values, dtype=np.int64)[self.order], self.ids.device)

    def split(self, values: Tensor) -> list[Tensor]:
        """Cut (S, ...) in the layout's order into its blocks (rows, length, ...), without copying."""
        parts = torch.split(values, [rows * length for rows, length in self.blocks])
        return [part.reshape(*block, *part.shape[1:]) for part, block in zip(parts, self.blocks, strict=True)]

    def means(self, states: Tensor) -> Tensor:
        """Average (S, D) over each row: (R, D), both in the layout's order; the same sums on every run."""
        return torch.cat([block.mean(dim=1) for block in self.split(states)])

    def band(self, length: int, reach: int, causal: bool, device: torch.device) -> Tensor | None:
        """Mask (length, length) of the pairs at most ``reach`` apart, or None where that is all of them.

        With ``causal``, a token (first axis) sees those up to itself only.
        """
        if length - 1 <= reach:
            return None
        key = (length, reach, causal)
        if key not in self.bands:
            place = torch.arange(length, device=device)
            band = (place[:, None] - place[None, :]).abs() <= reach
            self.bands[key] = band.tril() if causal else band
        return self.bands[key]


def lay_out(rows: Rows, device: torch.device) -> Packing:
    """The layout of rows, made once for each device; its windows of local attention are those of one pass."""
    return replace(rows.once(Packing.of, device), bands={})


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    packing: Packing,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    causal: bool = False,
    drop_attention: bool = True,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within rows; called by transformers' modelling code in place of its own functions.

    Args:
        module: the calling attention module (unused, part of transformers' signature).
        query: (1, heads, S, head size), in the layout's order, as are ``key`` and ``value``.
        key: may have fewer heads (grouped-query attention).
        value: as ``key``.
        attention_mask: None: the layout says who sees whom.
        packing: the layout.
        scaling: factor of the products; 1 / sqrt(head size) if None.
        dropout: probability of dropping an attention weight.
        sliding_window: with a window of w, tokens see those less than w away, on both sides.
        causal: tokens see those of their row up to themselves only.
        drop_attention: whether ``dropout`` counts; without it, a GPU has its fast kernel in training too.

    Returns:
        (1, S, heads, head size), and None for the weights, which are never formed.
    """
    assert attention_mask is None
    parts = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    reach = -1 if sliding_window is None else sliding_window - 1
    dropout = dropout if drop_attention else 0.0
    if _has_kernel(query, dropout):
        return _attend_by_kernel(parts, packing, scaling, reach, causal).unsqueeze(0), None
    if _is_slow(query, dropout):
        with torch.autocast("cpu", enabled=False):
            exact = _attend_by_blocks([part.float() for part in parts], packing, scaling, dropout, reach, causal)
        return exact.to(query.dtype).unsqueeze(0), None
    return _attend_by_blocks(parts, packing, scaling, dropout, reach, causal).unsqueeze(0), None


@cache
def attention() -> str:
    """Register packed attention with transformers, and return the name under which it is known there."""
    from transformers import AttentionInterface, AttentionMaskInterface  # imported here because it takes seconds

    AttentionInterface.register(_ATTENTION, packed_attention)
    AttentionMaskInterface.register(_ATTENTION, lambda *_, **__: None)
    return _ATTENTION


def _has_kernel(query: Tensor, dropout: float) -> bool:
    return (
        query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] <= 256
        and dropout == 0.0  # the kernel's public interface has none
    )


def _is_slow(query: Tensor, dropout: float) -> bool:
    """Whether attention's own kernel trains in bfloat16 on a CPU: its backward pass is slower than in float32.

    Matrix products do gain. Dropout takes another way, whose passes are as fast in either. Both passes of the gradient
    cache run under autocast, and so compute the same.
    """
    bfloat16 = query.dtype == torch.bfloat16 and torch.is_autocast_enabled("cpu")
    return query.device.type == "cpu" and bfloat16 and dropout == 0.0


def _attend_by_kernel(parts: list[Tensor], packing: Packing, scaling: float | None, reach: int, causal: bool) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # imported here because it imports PyTorch's compiler

    query, key, value = (part.contiguous() for part in parts)
    longest = packing.blocks[-1][1]
    attended = varlen_attn(
        query,
        key,
        value,
        packing.offsets,
        packing.offsets,
        longest,
        longest,
        scale=scaling,
        window_size=(reach, 0 if causal else reach),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(attended, Tensor)
    return attended


def _attend_by_blocks(
    parts: list[Tensor], packing: Packing, scaling: float | None, dropout: float, reach: int, causal: bool
) -> Tensor:
    grouped = parts[0].shape[1] != parts[1].shape[1]
    attended = []
    for query, key, value in zip(*(packing.split(part) for part in parts), strict=True):
        mask = packing.band(query.shape[1], reach, causal, query.device) if reach >= 0 else None
        block = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=causal and mask is None,
            scale=scaling,
            enable_gqa=grouped,
        )
        attended.append(block.transpose(1, 2).flatten(0, 1))
    return torch.cat(attended)


def _inverse(permutation: IntArray) -> IntArray:
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(len(permutation))
    return inverse
