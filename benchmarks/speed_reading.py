"""How fast documents are read, from file to cleaned and deduplicated documents, beside the parser of each format alone.

    python benchmarks/speed_reading.py [--megabytes 50] [--rounds 3] [--formats jsonl parquet csv tsv json]

The same prose (``speed_store.prose``) is written in each format and read in one process; the smallest CPU time counts.
"parser" is orjson, pyarrow or the csv module over the same file, without any check.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from speed_store import prose

from pretrieve.text.corpus import read

FORMATS = ("jsonl", "parquet", "csv", "tsv", "json")


def write(path: Path, records: list[dict[str, str]]) -> None:
    """Write records in the format of the suffix."""
    kind = path.suffix
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif kind in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(records[0]), delimiter="\t" if kind == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(records)
    elif kind == ".json":
        path.write_text(json.dumps(records, indent=1), encoding="utf-8")
    else:
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))


def drain(items: Iterable[object]) -> None:
    deque(items, maxlen=0)


def parse(path: Path) -> None:
    """Read a file by its format's parser alone."""
    kind = path.suffix
    if kind == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches(1024, use_threads=False):
            batch.to_pylist()
    elif kind in (".csv", ".tsv"):
        with path.open(newline="", encoding="utf-8") as file:
            drain(csv.reader(file, delimiter="\t" if kind == ".tsv" else ","))
    elif kind == ".json":
        orjson.loads(path.read_bytes())
    else:
        with path.open("rb") as file:
            drain(map(orjson.loads, file))


def read_all(path: Path) -> None:
    """Read a file as the package does."""
    drain(read([path]))


def seconds(path: Path, work: Callable[[Path], object]) -> float:
    start = time.process_time()
    work(path)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=50.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    arguments = parser.parse_args()
    records = [{"id": d.id, "title": d.title, "text": d.text} for d in prose(arguments.megabytes)]
    size = sum(len(record["text"]) for record in records) / 1e6
    print(f"{len(records):,} documents, {size:.0f} MB of text\n")
    print("| format | MB/s | parser alone, MB/s | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.formats:
            path = Path(folder) / f"documents.{name}"
            write(path, records)
            times = [(seconds(path, read_all), seconds(path, parse)) for _ in range(arguments.rounds)]
            whole, alone = (min(column) for column in zip(*times, strict=True))
            print(f"| {name} | {size / whole:.0f} | {size / alone:.0f} | {alone / whole:.2f} |", flush=True)


if __name__ == "__main__":
    main()
