"""Passages and a static model at any size, the same in every run: made up, or cut from the user's own files.

Made-up passages have 40 words in three sentences: compounds of English words. 45 % of them are stop words, half of the
others come from one of 3,000 topics, and frequencies fall as Zipf's law has it; every fifth passage has a number of its
own. The model's vectors are near each other within a topic, so that neighbours are neither random nor all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import orjson
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from pretrieve.index.stop_words import stop_words
from pretrieve.text import corpus

WORDS, SENTENCE, DIMENSIONS = 40, 13, 256
VOCABULARY, TOPICS, OF_TOPIC = 150_000, 3_000, 50
_BLOCK = 10_000
_STOP, _COMMON = 0.45, 0.25  # shares of words; the others are of the passage's topic
_NUMBERED = 5  # every so many passages have a number, which few others have
_ROOTS = (
    "acorn apple arch arm arrow ash back bank bark barn bath beam bear bed bell bird blade block boat body bone "
    "book boot bow brain branch bread brick bridge brook brush cake camp candle cap card cart castle chain chair "
    "chalk chest child church circle city clay cliff cloak clock cloth cloud coal coat corn cotton court cow "
    "craft cross crown dance day dirt dish door dragon dream dress dust earth east edge engine eye face farm "
    "feather fence field finger fire fish flag floor flower foot forest fort fox frame frost fruit game garden "
    "gate ghost gift glass gold grain grass ground guard hair hall hammer hand harbour hat hay head heart hedge "
    "hill home honey hook horn horse house ice iron island jar judge key king kitchen knee knife lady lake lamb "
    "lamp land lane lantern law leaf leg letter light lime line lion lock maid man map market mast meadow metal "
    "mile milk mill mind mirror moon moss mountain mouth name neck needle nest net night north nose oak ocean "
    "office oil orchard paint pan paper path pearl pen people pepper pipe plant plate play plough pond porch post "
    "prince queen rabbit rail rain ring river road rock roof room root rope rose sail salt sand school sea seed "
    "shadow sheep shell shield ship shirt shoe shop shore silk silver sister skin sky smith smoke snow song south "
    "spear spring star steam steel stone storm stream street summer sun sword table tail teacher thread throne "
    "thunder tide timber tooth tower town trade tree valley village wagon wall war watch water wave wax weather "
    "wheat wheel wind window wine wing winter wolf woman wood wool word work world yard year"
)
_ROLES = 3  # a word alone, at the start of a sentence, at its end


class Made:
    """Made-up passages and the vectors of their words."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        roots, endings = _ROOTS.split(), ("", "", "s", "er", "ing", "ly", "ness")
        drawn = zip(
            *(rng.integers(len(some), size=8 * VOCABULARY).tolist() for some in (roots, roots, endings)), strict=True
        )
        made = (roots[first] + roots[second] + endings[last] for first, second, last in drawn)
        self.stop = sorted(word for word in stop_words("english", "en").words if word.isalpha())
        self.words = [*self.stop, *islice(dict.fromkeys(made), VOCABULARY)]
        self.topics = len(self.stop) + rng.permutation(VOCABULARY).reshape(TOPICS, OF_TOPIC)  # a word has one
        ranks = [len(self.stop), len(self.words) - len(self.stop), OF_TOPIC]
        self._falling = [np.cumsum(1 / (np.arange(size) + 2.0)) for size in ranks]

    def passages(self, count: int) -> Iterator[str]:
        """Texts of the first passages; those of a smaller number are the first of a larger one."""
        shown = np.array([*self.words, *(word.capitalize() for word in self.words), *(f"{w}." for w in self.words)])
        table = shown.tolist()
        for block in range(-(-count // _BLOCK)):
            rng = np.random.default_rng((1, block))
            numbers = self._block(rng)
            numbers[:, [0, SENTENCE, 2 * SENTENCE]] += len(self.words)
            numbers[:, [SENTENCE - 1, 2 * SENTENCE - 1, WORDS - 1]] += (_ROLES - 1) * len(self.words)
            rare = rng.integers(1 << 23, size=_BLOCK).tolist()
            for place, row in enumerate(numbers[: count - block * _BLOCK].tolist()):
                text = " ".join([table[number] for number in row])
                yield text if place % _NUMBERED else f"{text} Number {rare[place]}."

    def _block(self, rng: np.random.Generator) -> np.ndarray:
        shape = (_BLOCK, WORDS)
        topics = rng.integers(TOPICS, size=(_BLOCK, 1))
        stop, common, own = (
            np.searchsorted(sums, rng.random(shape) * sums[-1]).astype(np.int64) for sums in self._falling
        )
        kind = rng.random(shape)
        found = np.where(kind < _STOP + _COMMON, common + len(self.stop), self.topics[topics, own])
        return np.where(kind < _STOP, stop, found)

    def vectors(self) -> np.ndarray:
        """(words, 256): of one topic alike, shorter for frequent words."""
        rng = np.random.default_rng(2)
        spectrum = np.arange(1, DIMENSIONS + 1) ** -0.5
        vectors = rng.standard_normal((len(self.words), DIMENSIONS)) * spectrum
        centres = rng.standard_normal((TOPICS, DIMENSIONS)) * spectrum
        vectors[self.topics] += centres[:, None]
        vectors[: len(self.stop)] *= 0.1
        return vectors.astype(np.float32)

    def write_model(self, folder: Path) -> None:
        """Write a static model of these words, as stock files."""
        folder.mkdir(parents=True)
        vocabulary = {"[UNK]": 0, **{word: number for number, word in enumerate(self.words, 1)}}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(folder / "tokenizer.json"))
        vectors = np.concatenate([np.zeros((1, DIMENSIONS), np.float32), self.vectors()])
        save_file({"embedding.weight": vectors}, folder / "model.safetensors")
        kind = "sentence_transformers.models.StaticEmbedding"
        (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "cosine"}))


def cut(source: Path, count: int) -> Iterator[str]:
    """Passages of 40 words of the user's documents; fewer where the documents have fewer."""
    pieces = chain.from_iterable(_pieces(document.text.split()) for document in corpus.read([source]))
    return islice(pieces, count)


def _pieces(words: list[str]) -> Iterator[str]:
    for start in range(0, len(words), WORDS):
        yield " ".join(words[start : start + WORDS])


def write(path: Path, texts: Iterator[str]) -> int:
    """Write passages as JSON Lines; returns how many."""
    number = 0
    with path.open("wb") as file:
        for number, text in enumerate(texts, 1):
            file.write(orjson.dumps({"id": f"p{number}", "text": text}) + b"\n")
    return number
