"""What several processes give when a collection is prepared: tokens in shards beside the store of one process.

    python benchmarks/speed_prepare.py [--megabytes 96] [--rounds 3] [--processes 2]

The same prose (``speed_store.prose``) is encoded by one process with one thread, and in shards by several; the two take
turns. Printed are wall-clock and CPU seconds of all processes together (medians), their ratios, and the largest memory
of a process. The ratio of CPU seconds is what the shards cost; that of wall-clock time is what they give on a machine
whose processors have nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from speed_store import prose

from pretrieve.text import parallel, store_shards
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import train


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock seconds, and CPU seconds of this process and of those that it started and that have ended."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    begin, before = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - begin, cpu() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=96.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    os.environ[parallel.WORKERS] = str(arguments.processes)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        documents = Documents.write(place / "documents", prose(arguments.megabytes))
        sample = documents.sample(4_000_000)
        tokenizer = train((documents[int(number)].text for number in sample), vocabulary_size=16_384)
        works: dict[str, Callable[[], Store]] = {
            "one process": lambda: Store.build(place / "alone", documents, tokenizer, replace=True),
            "shards": lambda: store_shards.build(place / "shards", documents, tokenizer),
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        prints = set()
        for _ in range(arguments.rounds):
            for name, work in works.items():
                found: list[Store] = []
                seconds[name].append(measured(lambda work=work, found=found: found.append(work())))
                prints.add(found[0].fingerprint)
        assert len(prints) == 1, "the same store"
        pairs = list(zip(*seconds.values(), strict=True))
    print(f"{len(documents):,} documents, {arguments.megabytes:g} MB, {arguments.processes} processes\n")
    print("| | wall-clock s | CPU s |\n|---|---|---|")
    for name, values in seconds.items():
        wall, used = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"| {name} | {wall:.1f} | {used:.1f} |")
    for kind, place_of in (("wall-clock", 0), ("CPU", 1)):
        ratios = sorted(shards[place_of] / alone[place_of] for alone, shards in pairs)
        print(f"{kind}: shards over one process {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"memory of a process that makes shards: at most {peak / 1024:.0f} MB")


if __name__ == "__main__":
    main()
