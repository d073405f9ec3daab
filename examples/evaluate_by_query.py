"""Evaluate a model beside BM25 with intervals and tests, and look at the queries that it wins and loses.

TREC runs, LaTeX and values by query as files: ``pretrieve evaluate FOLDER --model M --run runs --latex table.tex``.
"""

from __future__ import annotations

import argparse

from pretrieve import Retriever
from standard_library import documents, judged, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="of training; default: a minute and a half")
    options = parser.parse_args()

    collection = judged(labels())
    retriever = Retriever.train(documents(), steps=options.steps)
    result = retriever.evaluate(**collection, metrics=["nDCG@10", "RR@10"])
    print(result.markdown())
    bm25, *_, fused = (row.values["nDCG@10"] for row in result.rows)  # by query
    gains = sorted(zip(fused - bm25, (collection["queries"][key] for key in result.queries), strict=True))
    print(f"\nMost lost against BM25: {gains[0][1]!r} ({gains[0][0]:+.2f})")
    print(f"Most won: {gains[-1][1]!r} ({gains[-1][0]:+.2f})")


if __name__ == "__main__":
    main()
