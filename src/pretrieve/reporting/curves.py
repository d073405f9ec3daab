"""The curves of a run, from the files that TensorBoard's tracker leaves beside the model."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path

from pretrieve.core.extras import install_command
from pretrieve.core.model_files import CURVES
from pretrieve.reporting.page import Lines, Section, Table

_FRAME = 16  # bytes around a record: its length, and two checksums
_POINTS = 400  # of a curve; more are thinned out evenly
_PROJECT = "pretrieve"  # what trackers call a run without variants
_NAMES = {
    "loss": "loss of a step",
    "held_out_loss": "held-out loss",
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens per second",
}

Curve = list[tuple[int, float]]


def curves_section(folder: Path) -> Section:
    """The curves of a model's run, or why there are none.

    Args:
        folder: of the model.
    """
    title = "Curves"
    paths = sorted((folder / CURVES).rglob("events.out.tfevents.*")) if (folder / CURVES).is_dir() else []
    if not paths:
        return Section(
            title=title, notes=["This run kept no curves: a tracker that writes files keeps them (--tracker)."]
        )
    if importlib.util.find_spec("tensorboard") is None:
        return Section(
            title=title,
            notes=[f"{CURVES}/ has curves, which TensorBoard reads: {install_command('track')}, and again."],
        )
    found, unread, left_out = _read(folder / CURVES, paths)
    notes = (
        [f"{unread} of {len(paths)} files of curves are damaged or cut off: nothing after the damage is shown."]
        if unread
        else []
    )
    if left_out:
        notes.append(f"{left_out} values that are not finite are left out.")
    longest = max((len(curve) for parts in found.values() for curve in parts.values()), default=0)
    if longest > _POINTS:
        notes.append(f"Curves of more than {_POINTS} points are thinned out evenly (the longest has {longest:,}).")
    charts, single = [], []
    for tag, words in _NAMES.items():
        curves = found.get(tag, {})
        if any(len(curve) > 1 for curve in curves.values()):
            drawn = [_curve(part, curve) for part, curve in curves.items()]
            charts.append(Lines(title=words, x="step", y=words, curves=drawn))
        else:
            single += [[words, part, f"{curve[0][0]:,}", f"{curve[0][1]:.4g}"] for part, curve in curves.items()]
    if not found:
        notes.append("No loss was recorded.")
    head = ["value", "part of the run", "step", "recorded"]
    tables = [Table(title="Recorded once: no curve", head=head, rows=single)] if single else []
    return Section(title=title, notes=notes, charts=charts, tables=tables)


def _curve(part: str, curve: Curve) -> tuple[str, list[float], list[float]]:
    every = math.ceil(len(curve) / _POINTS)
    kept = [*curve[:: every or 1]]
    if curve[-1] != kept[-1]:
        kept.append(curve[-1])
    return part, [float(step) for step, _ in kept], [value for _, value in kept]


def _read(folder: Path, paths: list[Path]) -> tuple[dict[str, dict[str, Curve]], int, int]:
    """Curves by tag and part of the run (a variant), files that cannot be read, and values that are not finite."""
    points: dict[str, dict[str, dict[int, float]]] = {}
    unread = left_out = 0
    for path in paths:
        parts = path.relative_to(folder).parts
        part = parts[0] if len(parts) > 1 and parts[0] != _PROJECT else "run"
        events, whole = 0, False
        try:
            for event, tag, step, value in _values(path):
                events = event
                if tag not in _NAMES:
                    continue
                if math.isfinite(value):
                    points.setdefault(tag, {}).setdefault(part, {})[step] = value  # a resumed step replaces the first
                else:
                    left_out += 1
        except Exception:  # noqa: S110 - whatever a damaged file makes TensorBoard raise; it is counted
            pass
        else:
            whole = events == _records(path)  # TensorBoard ends at damage without a word
        unread += not whole
    found = {tag: {part: sorted(curve.items()) for part, curve in parts.items()} for tag, parts in points.items()}
    return found, unread, left_out


def _values(path: Path) -> Iterator[tuple[int, str, int, float]]:
    """Number of the event, tag, step and value; an event without values has an empty tag."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    for number, event in enumerate(EventFileLoader(str(path)).Load(), 1):
        yield number, "", 0, 0.0
        for value in event.summary.value:
            if value.tag in _NAMES:
                yield number, value.tag, int(event.step), float(tensor_util.make_ndarray(value.tensor))


def _records(path: Path) -> int:
    """Number of records by the lengths before them; -1 where the file does not end with a record."""
    size, place, count = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            place += int.from_bytes(file.read(8), "little") + _FRAME
            count += 1
    return count if place == size else -1
