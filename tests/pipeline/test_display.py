"""Progress where there is no terminal: plain lines, one at the end of a stage and one a minute."""

from __future__ import annotations

import io

from rich.console import Console

from pretrieve.pipeline.run import display as module
from pretrieve.pipeline.run.display import Display


def lines_of(steps: int) -> list[str]:
    kept = io.StringIO()
    with Display(Console(file=kept, width=200)) as display:
        display.stage("training", 40, "steps")
        for _ in range(steps):
            display.advance(10, "loss 1.5")
    return kept.getvalue().splitlines()


def test_a_short_stage_is_one_line() -> None:
    (line,) = lines_of(4)
    assert line.startswith("training: 40 done")


def test_a_long_stage_shows_that_it_is_alive(monkeypatch) -> None:
    monkeypatch.setattr(module, "_LOG_EVERY", 0.0)
    found = lines_of(3)
    assert [line.split(",")[0] for line in found] == [f"training: {n} of 40" for n in (10, 20, 30)] + [
        "training: 30 done"
    ]
    assert all("loss 1.5" in line for line in found)
