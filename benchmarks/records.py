"""The form in which records keep figures: one line of `results.jsonl` is one figure of one preset, over its seeds.

    python benchmarks/records.py            # makes records/label-free/results.jsonl again from its runs

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


def label_free(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``benchmarks/label_free.py``: the default, searched by vectors alone and fused."""
    runs = [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("*-*.json"))]
    rows = []
    for data in sorted({run["collection"] for run in runs}):
        mine = {run["seed"]: run for run in runs if run["collection"] == data}
        first = mine[min(mine)]
        for name in ("dense", "fused"):
            start = "start" if name == "dense" else "start@{}+p{}".format(*first["weights"])
            rows.append(
                row(
                    preset="structure",
                    method="structure",
                    base="static",
                    data=data,
                    split=first["split"],
                    metric=f"nDCG@10, {name}",
                    command="pretrieve train FOLDER -o MODEL --seed SEED",
                    before={seed: run["means"][start] for seed, run in mine.items()},
                    after={seed: run["means"][_saved(run, name)] for seed, run in mine.items()},
                    queries=first["queries"],
                    bm25=statistics.mean(run["means"]["BM25"] for run in mine.values()),
                    date="2026-11-28",
                )
            )
    return rows


def _saved(run: Mapping[str, Any], name: str) -> str:
    return str(run["saved"]) if name == "dense" else "{}@{}+p{}".format(run["saved"], *run["weights"])


def main() -> None:
    folder = RECORDS / "label-free"
    write(folder / "results.jsonl", label_free(folder))


if __name__ == "__main__":
    main()
