"""Token vectors of stop words: in a static encoder's short queries, function words dominate the others."""

from __future__ import annotations

import numpy as np

from pretrieve.core.types import IntArray
from pretrieve.index.analysis import languages_of
from pretrieve.index.stop_words import stop_word_lists
from pretrieve.models.encoder import Encoder
from pretrieve.models.static import StaticEncoder
from pretrieve.text.documents import Documents
from pretrieve.text.language import detect
from pretrieve.text.tokenizer import Tokenizer

_SAMPLE = 200  # documents sampled to detect the languages


def languages(documents: Documents) -> tuple[str, ...]:
    """Languages of a collection, most frequent first."""
    step = max(1, len(documents) // _SAMPLE)
    return languages_of((documents[index].text for index in range(0, len(documents), step)), detect)


def scale_stop_words(encoder: Encoder, tokenizer: Tokenizer, documents: Documents, factor: float) -> int:
    """Multiply the token vectors of stop words in the collection's languages; other encoders are left as they are.

    Words like "what" or "how" are rare in documents, so training leaves their vectors as long as those of names, and
    they are half of a question. The saved model has them scaled, so that every library that loads it benefits.

    Args:
        encoder: changed in place.
        tokenizer: the encoder's; a word counts where it is one token.
        documents: the collection.
        factor: 1 changes nothing, 0 leaves stop words out.

    Returns:
        Number of tokens that were scaled.
    """
    if not isinstance(encoder, StaticEncoder) or factor == 1:
        return 0
    found = stop_word_lists("auto", languages(documents)).values()
    tokens = single_tokens(tokenizer, sorted({word for entry in found for word in entry.words}))
    encoder.scale(tokens, factor)
    return len(tokens)


def single_tokens(tokenizer: Tokenizer, words: list[str]) -> IntArray:
    """Ids, ascending, of the words that are one token of a tokenizer and not unknown to it."""
    rows = tokenizer.encode(words)
    single = rows.tokens[rows.offsets[:-1][rows.lengths == 1]]
    return np.setdiff1d(single, [] if tokenizer.specials.unknown is None else [tokenizer.specials.unknown])
