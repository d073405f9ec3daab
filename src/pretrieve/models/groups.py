"""Accuracy by group (language or source) of the documents that a batch comes from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.types import BoolArray, IntArray
from pretrieve.models import devices
from pretrieve.sampling.items import TokenStore

_MOST = 50  # groups that have a figure of their own: the largest


class Groups:
    """The group of every document, for losses and statistics.

    Attributes:
        names: of the groups that have a figure of their own: at most the fifty largest, none where there is only one.

    Args:
        store: the documents.
        keep: (G,) the groups that are drawn from; None for all.
    """

    def __init__(self, store: TokenStore, keep: BoolArray | None = None) -> None:
        self._groups = np.asarray(store.groups)
        counts = np.bincount(self._groups, minlength=len(store.group_names))
        counts = counts if keep is None else np.where(keep, counts, 0)
        shown = np.sort(np.argsort(-counts, kind="stable")[: min(_MOST, np.count_nonzero(counts))])
        shown = shown if len(shown) > 1 else shown[:0]
        self.names = tuple(store.group_names[group] or "none" for group in shown)
        self._columns = np.full(len(counts), len(shown))
        self._columns[shown] = np.arange(len(shown))

    def of(self, documents: IntArray | Tensor, device: torch.device) -> Tensor:
        """Groups (B,) of documents (B,); -1 for a document -1, which is none."""
        index = documents.cpu().numpy() if isinstance(documents, Tensor) else documents
        return devices.put(np.where(index < 0, -1, self._groups[index].astype(np.int64)), device)

    def means(self, name: str, values: Tensor, documents: IntArray) -> dict[str, Tensor]:
        """Mean of values (B,) over the documents (B,) of each group, by ``name/group``; NaN for a group without any."""
        columns = devices.put(self._columns[self._groups[documents]], values.device)
        sums = values.new_zeros(2, len(self.names) + 1)
        sums.index_add_(1, columns, torch.stack([values, torch.ones_like(values)]))
        return dict(zip((f"{name}/{group}" for group in self.names), (sums[0] / sums[1])[:-1].unbind(), strict=True))
