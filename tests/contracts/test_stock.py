"""What every method leaves: a stock model that scores as pretrieve does, and weights that come back strictly."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import tiny
from pretrieve.methods import find, names
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.testing.stock import check_stock, documents

BOTH = [(preset, kind) for preset in names() for kind in tiny.kinds(preset)]
BASES = {"static": "static", "new": "new:layers=2,hidden=32,heads=2,intermediate=64"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "documents.jsonl"
    rows = [{"id": one.id, "title": one.title, "text": one.text} for one in documents()]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


@pytest.mark.parametrize(("preset", "kind"), BOTH)
def test_stock_model_scores_as_pretrieve_does(preset: str, kind: str, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    own = find(preset)[0].Options.__dataclass_fields__
    settings = {name: value for name, value in tiny.SMALL.items() if name in own and name != "projection"}
    settings |= {"batch_size": 8, "vocabulary_size": 200, "max_length": 64}
    train(
        TrainRequest(sources=(str(source),), output=output, base=BASES[kind], method=preset, steps=3, settings=settings)
    )  # fmt: skip
    check_stock(output)
