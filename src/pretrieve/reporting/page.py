"""What a report consists of, as plain values: sections with notes, tables, charts, examples and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

SUFFIXES = (".html", ".htm")  # of files that pages are written to


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text below a head; numbers are formatted already. A folded table is closed until a reader opens it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Curves: name, x and y of each, finite."""

    kind: ClassVar[str] = "lines"
    title: str
    x: str
    y: str
    curves: Sequence[tuple[str, Sequence[float], Sequence[float]]]


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Points (x, y) between 0 and 1, with the diagonal."""

    kind: ClassVar[str] = "scatter"
    title: str
    x: str
    y: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of bins, each with its label."""

    kind: ClassVar[str] = "histogram"
    title: str
    x: str
    y: str
    bins: Sequence[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Wins, ties and losses, by name."""

    kind: ClassVar[str] = "shares"
    title: str
    rows: Sequence[tuple[str, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Means with their intervals: name, low, mean and high of each."""

    kind: ClassVar[str] = "intervals"
    title: str
    x: str
    rows: Sequence[tuple[str, float, float, float]]


Chart = Lines | Scatter | Histogram | Shares | Intervals


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of an example's text: its state (kept, masked, ...), what the model sees, and the document's own text."""

    state: str
    seen: str
    own: str


@dataclass(frozen=True, kw_only=True)
class Within:
    """A document that rows of an example lie in.

    Attributes:
        name: the document.
        tokens: its length.
        spans: number of the row, first token and the token after the last, of every span.
        pieces: numbers of the rows that hold it, and the text, in order.
        marks: of the rows, which stand in front of their pieces.
    """

    name: str
    tokens: int
    spans: Sequence[tuple[int, int, int]]
    pieces: Sequence[tuple[Sequence[int], str]]
    marks: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A training example.

    Attributes:
        title: its name.
        rows: each with a name and pieces of text.
        documents: that the rows lie in.
        others: rows of other examples of the batch, each with a name and a text.
        note: what they are, and how many there are.
    """

    title: str
    rows: Sequence[tuple[str, Sequence[Piece]]]
    documents: Sequence[Within] = ()
    others: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a report.

    Attributes:
        title: heading.
        notes: sentences below it.
        tables: tables.
        charts: pictures.
        examples: training examples.
        texts: commands and recipes, shown as they are.
    """

    title: str
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    examples: Sequence[Example] = ()
    texts: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report.

    Attributes:
        kind: what it is about.
        title: heading.
        verdict: what was done, whether it helped, and how sure that is, in sentences.
        sections: the rest, in order.
    """

    kind: Literal["run", "reader", "comparison", "evaluation", "crosslingual", "queries"]
    title: str
    verdict: Sequence[str]
    sections: Sequence[Section]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; a chart has its kind."""
        found = asdict(self)
        for section, plain in zip(self.sections, found["sections"], strict=True):
            plain["charts"] = [{"kind": chart.kind, **asdict(chart)} for chart in section.charts]
        return found
