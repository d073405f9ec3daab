"""Speed beside what a user would take instead, as one suite: a table with goals, in 20 minutes on one quiet core.

    python benchmarks/speed.py -o records/speed                      # all rows; README.md and results.json
    python benchmarks/speed.py -o records/speed --only training cache
    python benchmarks/speed.py -o OUT --toy --rounds 1               # seconds a row, to see that it runs
    python benchmarks/speed.py -o records/speed --table              # the pages alone, from results.json

Every row is a process of its own, pinned to one core, with one thread. What is measured is merged into results.json
after each row, so a run that was stopped continues with ``--only``. Where the folder is the one of the records, the
table of ratios in README.md is written too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speed_rows import ROWS, table
from speed_rows.measure import Row, Work, in_turns, measured, results

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "records" / "speed"
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
LIBRARIES = ("torch", "transformers", "sentence-transformers", "tokenizers", "numpy", "pyarrow", "orjson")


def core(asked: int | None) -> int | None:
    """The core to measure on: the last one that this process may use; None where a system does not pin."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    may = sorted(os.sched_getaffinity(0))
    return may[-1] if asked is None or asked not in may else asked


def machine() -> str:
    """Processor and libraries, in words."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = " ".join(lines)
    units = [name for name in ("avx2", "avx512f", "amx_bf16") if name in flags]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{(names or [platform.machine()])[0]} ({', '.join(units)}), one core; {libraries}"


def worker(arguments: argparse.Namespace) -> None:
    """Measure a row, or one round of one side, and print JSON in the last line."""
    name, side, folder = arguments.measure
    work = Work(Path(folder), arguments.toy)
    sides = ROWS[name].sides(work)
    amounts = {key: dict(value.amounts) for key, value in sides.items()}
    if side == "-":
        runs = {} if ROWS[name].fresh else in_turns(sides, arguments.rounds)
    else:
        runs = {side: [measured(sides[side])]}
    print(json.dumps({"amounts": amounts, "runs": runs}))


def start(row: Row, side: str, folder: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """A process that measures."""
    command = [sys.executable, __file__, "--measure", row.name, side, folder, "--rounds", str(arguments.rounds)]
    if arguments.toy:
        command.append("--toy")
    chosen = core(arguments.core)
    pin = None if chosen is None else lambda: os.sched_setaffinity(0, {chosen})
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=pin, env={**os.environ, **ONE_THREAD})
    if done.returncode:
        sys.exit(f"{row.name}, {side}: exit code {done.returncode}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(row: Row, folder: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``results.json`` keeps of a row."""
    if reason := row.missing():
        return {"missing": reason, "lines": []}
    began, load = time.perf_counter(), os.getloadavg()[0]
    found = start(row, "-", folder, arguments)
    if row.fresh:
        found["runs"] = {side: [] for side in found["amounts"]}
        for number in range(arguments.rounds):
            for side in list(found["runs"])[:: -1 if number % 2 else 1]:
                found["runs"][side] += start(row, side, folder, arguments)["runs"][side]
    facts = {
        "rounds": arguments.rounds, "toy": arguments.toy, "date": date.today().isoformat(), "load": load,
        "minutes": (time.perf_counter() - began) / 60,
    }  # fmt: skip
    return {**facts, "lines": results(row, found["runs"], found["amounts"]), **found}


def shown(row: Row, found: dict[str, Any]) -> str:
    """A row as it is measured, for the screen."""
    if found.get("missing"):
        return f"{row.name}: {found['missing']}"
    names = {line.name: line for line in row.lines}
    text = []
    for line in found["lines"]:
        goal = table.goal(names[line["name"]])
        verdict = "" if line["met"] is None else f", goal {goal}: {'met' if line['met'] else 'MISSED'}"
        spread = f"{table.figure(line['low'])} to {table.figure(line['high'])}"
        text.append(f"{line['name']}: {table.figure(line['value'])} ({spread}){verdict}")
    return "\n".join([*text, f"  {found['minutes']:.1f} minutes, load {found['load']:.1f}"])


def write_pages(output: Path, found: dict[str, Any]) -> None:
    """``results.json``, its table, and README's where these are the records."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (output / "README.md").write_text(table.page(ROWS, found), encoding="utf-8")
    if output.resolve() == RECORDS.resolve():
        page = ROOT / "README.md"
        page.write_text(table.put(page.read_text(encoding="utf-8"), table.readme(ROWS, found)), encoding="utf-8")


def main() -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is not compiled again at each start
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="folder of README.md and results.json")
    parser.add_argument("--only", nargs="+", choices=tuple(ROWS), help="rows to measure; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side")
    parser.add_argument("--toy", action="store_true", help="a size that takes seconds, and says nothing")
    parser.add_argument("--core", type=int, help="core to measure on; the last one by default")
    parser.add_argument("--table", action="store_true", help="write the pages from results.json, measure nothing")
    parser.add_argument("--measure", nargs=3, metavar=("ROW", "SIDE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        worker(arguments)
        return
    if arguments.output is None:
        parser.error("-o: the folder of README.md and results.json")
    if arguments.toy and arguments.output.resolve() == RECORDS.resolve():
        parser.error("--toy: figures of a toy are no records; give another folder")
    kept = arguments.output / "results.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"machine": machine(), "rows": {}}
    found["rows"] = {name: row for name, row in found["rows"].items() if name in ROWS}
    if arguments.table:
        write_pages(arguments.output, found)
        return
    found["machine"] = machine()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only or ROWS:
            found["rows"][name] = measure(ROWS[name], folder, arguments)
            print(shown(ROWS[name], found["rows"][name]), flush=True)
            write_pages(arguments.output, found)


if __name__ == "__main__":
    main()
