"""Nucleus sampling whose choice in each row is decided by given numbers, so that it does not depend on the batch.

Holtzman et al., *The curious case of neural text degeneration*, ICLR 2020, arXiv 1904.09751. transformers draws for all
rows from one global generator: what a document gets would depend on the documents beside it, and on those before it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pretrieve.core.types import FloatArray


class Nucleus:
    """A logits processor that leaves one word in each row: the one that the row's number falls on.

    Give it to a greedy search.

    Args:
        uniform: (R, T) numbers in [0, 1); column t decides step t.
        temperature: sampling temperature; 0: the most likely token.
        top_k: words are drawn from the so many most likely ones; 0 from all.
        top_p: nucleus sampling probability.
    """

    def __init__(self, uniform: FloatArray, temperature: float, top_k: int, top_p: float) -> None:
        self._uniform = torch.from_numpy(uniform).double()
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p
        self._start: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Exclude every word but one of each row of logits (R, W)."""
        if self._temperature == 0:
            return scores
        if self._start is None:
            self._start = input_ids.shape[1]
        drawn = self._uniform[:, input_ids.shape[1] - self._start].to(scores.device)
        probabilities, words = (
            (scores.double() / self._temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
        )
        if self._top_k:
            probabilities, words = probabilities[:, : self._top_k], words[:, : self._top_k]
            probabilities = probabilities / probabilities.sum(-1, keepdim=True)
        before = probabilities.cumsum(-1) - probabilities
        inside = probabilities * (before < self._top_p)  # the most likely word always is
        reached = inside.cumsum(-1)
        place = (reached <= drawn[:, None] * reached[:, -1:]).sum(-1, keepdim=True)
        chosen = words.gather(-1, place.clamp(max=words.shape[1] - 1))
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)
