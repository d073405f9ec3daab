"""A toy that can be learnt from labels alone: queries are in another language than documents, word for word."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from pretrieve.core import files
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.export import save_model
from pretrieve.models.static import StaticEncoder
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store

SYLLABLES = ("ba", "do", "ki", "lu", "ma", "ne", "po", "ra", "si", "tu")
WORDS = 40


def word(number: int) -> str:
    """A word of documents; ``number + WORDS`` is its translation, in queries."""
    return SYLLABLES[number // 10] + SYLLABLES[number % 10]


def toy(count: int = 260, seed: int = 0) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Documents of five words, and for each a query of three of them, translated; no two queries are the same."""
    rng = np.random.default_rng(seed)
    documents, queries, seen = [], [], set[frozenset[int]]()
    for number in range(count):
        chosen = rng.choice(WORDS, 5, replace=False)
        while frozenset((asked := rng.choice(chosen, 3, replace=False)).tolist()) in seen:
            chosen = rng.choice(WORDS, 5, replace=False)
        seen.add(frozenset(asked.tolist()))
        body = " ".join(word(n) for n in chosen[1:])
        documents.append({"_id": f"d{number}", "title": word(chosen[0]), "text": f"{body}."})
        queries.append({"_id": f"q{number}", "text": " ".join(word(n + WORDS) for n in asked)})
    return documents, queries


def beir(folder: Path, count: int = 260, test: int = 40, seed: int = 0) -> Path:
    """The toy as a BEIR folder; the last ``test`` queries are the split "test"."""
    documents, queries = toy(count, seed)
    (folder / "qrels").mkdir(parents=True)
    lines(folder / "corpus.jsonl", documents)
    lines(folder / "queries.jsonl", queries)
    for split, part in (("train", range(count - test)), ("test", range(count - test, count))):
        rows = "".join(f"q{n}\td{n}\t1\n" for n in part)
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    return folder


def lines(path: Path, records: list[Any]) -> Path:
    """Write JSON lines, packed if the name says so."""
    data = b"".join(orjson.dumps(record) + b"\n" for record in records)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def vocabulary() -> tokenizer.Tokenizer:
    """A tokenizer that knows every word of the toy."""
    return tokenizer.train([" ".join(word(n) for n in range(2 * WORDS))] * 3, vocabulary_size=300)


def static_model(
    folder: Path, *, dimensions: int = 24, prompts: dict[str, str] | None = None, similarity: Any = "cosine"
) -> Path:
    """A static model of random vectors."""
    known = vocabulary()
    random = torch.Generator().manual_seed(0)
    encoder = StaticEncoder(torch.randn(known.specials.vocabulary, dimensions, generator=random), known.bare())
    encoder.similarity = similarity
    with files.create(folder, "model", meta={}) as made:
        save_model(made, encoder, known, prompts=prompts)
    return folder


def transformer(folder: Path, *, layers: int = 1, pooling: Any = None, dropout: float = 0.1) -> tuple[Any, Any]:
    """A new transformer of 16 dimensions, and its tokenizer; ``folder`` is for the store it is made with."""
    known = vocabulary()
    kept = Documents.write(folder / "documents", iter_documents())
    store = Store.build(folder / "store", kept, known)
    base = f"new:layers={layers},hidden=16,heads=2,intermediate=32,dropout={dropout}"
    return build_encoder(base, store=store, options=EncoderOptions(pooling=pooling, max_length=64), seed=0), known


def transformer_model(folder: Path, *, prompts: dict[str, str] | None = None, documents: bool = False) -> Path:
    """A small transformer as a model; with ``documents``, one with a tower of its own for them."""
    encoder, known = transformer(folder.with_name(f"{folder.name}-made"))
    other = transformer(folder.with_name(f"{folder.name}-other"))[0] if documents else None
    if other is not None:
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(0.01)
    with files.create(folder, "model", meta={}) as made:
        save_model(made, encoder, known, prompts=prompts, documents=other)
    return folder


def iter_documents() -> Any:
    """The toy's documents, as documents."""
    from pretrieve.core.types import Document

    for record in toy()[0]:
        yield Document(id=record["_id"], title=record["title"], text=record["text"])
