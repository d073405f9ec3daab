"""The syntax of queries: ``"a phrase"``, ``+must``, ``-without``, ``field:value``; all else is searched for as it is.

A sign counts only at the start of a word. ``+`` and ``-`` stand before three letters or more, or a quote, so that
``tar -xz``, ``-5`` and ``+49`` are text (``-"go"`` leaves out a short word); a name before a colon counts only if
documents have a field of that name and a value follows at once, so that addresses and prose are text.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from pretrieve.core.errors import UsageError
from pretrieve.index.filters import Combination, Comparison, Filter, Node

_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»"}
_QUOTED = "|".join(f"{a}[^{a}{b}]*{b}" for a, b in _QUOTES.items())
_PIECE = re.compile(
    rf"(?<!\S)(?P<sign>[+-]?)(?:(?P<quoted>{_QUOTED})(?=[\s.,;:?!)]|\Z)"
    rf"|(?P<field>[^\W\d][\w.@-]*):(?P<compare><=|>=|<|>|=|~)?(?P<value>{_QUOTED}|[^\s\"/][^\s]*)"
    r"|(?P<word>[^\W\d_]{3}\S*))"
)
_TAIL = re.compile(r"[.,;?!)]+\Z")


@dataclass(frozen=True, slots=True)
class Query:
    """A query that is understood.

    Attributes:
        text: what is ranked by: all words that are asked for.
        phrases: words that have to occur in this order.
        must: words that have to occur.
        without: words or phrases that must not occur.
        filter: what fields have to be, if the query says it.
    """

    text: str
    phrases: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    filter: Filter | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the query is nothing but text."""
        return not (self.phrases or self.must or self.without or self.filter)

    def describe(self) -> str:
        """What is understood beside the text, in a line; empty where it is nothing."""
        quoted = [f'"{phrase}"' for phrase in self.phrases]
        parts = [f"with {', '.join([*quoted, *self.must])}"] if quoted or self.must else []
        parts += [f"without {', '.join(self.without)}"] if self.without else []
        parts += [f"where {self.filter.text}"] if self.filter else []
        return "; ".join(parts)


def parse(query: str, fields: Collection[str]) -> Query:
    """Read a query; one without signs is its text, unchanged.

    Args:
        query: as it was typed.
        fields: names of the fields that documents have.

    Raises:
        UsageError: it has no words to search for.
    """
    names = {name.casefold(): name for name in fields}
    found: dict[str, list[str]] = {"phrases": [], "must": [], "without": []}
    filters: list[Filter] = []
    text, last = "", 0
    for piece in _PIECE.finditer(query):
        sign = piece["sign"]
        if piece["field"] is not None and piece["field"].casefold() in names and sign != "+":
            filters.append(_filter(names[piece["field"].casefold()], piece, negated=sign == "-"))
            shown = ""
        elif piece["quoted"] is not None:
            shown = piece["quoted"][1:-1].strip()
            found["without" if sign == "-" else "phrases"] += [shown] * bool(shown)
        elif piece["word"] is not None and sign:
            shown = _TAIL.sub("", piece["word"])
            found["without" if sign == "-" else "must"].append(shown)
        else:
            continue
        text += query[last : piece.start()] + ("" if sign == "-" else shown)
        last = piece.end()
    if not last:
        return Query(query)
    text = " ".join((text + query[last:]).split())
    if not text:
        raise UsageError(f"the query {query!r:.200} has no words to search for: add some, or use --filter beside them.")
    parts = {name: tuple(dict.fromkeys(values)) for name, values in found.items()}
    return Query(text, **parts, filter=Filter.every(filters))


def _filter(name: str, piece: re.Match[str], *, negated: bool) -> Filter:
    value = piece["value"]
    value = value[1:-1] if value[0] in _QUOTES else _TAIL.sub("", value)
    node: Node = Comparison(name, piece["compare"] or "=", (value,))
    quoted = value if re.fullmatch(r"[^\s()]+", value) else repr(value)
    shown = f"{name}{piece['compare'] or '='}{quoted}"
    return Filter(f"not {shown}", Combination("not", (node,))) if negated else Filter(shown, node)
