"""How much of the tokenizer's own speed is left when a token store is built, without and with sentence starts.

    python benchmarks/speed_store.py [SOURCE] [--megabytes 4] [--rounds 5]

Both are timed in turns with ``encode_batch_fast`` over the same texts, in one process, in CPU seconds; the medians of
the ratios are printed. Goals on one core: 0.80 without sentence starts, 0.50 with them. Without SOURCE (anything that
``pretrieve train`` reads), prose is made from a word list that is drawn with Zipf's frequencies.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "1")

import numpy as np

from pretrieve.core.types import Document
from pretrieve.text.corpus import read
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import train


def prose(megabytes: float, seed: int = 0) -> Iterator[Document]:
    """Documents of a few paragraphs: 30,000 words of Zipf's frequencies, sentences of 4 to 30 words."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(rng.choice(letters, size=rng.integers(2, 11))) for _ in range(30_000)]
    frequencies = 1 / np.arange(1, len(words) + 1)
    frequencies /= frequencies.sum()
    size = number = 0
    while size < megabytes * 1e6:
        drawn = iter(rng.choice(len(words), size=600, p=frequencies).tolist())
        lengths = rng.integers(4, 31, size=20)
        sentences = [" ".join(words[next(drawn)] for _ in range(length)).capitalize() + "." for length in lengths]
        text = " ".join(sentences[: rng.integers(3, 21)])
        yield Document(id=str(number), title=words[number % 1000], text=text, group="en")
        size, number = size + len(text), number + 1


def take(documents: Iterator[Document], megabytes: float) -> Iterator[Document]:
    size = 0.0
    for document in documents:
        if size > megabytes * 1e6:
            return
        size += len(document.text)
        yield document


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?")
    parser.add_argument("--megabytes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found = read([arguments.source], on_bad="skip") if arguments.source else prose(arguments.megabytes)
        documents = Documents.write(place / "documents", take(found, arguments.megabytes))
        texts = [text for document in documents for text in (document.title, document.text)]
        tokenizer = train((document.text for document in documents), vocabulary_size=16_384)
        batches = [texts[first : first + 1024] for first in range(0, len(texts), 1024)]

        def alone() -> None:
            for batch in batches:
                tokenizer.backend.encode_batch_fast(batch, add_special_tokens=False)

        def build(sentences: bool) -> None:
            Store.build(place / "store", documents, tokenizer, sentences=sentences, replace=True)

        ratios: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(arguments.rounds):
            for sentences, values in ratios.items():
                base = seconds(alone)
                values.append(base / seconds(lambda sentences=sentences: build(sentences)))
        megabytes = sum(map(len, texts)) / 1e6
        print(f"{len(documents):,} documents, {megabytes:.1f} MB; the tokenizer alone: {megabytes / base:.2f} MB/s")
        for sentences, values in ratios.items():
            name = "with sentence starts" if sentences else "without sentence starts"
            low, middle, high = np.quantile(values, [0, 0.5, 1])
            print(f"store {name}: {middle:.2f} of its speed ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
