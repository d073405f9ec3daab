"""Token vectors from a teacher: every entry of its vocabulary is encoded alone, then centred, reduced and weighted.

This is the method of the library model2vec (Tulkens & van Dongen, *Model2Vec: fast state-of-the-art static embeddings*,
2024), with two differences: weights come from the user's documents and not from the order of the vocabulary, and words
that the teacher's tokenizer splits can have a vector of their own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import tokenizers

from pretrieve.core.types import FloatArray, IntArray
from pretrieve.text.tokenizer import Tokenizer

_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|<extra_id_\d+>")
_LETTER = re.compile(r"[^\W\d_]")
_LONGEST = 40  # characters of a word; longer ones are addresses and codes
_FEWEST = 3  # occurrences of a word that gets an entry


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """What a teacher reads for each entry of the vocabulary; empty for what no text stands for.

    A piece that continues a word is read without its mark. Special tokens, unused entries and parts of characters
    (byte-level vocabularies have such) give an empty text.
    """
    backend = tokenizer.backend
    special = {index for index, token in backend.get_added_tokens_decoder().items() if token.special}
    model = json.loads(backend.to_str())["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    texts = []
    for index in range(tokenizer.specials.vocabulary):
        token = backend.id_to_token(index)
        if token is None or index in special or _UNUSED.fullmatch(token):
            texts.append("")
            continue
        piece = prefix and token.startswith(prefix) and len(token) > len(prefix)
        text = token[len(prefix) :] if piece else str(backend.decode([index], skip_special_tokens=False)).strip()
        texts.append("" if "\ufffd" in text else text)
    return texts


def frequent_words(texts: Iterable[str], tokenizer: Tokenizer, most: int) -> list[str]:
    """The most frequent words of some texts that the tokenizer splits, most frequent first, ties by word.

    Args:
        texts: the documents.
        tokenizer: a WordPiece tokenizer; of any other kind no word is returned.
        most: maximum number of words.
    """
    backend = tokenizer.backend
    if not most or not takes_words(tokenizer):
        return []
    known = backend.get_vocab(with_added_tokens=True)
    counts: Counter[str] = Counter()
    for text in texts:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer is not None else text
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    found = [
        (word, count)
        for word, count in counts.items()
        if count >= _FEWEST and word not in known and 1 < len(word) <= _LONGEST and _LETTER.search(word)
    ]
    return [word for word, _ in sorted(found, key=lambda item: (-item[1], item[0]))[:most]]


def takes_words(tokenizer: Tokenizer) -> bool:
    """Whether words can be added to a vocabulary: WordPiece looks for the longest entry, so a new one is found."""
    return type(tokenizer.backend.model).__name__ == "WordPiece" and tokenizer.backend.pre_tokenizer is not None


def with_words(tokenizer: Tokenizer, words: list[str]) -> Tokenizer:
    """Return a tokenizer with additional entries at the end of its vocabulary.

    Args:
        tokenizer: a WordPiece tokenizer, which is left as it is.
        words: as ``frequent_words`` gives them.
    """
    if not words:
        return tokenizer
    facts: dict[str, Any] = json.loads(tokenizer.backend.to_str())
    first = tokenizer.specials.vocabulary
    facts["model"]["vocab"] |= {word: first + place for place, word in enumerate(words)}
    backend = tokenizers.Tokenizer.from_str(json.dumps(facts))
    return Tokenizer(backend, replace(tokenizer.specials, vocabulary=first + len(words)))


def start_vectors(vectors: FloatArray, weights: FloatArray, dimensions: int | None) -> FloatArray:
    """Turn a teacher's vectors of single tokens into the token vectors of a static model.

    They are centred, because the teacher's common direction carries no information; rotated to their principal
    components, of which the first are kept; and scaled.

    Args:
        vectors: (V, D) as the teacher gives them; zero where an entry stands for no text, and it stays zero.
        weights: (V,) usually the inverse document frequencies.
        dimensions: components kept, at most D; all D, without a rotation, if None or D.

    Returns:
        (V, dimensions), float32.
    """
    width = vectors.shape[1]
    assert dimensions is None or 1 <= dimensions <= width
    there = np.linalg.norm(vectors, axis=1) > 0
    known = vectors[there].astype(np.float64)
    known -= known.mean(axis=0)
    if dimensions not in (None, width):
        known = known @ _components(known)[:, :dimensions]
    found = np.zeros((len(vectors), known.shape[1]), np.float32)
    found[there] = known * weights[there, None]
    return found


def smooth_inverse_frequencies(counts: IntArray) -> FloatArray:
    """Weights a / (a + p) with a = 1e-3 (Arora et al., *A simple but tough-to-beat baseline*, ICLR 2017).

    Args:
        counts: (V,) occurrences of each token.

    Returns:
        (V,), float32.
    """
    return np.asarray(1e-3 / (1e-3 + counts / max(int(counts.sum()), 1)), np.float32)


def _components(centred: FloatArray) -> FloatArray:
    """Principal components (D, D) of rows, the largest first, each with its largest entry above zero."""
    _, vectors = np.linalg.eigh(centred.T @ centred)
    vectors = vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    return np.asarray(vectors * np.sign(vectors[largest, np.arange(len(vectors))]))
