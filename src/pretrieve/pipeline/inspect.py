"""The road of ``pretrieve inspect``: a handful of real training pairs, as the method would draw them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.config import options_of
from pretrieve.core.types import Batch
from pretrieve.models.build import is_static, named_base
from pretrieve.pipeline import plan as planning
from pretrieve.pipeline import prepare
from pretrieve.pipeline.listener import Listener, Silent
from pretrieve.pipeline.request import OnBad, Request
from pretrieve.text import tokenizer
from pretrieve.text.batches import Batches
from pretrieve.text.corpus import Fields
from pretrieve.text.pairs import PairDescription, RowDescription
from pretrieve.text.store import Store

_CONTEXT = 40  # tokens shown around what was cut out of a document


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is asked of ``inspect``; see the options of the command."""

    sources: tuple[str, ...]
    method: str | None = None
    base: str = "static"
    number: int = 5
    settings: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    on_bad: OnBad = "fail"
    fields: Fields = field(default_factory=Fields)


def look(asked: Look, listener: Listener | None = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Draw the first pairs of a run and say where they come from.

    Returns:
        The pairs (document, kind, rows with marked pieces of text), and facts about the method and the batch.

    Raises:
        PretrieveError: as ``train``.
    """
    listener = listener or Silent()
    request = Request(
        sources=asked.sources,
        output=Path("unused"),
        method=asked.method,
        base=asked.base,
        settings=asked.settings,
        seed=asked.seed,
        on_bad=asked.on_bad,
        fields=asked.fields,
    )
    choices = planning.choose(request)
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Path(temporary)
        quarantine = Path(f"{asked.method or 'inspect'}.quarantine.jsonl")
        documents = prepare.read_documents(
            asked.sources, workspace / "documents", listener, fields=asked.fields, on_bad=asked.on_bad,
            quarantine=quarantine,
        )  # fmt: skip
        every = np.arange(len(documents))
        folder = named_base(asked.base)
        vocabulary = (
            tokenizer.load(folder) if folder else prepare.train_tokenizer(documents, every, choices.tokenization)
        )
        store = prepare.build_store(workspace, documents, every, vocabulary, listener)
        specials = vocabulary.bare() if is_static(asked.base) else vocabulary.specials
        options = options_of(choices.module.Options, {**choices.options, **planning.suited(choices, store)})
        view = choices.module.view(store, specials, options, provenance=True)
        batch: Batch = Batches(view=view, batch_size=choices.training.batch_size, seed=asked.seed)(0)
        batch = batch.slice(0, min(asked.number, len(batch)))
        described: Sequence[PairDescription] = choices.module.explain(batch, store, specials)
        pairs = [_pair(pair, store, documents[int(store.origins[pair.rows[0].document])].id) for pair in described]
        return pairs, _summary(choices, asdict(options), store)


def _summary(choices: planning.Choices, options: dict[str, Any], store: Store) -> dict[str, Any]:
    negatives = "the other keys of the batch"
    if options.get("loss") == "moco":
        negatives = f"a queue of {options['queue']:,} earlier keys by a slow copy of the encoder"
    return {
        "method": choices.method,
        "documents": len(store),
        "tokens": len(store.tokens),
        "batch_size": choices.training.batch_size,
        "negatives": negatives,
        "same document": "is no negative" if options.get("mask_same_document", True) else "may be a negative",
        "options": options,
    }


def _pair(pair: PairDescription, store: Store, document: str) -> dict[str, Any]:
    return {"document": document, "note": pair.note, "rows": [_row(row, store) for row in pair.rows]}


def _row(row: RowDescription, store: Store) -> dict[str, Any]:
    first, last = int(store.starts[row.document]), int(store.ends[row.document])
    return {
        "role": row.role,
        "spans": [[start - first, stop - first] for start, stop in row.spans],
        "of": last - first,
        "deleted": len(row.deleted),
        "pieces": _pieces(row, store),
    }


def _pieces(row: RowDescription, store: Store) -> list[list[str]]:
    """The text of a row in pieces of one state each: kept, deleted, masked, replaced, or left out of the document."""
    states: list[tuple[str, list[int]]] = []
    deleted, masked = set(row.deleted), set(row.masked)
    tokens = np.asarray(store.tokens)
    previous = None
    for start, stop in row.spans:
        if previous is not None and 0 < start - previous < 10_000:
            states.append(("removed", tokens[previous : min(start, previous + _CONTEXT)].tolist()))
        for position in range(start, stop):
            token = int(row.replaced.get(position, tokens[position]))
            state = "deleted" if position in deleted else "masked" if position in masked else "kept"
            state = "replaced" if position in row.replaced else state
            if not states or states[-1][0] != state:
                states.append((state, []))
            states[-1][1].append(token)
        previous = stop
    return [[state, store.decode(ids)] for state, ids in states]
