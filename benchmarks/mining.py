"""Does mining stay small, and does it go on after a kill? Every training query of a BEIR folder, in its own process.

    python benchmarks/mining.py FOLDER --model MODEL -o records/finetuning/mining.json

Mines once without a stop and once with SIGKILLs, and compares the files byte by byte. Peak memory is the largest
resident set of the processes, as the kernel counts it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson


def start(asked: argparse.Namespace, output: Path) -> subprocess.Popen[bytes]:
    """Begin to mine."""
    command = [sys.executable, "-m", "pretrieve", "mine", str(asked.folder), "-o", str(output), "--by", asked.by]
    model = ["--model", str(asked.model)] if asked.model else []
    return subprocess.Popen([*command, *model], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Wait; the exit code and the peak resident set, MB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB elsewhere
    return process.returncode, usage.ru_maxrss * unit / 1e6


def killed(asked: argparse.Namespace, output: Path, parts: int) -> float:
    """Mine until so many parts are on disk, and kill; the peak, MB."""
    process = start(asked, output)
    folder = output.with_name(f"{output.name}.parts")
    while process.poll() is None and len(list(folder.glob("*.jsonl"))) < parts:
        time.sleep(0.02)
    if process.poll() is not None:
        raise SystemExit("it ended before it could be killed: take more queries or fewer --kills.")
    process.kill()
    return ended(process)[1]


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Mine twice, and say what was seen."""
    asked.work.mkdir(parents=True, exist_ok=True)
    whole, stopped = asked.work / "whole.jsonl", asked.work / "stopped.jsonl"
    began = time.perf_counter()
    code, peak = ended(start(asked, whole))
    seconds = time.perf_counter() - began
    queries = whole.read_bytes().count(b"\n") if code == 0 else 0
    parts = max(2, -(-queries // 256))
    peaks = [killed(asked, stopped, max(1, parts * (n + 1) // (asked.kills + 1))) for n in range(asked.kills)]
    last, final = ended(start(asked, stopped))
    return {
        "data": asked.folder.name,
        "date": datetime.now(UTC).date().isoformat(),
        "by": asked.by,
        "queries": queries,
        "seconds": round(seconds, 1),
        "codes": [code, last],
        "peak_mb": round(peak),
        "peaks_of_stopped_mb": [round(value) for value in (*peaks, final)],
        "kills": asked.kills,
        "equal": code == last == 0 and whole.read_bytes() == stopped.read_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="folder or hub name")
    parser.add_argument("--by", default="both", choices=["bm25", "model", "both"])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--work", type=Path, default=Path("out/mining"))
    asked = parser.parse_args()
    found = run(asked)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    print(asked.output.read_text())


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
