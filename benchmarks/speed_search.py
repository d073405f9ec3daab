"""Search, side by side with what a user would pick instead: a cold process, and throughput; all ratios in one run.

    python benchmarks/speed_search.py [documents] [dimensions]

Cold: wall time and peak memory of a whole process that opens an index of 50,000 documents and answers one query.
Throughput: BM25 against ``bm25s.retrieve``; vectors against ``sentence_transformers.util.semantic_search`` and faiss's
flat index, on the same terms and vectors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from pretrieve.core.types import Document
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.ranking import top_k
from pretrieve.models.bag import Bag

# What the console script does, and the peak memory that the kernel saw (getrusage would count the parent's).
RUN = """
import sys
from pretrieve.cli.app import main
try:
    main()
finally:
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""
VOCABULARY, WORDS, QUERIES, K = 30_000, 90, 200, 10


def corpus(size: int) -> list[Document]:
    """Documents of words by Zipf's law."""
    rng = np.random.default_rng(0)
    numbers = np.minimum(rng.zipf(1.25, (size, WORDS)), VOCABULARY - 1)
    return [
        Document(id=f"doc{row}", title=f"w{line[0]} w{line[1]}", text=" ".join(f"w{number}x" for number in line) + ".")
        for row, line in enumerate(numbers.tolist())
    ]


def model(folder: Path, dimensions: int) -> Path:
    """A static model of random vectors, as stock files."""
    folder.mkdir()
    vocabulary = {"[UNK]": 0, **{f"w{number}x": number for number in range(1, VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    vectors = np.random.default_rng(1).standard_normal((VOCABULARY, dimensions), dtype=np.float32)
    save_file({"embedding.weight": vectors}, folder / "model.safetensors")
    kind = "sentence_transformers.models.StaticEmbedding"
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "cosine"}))
    return folder


def cold(command: list[str], runs: int = 5) -> tuple[float, float]:
    """Median wall time (s) and peak resident memory (MB) of a whole process."""
    times, memory = [], 0.0
    for _ in range(runs):
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        times.append(time.perf_counter() - start)
        memory = max(memory, int(done.stderr.split()[-1]) / 1024)
    return float(np.median(times)), memory


def best_of(work: Callable[[], object], runs: int = 3) -> float:
    """Seconds of the best of a few runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def lexical(index: Index, queries: list[str]) -> None:
    """BM25 against bm25s, from terms to the ten best."""
    import bm25s

    terms = [index.lexical.analyzer.terms(query) for query in queries]
    rows, vocabulary = index.lexical.analyzer.bulk(f"{d.title} {d.text}" for d in index.documents)
    ids = [rows.row(number).tolist() for number in range(len(rows))]
    other = bm25s.BM25(method="lucene", k1=0.6, b=0.62, backend="numpy")
    building = best_of(lambda: other.index((ids, {t: n for n, t in enumerate(vocabulary)}), show_progress=False), 1)
    theirs = best_of(lambda: other.retrieve(terms, k=K, show_progress=False))
    ours = best_of(lambda: list(index.rank(queries, K, "lexical")))
    print(f"words    ours {len(queries) / ours:8.0f} queries/s, with analysis   bm25s {len(queries) / theirs:8.0f} "
          f"without   ratio {theirs / ours:.2f}   (bm25s builds in {building:.1f} s)")  # fmt: skip


def dense(index: Index, queries: list[str]) -> None:
    """Vectors against sentence-transformers and faiss, from query vectors to the ten best."""
    import faiss
    from sentence_transformers.util import semantic_search
    from torch import from_numpy, set_num_threads

    set_num_threads(1)
    faiss.omp_set_num_threads(1)
    assert index.dense is not None
    vectors, asked = np.ascontiguousarray(index.dense.vectors), index.dense.encode(queries)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    corpus_vectors, query_vectors = from_numpy(vectors.copy()), from_numpy(asked)
    times = {
        "ours": best_of(lambda: [top_k(row, index.ranks, K) for row in asked @ vectors.T]),
        "semantic_search": best_of(lambda: semantic_search(query_vectors, corpus_vectors, top_k=K)),
        "faiss flat": best_of(lambda: flat.search(asked, K)),
        "ours, one by one": best_of(lambda: [top_k(vectors @ row, index.ranks, K) for row in asked]),
        "faiss flat, one by one": best_of(lambda: [flat.search(row[None], K) for row in asked]),
    }
    for name, seconds in times.items():
        print(
            f"vectors  {name:24} {len(queries) / seconds:8.0f} queries/s   ratio to ours {seconds / times['ours']:.2f}"
        )


def main() -> None:
    """Build, measure, print."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is not compiled again at each start
    size, dimensions = (int(value) for value in (*sys.argv[1:], *("50000", "256")[len(sys.argv) - 1 :]))
    made = corpus(size)
    queries = [" ".join(made[n].text.split()[3:8]) for n in range(0, size, max(1, size // QUERIES))][:QUERIES]
    with tempfile.TemporaryDirectory() as name:
        bag, folder = Bag.load(model(Path(name) / "model", dimensions)), Path(name) / "index"
        start = time.perf_counter()
        index = Index.build(folder, made, bag, IndexOptions(languages=("en",)))
        built = time.perf_counter() - start
        print(f"{size:,} documents of {WORDS} words, {dimensions} dimensions; built in {built:.1f} s")
        for mode in ("lexical", "dense", "hybrid"):
            command = [sys.executable, "-c", RUN, "search", str(folder), queries[0], "--mode", mode]
            seconds, memory = cold(command)
            print(f"cold     pretrieve search --mode {mode:8} {seconds:.2f} s   {memory:.0f} MB")
        lexical(index, queries)
        dense(index, queries)


if __name__ == "__main__":
    main()
