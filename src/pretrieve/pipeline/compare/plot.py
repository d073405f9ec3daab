"""The plot of a comparison: score against number of labels, one line for each method."""

from __future__ import annotations

import io
from typing import Any

from pretrieve.evaluation.fair import FairTable

_WIDTH, _HEIGHT = 8.0, 5.0  # inches


def draw(table: FairTable, mode: str = "dense") -> bytes | None:
    """Draw a comparison as SVG; None where matplotlib is not installed.

    Args:
        table: what was found.
        mode: of search.
    """
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "pretrieve", "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        _lines(axes, table, mode)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return file.getvalue()


def _lines(axes: Any, table: FairTable, mode: str) -> None:
    stages = table.stages
    places = range(len(stages))
    for number, method in enumerate(table.methods):
        cells = [(place, table.cells.get((method, stage, mode))) for place, stage in zip(places, stages, strict=True)]
        known = [(place, cell) for place, cell in cells if cell is not None]
        style = "k--" if method == table.base else f"C{number % 10}-{'os^vD'[number % 5]}"
        axes.plot([place for place, _ in known], [cell.mean for _, cell in known], style, label=method)
        for place, cell in known:
            if len(cell.seeds) > 1:
                axes.vlines(place, cell.seeds.min(), cell.seeds.max(), colors="0.7", linewidth=1)
    bm25 = next((cell for (_, _, kind), cell in table.cells.items() if kind == "lexical"), None)
    if bm25 is not None:
        axes.axhline(bm25.mean, color="0.5", linestyle=":", label="BM25")
    axes.set_xticks(list(places), ["as it is" if s is None else f"{s:,}" if s else "all" for s in stages])
    axes.set_xlabel("labelled queries of fine-tuning")
    axes.set_ylabel(f"{table.metric} ({mode})")
    axes.set_title(table.title)
    axes.legend(fontsize="small", ncols=2)
