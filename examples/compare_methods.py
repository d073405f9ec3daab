"""Which pre-training helps on your documents? Compare two methods with the base as it is, on labels.

The base is a small BERT from scratch, so figures say which method helps, not how good a model can be. Give
``--base FOLDER`` for a real one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from pretrieve import Retriever
from standard_library import documents, labels


def write_benchmark(folder: Path) -> Path:
    """A BEIR folder: documents, queries, and which belongs to which, for training and for the test."""
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": one["id"], "title": one["title"], "text": one["text"]} for one in documents()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in corpus))
    found = [(f"q{number}", query, name) for number, (query, name) in enumerate(labels().items())]
    queries = [{"_id": key, "text": query} for key, query, _ in found]
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
    for split, rest in (("test", found[::2]), ("train", found[1::2])):
        rows = ["query-id\tcorpus-id\tscore", *(f"{key}\t{name}\t1" for key, _, name in rest)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="new:layers=2,hidden=128")
    parser.add_argument("--tokens", type=int, default=600_000, help="that every method reads")
    parser.add_argument("--steps", type=int, default=150, help="of fine-tuning")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        benchmark = write_benchmark(Path(name) / "benchmark")
        table = Retriever.compare(
            str(benchmark), benchmark, Path(name) / "comparison",
            methods=["none", "condenser", "orqa-ict"], base=options.base, tokens=options.tokens,
            labels=[0], seeds=options.seeds, tuning={"steps": str(options.steps)}, settings={"batch_size": 16},
        )  # fmt: skip
    print(table.markdown())


if __name__ == "__main__":
    main()
