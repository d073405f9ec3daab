"""Progress where there is no terminal: plain lines with time stamps, one at the end of a stage, and some before."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from pretrieve.pipeline.run import lines as module
from pretrieve.pipeline.run import stage as stages
from pretrieve.pipeline.run.display import Display
from pretrieve.pipeline.run.lines import Lines

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


class Clock:
    """Takes the place of the monotonic clock: no test waits an hour."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(stages.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def written(clock: Clock, total: int | None, reports: list[tuple[float, int]], unit: str = "steps") -> list[str]:
    """Lines of a stage whose reports come at these seconds after each other."""
    found: list[str] = []
    with Lines(found.append) as progress:
        progress.stage("training", total, unit)
        for seconds, count in reports:
            clock.now += seconds
            progress.advance(count, "loss 1.5")
    return found


def test_a_short_stage_is_one_line_with_a_time_stamp(capsys) -> None:
    with Lines() as progress:
        progress.stage("training", 40, "steps")
        for _ in range(4):
            progress.advance(10, "loss 1.5")
        progress.note("a note\x1b[2J")
        progress.note("Warning: a warning")
    note, warning, line = capsys.readouterr().err.splitlines()
    assert re.match(STAMP + "training: 40 steps, 0.0 s", line)
    assert line.endswith("loss 1.5")
    assert (note, warning) == ("note: a note\\x1b[2J", "warning: a warning")


def test_a_long_stage_says_rate_and_time_left(clock) -> None:
    found = written(clock, 4000, [(1, 10), *[(1, 10)] * 99])
    assert found[0] == "training: 100 of 4,000 steps (2%), 10 s, 10 steps/s, 0:06:30 left, loss 1.5"
    assert found[-1] == "training: 1,000 steps, 100.0 s, 10 steps/s, loss 1.5"
    assert len(found) == 11  # one in ten seconds, and the end


def test_what_a_resumed_run_had_done_is_no_speed(clock) -> None:
    found = written(clock, 4000, [(0.5, 3000), *[(1, 10)] * 12])
    assert found[0] == "training: 3,100 of 4,000 steps (78%), 10 s, 10 steps/s, 0:01:30 left, loss 1.5"


def test_lines_come_the_more_seldom_the_longer_it_takes(clock) -> None:
    hour = written(clock, None, [(1, 1)] * 3600)
    day = written(clock, None, [(1, 1)] * 24 * 3600)
    assert 40 < len(hour) < 100
    assert 150 < len(day) < 300
    assert "left" not in hour[0]  # nobody knows


def test_without_a_unit_and_without_reports(clock) -> None:
    assert written(clock, None, [(2, 0)], unit="") == ["training: 2.0 s, loss 1.5"]
    assert written(clock, None, [(2, 3)], unit="") == ["training: 3 done, 2.0 s, loss 1.5"]


def test_a_stage_that_starts_and_one_that_an_error_ends(clock) -> None:
    found: list[str] = []

    def broken() -> None:
        with Lines(found.append, starts=True) as progress:
            progress.stage("training", 4000, "steps")
            progress.advance(7)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        broken()
    assert found == ["training: start of 4,000 steps", "training: 7 of 4,000 steps (0%), 0 s"]


def test_a_terminal_has_a_bar_and_the_seconds_if_they_are_wanted() -> None:
    kept = io.StringIO()
    with Display(Console(file=kept, width=160, force_terminal=True), verbose=True) as display:
        display.stage("training [red]", 40, "steps")
        display.advance(10, "loss 1.5")
        display.note("a note")
    assert "debug: training [red]: 10 steps, 0.0 s, loss 1.5" in kept.getvalue()
    assert "note:" in kept.getvalue()
    assert module._SOONEST >= 10
