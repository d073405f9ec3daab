"""A toy encyclopaedia with questions: facts about invented towns, made from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pretrieve.core.types import Document
from pretrieve.sampling.questions import Question
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store

SYLLABLES = ("ba", "do", "ki", "lu", "ma", "ne", "po", "ra", "si", "tu", "ve", "zo")
ASKED = {"river": "Which river runs through {}?", "ruler": "Who ruled {}?", "crop": "What grows in {}?"}
TOLD = {
    "river": "The river {1} runs through {0}.",
    "ruler": "It was ruled by {1} for years.",
    "crop": "Fields of {1} grow there.",
}


def _name(rng: np.random.Generator) -> str:
    return "".join(rng.choice(SYLLABLES, size=3)).title()


def quiz(towns: int = 24, seed: int = 0) -> tuple[list[Document], list[Question]]:
    """Documents, and three questions on each."""
    rng = np.random.default_rng(seed)
    documents, questions = [], []
    known = {kind: [_name(rng) for _ in range(8)] for kind in ASKED}
    for number in range(towns):
        town = f"{_name(rng)}{_name(rng).lower()}"
        facts = {kind: str(rng.choice(known[kind])) for kind in ASKED}
        text = " ".join(TOLD[kind].format(town, facts[kind]) for kind in rng.permutation(list(ASKED)))
        documents.append(Document(id=str(number), title=town, text=text))
        questions += [Question(text=ASKED[kind].format(town), answers=(facts[kind],)) for kind in ASKED]
    return documents, questions


def store(documents: list[Document], folder: Path, vocabulary: int = 600) -> Store:
    """The documents as tokens of a vocabulary of their own."""
    kept = Documents.write(folder / "documents", documents)
    found = tokenizer.train([f"{d.title} {d.text}" for d in documents], vocabulary_size=vocabulary)
    return Store.build(folder / "store", kept, found)
