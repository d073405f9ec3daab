"""The workflow of ``pretrieve inspect``: a few real training examples, as the method draws them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pretrieve.methods as methods
from pretrieve.core.config import options_of
from pretrieve.core.types import Batch, IntArray, SpecialTokens
from pretrieve.models.build import STATIC, is_static, named_base
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain import data as prepare
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.sources import read_documents
from pretrieve.pipeline.run.tokens import store_of
from pretrieve.sampling.batches import Batches
from pretrieve.sampling.example_text import example_text, other_rows
from pretrieve.sampling.pairs import PairDescription
from pretrieve.text import tokenizer
from pretrieve.text.corpus import Fields, FileFilter, OnBad
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store

NEW = "new"
_SPARE = 4  # examples drawn beyond those shown, whose rows are shown as others of the batch


@dataclass(frozen=True, kw_only=True)
class InspectRequest:
    """Arguments of ``inspect``; see the options of the command. ``base`` None: a base that the method trains."""

    sources: tuple[str, ...]
    method: str | None = None
    base: str | None = None
    number: int = 5
    settings: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    on_bad: OnBad = "auto"
    file_filter: FileFilter = field(default_factory=FileFilter)
    fields: Fields = field(default_factory=Fields)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A corpus read and tokenised, and a method that draws from it; in a temporary folder.

    Attributes:
        request: as for training.
        choices: the method and its values.
        options: the method's options, with what suits the corpus.
        documents: all documents.
        store: their tokens.
    """

    request: TrainRequest
    choices: planning.Choices
    options: Any
    documents: Documents
    store: Store

    def examples(self, number: int) -> list[dict[str, Any]]:
        """The first examples of a run: document, note, rows with marked pieces of text, documents, others of the batch.

        Args:
            number: at most; a batch may have fewer.
        """
        roles = self.choices.module.CARD.negatives
        described, size = self._described(number + _SPARE if roles else number)
        examples = [example_text(pair, self.store, self.documents) for pair in described[:number]]
        for place, example in enumerate(examples):
            shown = other_rows(described, place, roles, self.store, self.documents)
            rows = sum(row.role in roles for row in described[place].rows)
            example["others"] = {"rows": (size - 1) * rows, "shown": shown}
        return examples

    def summary(self) -> dict[str, Any]:
        """Facts about the method, the corpus and the batch."""
        return _summary(self.choices, self.request.base, self.options, self.store, self.documents.fingerprint)

    def _described(self, number: int) -> tuple[Sequence[PairDescription], int]:
        """Descriptions of examples of the first batch, and how many examples it has."""
        batch, size = _batch(self.request, self.choices, self.store, self.options, number)
        specials = _specials(self.request.base, self.store)
        return self.choices.module.explain(batch, self.store, specials), size


@contextmanager
def opened(request: InspectRequest, listener: Listener | None = None) -> Iterator[Opened]:
    """Read the documents, and draw from them while they are there.

    Args:
        request: arguments of ``inspect``.
        listener: receives progress.

    Raises:
        PretrieveError: as ``train``.
    """
    listener = listener or Silent()
    train_request = TrainRequest(
        sources=request.sources,
        output=Path("unused"),
        method=request.method,
        base=_base(request, listener),
        settings=request.settings,
        seed=request.seed,
        on_bad=request.on_bad,
        file_filter=request.file_filter,
        fields=request.fields,
    )
    choices = planning.choose(train_request)
    with tempfile.TemporaryDirectory() as temporary:
        documents, store = _prepared(train_request, choices, Path(temporary), listener)
        options = options_of(choices.module.Options, {**choices.options, **planning.suited(choices, store)})
        yield Opened(request=train_request, choices=choices, options=options, documents=documents, store=store)


def look(request: InspectRequest, listener: Listener | None = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Draw the first examples of a run, with their origins.

    Returns:
        The examples, as ``Opened.examples`` describes them, and facts about the method and the batch.

    Raises:
        PretrieveError: as ``train``.
    """
    with opened(request, listener) as found:
        return found.examples(request.number), found.summary()


def _base(request: InspectRequest, listener: Listener) -> str:
    """The given base, or one that the method trains."""
    if request.base is not None:
        return request.base
    if request.method is None or "static" in methods.find(request.method)[0].CARD.encoders:
        return STATIC
    listener.note(
        f"{request.method} trains transformers: shown as for --base {NEW}, a small one, randomly initialised."
    )
    return NEW


def _prepared(
    request: TrainRequest, choices: planning.Choices, place: Path, listener: Listener
) -> tuple[Documents, Store]:
    """All documents, and their tokens."""
    documents = read_documents(
        request.sources, place / "documents", listener, fields=request.fields, file_filter=request.file_filter,
        on_bad=request.on_bad, quarantine=Path(f"{request.method or 'inspect'}.quarantine.jsonl"),
    )  # fmt: skip
    every = np.arange(len(documents))
    folder = named_base(request.base)
    vocabulary = tokenizer.load(folder) if folder else prepare.train_tokenizer(documents, every, choices.tokenization)
    return documents, store_of(documents, vocabulary, listener, folder=place / "store", select=every)


def _specials(base: str, store: Store) -> SpecialTokens:
    return store.tokenizer.bare() if is_static(base) else store.specials


def _batch(
    request: TrainRequest, choices: planning.Choices, store: Store, options: Any, number: int
) -> tuple[Batch, int]:
    """The first examples of the first batch, with their candidates if the method retrieves some; and its size."""
    sampler = choices.module.sampler(store, _specials(request.base, store), options, provenance=True)
    batch = Batches(sampler=sampler, batch_size=choices.training.batch_size, seed=request.seed)(0)
    size = len(batch)
    batch = batch.slice(0, min(number, size))
    if not getattr(choices.module, "CANDIDATES", False):
        return batch, size
    objective = planning.make(request, choices, store).objective
    objective.eval()
    with torch.no_grad():
        return objective.prepare(batch, 0), size


def _summary(choices: planning.Choices, base: str, options: Any, store: Store, corpus: str) -> dict[str, Any]:
    task = getattr(choices.module, "task", None)
    return {
        "method": choices.method,
        "base": base,
        "corpus": corpus,
        "documents": len(store),
        "tokens": len(store.tokens),
        "lengths": _lengths(np.diff(store.documents)),
        "batch_size": choices.training.batch_size,
        "task": task(options) if task else choices.module.CARD.idea,
        "options": asdict(options),
    }


def _lengths(lengths: IntArray) -> list[list[int]]:
    """Number of documents by length: [tokens at least, documents], each bin from there to twice as many."""
    bins = np.floor(np.log2(np.maximum(lengths, 1))).astype(int)
    counts = np.bincount(bins).tolist()
    return [[1 << place, count] for place, count in enumerate(counts) if place >= bins.min()]
