"""The token store: equal to a slow twin, its sentences make up its bodies, its memory does not grow with the corpus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, DataError
from pretrieve.core.types import Document
from pretrieve.text.documents import Documents
from pretrieve.text.encoding import encode, pieces
from pretrieve.text.sentences import sentence_starts
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer, of_bytes, train

PROSE = [
    "The quick brown fox, Dr. Smith said, jumped over it. Did it? Yes! 😀 And again.",
    "One sentence only",
    "Élan vital; naïve café. Second one here.\n\nA new paragraph begins. It ends.",
    "これは文です。次の文です！ Mixed with English. 本当？",
    "x " * 50 + ". Yes. " * 20,
]


def wordpiece() -> Tokenizer:
    return train(PROSE * 3, vocabulary_size=300)


def byte_level() -> Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(trim_offsets=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=350, special_tokens=["<pad>"], show_progress=False, initial_alphabet=alphabet
    )
    backend.train_from_iterator(PROSE * 3, trainer)
    return of_bytes(backend.to_str().encode())


def unigram() -> Tokenizer:
    return train(PROSE * 3, vocabulary_size=150, algorithm="unigram")


def bpe() -> Tokenizer:
    return train(PROSE * 3, vocabulary_size=200, algorithm="bpe")


TOKENIZERS = {make.__name__: make() for make in (wordpiece, byte_level, unigram, bpe)}


def corpus(count: int = 40) -> list[Document]:
    made = []
    for i in range(count):
        title = ["", "A title", "東京"][i % 3]
        made.append(
            Document(id=str(i), title=title, text=PROSE[i % 5] + f" Number {i}.", group=["en", "ja", ""][i % 3])
        )
    return made


def twin(document: Document, tokenizer: Tokenizer) -> tuple[list[int], list[int], list[int]]:
    """Title ids, body ids and sentence starts in the body, the slow and obvious way."""
    title = tokenizer.backend.encode(document.title, add_special_tokens=False).ids
    body = tokenizer.backend.encode(document.text, add_special_tokens=False)
    starts = {0} if body.ids else set()
    for position in sentence_starts(document.text, document.group)[1:]:
        token = next((i for i, (_, last) in enumerate(body.offsets) if last > position), None)
        starts |= {token} if token is not None else set()
    return title, body.ids, sorted(starts)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_store_equals_its_slow_twin(tmp_path: Path, name: str) -> None:
    tokenizer = TOKENIZERS[name]
    documents = Documents.write(tmp_path / "docs", corpus())
    store = Store.build(tmp_path / "store", documents, tokenizer)
    assert len(store) == 40
    for d, document in enumerate(corpus()):
        title, body, starts = twin(document, tokenizer)
        assert store.tokens[store.starts[d] : store.bodies[d]].tolist() == title
        assert store.tokens[store.bodies[d] : store.ends[d]].tolist() == body
        first, last = store.document_sentences[d : d + 2]
        assert (store.sentences[first:last] - store.bodies[d]).tolist() == starts
        assert store.group_names[store.groups[d]] == document.group
    assert store.sentences[-1] == store.documents[-1] == len(store.tokens)
    assert store.tokens.dtype == np.uint16
    assert store.origins.tolist() == list(range(40))
    assert store.decode(store.tokens[store.bodies[1] : store.ends[1]]).strip().lower().startswith("one sentence only")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_sentences_make_up_the_bodies(tmp_path: Path, name: str) -> None:
    documents = Documents.write(tmp_path / "docs", corpus())
    store = Store.build(tmp_path / "store", documents, TOKENIZERS[name])
    for d in range(len(store)):
        first, last = store.document_sentences[d : d + 2]
        bounds = [*store.sentences[first:last], store.ends[d]]
        assert bounds[0] == store.bodies[d]
        assert (np.diff(bounds) > 0).all()
    assert (np.diff(store.document_sentences) >= 1).all()


word = st.text(st.sampled_from("abcé東。. \n!?😀\u0301\u00ad\u200b"), max_size=30)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.tuples(word, word), min_size=1, max_size=6), name=st.sampled_from(sorted(TOKENIZERS)))
def test_any_text_gives_the_twins_tokens(texts: list[tuple[str, str]], name: str) -> None:
    tokenizer = TOKENIZERS[name]
    documents = [Document(id=str(i), title=title, text=text, group="en") for i, (title, text) in enumerate(texts)]
    encoded = encode(documents, tokenizer, sentences=True)
    tokens, sentences, position = [], [], 0
    for document in documents:
        title, body, starts = twin(document, tokenizer)
        if body:
            tokens += [*title, *body]
            sentences += [position + len(title) + start for start in starts]
            position = len(tokens)
    assert encoded.tokens.tolist() == tokens
    assert encoded.sentences.tolist() == sentences
    assert encoded.sentence_counts.sum() == len(sentences)
    assert (encoded.titles + encoded.bodies).sum() == len(tokens)


@pytest.mark.parametrize("name", ["wordpiece", "byte_level"])
def test_long_texts_are_encoded_in_pieces(tmp_path: Path, name: str) -> None:
    tokenizer = TOKENIZERS[name]
    text = " ".join(f"Sentence number {i} is here." for i in range(6_000))
    assert "".join(pieces(text)) == text
    assert len(pieces(text)) > 2
    whole = Document(id="long", text=text, title="T", group="en")
    encoded = encode([whole], tokenizer, sentences=True)
    title, body, starts = twin_of_long(whole, tokenizer)
    assert encoded.tokens.tolist() == [*title, *body]
    assert set(starts) <= set((encoded.sentences - len(title)).tolist())
    assert len(encoded.sentences) - len(starts) <= len(pieces(text))  # a cut may begin a sentence too many


def twin_of_long(document: Document, tokenizer: Tokenizer) -> tuple[list[int], list[int], list[int]]:
    title = tokenizer.backend.encode(document.title, add_special_tokens=False).ids
    body = tokenizer.backend.encode(document.text, add_special_tokens=False)
    ends = np.array([last for _, last in body.offsets])
    starts = np.searchsorted(ends, sentence_starts(document.text, "en"), side="right")
    return title, body.ids, starts.tolist()


def test_pieces_without_white_space_are_cut_hard() -> None:
    assert [len(piece) for piece in pieces("x" * 25, size=10)] == [10, 10, 5]
    assert pieces("aaa bbb ccc", size=8) == ["aaa bbb", " ccc"]
    assert pieces("aaaaaaa\nb b", size=10) == ["aaaaaaa", "\nb b"]
    assert pieces("", size=10) == [""]


def test_documents_without_tokens_are_dropped(tmp_path: Path) -> None:
    texts = ["one two", "\u200b\u200b", "three", "\u00ad"]
    made = [Document(id=str(i), title="title words", text=text, group=f"g{i}") for i, text in enumerate(texts)]
    documents = Documents.write(tmp_path / "docs", made)
    store = Store.build(tmp_path / "store", documents, TOKENIZERS["wordpiece"])
    assert (len(store), store.dropped, store.origins.tolist()) == (2, 2, [0, 2])
    assert [store.group_names[group] for group in store.groups] == ["g0", "g2"]
    documents = Documents.write(tmp_path / "none", [made[1]])
    with pytest.raises(DataError, match="none of 1 documents has any token"):
        Store.build(tmp_path / "empty", documents, TOKENIZERS["wordpiece"])
    assert not (tmp_path / "empty").exists()


def test_a_selection_in_its_order(tmp_path: Path) -> None:
    documents = Documents.write(tmp_path / "docs", corpus())
    tokenizer = TOKENIZERS["wordpiece"]
    select = np.array([7, 3, 39])
    store = Store.build(tmp_path / "store", documents, tokenizer, select=select, sentences=False)
    assert store.origins.tolist() == [7, 3, 39]
    for d, origin in enumerate(select):
        assert store.tokens[store.bodies[d] : store.ends[d]].tolist() == twin(corpus()[origin], tokenizer)[1]
    assert store.sentences.tolist() == [len(store.tokens)]
    assert store.document_sentences.tolist() == [0, 0, 0, 0]


def test_many_documents_and_batches(tmp_path: Path) -> None:
    documents = Documents.write(tmp_path / "docs", corpus(1700))
    store = Store.build(tmp_path / "store", documents, TOKENIZERS["wordpiece"])
    assert len(store) == 1700
    for d in (0, 511, 512, 1023, 1024, 1699):
        title, body, starts = twin(corpus(1700)[d], TOKENIZERS["wordpiece"])
        assert store.tokens[store.starts[d] : store.ends[d]].tolist() == [*title, *body]
        first, last = store.document_sentences[d : d + 2]
        assert (store.sentences[first:last] - store.bodies[d]).tolist() == starts


def test_fingerprint_and_reopening(tmp_path: Path) -> None:
    documents = Documents.write(tmp_path / "docs", corpus())
    tokenizer = TOKENIZERS["wordpiece"]
    store = Store.build(tmp_path / "a", documents, tokenizer)
    again = Store.open(tmp_path / "a")
    assert again.fingerprint == store.fingerprint == Store.build(tmp_path / "b", documents, tokenizer).fingerprint
    assert Store.build(tmp_path / "c", documents, tokenizer, sentences=False).fingerprint != store.fingerprint
    assert (again.corpus, again.specials) == (documents.fingerprint, tokenizer.specials)
    assert again.tokenizer.fingerprint == tokenizer.fingerprint
    assert (again.word_starts == tokenizer.word_starts).all()


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, **{f"w{i}": i for i in range(1, 70_001)}}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    documents = Documents.write(tmp_path / "docs", [Document(id="1", text="w70000 w1 w66000 other")])
    store = Store.build(tmp_path / "store", documents, of_bytes(backend.to_str().encode()))
    assert (store.tokens.dtype, store.tokens.tolist()) == (np.uint32, [70_000, 1, 66_000, 0])


@pytest.mark.parametrize("name", ["tokens", "documents", "sentences", "tokenizer.json"])
def test_damage_is_found(tmp_path: Path, name: str) -> None:
    documents = Documents.write(tmp_path / "docs", corpus(1500))
    Store.build(tmp_path / "store", documents, TOKENIZERS["wordpiece"])
    assert files.verify(tmp_path / "store")["files"] == 9
    path = tmp_path / "store" / name
    size = path.stat().st_size
    data = bytearray(path.read_bytes())
    data[size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match=f"{name}: expected sha256"):
        files.verify(tmp_path / "store")
    os.truncate(path, size - 2)
    with pytest.raises(CorruptError, match=f"{name}: expected {size} bytes, found {size - 2}"):
        Store.open(tmp_path / "store")


MEMORY = """
import sys, orjson
from pathlib import Path
from pretrieve.text.corpus import read
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
import tokenizers
from tokenizers import models, pre_tokenizers
from pretrieve.text.tokenizer import of_bytes

folder, count = Path(sys.argv[1]), int(sys.argv[2])
backend = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "word": 1}, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
with (folder / f"{count}.jsonl").open("wb") as file:
    for i in range(count):
        text = f"Document {i} has words. " + "It is word after word. " * 400
        file.write(orjson.dumps({"id": str(i), "text": text}) + b"\\n")
documents = Documents.write(folder / f"docs{count}", read([folder / f"{count}.jsonl"]))
Store.build(folder / f"store{count}", documents, of_bytes(backend.to_str().encode()))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        command = [sys.executable, "-c", MEMORY, str(tmp_path), str(count)]
        done = subprocess.run(command, check=True, capture_output=True, env=os.environ | {"RAYON_NUM_THREADS": "1"})
        return int(done.stdout)

    small, large = peak(1000), peak(2500)  # 9 and 23 MB of text, and as many of tokens: buffers are full at the first
    assert large < 200_000  # kilobytes
    assert large - small < 12_000
