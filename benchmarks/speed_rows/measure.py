"""What a row of the table is, how its sides take turns, and how its lines are computed."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

OURS = "pretrieve"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way to do the work.

    Attributes:
        prepare: called before each round, outside the clock; returns the work of the round.
        amounts: what a round does, by unit (tokens, pairs, MB, flops).
    """

    prepare: Callable[[], Callable[[], object]]
    amounts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure of the table, for each round; the goal is for its median.

    Attributes:
        name: name in ``results.json``, unique over all rows.
        what: what is compared, in words.
        kind: ``speed``: how many times as fast; ``time``: how many times the CPU time; ``memory``: how many times less
            memory; ``rate``: units for each CPU second; ``seconds``: wall seconds of a round.
        side: the side that is measured.
        other: the side beside it, for a ratio.
        unit: what is counted.
        goal: least value, or most where ``kind`` is time or seconds; None for none.
        why: why the goal is missed, where it is.
        in_readme: whether the table of README has it.
    """

    name: str
    what: str
    kind: Literal["speed", "time", "memory", "rate", "seconds"] = "speed"
    side: str = OURS
    other: str = ""
    unit: str = "rounds"
    goal: float | None = None
    why: str = ""
    in_readme: bool = False

    @property
    def at_most(self) -> bool:
        """Whether less is better."""
        return self.kind in ("time", "seconds")

    def values(self, rounds: Mapping[str, Sequence[Mapping[str, float]]], amounts: Mapping[str, Any]) -> list[float]:
        """The figure of each round."""
        mine, beside = rounds[self.side], rounds[self.other or self.side]
        amount, other = (amounts[side].get(self.unit, 1.0) for side in (self.side, self.other or self.side))
        found = []
        for here, there in zip(mine, beside, strict=True):
            if self.kind == "seconds":
                found.append(here["wall"] / amount)
            elif self.kind == "rate":
                found.append(amount / here["cpu"])
            elif self.kind == "memory":
                found.append(there["added_mb"] / max(here["added_mb"], 1.0))
            elif self.kind == "time":
                found.append((here["cpu"] / amount) / (there["cpu"] / other))
            else:
                found.append((amount / here["cpu"]) / (other / there["cpu"]))
        return found


@dataclass(frozen=True, kw_only=True)
class Row:
    """Sides that are measured together.

    Attributes:
        name: name for ``--only``.
        what: the work, in a sentence.
        sides: makes the sides, in the process that measures.
        lines: the figures.
        fresh: measure every round of every side in a process of its own, with its peak memory.
        missing: why the row cannot be measured here, or "".
    """

    name: str
    what: str
    sides: Callable[[Work], dict[str, Side]]
    lines: tuple[Line, ...]
    fresh: bool = False
    missing: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Work:
    """Where texts and models are, and how large everything is."""

    folder: Path
    toy: bool

    def pick(self, full: Any, toy: Any) -> Any:
        """A size."""
        return toy if self.toy else full

    @cached_property
    def texts(self) -> list[str]:
        """Texts of 4 to 80 words."""
        from speed_rows import inputs

        return inputs.texts(self.pick(8192, 64))

    def model(self, name: str) -> Path:
        """Folder of a model that is made at the first call: ``static``, or ``transformer-RATE`` of dropout."""
        from speed_rows import inputs

        path = self.folder / name
        if not path.exists():
            inputs.write_model(self, path)
        return path


def no_trainer() -> str:
    """Why the trainer of sentence-transformers cannot run here, or ""."""
    return (
        ""
        if find_spec("datasets")
        else "not measured: the trainer of sentence-transformers needs the package datasets (`pip install '.[bench]'`)"
    )


def in_turns(sides: Mapping[str, Side], rounds: int, warm: bool = True) -> dict[str, list[dict[str, float]]]:
    """Measure the sides in turns, every second round in the opposite order; the first round does not count."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(-1 if warm else 0, rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            sample = measured(sides[name])
            if number >= 0:
                found[name].append(sample)
    return found


def measured(side: Side) -> dict[str, float]:
    """CPU and wall seconds of a round, of this process and of those that it ended, and what it added to peak memory."""
    work = side.prepare()
    gc.collect()
    memory, cpu, wall = peak(), _cpu(), time.perf_counter()
    work()
    return {"cpu": _cpu() - cpu, "wall": time.perf_counter() - wall, "added_mb": peak() - memory}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def peak() -> float:
    """Peak memory of this process until now, in MB; 0 where the system does not say (Linux does)."""
    path = Path("/proc/self/status")
    return int(path.read_text().split("VmHWM:")[1].split()[0]) / 1024 if path.exists() else 0.0


def results(row: Row, rounds: Mapping[str, Any], amounts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of a row: median, lowest and highest, and whether the goal is met."""
    found = []
    for line in row.lines:
        values = line.values(rounds, amounts)
        middle = statistics.median(values)
        met = None if line.goal is None else bool(middle <= line.goal if line.at_most else middle >= line.goal)
        found.append(
            {
                "name": line.name,
                "value": middle,
                "low": min(values),
                "high": max(values),
                "values": values,
                "goal": line.goal,
                "met": met,
            }
        )
    return found
