"""What other libraries take with the passages of ``scale_index.py``: one of them, in this process; prints JSON.

    python benchmarks/scale_peers.py bm25s|flat|hnsw FOLDER

bm25s analyses the passages as its documentation says (English stop words and stemmer). faiss gets vectors that are
encoded already: its seconds are without reading and encoding.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

K, LINKS, WIDTH = 10, 32, 256  # hits; HNSW's links of a node, and how many nodes a search keeps


def timed(answer: Callable[[int], object], count: int) -> dict[str, float]:
    """Median and 95th percentile of single queries in ms, the first half left out, and CPU ms on average."""
    wall, cpu = [], []
    for number in range(count):
        begin, before = time.perf_counter(), time.process_time()
        answer(number)
        wall.append(1e3 * (time.perf_counter() - begin))
        cpu.append(1e3 * (time.process_time() - before))
    half = count // 2
    return {
        "median_ms": float(np.median(wall[half:])),
        "p95_ms": float(np.quantile(wall[half:], 0.95)),
        "cpu_ms": float(np.mean(cpu[half:])),
    }


def bm25s(place: Path) -> dict[str, Any]:
    """BM25 of bm25s, from the file of passages."""
    import bm25s as library
    import Stemmer

    queries = orjson.loads((place / "queries.json").read_bytes())
    begin = time.process_time()
    with (place / "passages.jsonl").open("rb") as file:
        texts = [orjson.loads(line)["text"] for line in file]
    stemmer = Stemmer.Stemmer("english")
    tokens = library.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    del texts
    index = library.BM25(method="lucene", k1=1.2, b=0.9)
    index.index(tokens, show_progress=False)
    del tokens
    build = time.process_time() - begin

    def answer(some: Sequence[str]) -> object:
        asked = library.tokenize(list(some), stopwords="en", stemmer=stemmer, show_progress=False)
        return index.retrieve(asked, k=K, show_progress=False)

    found = timed(lambda number: answer(queries[number : number + 1]), len(queries))
    begin = time.process_time()
    answer(queries)
    return {"build": build, **found, "many": len(queries) / (time.process_time() - begin)}


def faiss(place: Path, *, exact: bool) -> dict[str, Any]:
    """faiss, flat or HNSW, with vectors from a file."""
    import faiss as library

    library.omp_set_num_threads(1)
    vectors, queries = np.load(place / "vectors.npy", mmap_mode="r"), np.load(place / "queries.npy")
    size = vectors.shape[1]
    begin = time.process_time()
    index: Any = (
        library.IndexFlatIP(size) if exact else library.IndexHNSWFlat(size, LINKS, library.METRIC_INNER_PRODUCT)
    )
    for start in range(0, len(vectors), 1 << 14):
        index.add(np.ascontiguousarray(vectors[start : start + (1 << 14)]))
    build = time.process_time() - begin
    if not exact:
        index.hnsw.efSearch = WIDTH
    found = timed(lambda number: index.search(queries[number : number + 1], K), len(queries))
    begin = time.process_time()
    _, hits = index.search(queries, K)
    many = len(queries) / (time.process_time() - begin)
    return {"build": build, **found, "many": many, "recall": 1.0 if exact else _recall(vectors, queries, hits)}


def _recall(vectors: np.ndarray, queries: np.ndarray, hits: np.ndarray) -> float:
    """Hits among the exact ten; of equal ones any counts."""
    best = np.full((len(queries), K), -np.inf, np.float32)
    for start in range(0, len(vectors), 1 << 14):
        scores = np.hstack([best, queries @ vectors[start : start + (1 << 14)].T])
        best = -np.partition(-scores, K - 1, axis=1)[:, :K]
    found = np.einsum("qkd,qd->qk", vectors[np.maximum(hits, 0)], queries)
    return float((found >= best.min(axis=1, keepdims=True) - 1e-6).mean())


def main() -> None:
    name, place = sys.argv[1], Path(sys.argv[2])
    found = bm25s(place) if name == "bm25s" else faiss(place, exact=name == "flat")
    sys.stdout.buffer.write(orjson.dumps(found))


if __name__ == "__main__":
    main()
