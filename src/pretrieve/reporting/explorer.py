"""``inspect --html``: training examples to page through and the map of their corpus, in one file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.shown import shown
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.inspect import InspectRequest, Opened, opened
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.reporting.corpus_map import MOST_POINTS, corpus_map, enough
from pretrieve.reporting.page import SUFFIXES
from pretrieve.reporting.pair_losses import RELATIVE_MARGIN, TEMPERATURE, add_losses, query_and_key

LARGEST = 5_000_000  # bytes of a page
USUAL = 200  # pairs
_PIECES = 1_500  # characters of a row that are shown


@dataclass(frozen=True, kw_only=True)
class ExplorerRequest:
    """Arguments of ``inspect --html``; see the options of the command."""

    inspect: InspectRequest
    output: Path
    model: str | None = None
    points: int = MOST_POINTS


def write_explorer(request: ExplorerRequest, listener: Listener | None = None) -> dict[str, Any]:
    """Write the page.

    Args:
        request: arguments.
        listener: receives progress.

    Returns:
        What is on it: numbers of pairs, points and suspected pairs, and the notes.

    Raises:
        UsageError: the file's name does not end in .html, or there are too few documents for a map.
        DataError: the page would be larger than a page may be.
        PretrieveError: as ``train``, and as opening a model.
    """
    if request.output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--html {request.output}: give a name that ends in .html.")
    with opened(request.inspect, listener or Silent()) as found:
        data = _data(request, found, listener or Silent())
    text = page(data)
    if len(text) > LARGEST:
        raise DataError(f"the page has {len(text):,} bytes, more than {LARGEST:,}: give a smaller -n or --points.")
    files.write_file(request.output, text)
    suspected = sum(bool(pair["suspects"]) for pair in data["pairs"])
    return {"pairs": len(data["pairs"]), "points": len(data["points"]["x"]), "suspected": suspected,
            "notes": data["facts"]["notes"]}  # fmt: skip


def page(data: Mapping[str, Any]) -> bytes:
    """The page of some data: no text of it can end the script that holds it."""
    folder = package_files("pretrieve.reporting") / "static"
    template, style, script = ((folder / f"explorer.{name}").read_text("utf-8") for name in ("html", "css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    safe = orjson.dumps(data).replace(b"<", b"\\u003c").decode()
    parts = {"%POLICY%": f"sha256-{digest}", "%STYLE%": style, "%SCRIPT%": script, "%DATA%": safe}
    for name, text in parts.items():  # the data last: nothing in it is replaced
        template = template.replace(name, text, 1)
    return template.encode()


def _data(request: ExplorerRequest, found: Opened, listener: Listener) -> dict[str, Any]:
    if not enough(found.store):
        raise UsageError(f"{len(found.store)} documents with text: too few for a map.")
    negatives, summary = found.choices.module.CARD.negatives, found.summary()
    pairs = [_plain(pair, negatives) for pair in found.examples(request.inspect.number)]
    encoder = None if request.model is None else open_encoder(request.model)
    notes = [f"{len(pairs):,} pairs: the first of the first batch of {summary['batch_size']:,}. Rows are cut at "
             f"{_PIECES:,} characters, long documents are shortened in their middle."]  # fmt: skip
    if encoder is not None and negatives:
        listener.stage("pairs", len(pairs), "pairs")
        count = add_losses(pairs, negatives, encoder)
        listener.advance(len(pairs))
        notes.append(
            f"Loss: softmax over the keys of the pairs on this page at temperature {TEMPERATURE:g}, by cosine under "
            f"{shown(request.model)}; keys of the same document are left out. Suspected false negatives: keys of other "
            f"documents within {RELATIVE_MARGIN:.0%} of the pair's own similarity, or above it; {count:,} pairs have "
            "some."
        )
    else:
        notes.append(
            f"`{summary['method']}` tells no rows of a batch apart: no losses, no suspected false negatives."
            if not negatives
            else "Losses and suspected false negatives need a model (--model)."
        )
    return _with_map(request, found, pairs, notes, summary, encoder, listener)


def _with_map(
    request: ExplorerRequest, found: Opened, pairs: list[dict[str, Any]], notes: list[str],
    summary: Mapping[str, Any], encoder: Any, listener: Listener,
) -> dict[str, Any]:  # fmt: skip
    listener.stage("map", unit="documents")
    place = {found.documents[int(origin)].id: number for number, origin in enumerate(found.store.origins)}
    own = [place[pair["identity"]] for pair in pairs]
    made = corpus_map(found.store, found.documents, own, request.points, encoder, request.inspect.seed)
    listener.advance(len(made.documents))
    point = {int(document): number for number, document in enumerate(made.documents)}
    lists: list[list[int]] = [[] for _ in made.documents]
    for number, (pair, document) in enumerate(zip(pairs, own, strict=True)):
        pair["point"] = point.get(document)
        del pair["identity"]
        if pair["point"] is not None:
            lists[pair["point"]].append(number)
    task = f"{summary['task'][:1].upper()}{summary['task'][1:].rstrip('.')}."
    facts = {"method": summary["method"], "text": f"{task} {summary['documents']:,} documents, "
             f"{summary['tokens']:,} tokens; base: {summary['base']}.", "notes": [*notes, *made.notes, (
                 "On the map Ctrl or Shift with the wheel changes the scale.")]}  # fmt: skip
    return {"facts": facts, "pairs": pairs, "points": {**made.points, "pairs": lists}, "clusters": made.clusters,
            "sources": made.sources}  # fmt: skip


def _plain(pair: Mapping[str, Any], negatives: tuple[str, ...]) -> dict[str, Any]:
    """An example as the page shows it: escaped, and bounded."""
    chosen = query_and_key(pair["rows"], negatives)
    rows = [{**row, "role": shown(row["role"]), "document": shown(row["document"]), "pieces": _cut(row["pieces"])}
            for row in pair["rows"]]  # fmt: skip
    within = [
        {
            **one,
            "document": shown(one["document"]),
            "pieces": [[holds, shown(text)] for holds, text in one["pieces"]],
        }
        for one in pair["documents"]
    ]
    length = sum(stop - start for row in pair["rows"] for start, stop in row["spans"])
    return {
        "identity": pair["document"], "document": shown(pair["document"]), "group": shown(pair["group"]),
        "kind": shown(pair["note"]), "rows": rows, "documents": within, "length": length, "loss": None,
        "positive": None, "suspects": [], "key": chosen[1] if chosen else 0,
    }  # fmt: skip


def _cut(pieces: list[list[str]]) -> list[list[str]]:
    found, left = [], _PIECES
    for state, seen, own in pieces:
        if left <= 0:
            found.append(["kept", "…", ""])
            break
        found.append([state, shown(seen)[:left], shown(own)[:left]])
        left -= max(len(seen), len(own))
    return found
