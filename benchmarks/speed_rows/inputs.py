"""Made-up texts, documents and models, the same in every run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pretrieve.core.types import Document
from speed_rows.measure import Work

VOCABULARY, DIMENSIONS, LONGEST = 16_384, 256, 128


def texts(count: int) -> list[str]:
    """Texts of 4 to 80 words with Zipf's frequencies."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghij"), rng.integers(2, 8))) for _ in range(5000)])
    return [" ".join(words[np.minimum(rng.zipf(1.2, rng.integers(4, 81)), 5000) - 1]) for _ in range(count)]


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


def write_model(work: Work, path: Path) -> None:
    """Write a static model, or a transformer of six layers of 384 with the rate of dropout in its name."""
    import torch
    from transformers import BertConfig, BertModel

    from pretrieve.core import files
    from pretrieve.models.encoder import Encoder
    from pretrieve.models.export import save_model
    from pretrieve.models.static import StaticEncoder
    from pretrieve.models.transformer import TransformerEncoder
    from pretrieve.text import tokenizer as tokenizers

    tokenizer = tokenizers.train(work.texts, vocabulary_size=work.pick(VOCABULARY, 500))
    vocabulary = tokenizer.specials.vocabulary
    torch.manual_seed(0)
    if path.name == "static":
        shape = (vocabulary, work.pick(DIMENSIONS, 32))
        table = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        encoder: Encoder = StaticEncoder(table, tokenizer.bare())
    else:
        rate = float(path.name.removeprefix("transformer-"))
        hidden, layers, heads = work.pick((384, 6, 12), (32, 1, 2))
        config = BertConfig(
            vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=4 * hidden, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate,
        )  # fmt: skip
        encoder = TransformerEncoder(BertModel(config), tokenizer.specials, max_length=LONGEST)
    with files.create(path, "model") as artefact:
        save_model(artefact, encoder, tokenizer)
