"""Interpolate the weights of two encoders, with one coefficient or one for each half of the layers."""

from __future__ import annotations

import re
from copy import deepcopy

import torch

from pretrieve.models.encoder import Encoder

_LAYER = re.compile(r"\.(\d+)\.")  # the first number in a parameter's name: which layer it is in
_FEWEST = 2  # minimum number of layers for two halves


def interpolated(start: Encoder, trained: Encoder, part: float, upper: float | None = None) -> Encoder:
    """Interpolate two encoders: ``(1 - part) * start + part * trained``.

    Args:
        start: weights before training.
        trained: the same architecture after training.
        part: of the trained weights, 0 to 1; of those in the lower half if ``upper`` is given.
        upper: of the trained weights in the upper half of the layers and after them; ``part`` if None.

    Returns:
        A new encoder.
    """
    between = deepcopy(trained)
    above = upper_half(between) if upper is not None else frozenset()
    with torch.no_grad():
        for (name, mine), first in zip(between.named_parameters(), start.parameters(), strict=True):
            share = part if upper is None or name not in above else upper
            mine.lerp_(first, 1.0 - share)
    return between


def upper_half(encoder: Encoder) -> frozenset[str]:
    """Names of the parameters in the upper half of an encoder's layers and after them.

    Word vectors and whatever else comes before the layers belong to the lower half. Empty for an encoder without two
    layers of their own weights.
    """
    found: set[str] = set()
    layers = {name: int(match[1]) for name, _ in encoder.named_parameters() if (match := _LAYER.search(name))}
    count = 1 + max(layers.values(), default=0)
    if count < _FEWEST:
        return frozenset()
    last = 0
    for name, _ in encoder.named_parameters():
        last = max(last, layers.get(name, last))
        if layers.get(name, last) >= (count + 1) // 2:
            found.add(name)
    return frozenset(found)
