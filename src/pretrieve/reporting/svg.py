"""Charts as SVG: axes with ticks and labels, a title and a description for those who do not see them.

Colours come from the style sheet of the page, by class; curves differ by their dashes as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from pretrieve.core.shown import shown
from pretrieve.reporting.page import Chart, Histogram, Intervals, Lines, Scatter, Shares, Within

_WIDTH, _HEIGHT, _SQUARE = 640.0, 320.0, 440.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 16.0, 12.0, 46.0
_ROW, _BAR = 46.0, 20.0  # of wins, ties and losses, each below its name
_COLOURS = 6
_LONG = 90  # characters of a name in a picture


def draw(chart: Chart, name: str) -> str:
    """Draw a chart.

    Args:
        chart: to draw.
        name: of the picture, unique in its page, of letters and digits.
    """
    return ET.tostring(_drawn(chart, name), encoding="unicode")


def strip(within: Within, name: str) -> str:
    """Draw a document as a line, with the spans of each row above it.

    Args:
        within: the document.
        name: of the picture, unique in its page.
    """
    rows = list(dict.fromkeys(number for number, _, _ in within.spans))
    text = "; ".join(f"row {number + 1}: tokens {start} to {stop}" for number, start, stop in within.spans)
    foot = 12.0 * len(rows) + 4
    picture = _picture("Places in the document", f"{within.tokens} tokens; {text}.", name, foot + 4)
    _bar(picture, 0, foot, _WIDTH, 2, "body")
    for number, start, stop in within.spans:
        left, right = (_WIDTH * place / max(within.tokens, 1) for place in (start, stop))
        _bar(picture, left, 12.0 * rows.index(number) + 2, max(right - left, 2.0), 9, f"bar c{number % _COLOURS}")
    return ET.tostring(picture, encoding="unicode")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, both within them, at steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _drawn(chart: Chart, name: str) -> ET.Element:
    if isinstance(chart, Lines):
        return _lines(chart, name)
    if isinstance(chart, Scatter):
        return _scatter(chart, name)
    if isinstance(chart, Intervals):
        return _intervals(chart, name)
    return _histogram(chart, name) if isinstance(chart, Histogram) else _shares(chart, name)


def _picture(title: str, text: str, name: str, height: float = _HEIGHT, width: float = _WIDTH) -> ET.Element:
    picture = ET.Element("svg", {
        "viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-labelledby": f"{name}t {name}d",
        "xmlns": "http://www.w3.org/2000/svg",
    })  # fmt: skip
    ET.SubElement(picture, "title", {"id": f"{name}t"}).text = shown(title)
    ET.SubElement(picture, "desc", {"id": f"{name}d"}).text = shown(text)
    return picture


def _text(picture: ET.Element, x: float, y: float, text: str, **attributes: str) -> None:
    named = {key.replace("_", "-"): value for key, value in attributes.items()}
    ET.SubElement(picture, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", **named}).text = shown(text)


def _line(picture: ET.Element, start: tuple[float, float], stop: tuple[float, float], kind: str) -> None:
    places = dict(zip(("x1", "y1", "x2", "y2"), (f"{place:.1f}" for place in (*start, *stop)), strict=True))
    ET.SubElement(picture, "line", {**places, "class": kind})


class _Frame:
    """A picture with two axes; ``place`` turns values into its coordinates."""

    def __init__(
        self,
        picture: ET.Element,
        x: Sequence[float],
        y: Sequence[float],
        width: float = _WIDTH,
        height: float = _HEIGHT,
    ) -> None:
        self.picture, self._x, self._y = picture, (x[0], x[-1]), (y[0], y[-1])
        self._right, self._foot = width - _RIGHT, height - _BOTTOM
        for value in y:
            _, up = self.place(x[0], value)
            _line(picture, (_LEFT, up), (self._right, up), "grid")
            _text(picture, _LEFT - 6, up + 4, _number(value), text_anchor="end")
        _line(picture, (_LEFT, _TOP), (_LEFT, self._foot), "axis")
        _line(picture, (_LEFT, self._foot), (self._right, self._foot), "axis")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Coordinates of a point."""
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return _LEFT + across * (self._right - _LEFT), self._foot - up * (self._foot - _TOP)

    def below(self, labels: Sequence[tuple[float, str]]) -> None:
        """Labels along the lower axis."""
        for value, text in labels:
            across, _ = self.place(value, self._y[0])
            _text(self.picture, across, self._foot + 16, text, text_anchor="middle")

    def named(self, x: str, y: str) -> None:
        """Names of the axes."""
        _text(self.picture, (_LEFT + self._right) / 2, self._foot + _BOTTOM - 8, x, text_anchor="middle")
        middle = (_TOP + self._foot) / 2
        _text(self.picture, 14, middle, y, text_anchor="middle", transform=f"rotate(-90 14 {middle:g})")


def _lines(chart: Lines, name: str) -> ET.Element:
    every = [(x, y) for _, xs, ys in chart.curves for x, y in zip(xs, ys, strict=True)]
    ends = "; ".join(f"{key}: from {_number(ys[0])} to {_number(ys[-1])}" for key, _, ys in chart.curves)
    picture = _picture(chart.title, f"{chart.y} by {chart.x}. {ends}.", name)
    across = ticks(min(x for x, _ in every), max(x for x, _ in every))
    frame = _Frame(picture, across, ticks(min(y for _, y in every), max(y for _, y in every)))
    frame.below([(value, _number(value)) for value in across])
    frame.named(chart.x, chart.y)
    for number, (_, xs, ys) in enumerate(chart.curves):
        points = [frame.place(x, y) for x, y in zip(xs, ys, strict=True)]
        kind = f"curve c{number % _COLOURS}"
        ET.SubElement(picture, "polyline", {"points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points), "class": kind})
        if len(points) == 1:
            _dot(picture, points[0], f"dot c{number % _COLOURS}")
    return picture


def _scatter(chart: Scatter, name: str) -> ET.Element:
    above = sum(y > x for x, y in chart.points)
    below = sum(y < x for x, y in chart.points)
    text = f"{len(chart.points)} points; above the diagonal {above}, on it {len(chart.points) - above - below}, "
    picture = _picture(chart.title, f"{text}below it {below}.", name, _SQUARE, _SQUARE)
    steps = ticks(0.0, 1.0)
    frame = _Frame(picture, steps, steps, _SQUARE, _SQUARE)
    frame.below([(value, _number(value)) for value in steps])
    frame.named(chart.x, chart.y)
    _line(picture, frame.place(0, 0), frame.place(1, 1), "diagonal")
    for x, y in chart.points:
        _dot(picture, frame.place(x, y), "dot c0")
    return picture


def _dot(picture: ET.Element, place: tuple[float, float], kind: str) -> None:
    ET.SubElement(picture, "circle", {"cx": f"{place[0]:.1f}", "cy": f"{place[1]:.1f}", "r": "3.5", "class": kind})


def _histogram(chart: Histogram, name: str) -> ET.Element:
    largest = max(count for _, count in chart.bins)
    most = max(chart.bins, key=lambda one: one[1])[0]
    picture = _picture(chart.title, f"{len(chart.bins)} bins; most {chart.y} at {most} ({largest}).", name)
    count = len(chart.bins)
    frame = _Frame(picture, [0.0, float(count)], ticks(0.0, float(largest)))
    every = math.ceil(count / 10)
    frame.below([(place + 0.5, label) for place, (label, _) in enumerate(chart.bins) if place % every == 0])
    frame.named(chart.x, chart.y)
    for place, (_, found) in enumerate(chart.bins):
        left, top = frame.place(place + 0.08, found)
        right, bottom = frame.place(place + 0.92, 0.0)
        _bar(picture, left, top, right - left, bottom - top, "bar c0")
    return picture


def _bar(picture: ET.Element, x: float, y: float, width: float, height: float, kind: str) -> None:
    places = {"x": x, "y": y, "width": width, "height": height}
    ET.SubElement(picture, "rect", {**{key: f"{value:.1f}" for key, value in places.items()}, "class": kind})


def _shares(chart: Shares, name: str) -> ET.Element:
    text = "; ".join(f"{key}: {won} won, {tied} tied, {lost} lost" for key, won, tied, lost in chart.rows)
    picture = _picture(chart.title, f"{text}.", name, _ROW * len(chart.rows) + 6)
    for number, (key, *counts) in enumerate(chart.rows):
        top, left = number * _ROW + 20, 0.0
        _text(picture, 0, top - 5, _short(key))
        for count, kind in zip(counts, ("win", "tie", "loss"), strict=True):
            width = _WIDTH * count / max(sum(counts), 1)
            if count:
                _bar(picture, left, top, width, _BAR, kind)
                if width > len(str(count)) * 9 + 4:
                    _text(picture, left + width / 2, top + 15, str(count), text_anchor="middle", **{"class": "on"})
            left += width
    return picture


def _intervals(chart: Intervals, name: str) -> ET.Element:
    text = "; ".join(f"{key}: {mean:.3f}, from {low:.3f} to {high:.3f}" for key, low, mean, high in chart.rows)
    foot = _ROW * len(chart.rows) + 10
    picture = _picture(chart.title, f"{text}.", name, foot + 40)
    steps = ticks(min(low for _, low, _, _ in chart.rows), max(high for _, _, _, high in chart.rows))

    def across(value: float) -> float:
        return 16 + (value - steps[0]) / (steps[-1] - steps[0]) * (_WIDTH - 32)

    for value in steps:
        _line(picture, (across(value), 0), (across(value), foot), "grid")
        _text(picture, across(value), foot + 16, _number(value), text_anchor="middle")
    _text(picture, _WIDTH / 2, foot + 34, chart.x, text_anchor="middle")
    for number, (key, low, mean, high) in enumerate(chart.rows):
        height = number * _ROW + 32
        _text(picture, 4, height - 14, _short(key), **{"class": "name"})
        _line(picture, (across(low), height), (across(high), height), "interval")
        _dot(picture, (across(mean), height), "dot c0 mean")
    return picture


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.3g}"
