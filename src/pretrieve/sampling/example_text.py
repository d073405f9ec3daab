"""Training examples as text: each row in pieces of one state, and the documents that rows lie in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pretrieve.core.types import IntArray
from pretrieve.sampling.pairs import PairDescription, RowDescription
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store

_CONTEXT = 40  # tokens shown of text removed between two spans
_FAR = 10_000  # tokens between two spans above which they count as two places, with nothing removed
_MASK = "[MASK]"
_AROUND = 24  # tokens of a document shown at each end of what no row holds
_LONGEST = 400  # tokens shown of what one set of rows holds
_OTHERS = 3  # rows of other examples that are shown with an example
_OTHER_TOKENS = 40  # shown of such a row


def example_text(pair: PairDescription, store: Store, documents: Documents) -> dict[str, Any]:
    """An example: its document, group and note, its rows, and the documents that they lie in.

    Args:
        pair: description of the example.
        store: the documents' tokens.
        documents: the documents, for their ids.
    """
    spans = {span for row in pair.rows for span in row.spans}
    rows = [_row(row, store, documents, spans) for row in pair.rows]
    group = store.group_names[store.groups[pair.rows[0].document]]
    places = list(dict.fromkeys(row.document for row in pair.rows))
    within = [_within(document, pair.rows, store, documents) for document in places]
    return {"document": rows[0]["document"], "group": group, "note": pair.note, "rows": rows, "documents": within}


def other_rows(
    pairs: Sequence[PairDescription], place: int, roles: Sequence[str], store: Store, documents: Documents
) -> list[dict[str, str]]:
    """A few rows of other examples of the batch, from which an example is told apart.

    Args:
        pairs: examples of one batch.
        place: of the example among them.
        roles: of the rows of others that count.
        store: the documents' tokens.
        documents: the documents, for their ids.
    """
    others = [*range(place + 1, len(pairs)), *range(place)]
    rows = [row for other in others for row in pairs[other].rows if row.role in roles][:_OTHERS]
    return [
        {
            "role": row.role,
            "document": _id(row.document, store, documents),
            "text": _text(row.kept, store, _OTHER_TOKENS),
        }
        for row in rows
    ]


def _id(document: int, store: Store, documents: Documents) -> str:
    return documents[int(store.origins[document])].id


def _text(positions: Sequence[int] | IntArray, store: Store, most: int) -> str:
    text = store.decode(np.asarray(store.tokens)[np.asarray(positions[:most], dtype=np.int64)].tolist())
    return f"{text} …" if len(positions) > most else text


def _within(document: int, rows: Sequence[RowDescription], store: Store, documents: Documents) -> dict[str, Any]:
    """A document in pieces, as [numbers of the rows that hold the piece, its text]; long pieces are shortened.

    A window over documents that are laid end to end may reach beyond its own: the pieces do too.
    """
    spans = [(number, *span) for number, row in enumerate(rows) if row.document == document for span in row.spans]
    first = min([int(store.starts[document]), *(start for _, start, _ in spans)])
    last = max([int(store.ends[document]), *(stop for *_, stop in spans)])
    edges = sorted({first, last, *(edge for _, start, stop in spans for edge in (start, stop))})
    pieces = []
    for start, stop in pairwise(edges):
        holds = sorted({number for number, low, high in spans if low <= start and stop <= high})
        pieces.append([holds, _piece_text(start, stop, bool(holds), store)])
    return {
        "document": _id(document, store, documents),
        "tokens": last - first,
        "spans": [[number, start - first, stop - first] for number, start, stop in spans],
        "pieces": pieces,
    }


def _piece_text(start: int, stop: int, held: bool, store: Store) -> str:
    ends = _LONGEST // 2 if held else _AROUND
    if stop - start <= 2 * ends:
        return _text(np.arange(start, stop), store, stop - start)
    before, after = np.arange(start, start + ends), np.arange(stop - ends, stop)
    return f"{_text(before, store, ends)} [… {stop - start - 2 * ends:,} tokens …] {_text(after, store, ends)}"


def _row(row: RowDescription, store: Store, documents: Documents, spans: set[tuple[int, int]]) -> dict[str, Any]:
    first, last = int(store.starts[row.document]), int(store.ends[row.document])
    return {
        "role": row.role,
        "document": _id(row.document, store, documents),
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
