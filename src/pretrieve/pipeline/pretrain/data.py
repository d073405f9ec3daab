"""From sources to what training reads: documents, a tokenizer, a token store, and held-out documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pretrieve.core.rng import shuffled
from pretrieve.core.types import IntArray
from pretrieve.pipeline.pretrain.request import Tokenization
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer

HELD_OUT_SHARE = 0.1
HELD_OUT_MOST = 400
FEWEST_DOCUMENTS = 20  # below this none are held out: too few to evaluate on
_TOKENIZER_SAMPLE = 20_000_000  # bytes of text that a vocabulary is trained on


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What training reads.

    Attributes:
        documents: all documents, on disk.
        train: indices of those to train on.
        held_out: indices of held-out documents; empty for a small corpus.
        store: the tokens of the first.
    """

    documents: Documents
    train: IntArray
    held_out: IntArray
    store: Store


def split(count: int, seed: int, most: int = HELD_OUT_MOST) -> tuple[IntArray, IntArray]:
    """Divide documents 0 to count - 1 into those to train on and those held out, both ascending.

    Args:
        count: number of documents.
        seed: seed of the choice.
        most: maximum number of held-out documents.
    """
    held = min(most, int(count * HELD_OUT_SHARE)) if count >= FEWEST_DOCUMENTS else 0
    order = shuffled(np.arange(count), count, seed, "held out")
    return np.sort(order[held:]), np.sort(order[:held])


def train_tokenizer(documents: Documents, select: IntArray, how: Tokenization) -> Tokenizer:
    """Train a vocabulary on an even sample of some documents.

    Args:
        documents: all documents.
        select: indices of the documents to train on, ascending.
        how: size, algorithm and case of the vocabulary.
    """
    sample = np.intersect1d(documents.sample(_TOKENIZER_SAMPLE), select)
    return tokenizer.train(
        _texts(documents, sample if len(sample) else select),
        vocabulary_size=how.vocabulary_size,
        algorithm=how.algorithm,
        lowercase=how.lowercase,
    )


def _texts(documents: Documents, select: IntArray) -> Iterator[str]:
    for batch in documents.batches(select=select):
        for document in batch:
            yield f"{document.title}\n{document.text}" if document.title else document.text
