"""Small collections with something to find, and a static model over them, as the files that a user has."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from pretrieve.core.types import Document

SYLLABLES = ["ka", "lo", "mi", "ten", "rus", "vel", "dor", "shi", "pan", "qu", "est", "bri", "gol", "nem", "fur", "zad"]


def word(number: int) -> str:
    return "".join(SYLLABLES[(number >> shift) & 15] for shift in (0, 4, 8))


def documents(size: int = 60, seed: int = 0, *, titles: bool = True, sentences: int = 4) -> list[Document]:
    """Documents about topics: each draws from its topic's words and from common ones."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(size):
        topic = 100 + 40 * (number % 12)
        lines = []
        for _ in range(sentences):
            picks = np.where(rng.random(9) < 0.5, rng.integers(topic, topic + 40, 9), rng.zipf(1.6, 9) % 90)
            lines.append(" ".join(word(int(pick)) for pick in picks).capitalize() + ".")
        title = " ".join(word(int(pick)) for pick in rng.integers(topic, topic + 40, 2)) if titles else ""
        made.append(Document(id=f"d{number:03}", title=title, text=" ".join(lines)))
    return made


def queries(made: list[Document], size: int, seed: int = 1) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Queries of three words of a document, with graded judgements: the document 2, one of its topic 1, another 0."""
    rng = np.random.default_rng(seed)
    texts, qrels = {}, {}
    for number in range(size):
        target = int(rng.integers(len(made)))
        words = made[target].text.replace(".", "").lower().split()
        texts[f"q{number}"] = " ".join(rng.choice(words, 3, replace=False))
        qrels[f"q{number}"] = {
            made[target].id: 2,
            made[(target + 12) % len(made)].id: 1,
            made[(target + 1) % len(made)].id: 0,
        }
    return texts, qrels


def beir(folder: Path, size: int = 60, asked: int = 30) -> Path:
    """A BEIR folder, gzipped."""
    made = documents(size)
    texts, qrels = queries(made, asked)
    (folder / "qrels").mkdir(parents=True)
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"_id": d.id, "title": d.title, "text": d.text}) + "\n" for d in made)
    with gzip.open(folder / "queries.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"_id": query, "text": text}) + "\n" for query, text in texts.items())
    lines = [f"{query}\t{document}\t{grade}\n" for query in qrels for document, grade in qrels[query].items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def static_model(folder: Path, made: list[Document], *, dimensions: int = 64, seed: int = 0) -> Path:
    """A stock static model: random vectors scaled by idf."""
    folder.mkdir(parents=True)
    words = [set(f"{d.title} {d.text}".lower().replace(".", "").split()) for d in made]
    frequencies = Counter(term for terms in words for term in terms)
    vocabulary = {"[UNK]": 0, **{term: number for number, term in enumerate(sorted(frequencies), start=1)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    idf = np.array([0.0, *(np.log(1 + len(made) / frequencies[term]) for term in sorted(frequencies))])
    vectors = np.random.default_rng(seed).standard_normal((len(vocabulary), dimensions)) * idf[:, None]
    save_file({"embedding.weight": vectors.astype(np.float32)}, folder / "model.safetensors")
    kind = "sentence_transformers.models.StaticEmbedding"
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "cosine"}))
    return folder
