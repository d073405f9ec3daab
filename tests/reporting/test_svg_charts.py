"""Charts: round ticks that cover the data, marks where the values are, and words for those who do not see them."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrieve.reporting.page import Histogram, Intervals, Lines, Scatter, Shares
from pretrieve.reporting.svg import draw, ticks

SVG = "{http://www.w3.org/2000/svg}"


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_cover_the_data_in_even_steps(low, size) -> None:
    high = low + size
    found = ticks(low, high)
    assert 2 <= len(found) <= 12
    step = found[1] - found[0]
    slack = 1e-6 * step + 1e-9 * max(abs(low), abs(high))
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert all(abs((b - a) - step) <= slack for a, b in pairwise(found))


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 30, [0, 10, 20, 30]), (3, 3, [2.6, 2.8, 3, 3.2, 3.4]),
    (0, 0, [-1, -0.5, 0, 0.5, 1]),
])  # fmt: skip
def test_ticks_by_hand(low, high, expected) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_points_are_where_their_values_are() -> None:
    picture = ET.fromstring(draw(Scatter(title="s", x="a", y="b", points=[(0, 0), (1, 1), (0.5, 1)]), "c"))
    places = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in picture.iter(f"{SVG}circle")]
    (left, low), (right, high), middle = places
    assert left < right
    assert low > high, "up is more"
    assert middle == ((left + right) / 2, high)
    (line,) = [one for one in picture.iter(f"{SVG}line") if one.get("class") == "diagonal"]
    assert [float(line.get(name)) for name in ("x1", "y1", "x2", "y2")] == [left, low, right, high]
    assert "above the diagonal 1, on it 2, below it 0" in picture.find(f"{SVG}desc").text


def test_widths_are_shares() -> None:
    picture = ET.fromstring(draw(Shares(title="s", rows=[("a", 3, 1, 0), ("b", 1, 1, 2)]), "c"))
    widths = [float(bar.get("width")) for bar in picture.iter(f"{SVG}rect")]
    assert len(widths) == 5, "nothing is drawn for none"
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.2)
    assert widths[4] == pytest.approx(2 * widths[2], abs=0.2)


def test_an_interval_is_around_its_mean() -> None:
    rows = [("a", 0.1, 0.2, 0.4), ("b", 0.3, 0.35, 0.4)]
    picture = ET.fromstring(draw(Intervals(title="s", x="nDCG@10", rows=rows), "c"))
    lines = [one for one in picture.iter(f"{SVG}line") if one.get("class") == "interval"]
    dots = [float(dot.get("cx")) for dot in picture.iter(f"{SVG}circle")]
    for line, dot, (_, low, mean, high) in zip(lines, dots, rows, strict=True):
        left, right = float(line.get("x1")), float(line.get("x2"))
        assert (dot - left) / (right - left) == pytest.approx((mean - low) / (high - low), abs=0.01)
    assert lines[0].get("x2") == lines[1].get("x2")


@pytest.mark.parametrize("chart", [
    Lines(title="<b>\x1b", x="step", y="loss", curves=[("one", [0.0], [1.0]), ("two", [0.0, 5.0], [2.0, -3.0])]),
    Scatter(title="<b>\x1b", x="x", y="y", points=[]),
    Histogram(title="<b>\x1b", x="x", y="y", bins=[("1", 0), ("2", 5)]),
    Shares(title="<b>\x1b", rows=[("x" * 90, 0, 0, 0)]),
    Intervals(title="<b>\x1b", x="x", rows=[("x", 0.1, 0.1, 0.1)]),
])  # fmt: skip
def test_every_kind_is_named_and_escaped(chart) -> None:
    picture = ET.fromstring(draw(chart, "c7"))
    assert picture.get("role") == "img"
    assert picture.get("aria-labelledby") == "c7t c7d"
    assert picture.find(f"{SVG}title").text == "<b>\\x1b"
    assert picture.find(f"{SVG}desc").text
