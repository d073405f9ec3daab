"""The charts of a report as files: SVG with the colours of a light page, and PNG where matplotlib is installed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from importlib.resources import files as package_files
from pathlib import Path
from xml.etree import ElementTree as ET

from pretrieve.core import files
from pretrieve.reporting.page import Chart, Histogram, Intervals, Lines, Page, Scatter, Shares
from pretrieve.reporting.svg import draw

_VARIABLE = re.compile(r"var\((--\w+)\)")
_NAME = re.compile(r"[^a-z0-9]+")
_DOTS = 160  # an inch
_SVG = "http://www.w3.org/2000/svg"


def write_pictures(page: Page, folder: Path) -> list[Path]:
    """Write every chart of a report.

    Args:
        page: the report.
        folder: where they go; files of the same names are replaced.

    Returns:
        The files: SVG, and PNG where matplotlib is installed.

    Raises:
        StorageError: writing to disk failed.
    """
    written = []
    raster = importlib.util.find_spec("matplotlib") is not None
    for name, chart in _named(page):
        path = folder / f"{name}.svg"
        files.write_file(path, _alone(chart))
        written.append(path)
        if raster:
            files.write_file(path.with_suffix(".png"), _png(chart))
            written.append(path.with_suffix(".png"))
    return written


def _named(page: Page) -> Iterator[tuple[str, Chart]]:
    taken: set[str] = set()
    for section in page.sections:
        for chart in section.charts:
            name = _NAME.sub("-", chart.title.lower()).strip("-")[:60] or chart.kind
            number = 1
            while (made := name if number == 1 else f"{name}-{number}") in taken:
                number += 1
            taken.add(made)
            yield made, chart


def _alone(chart: Chart) -> bytes:
    """A chart with its style inside; where curves have names, a legend is below."""
    picture = ET.fromstring(draw(chart, "chart"))  # noqa: S314 - our own
    picture.insert(0, _style())
    background = ET.Element("rect", {"width": "100%", "height": "100%", "class": "back"})
    picture.insert(1, background)
    labels = _labels(chart)
    if labels:
        _, _, width, height = (float(part) for part in picture.attrib["viewBox"].split())
        picture.set("viewBox", f"0 0 {width:g} {height + 18 * len(labels) + 6:g}")
        for number, (label, kind) in enumerate(labels):
            up = f"{height + 18 * number + 9:g}"
            ET.SubElement(picture, "line", {"x1": "8", "x2": "38", "y1": up, "y2": up, "class": kind})
            text = ET.SubElement(picture, "text", {"x": "46", "y": f"{float(up) + 4:g}"})
            text.text = label
    ET.register_namespace("", _SVG)
    found: bytes = ET.tostring(picture, encoding="utf-8", xml_declaration=True)
    return found


def _labels(chart: Chart) -> list[tuple[str, str]]:
    if isinstance(chart, Lines):
        return [(name, f"curve c{number % 6}") for number, (name, _, _) in enumerate(chart.curves)]
    if isinstance(chart, Shares):
        return [(name, f"share {kind}") for name, kind in (("won", "win"), ("tied", "tie"), ("lost", "loss"))]
    return []


def _style() -> ET.Element:
    """The rules of the page's style sheet that charts need, with the values of a light page."""
    text = (package_files("pretrieve.reporting") / "static" / "report.css").read_text(encoding="utf-8")
    root = text[text.index("{") + 1 : text.index("}")]
    values = dict(part.strip().split(": ", 1) for part in root.split(";") if part.strip())
    rules = [
        line for line in text.splitlines() if re.match(r"svg text|\.(axis|interval|curve|dot|mean|bar)\b|rect\.", line)
    ]
    rules += [".back { fill: var(--back); } .share { stroke-width: 10; } .share.win { stroke: var(--win); }",
              ".share.tie { stroke: var(--tie); } .share.loss { stroke: var(--loss); }"]  # fmt: skip
    element = ET.Element(f"{{{_SVG}}}style")
    element.text = _VARIABLE.sub(lambda found: values[found[1]], "\n".join(rules))
    return element


def _png(chart: Chart) -> bytes:
    """A chart through matplotlib."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5) if isinstance(chart, Scatter) else (7, 4), layout="constrained")
    axes = figure.subplots()
    _plot(chart, axes)
    axes.set_title(chart.title.replace("$", r"\$"), fontsize=10)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=_DOTS)
    return target.getvalue()


def _plot(chart: Chart, axes: object) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    if isinstance(chart, Lines):
        for name, xs, ys in chart.curves:
            axes.plot(xs, ys, label=_plain(name), marker="." if len(xs) == 1 else "")
        axes.legend()
    elif isinstance(chart, Scatter):
        axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
        axes.scatter([x for x, _ in chart.points], [y for _, y in chart.points], s=14, alpha=0.5)
    elif isinstance(chart, Histogram):
        axes.bar([label for label, _ in chart.bins], [count for _, count in chart.bins])
    elif isinstance(chart, Intervals):
        for place, (_, low, mean, high) in enumerate(reversed(chart.rows)):
            axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color="C0")
        axes.set_yticks(range(len(chart.rows)), [_plain(name) for name, *_ in reversed(chart.rows)])
    else:
        _plot_shares(chart, axes)
    axes.set_xlabel(_plain(getattr(chart, "x", "queries")))
    axes.set_ylabel(_plain(getattr(chart, "y", "")))


def _plot_shares(chart: Shares, axes: object) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    names = [_plain(name) for name, *_ in reversed(chart.rows)]
    left = [0] * len(names)
    for place, (label, colour) in enumerate((("won", "#17733c"), ("tied", "#7a7a7a"), ("lost", "#b3261e")), 1):
        counts = [int(row[place]) for row in reversed(chart.rows)]
        axes.barh(names, counts, left=left, color=colour, label=label)
        left = [before + count for before, count in zip(left, counts, strict=True)]
    axes.legend()


def _plain(text: str) -> str:
    """Text without the mathematics that matplotlib would read between dollars."""
    return text.replace("$", r"\$")
