"""Momentum contrast: a momentum encoder, and a queue of its keys.

He et al., *Momentum contrast for unsupervised visual representation learning*, CVPR 2020.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator
from pretrieve.core.types import IntArray
from pretrieve.models import devices
from pretrieve.models.shards import locals_of


class KeyQueue(nn.Module):
    """The last K keys, a ring.

    Attributes:
        keys: (K, D); random unit vectors at first.
        documents: (K,) the document of each key, -1 for a random one.

    Args:
        size: K, a multiple of the batch size.
        dimensions: D.
        seed: seed of the run, for the first keys.
    """

    keys: Tensor
    documents: Tensor

    def __init__(self, size: int, dimensions: int, seed: int) -> None:
        super().__init__()
        noise = generator(seed, "queue").standard_normal((size, dimensions), dtype=np.float32)
        self.register_buffer("keys", nn.functional.normalize(torch.from_numpy(noise), dim=1))
        self.register_buffer("documents", torch.full((size,), -1, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.keys)

    @torch.no_grad()
    def put(self, keys: Tensor, documents: IntArray, step: int) -> None:
        """Write the keys (B, D) of a step over the oldest, with their documents (B,)."""
        first = step * len(keys) % len(self)
        self.keys[first : first + len(keys)] = keys
        self.documents[first : first + len(keys)] = devices.put(documents, keys.device)

    def check_size(self, batch_size: int) -> None:
        """Check that the queue holds a whole number of batches.

        Raises:
            UsageError: it does not; the text names the nearest size that does.
        """
        size = len(self)
        if size % batch_size:
            fit = max(1, round(size / batch_size)) * batch_size
            raise UsageError(f"queue={size} is not a multiple of batch_size={batch_size}: set queue={fit}.")


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Update a momentum encoder: ``slow <- momentum * slow + (1 - momentum) * fast``; buffers are copied."""
    torch._foreach_lerp_(locals_of(slow.parameters()), locals_of(fast.parameters()), 1.0 - momentum)
    for mine, theirs in zip(slow.buffers(), fast.buffers(), strict=True):
        mine.copy_(theirs)
