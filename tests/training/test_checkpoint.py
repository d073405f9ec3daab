"""Checkpoints: refused where they do not belong, skipped where unfinished, never half."""

from pathlib import Path

import pytest

import tiny
from pretrieve.core import files
from pretrieve.core.errors import CorruptError, FingerprintError
from pretrieve.training.checkpoint import Checkpoints
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer


def trained(folder: Path, steps: int = 6, **fingerprints: str) -> Trainer:
    objective, batches = tiny.run("contriever")
    checkpoints = Checkpoints(folder=folder, keep=2, fingerprints=fingerprints)
    options = TrainingOptions(steps=steps, batch_size=8, learning_rate=0.01, save_every=2)
    return Trainer(objective=objective, batches=batches, options=options, checkpoints=checkpoints)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    trained(tmp_path).run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000004", "step-000006"]
    assert trained(tmp_path).resume() == 6


@pytest.mark.parametrize("name", ["corpus", "tokenizer", "recipe"])
def test_another_run_is_refused_by_name(name: str, tmp_path: Path) -> None:
    mine = {"corpus": "c1", "tokenizer": "t1", "recipe": "r1"}
    trained(tmp_path, **mine).run()
    with pytest.raises(FingerprintError, match=f"belongs to another {name} "):
        trained(tmp_path, **{**mine, name: "other"}).resume()
    assert trained(tmp_path, **mine).resume() == 6


def test_unfinished_checkpoints_are_skipped_and_swept(tmp_path: Path) -> None:
    trained(tmp_path).run()
    (tmp_path / "step-000006" / files.MANIFEST).unlink()
    (tmp_path / ".pretrieve-step-000008.999999999.abcd").mkdir()
    assert Checkpoints(folder=tmp_path).latest() == 4
    assert trained(tmp_path).resume() == 4
    assert [path.name for path in tmp_path.iterdir()] == ["step-000004"]


@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_never_silent(name: str, damage: str, tmp_path: Path) -> None:
    trained(tmp_path).run()
    path = tmp_path / "step-000006" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[: len(data) // 2])
    with pytest.raises(CorruptError, match=name):
        trained(tmp_path).resume()


def test_a_failed_save_leaves_the_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path).run()
    longer = trained(tmp_path, steps=8)
    longer.resume()
    from safetensors import torch as library

    def broken(tensors: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(library, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        longer.run()
    assert Checkpoints(folder=tmp_path).steps() == [4, 6]
    assert not list(tmp_path.glob(".pretrieve*"))
