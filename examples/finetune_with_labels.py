"""Fine-tune with labels and hard negatives, and test on queries that were not trained on.

Documents are functions of Python's library, labels the first lines of their docstrings. Every fifth label is for the
test.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from pretrieve import Retriever
from standard_library import documents, judged, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="of training and fine-tuning; default: a minute and a half, 3 epochs")
    options = parser.parse_args()

    corpus = documents()
    texts = {document["id"]: document["text"] for document in corpus}
    found = list(labels().items())
    pairs = [{"query": query, "positive": texts[name]} for number, (query, name) in enumerate(found) if number % 5]
    test = dict(found[::5])

    with tempfile.TemporaryDirectory() as folder:
        start = Retriever.train(corpus, Path(folder) / "start", steps=options.steps)
        tuned = start.finetune(pairs, Path(folder) / "tuned", negatives="bm25", steps=options.steps)
        for retriever in (start, tuned):
            result = retriever.evaluate(**judged(test), metrics=["nDCG@10"])
            print(result.markdown())


if __name__ == "__main__":
    main()
