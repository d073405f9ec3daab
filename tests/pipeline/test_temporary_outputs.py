"""A model without an output is in the system's temporary folder, and nothing is left there where none was made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import labelling
from pretrieve import Retriever
from pretrieve.core.errors import PretrieveError

TEXTS = ["one text of some words", "another text"]
WRONG: dict[str, Callable[[Path], object]] = {
    "train": lambda model: Retriever.train(TEXTS, steps=-1, progress=False),
    "train: no documents": lambda model: Retriever.train([], steps=1, progress=False),
    "distill": lambda model: Retriever.distill(TEXTS, "", progress=False),
    "distill: option": lambda model: Retriever.distill(TEXTS, model, progress=False, wrong=1),
    "finetune": lambda model: Retriever.load(model).finetune([{"query": "a"}], epoch=1, progress=False),
    "finetune: labels": lambda model: Retriever.load(model).finetune([{"query": "a"}], progress=False),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = labelling.static_model(tmp_path / "model")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(PretrieveError):
        WRONG[name](model)
    assert list((tmp_path / "temporary").iterdir()) == []
