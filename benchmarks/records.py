"""The form in which records keep figures: one line of `results.jsonl` is one figure of one preset, over its seeds.

    python benchmarks/records.py            # makes records/static-without-labels/results.jsonl again from its runs

The fields are described in `src/pretrieve/pipeline/records.py`; `pretrieve methods NAME` prints them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

RECORDS = Path(__file__).parent.parent / "records"


def row(
    *, preset: str, method: str, base: str, data: str, split: str, metric: str, command: str,
    before: Mapping[int, float], after: Mapping[int, float], better: str = "higher", **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """One row; ``before`` and ``after`` are values by seed."""
    values = [after[seed] for seed in sorted(after)]
    return {
        "method": method,
        "preset": preset,
        "base": base,
        "data": data,
        "split": split,
        "metric": metric,
        "better": better,
        "value": statistics.mean(values),
        "low": min(values),
        "high": max(values),
        "start": statistics.mean(before.values()) if before else None,
        "seeds": sorted(after),
        "values": values,
        "starts": [before[seed] for seed in sorted(before)],
        "command": command,
        **more,
    }


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as lines; figures with six digits after the point."""
    lines = [orjson.dumps({key: _rounded(value) for key, value in found.items()}) for found in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def static_without_labels(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``benchmarks/static_without_labels.py``: the default, searched by vectors alone and fused."""
    runs = [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("*-*.json"))]
    rows = []
    for data in sorted({run["collection"] for run in runs}):
        mine = {run["seed"]: run for run in runs if run["collection"] == data}
        recipe = mine[min(mine)]["report"]["recipe"]
        words = {seed: _score(run, "BM25", "lexical") for seed, run in mine.items()}
        for mode, name in (("dense", "dense"), ("hybrid", "fused")):
            rows.append(
                row(
                    preset=recipe["method"],
                    method=recipe["method"],
                    base=recipe["base"],
                    data=data,
                    split=mine[min(mine)]["split"],
                    metric=f"nDCG@10, {name}",
                    command="pretrieve train FOLDER -o MODEL --minutes 1.5 --seed SEED",
                    before={seed: _score(run, "model/start", mode) for seed, run in mine.items()},
                    after={seed: _score(run, "model", mode) for seed, run in mine.items()},
                    queries=mine[min(mine)]["queries"],
                    bm25=statistics.mean(words.values()),
                    date="2026-11-21",
                    commit="d7ae0f7",
                )
            )
    return rows


def _score(run: Mapping[str, Any], system: str, mode: str) -> float:
    (found,) = [one for one in run["rows"] if (one["system"], one["mode"]) == (system, mode)]
    return float(found["metrics"]["nDCG@10"])


def main() -> None:
    folder = RECORDS / "static-without-labels"
    write(folder / "results.jsonl", static_without_labels(folder))


if __name__ == "__main__":
    main()
