"""What is shown of a document that was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from pretrieve.core.types import Document, FieldValue
from pretrieve.index.dense import Dense
from pretrieve.index.lexical import Lexical
from pretrieve.index.snippets import Snippets, sentence_spans

__all__ = ["Hit", "Hits", "describe", "sentence_spans"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One document found.

    Attributes:
        rank: 1 for the best.
        score: comparable within one query only.
        id: the document's id.
        title: its title, may be empty.
        sentence: the sentence of its text that answers the query best; of a long one, some 300 characters.
        marks: (first, last + 1) characters of the query's words in ``sentence``.
        text: the document's text.
        place: ``file:line`` below the source that was indexed; empty where it is not known.
        fields: its further fields: author, date, ...
        parent: id of the document that it is a passage of.
        more: number of others of its group among the best 1,000 documents, where hits are grouped.
        relevance: from 0 for a document taken at random to 1 for one that says what the query says; None where it
            is not known, as in a collection of one document.
    """

    rank: int
    score: float
    id: str
    title: str
    sentence: str
    marks: list[tuple[int, int]]
    text: str
    place: str = ""
    fields: Mapping[str, FieldValue] = field(default_factory=dict, hash=False)
    parent: str = ""
    more: int = 0
    relevance: float | None = None

    def to_json(self, *, full_text: bool = False) -> dict[str, Any]:
        """As JSON.

        Args:
            full_text: with the document's text, which may be long.
        """
        facts = asdict(self)
        return facts if full_text else {name: value for name, value in facts.items() if name != "text"}


class Hits(list[Hit]):
    """Hits, best first; notebooks show them as a table."""

    def _repr_html_(self) -> str:
        """As HTML, in which all text is escaped."""
        rows = "".join(map(_row, self))
        head = "".join(f"<th>{name}</th>" for name in ("", "score", "document", "best sentence"))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(hit: Hit) -> str:
    """A row of the table; the words of the query are marked."""
    sentence, last = "", 0
    for start, stop in hit.marks:
        sentence += f"{escape(hit.sentence[last:start])}<mark>{escape(hit.sentence[start:stop])}</mark>"
        last = stop
    sentence += escape(hit.sentence[last:])
    place = escape(hit.place or hit.id)
    cells = (str(hit.rank), f"{hit.score:.3f}", f"<b>{escape(hit.title or hit.id)}</b><br>{place}", sentence)
    row = "".join(f'<td style="text-align: left">{cell}</td>' for cell in cells)
    return f"<tr>{row}</tr>"


def describe(
    query: str,
    documents: Sequence[Document],
    scores: Sequence[float],
    lexical: Lexical,
    dense: Dense | None,
    relevance: Sequence[float | None],
) -> list[Hit]:
    """Make hits of ranked documents, best first.

    Args:
        query: what was searched for.
        documents: the documents found.
        scores: their scores.
        lexical: BM25 of all documents.
        dense: vectors of all documents, if any.
        relevance: of each document.
    """
    snippets = Snippets(query, lexical, dense).of(documents)
    hits = []
    found = zip(documents, scores, snippets, relevance, strict=True)
    for rank, (document, score, snippet, value) in enumerate(found, start=1):
        hits.append(
            Hit(
                rank=rank,
                score=float(score),
                id=document.id,
                title=document.title,
                sentence=snippet.text,
                marks=snippet.marks,
                text=document.text,
                place=document.place,
                fields=document.fields,
                parent=document.parent,
                relevance=value,
            )
        )
    return hits
