"""The workflow of ``pretrieve inspect``: a few real training examples, as the method draws them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
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
from pretrieve.sampling.pairs import PairDescription, RowDescription
from pretrieve.text import tokenizer
from pretrieve.text.corpus import Fields, FileFilter, OnBad
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store

NEW = "new"
_CONTEXT = 40  # tokens shown of text removed between two spans
_FAR = 10_000  # tokens between two spans above which they count as two places, with nothing removed
_MASK = "[MASK]"


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


def look(request: InspectRequest, listener: Listener | None = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Draw the first examples of a run, with their origins.

    Returns:
        The examples (document, note, rows with marked pieces of text), and facts about the method and the batch.

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
        batch = _batch(train_request, choices, store, options, request.number)
        specials = _specials(train_request.base, store)
        described: Sequence[PairDescription] = choices.module.explain(batch, store, specials)
        pairs = [_pair(pair, store, documents) for pair in described]
        return pairs, _summary(choices, train_request.base, options, store, documents.fingerprint)


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


def _batch(request: TrainRequest, choices: planning.Choices, store: Store, options: Any, number: int) -> Batch:
    """The first examples of the first batch, with their candidates if the method retrieves some."""
    sampler = choices.module.sampler(store, _specials(request.base, store), options, provenance=True)
    batch = Batches(sampler=sampler, batch_size=choices.training.batch_size, seed=request.seed)(0)
    batch = batch.slice(0, min(number, len(batch)))
    if not getattr(choices.module, "CANDIDATES", False):
        return batch
    objective = planning.make(request, choices, store).objective
    objective.eval()
    with torch.no_grad():
        return objective.prepare(batch, 0)


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


def _pair(pair: PairDescription, store: Store, documents: Documents) -> dict[str, Any]:
    spans = {span for row in pair.rows for span in row.spans}
    rows = [_row(row, store, documents, spans) for row in pair.rows]
    group = store.group_names[store.groups[pair.rows[0].document]]
    return {"document": rows[0]["document"], "group": group, "note": pair.note, "rows": rows}


def _row(row: RowDescription, store: Store, documents: Documents, spans: set[tuple[int, int]]) -> dict[str, Any]:
    first, last = int(store.starts[row.document]), int(store.ends[row.document])
    return {
        "role": row.role,
        "document": documents[int(store.origins[row.document])].id,
        "spans": [[start - first, stop - first] for start, stop in row.spans],
        "of": last - first,
        "deleted": len(row.deleted),
        "guessed": len(row.masked) + len(row.replaced) + len(row.guessed),
        "pieces": _pieces(row, store, spans),
    }


def _pieces(row: RowDescription, store: Store, spans: set[tuple[int, int]]) -> list[list[str]]:
    """The text of a row in pieces of one state each, as [state, text that the model sees, text of the document].

    States are kept, deleted, masked, replaced, guessed (shown, and to be predicted), and removed (cut out between two
    spans). The last text is empty where it is the same; deleted and removed text is not seen.

    Args:
        row: row to show.
        store: the documents.
        spans: spans of all rows of the example.
    """
    states: list[tuple[str, list[int], list[int]]] = []
    tokens = np.asarray(store.tokens)
    marks = dict.fromkeys(row.deleted, "deleted") | dict.fromkeys(row.guessed, "guessed")
    marks |= dict.fromkeys(row.masked, "masked") | dict.fromkeys(row.replaced, "replaced")
    previous = None
    for start, stop in row.spans:
        if previous is not None and _cut_out(previous, start, int(store.bodies[row.document]), spans):
            states.append(("removed", [], tokens[previous : min(start, previous + _CONTEXT)].tolist()))
        for position in range(start, stop):
            state, token = marks.get(position, "kept"), int(tokens[position])
            if not states or states[-1][0] != state:
                states.append((state, [], []))
            states[-1][1].append(row.replaced.get(position, token))
            states[-1][2].append(token)
        previous = stop
    return [_piece(state, shown, stands, store) for state, shown, stands in states]


def _cut_out(previous: int, start: int, body: int, spans: set[tuple[int, int]]) -> bool:
    """Whether the text between two spans was removed; a passage after its title was only selected."""
    return (previous, start) in spans or (body < previous < start < previous + _FAR)


def _piece(state: str, shown: list[int], stands: list[int], store: Store) -> list[str]:
    text = store.decode(stands)
    if state in ("kept", "guessed"):
        return [state, text, ""]
    seen = {"masked": " ".join([_MASK] * len(shown)), "replaced": store.decode(shown)}
    return [state, seen.get(state, ""), text]
