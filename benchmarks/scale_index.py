"""What an index takes at 5*10^4 to 10^7 passages, through the command line: to build, on disk, and to search.

    python benchmarks/scale_index.py -o records/scale-index --sizes 50000 100000 1000000 10000000 --work DISK
    python benchmarks/scale_index.py -o OUT --sizes 20000 --text my-docs --model my-model     # the user's own text
    python benchmarks/scale_index.py -o records/scale-index --table                            # the page alone

Passages are made up (``scale_passages.py``), or cut from the files of a folder. Each step is a process of its own,
of one thread, whose memory is read from the kernel, that of mapped files apart. Steps that ``results.json`` has
already are not measured again; what other libraries take (``scale_peers.py``) is measured up to ``--peers-up-to``.
The figures are made for one core: start it with ``taskset -c 0``. An index of 10^7 passages needs 35 GB of disk
for the time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is not compiled again at each start

import numpy as np
import orjson
from scale_passages import Made, cut, write
from scale_process import cpu_of, memory_of, used
from scale_table import with_notes

from pretrieve.core.files import to_json, write_file
from pretrieve.index.ids import hashes
from pretrieve.index.index import Index
from pretrieve.index.recall import Top

COLD, WARM, MANY, K = 5, 200, 1000, 10
_BLOCK = 1 << 14  # vectors that are scored at once
PEERS = ("bm25s", "flat", "hnsw")
HERE = Path(__file__).parent


def pretrieve(*arguments: str | Path) -> list[str]:
    """The command line, as a process."""
    return [sys.executable, "-m", "pretrieve", *map(str, arguments)]


def nearest(total: Sequence[float], share: float) -> float:
    return float(np.quantile(np.array(total), share))


class Bench:
    """One size: its passages, its model, its index and queries.

    Args:
        place: folder for all of it.
        size: passages.
        text: the user's documents; None: made up.
        model: the user's model; None: made up.
    """

    def __init__(self, place: Path, size: int, text: Path | None, model: str | None) -> None:
        self.size, self.place = size, place / str(size)
        self.passages, self.index = self.place / "passages.jsonl", self.place / "index"
        self.model = model or str(self.place / "model")
        self.place.mkdir(parents=True, exist_ok=True)
        if not self.passages.exists():
            made = Made()
            if model is None and not Path(self.model).exists():
                made.write_model(Path(self.model))
            fresh = self.place / "fresh.jsonl"
            found = write(fresh, made.passages(size) if text is None else cut(text, size))
            if found < size:
                sys.exit(f"{text} has {found:,} passages of 40 words, {size:,} are asked for: give more text.")
            fresh.rename(self.passages)
        self.queries = self._queries()

    def _queries(self) -> list[str]:
        """Six words out of passages that are evenly spaced."""
        step, found = max(1, self.size // MANY), []
        with self.passages.open("rb") as file:
            for number, line in enumerate(file):
                if number % step == 0 and len(found) < MANY:
                    found.append(" ".join(orjson.loads(line)["text"].split()[3:9]).replace(".", ""))
        return found

    def steps(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What is measured, in order."""
        return {"build": self.build, "cold": self.cold, "warm": self.warm, "many": self.many, "recall": self.recall}

    def build(self) -> dict[str, Any]:
        """``pretrieve index``, from the file to the index."""
        command = pretrieve("index", self.passages, "--model", self.model, "-o", self.index, "--overwrite")
        found = used(command, self.place / "build.log")
        sizes = {
            name: sum(path.stat().st_size for path in self.index.glob(f"parts/000001/{pattern}") if path.is_file())
            for name, pattern in {"text": "documents/*", "words": "words/**/*", "vectors": "vectors*"}.items()
        }
        whole = sum(path.stat().st_size for path in self.index.rglob("*") if path.is_file())
        said = [line for line in found.output.splitlines() if line.startswith(("Vectors are", "Fusion"))]
        return {**found.facts(), "disk": whole, "disk_of": sizes, "said": said, "source": self.passages.stat().st_size}

    def cold(self) -> dict[str, Any]:
        """``pretrieve search`` with one query, as whole processes."""
        runs = [used(pretrieve("search", self.index, query)) for query in self.queries[:COLD]]
        return {name: statistics.median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "peak", "own")}

    def warm(self) -> dict[str, Any]:
        """One process that answers queries line by line: ``pretrieve search --json``."""
        found: dict[str, Any] = {}
        for mode in ("hybrid", "lexical", "dense"):
            command = pretrieve("search", self.index, "--json", "--mode", mode)
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert process.stdin is not None
            assert process.stdout is not None
            wall, cpu = [], []
            for query in self.queries[: 2 * WARM]:
                begin, before = time.perf_counter(), cpu_of(process.pid)
                process.stdin.write(query.encode() + b"\n")
                process.stdin.flush()
                assert process.stdout.readline().startswith(b"{")
                wall.append(1e3 * (time.perf_counter() - begin))
                cpu.append(1e3 * (cpu_of(process.pid) - before))
            memory = memory_of(process.pid)
            process.stdin.close()
            process.wait()
            wall, cpu = wall[WARM:], cpu[WARM:]  # the first half warms up
            found[mode] = {
                "median_ms": nearest(wall, 0.5), "p95_ms": nearest(wall, 0.95), "cpu_ms": statistics.mean(cpu),
                "peak": memory["VmHWM"], "own": memory["RssAnon"], "files": memory["RssFile"],
            }  # fmt: skip
        return found

    def _run(self, queries: Sequence[str], mode: str) -> tuple[float, list[list[str]]]:
        """CPU seconds of ``pretrieve search --queries``, and its hits."""
        asked, run = self.place / "queries.txt", self.place / "out.run"
        asked.write_text("".join(f"{query}\n" for query in queries))
        seconds = used(pretrieve("search", self.index, "--queries", asked, "--run", run, "--mode", mode)).cpu
        hits: list[list[str]] = [[] for _ in queries]
        for line in run.read_text().splitlines():
            number, _, document, *_ = line.split()
            hits[int(number) - 1].append(document)
        return seconds, hits

    def many(self) -> dict[str, Any]:
        """Queries a second of a file of them, without the start of the process."""
        found = {}
        for mode in ("hybrid", "lexical", "dense"):
            few, all_of_them = self._run(self.queries[:10], mode)[0], self._run(self.queries, mode)[0]
            found[mode] = (len(self.queries) - 10) / max(all_of_them - few, 1e-3)
        return found

    def recall(self) -> dict[str, Any]:
        """Hits of search by vectors that are among the exact ten."""
        queries = self.queries[:WARM]
        _, hits = self._run(queries, "dense")
        index = Index.open(self.index)
        assert index.dense is not None
        asked, (vectors,), (ids,) = index.dense.encode(queries), index.dense.parts, index.members.parts
        top = Top()
        for start in range(0, len(vectors), _BLOCK):
            scores = asked @ np.asarray(vectors[start : start + _BLOCK]).T
            top.add(scores, scores)
        found = []
        for names, query, least in zip(hits, asked, top.least, strict=True):
            _, places = ids.find(hashes(names[:K], len(names[:K])))
            found.append(int((np.asarray(vectors[places]) @ query >= least).sum()) / K)
        return {"recall": statistics.mean(found), "queries": len(queries)}


def peers(bench: Bench, known: dict[str, Any], save: Callable[[], None]) -> None:
    """Measure other libraries, each in a process."""
    vectors, queries = bench.place / "vectors.npy", bench.place / "queries.npy"
    if not all(f"peer {name}" in known for name in PEERS) and not vectors.exists():
        index = Index.open(bench.index)
        assert index.dense is not None
        np.save(vectors, index.dense.parts[0][:])
        np.save(queries, index.dense.encode(bench.queries[: 2 * WARM]))
        (bench.place / "queries.json").write_bytes(orjson.dumps(bench.queries[: 2 * WARM]))
    for name in PEERS:
        if f"peer {name}" not in known:
            found = used([sys.executable, str(HERE / "scale_peers.py"), name, str(bench.place)])
            known[f"peer {name}"] = {**orjson.loads(found.output), "peak": found.peak, "own": found.own}
            save()


def measure(bench: Bench, known: dict[str, Any], save: Callable[[], None], steps: Sequence[str] | None) -> None:
    """Measure what is not known yet."""
    for name, work in bench.steps().items():
        needed = name == "build" and not bench.index.exists()
        if (name in known and not needed) or (steps is not None and name not in steps):
            continue
        begin = time.perf_counter()
        known[name] = work()
        save()
        print(f"{bench.size:,}: {name}, {time.perf_counter() - begin:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--work", type=Path, default=Path("scale-index.work"), help="folder for passages and indexes")
    parser.add_argument("--text", type=Path, help="the user's documents, to be cut into passages; with --model")
    parser.add_argument("--model", help="the user's model")
    parser.add_argument("--steps", nargs="+", help="only these: build, cold, warm, many, recall, peers")
    parser.add_argument("--peers-up-to", type=int, default=1_000_000)
    parser.add_argument("--keep", action="store_true", help="keep passages and indexes")
    parser.add_argument("--table", action="store_true", help="write the page from results.json")
    asked = parser.parse_args()
    if (asked.text is None) != (asked.model is None):
        parser.error("--text and --model go together: a made-up model knows made-up words alone.")
    path = asked.output / "results.json"
    results: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}

    def save() -> None:
        write_file(path, to_json(results))

    for size in [] if asked.table else asked.sizes:
        bench, known = Bench(asked.work, size, asked.text, asked.model), results.setdefault(str(size), {})
        measure(bench, known, save, asked.steps)
        if size <= asked.peers_up_to and (asked.steps is None or "peers" in asked.steps):
            peers(bench, known, save)
        if not asked.keep:
            shutil.rmtree(bench.place)
    (asked.output / "README.md").write_text(with_notes(asked.output, results))


if __name__ == "__main__":
    main()
