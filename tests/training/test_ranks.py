"""Two real processes give the loss and the gradient of one."""

import json
from pathlib import Path

import processes
import pytest
from safetensors.torch import load_file

from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.training.checkpoint import digest
from pretrieve.training.ranks import Ranks


def test_two_processes_equal_one(tmp_path: Path) -> None:
    meet, out = str(tmp_path / "meet"), str(tmp_path / "out")
    started = [processes.start(processes.rank, world, rank, meet, out) for world, rank in ((1, 0), (2, 0), (2, 1))]
    for process, _ in started:
        process.join(timeout=200)
        assert process.exitcode == 0
    alone = load_file(f"{out}-1-0")
    for rank in (0, 1):
        found = load_file(f"{out}-2-{rank}")
        assert found.keys() == alone.keys()
        for name, expected in alone.items():
            distance = float((found[name] - expected).norm() / expected.norm().clamp(min=1e-12))
            assert distance < 1e-9, f"{name} on rank {rank} differs by {distance}"


def test_two_sharded_processes_equal_one(tmp_path: Path) -> None:
    """Every case with a transformer whose layers can be sharded, with and without the gradient cache."""
    meet, out = str(tmp_path / "meet"), str(tmp_path / "out")
    ranks = ((1, 0, "none"), (2, 0, "full"), (2, 1, "full"))
    started = [processes.start(processes.rank, world, rank, meet, out, kind) for world, rank, kind in ranks]
    for process, _ in started:
        process.join(timeout=300)
        assert process.exitcode == 0
    alone = load_file(f"{out}-1-0")
    for rank in (0, 1):
        found = load_file(f"{out}-2-{rank}")
        sharded = {processes.CASES[int(name.split("/")[0])][0] for name in found}
        assert {"contriever", "condenser", "retromae", "mlm", "simcse", "spider"} <= sharded
        assert not {"tsdae", "realm"} & sharded
        for name, values in found.items():
            distance = float((values - alone[name]).norm() / alone[name].norm().clamp(min=1e-12))
            assert distance < 1e-9, f"{name} on rank {rank} differs by {distance}"


def test_a_checkpoint_is_the_same_in_parts_and_whole(tmp_path: Path) -> None:
    """Written by one process, read and written by two sharded ones, read by one process."""
    first = processes.small_trainer(tmp_path / "run", "none", seed=2)
    first.run()
    meet = str(tmp_path / "meet")
    started = [processes.start(processes.resharded, rank, meet, tmp_path / "run") for rank in (0, 1)]
    for process, _ in started:
        process.join(timeout=200)
        assert process.exitcode == 0
    manifest = json.loads((tmp_path / "run/step-000004/MANIFEST.json").read_text())
    for group in ("weights", "optimiser"):
        assert sum(name.startswith(f"{group}-parts/") for name in manifest["files"]) == 2, (
            "one of each rank, with a hash"
        )
    again = processes.small_trainer(tmp_path / "run", "none", seed=3)
    assert digest(again.objective) != digest(first.objective)
    assert again.resume() == 4
    assert digest(again.objective) == digest(first.objective)
    for mine, theirs in zip(again.objective.parameters(), first.objective.parameters(), strict=True):
        for key, values in first.optimizer.state.get(theirs, {}).items():
            assert again.optimizer.state[mine][key].equal(values)
    (path,) = (tmp_path / "run/step-000004/weights-parts").glob("shard-00002*")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptError, match="weights-parts/shard-00002"):
        again.resume()


def test_shares_of_a_batch() -> None:
    assert [Ranks(rank=rank, world=3).share(12) for rank in range(3)] == [(0, 4), (4, 8), (8, 12)]
    with pytest.raises(UsageError, match="batch_size=10 does not divide by 3 processes: use 12"):
        Ranks(rank=0, world=3).share(10)
