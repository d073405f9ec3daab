"""Pages of the methods: one for each preset, from its card, its values and its results in ``records/``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pretrieve.evaluation.published_results import results
from pretrieve.methods import Facts, Listed, facts, listing

COMPARED = Path(__file__).resolve().parent.parent / "records" / "compare"
MARKS = {-1: "†", 0: "", 1: "*"}  # by the side of the base that every seed is on, where p < .05
PARTS = {"options": "Method", "encoder": "Encoder", "training": "Training", "static": "For a static encoder, instead"}


def method_pages() -> dict[str, str]:
    """Texts of the pages, by their places below ``docs``."""
    listed = listing()
    pages = {f"methods/{name}.md": _page(name, entry, facts(name)) for name, entry in listed.items()}
    return {"methods/README.md": _list(listed), **pages}


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table; a bar in a cell is no border."""
    lines = [[*header], *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(listed: Mapping[str, Listed]) -> str:
    rows = (
        (f"[`{name}`]({name}.md)", entry.summary, _kinds(entry), "fine-tune" if entry.pretraining_only else "search")
        for name, entry in listed.items()
    )
    return f"""# Methods

Each method is one file and one card. [Which method when](../which-method.md) says which of them paid, and where.

{table(("`--method`", "what it does", "trains", "next step"), rows)}
"""


def _kinds(entry: Listed) -> str:
    return "any encoder" if len(entry.encoders) > 1 else f"{entry.encoders[0]}s"


def _page(name: str, entry: Listed, found: Facts) -> str:
    card = found.card
    base = "" if "static" in entry.encoders else " --base facebook/contriever"
    after = "" if entry.pretraining_only else "Its model is ready for search. "
    told = (("The released code", card.released), ("Where pretrieve differs", card.differs))
    return f"""# {name}

**{card.title}.** {card.idea}

## When to use it

{card.good_for} {after}It trains {_kinds(entry)} here. [Which method when](../which-method.md) compares the methods.

```console
pretrieve train docs/ -o my-model --method {name}{base}
pretrieve inspect docs/ --method {name}
```
{"".join(_section(title, text) for title, text in told if text)}
## Results

{_results(name)}
{_compared(name)}
## Values

{_values(found)}
## Papers

{card.paper}
{"".join(f"{chr(10)}```text{chr(10)}{paper.bibtex()}{chr(10)}```{chr(10)}" for paper in card.papers)}"""


def _section(title: str, text: str) -> str:
    return f"\n## {title}\n\n{text}\n"


def _results(name: str) -> str:
    """Rows of ``results.jsonl``."""
    rows = results(name)
    if not rows:
        return "There is no row of its own in `records/*/results.jsonl`."
    made = []
    for row in rows:
        spread = f" ({row['low']:.3f} to {row['high']:.3f})" if len(row["seeds"]) > 1 else ""
        start = "" if row["start"] is None else f"{row['start']:.3f}"
        record = f"[{row['record']}](../../records/{row['record']}/README.md)"
        made.append(
            (f"{row['data']}, {row['split']}", row["metric"], start, f"{row['value']:.3f}{spread}", row["base"], record)
        )
    header = ("data", "metric", "start", "value (least to greatest seed)", "base", "record")
    return f"{table(header, made)}\n\nMetrics of objectives (losses, accuracies) are about held-out rows, not search."


def _compared(name: str) -> str:
    """Its cells in the comparisons of all methods from one small BERT."""
    rows = []
    for path in sorted(COMPARED.glob("*/report.json")):
        cells = json.loads(path.read_text())["cells"]
        dense = [cell for cell in cells if cell["mode"] == "dense"]
        base = {cell["labels"]: cell["mean"] for cell in dense if cell["method"] == "none"}
        for cell in dense:
            if cell["method"] == name and cell["labels"] in base:
                low, high = cell["ci95"]
                seeds = len(cell["seeds"])
                sure = cell["p_holm"] is not None and cell["p_holm"] < 0.05
                value = f"{cell['mean']:.3f}{MARKS[cell['side']] if sure else ''} ({low:.3f} to {high:.3f})"
                rows.append((path.parent.name, cell["labels"], f"{base[cell['labels']]:.3f}", value, seeds))
    if not rows:
        return ""
    return f"""
nDCG@10 of the vectors alone, from one small BERT, beside no pre-training
([records/compare](../../records/compare/README.md)); in parentheses the 95 % interval over queries. `*` above, `†`
below no pre-training: p < .05 after Holm, and every seed on that side; of one seed, another may give another sign.

{table(("data", "labels", "no pre-training", "value", "seeds"), rows)}
"""


def _values(found: Facts) -> str:
    made = []
    for part, title in PARTS.items():
        values: Mapping[str, Any] = getattr(found.preset, part)
        if values:
            rows = [(f"`{key}`", f"`{_shown(value.value)}`", value.source, value.note) for key, value in values.items()]
            made.append(f"### {title}\n\n{table(('name', 'value', 'source', 'note'), rows)}\n")
    for variant, values in found.variants.items():
        rows = [(f"`{key}`", f"`{_shown(value.value)}`", value.source, value.note) for key, value in values.items()]
        shown = table(("name", "value", "source", "note"), rows) if rows else "The values above."
        made.append(f"### Variant {variant}\n\n{shown}\n")
    if found.defaults:
        left = ", ".join(f"`{key}={_shown(value)}`" for key, value in found.defaults.items())
        made.append(f"Not set by the preset: {left}.\n")
    return "\n".join(made)


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
