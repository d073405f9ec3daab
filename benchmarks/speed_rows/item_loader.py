"""Contriever's loader as its description has it: a data set of one pair at a time, padded by a function."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pretrieve.core.types import SpecialTokens

WINDOW, SHORTEST, LONGEST, DELETED = 256, 0.05, 0.5, 0.1


def tokens(count: int, length: int = 1024) -> SimpleNamespace:
    """A store of random documents of four windows each."""
    ids = np.random.default_rng(0).integers(999, 30_000, size=count * length).astype(np.uint16)
    starts = np.arange(count) * length
    return SimpleNamespace(
        path=Path(), tokens=ids, starts=starts, bodies=starts, ends=starts + length,
        documents=np.append(starts, len(ids)), groups=np.zeros(count, np.uint16), group_names=("",),
    )  # fmt: skip


class Pairs(Dataset[dict[str, torch.Tensor]]):
    """Item i is two crops of window i of the stream of tokens."""

    def __init__(self, ids: Any, count: int, specials: SpecialTokens, draws: random.Random) -> None:
        self.ids = torch.from_numpy(np.asarray(ids, np.int64))
        self.count, self.specials, self.draws = count, specials, draws
        self.offset = draws.randrange(WINDOW)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        place = (self.offset + item * WINDOW) % (len(self.ids) - WINDOW)
        window = self.ids[place : place + WINDOW]
        return {"q": self._edited(self._crop(window)), "k": self._edited(self._crop(window))}

    def _crop(self, window: torch.Tensor) -> torch.Tensor:
        size = int(len(window) * self.draws.uniform(SHORTEST, LONGEST))
        first = self.draws.randint(0, len(window) - size)
        return window[first : first + size]

    def _edited(self, crop: torch.Tensor) -> torch.Tensor:
        kept = [token for token in crop.tolist() if self.draws.random() > DELETED]
        assert self.specials.cls is not None
        assert self.specials.sep is not None
        return torch.tensor([self.specials.cls, *kept, self.specials.sep])


def collate(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Pad queries and keys to their longest, with masks."""
    batch = {}
    for name in ("q", "k"):
        rows = [item[name] for item in items]
        batch[f"{name}_tokens"] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        batch[f"{name}_mask"] = torch.arange(int(lengths.max())) < lengths[:, None]
    return batch


def loader(ids: Any, size: int, batches: int, specials: SpecialTokens, draws: random.Random) -> DataLoader[Any]:
    """Batches in the process of training."""
    return DataLoader(Pairs(ids, size * batches, specials, draws), batch_size=size, collate_fn=collate)
