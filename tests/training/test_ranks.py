"""Two real processes give the loss and the gradient of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pretrieve.core.errors import UsageError
from pretrieve.training.ranks import Ranks

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import tiny, torch
from safetensors.torch import save_file
from pretrieve.training.options import TrainingOptions
from pretrieve.training.ranks import Ranks
from pretrieve.training.trainer import Trainer
torch.set_num_threads(1)
world, rank = int(sys.argv[2]), int(sys.argv[3])
if world > 1:
    torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[4], rank=rank, world_size=world)
results = {}
cases = [
    ("contriever", "new", {"queue": 24, "mask_same_document": True}, False),
    ("contriever-inbatch", "static", {}, False),
    ("contriever-inbatch", "new", {}, True),
    ("orqa-ict", "new", {"towers": "separate", "projection": 8}, True),
    ("structure", "static", {"symmetric": True}, False),
]
for number, (preset, kind, changes, cache) in enumerate(cases):
    objective, batches = tiny.run(preset, kind, size=8, seed=2, dropout=0.2, **changes)
    losses = []
    options = TrainingOptions(steps=4, batch_size=8, chunk=2, cache=cache, precision="float64", learning_rate=0.001)
    trainer = Trainer(objective=objective, batches=batches, options=options, seed=2)
    trainer.on_step = lambda progress: losses.append(progress.loss)
    assert trainer.ranks.world == world
    trainer.run()
    results[f"{number}/losses"] = torch.tensor(losses, dtype=torch.float64)
    gradients = [p.grad.reshape(-1) for p in objective.parameters() if p.grad is not None]
    results[f"{number}/gradient"] = torch.cat(gradients)
    for name, values in objective.named_buffers():
        results[f"{number}/buffer/{name}"] = values.double()
save_file(results, sys.argv[5] + f"-{world}-{rank}")
"""


def start(folder: Path, world: int, rank: int) -> subprocess.Popen:
    arguments = [str(Path(__file__).parent.parent), str(world), str(rank), str(folder / "meet"), str(folder / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=environment, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    for process in [start(tmp_path, 1, 0), start(tmp_path, 2, 0), start(tmp_path, 2, 1)]:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()[-2000:]
    alone = load_file(tmp_path / "out-1-0")
    for rank in (0, 1):
        found = load_file(tmp_path / f"out-2-{rank}")
        assert found.keys() == alone.keys()
        for name, expected in alone.items():
            distance = float((found[name] - expected).norm() / expected.norm().clamp(min=1e-12))
            assert distance < 1e-9, f"{name} on rank {rank} differs by {distance}"


def test_shares_of_a_batch() -> None:
    assert [Ranks(rank=rank, world=3).share(12) for rank in range(3)] == [(0, 4), (4, 8), (8, 12)]
    with pytest.raises(UsageError, match="batch_size=10 does not divide by 3 processes: use 12"):
        Ranks(rank=0, world=3).share(10)
