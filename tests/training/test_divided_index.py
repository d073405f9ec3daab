"""The index of a method in training: each process encodes a share, and all find what one process finds."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import forks
import tiny
from pretrieve.models import candidates
from pretrieve.models.candidates import StaleIndex
from pretrieve.sampling.search_blocks import SearchBlocks
from pretrieve.training.ranks import Ranks

REFRESHES = {"waits": 0, "in the background": 1}
STEPS, EVERY = 7, 3


def refreshed(lag: int, together: Ranks) -> tuple[dict[str, torch.Tensor], int]:
    """The vectors in use at each step of a run, and how many rows this process has encoded for them."""
    store, rows = tiny.store(30), []
    model = tiny.encoder("new", store, seed=1)
    index = StaleIndex(model, SearchBlocks(store, tiny.SPECIALS, 40), every=EVERY, lag=lag)
    for encoder in (index.stale, index.coming) if index.coming is not None else (index.stale,):
        encoder.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    found = {}
    with index.divided(together):
        for step in range(STEPS):
            found[f"step {step}"] = index.vectors().clone()
            torch.manual_seed(step)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.05 * torch.randn_like(parameter)
            index.after_step(model, step)
    index.vectors()  # alone again: whoever searches after training waits for nobody
    assert torch.isfinite(index.vectors()).all()
    return found, sum(rows)


def rank(report: Connection, number: int, world: int, meet: str, out: str) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    candidates._TOKENS = 64
    if world > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=number, world_size=world)
    for name, lag in REFRESHES.items():
        vectors, rows = refreshed(lag, Ranks.current())
        save_file({**vectors, "rows": torch.tensor(rows)}, f"{out}-{name}-{world}-{number}")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("divided")
    for world in (1, 2, 4):
        arguments: list[tuple[Any, ...]] = [
            (number, world, str(folder / f"meet-{world}"), str(folder / "out")) for number in range(world)
        ]
        for process in [forks.start(rank, *some)[0] for some in arguments]:
            process.join(timeout=120)
            assert process.exitcode == 0
    return str(folder / "out")


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("name", REFRESHES)
def test_every_process_has_the_index_of_one(encoded: str, name: str, world: int) -> None:
    alone = load_file(f"{encoded}-{name}-1-0")
    assert any(not torch.equal(alone["step 0"], alone[f"step {step}"]) for step in range(STEPS)), "it was refreshed"
    for number in range(world):
        found = load_file(f"{encoded}-{name}-{world}-{number}")
        for step in range(STEPS):
            assert torch.equal(found[f"step {step}"], alone[f"step {step}"])
        assert 0 < int(found["rows"]) < int(alone["rows"]), "a share is encoded, and not all"


def test_sums_are_sent_in_parts(tmp_path: Path) -> None:
    started = [forks.start(summed, number, str(tmp_path / "meet")) for number in range(2)]
    for process, _ in started:
        process.join(timeout=60)
    assert [here.recv() for _, here in started] == [[[3.0] * 3] * 5, [[3.0] * 3] * 5]


def summed(report: Connection, number: int, meet: str) -> None:
    """Values that need several messages."""
    from pretrieve.training import ranks

    ranks._SENT = 4
    torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=number, world_size=2)
    values = torch.full((5, 3), float(number + 1))
    Ranks.current().add_up(values)
    Ranks.current().add_up(values[:0])
    report.send(values.tolist())
