"""Filters of documents by their fields: ``lang=en and date>=2025-01-01``, to one boolean for each document.

    filter     = filter "or" filter | filter "and" filter | "not" filter | "(" filter ")" | comparison
    comparison = field sign value | field ["not"] "in" "(" value "," ... ")" | field ["not"] "exists"
    sign       = "=" "!=" "<" "<=" ">" ">=" "~"

Case does not matter. A list fits if any of its values does. ``a != b`` is ``not a = b``: documents without the field
fit. ``~`` finds a text in a value; ``~ text*`` at its start. Names and values with blanks or signs stand in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.types import BoolArray
from pretrieve.index.columns import Columns
from pretrieve.index.comparing import containing, equal, ordered
from pretrieve.index.field_values import Literal, folded

_TOKEN = re.compile(
    r"""\s*(?:(?P<sign>!=|<=|>=|==|=|<|>|~)|(?P<mark>[(),])|"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'"""
    r"""|(?P<word>[^\s(),=<>~!"']+[^\s(),=<>~!"]*))""",
    re.DOTALL,
)
_WORDS = ("and", "or", "not", "in", "exists")
_DEEPEST = 100  # parentheses in each other
Evaluate = Callable[[Columns, str], BoolArray]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # sign, mark, word or quoted
    text: str
    place: int  # from 1

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with values.

    Attributes:
        field: its name.
        sign: of the grammar; ``exists`` has no values.
        values: one or several, of which one has to fit.
    """

    field: str
    sign: str
    values: tuple[str, ...] = ()

    def mask(self, columns: Columns, name: str) -> BoolArray:
        """The documents of a part that fit, (R,).

        Args:
            columns: of the part.
            name: what the field is called there.
        """
        column = columns[name]
        if column is None:
            return np.zeros(columns.size, bool)
        if self.sign == "exists":
            return column.mask(np.ones(len(column), bool))
        found = np.zeros(len(column), bool)
        for value in self.values:
            if self.sign == "=":
                found |= equal(column, Literal.of(value))
            elif self.sign == "~":
                found |= containing(column, folded(value.removesuffix("*")), start=value.endswith("*"))
            else:
                found |= ordered(column, self.sign, Literal.of(value))
        return column.mask(found)


@dataclass(frozen=True, slots=True)
class Combination:
    """Filters joined.

    Attributes:
        how: ``and``, ``or`` or ``not``.
        parts: of ``not``, one.
    """

    how: str
    parts: tuple[Comparison | Combination, ...]


Node = Comparison | Combination


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter.

    Attributes:
        text: as it was given.
        node: what it says.
    """

    text: str
    node: Node

    @staticmethod
    def parse(text: str) -> Filter:
        """Read a filter.

        Raises:
            UsageError: it is no filter; the text says where and why.
        """
        return Filter(text, _Parser(text).parse())

    @staticmethod
    def every(filters: Sequence[Filter]) -> Filter | None:
        """One filter that says what all of them say; None without any."""
        if len(filters) < 2:
            return filters[0] if filters else None
        return Filter(
            " and ".join(f"({one.text})" for one in filters), Combination("and", tuple(f.node for f in filters))
        )

    @property
    def fields(self) -> list[str]:
        """The names of fields in it."""
        return list(dict.fromkeys(_fields(self.node)))

    def mask(self, parts: Sequence[Columns]) -> BoolArray:
        """The documents that fit, (R,), over all parts one after the other.

        Args:
            parts: the columns of each part.

        Raises:
            UsageError: no document has a field; the closest names are given.
        """
        names = {field: field_name(field, parts, f"filter {self.text!r}") for field in self.fields}
        masks = [_mask(self.node, columns, names) for columns in parts]
        return np.concatenate(masks) if masks else np.zeros(0, bool)


def field_name(name: str, parts: Sequence[Columns], what: str) -> str:
    """What a field is called in the documents: as it is given, or in another case.

    Args:
        name: as given.
        parts: the columns of each part.
        what: begins the message.

    Raises:
        UsageError: no document has it; the closest names are given.
    """
    known = dict.fromkeys(found for columns in parts for found in columns.names)
    if name in known:
        return name
    near = [found for found in known if found.casefold() == name.casefold()]
    if len(near) == 1:
        return near[0]
    raise UsageError(f"{what}: no document has a field {name!r:.100}.{suggest(name[:100], sorted(known))}")


def _mask(node: Node, columns: Columns, names: dict[str, str]) -> BoolArray:
    if isinstance(node, Comparison):
        return node.mask(columns, names[node.field])
    found = _mask(node.parts[0], columns, names)
    if node.how == "not":
        return ~found
    for part in node.parts[1:]:
        found = found & _mask(part, columns, names) if node.how == "and" else found | _mask(part, columns, names)
    return found


def _fields(node: Node) -> Iterator[str]:
    if isinstance(node, Comparison):
        yield node.field
    else:
        for part in node.parts:
            yield from _fields(part)


class _Parser:
    """Reads a filter from left to right; ``and`` binds before ``or``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._at = self._depth = 0

    def parse(self) -> Node:
        """All of it.

        Raises:
            UsageError: it is no filter.
        """
        if not self._tokens:
            raise UsageError("the filter is empty: give a comparison, such as lang=en.")
        node = self._either()
        if self._at < len(self._tokens):
            self._refuse("and, or, or the end")
        return node

    def _split(self) -> Iterator[_Token]:
        place, end = 0, len(self._text.rstrip())
        while place < end:
            found = _TOKEN.match(self._text, place)
            if found is None:
                start = place + len(self._text[place:]) - len(self._text[place:].lstrip())
                sign = self._text[start]
                why = "a quote without its end" if sign in "\"'" else f"{sign!r} is no sign of a filter"
                raise UsageError(f"filter {self._text!r:.300}: {why}, at character {start + 1}.")
            kind = str(found.lastgroup)
            text = found[kind]
            if kind in ("double", "single"):
                kind, text = "quoted", re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
            yield _Token(
                kind, "=" if text == "==" and kind == "sign" else text, found.end() - len(found[0].lstrip()) + 1
            )
            place = found.end()

    def _either(self) -> Node:
        parts = [self._both()]
        while self._take_word("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Combination("or", tuple(parts))

    def _both(self) -> Node:
        parts = [self._one()]
        while self._take_word("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Combination("and", tuple(parts))

    def _one(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UsageError(f"filter {self._text!r:.300}: nested deeper than {_DEEPEST}.")
        if self._take_word("not"):
            node: Node = Combination("not", (self._one(),))
        elif self._take_mark("("):
            node = self._either()
            if not self._take_mark(")"):
                self._refuse("')'")
        else:
            node = self._comparison()
        self._depth -= 1
        return node

    def _comparison(self) -> Node:
        name = self._next("the name of a field", keyword=False)
        if self._take_word("not"):
            if not (self._is_word("in") or self._is_word("exists")):
                self._refuse("in or exists")
            return Combination("not", (self._membership(name),))
        if self._is_word("in") or self._is_word("exists"):
            return self._membership(name)
        if self._at >= len(self._tokens) or self._tokens[self._at].kind != "sign":
            self._refuse(f"one of = != < <= > >= ~ in exists, after {name!r:.100}")
        sign = self._tokens[self._at].text
        self._at += 1
        value = self._next(f"a value after {sign!r}")
        if sign == "!=":
            return Combination("not", (Comparison(name, "=", (value,)),))
        return Comparison(name, sign, (value,))

    def _membership(self, name: str) -> Comparison:
        if self._take_word("exists"):
            return Comparison(name, "exists")
        self._at += 1
        if not self._take_mark("("):
            self._refuse("'(' after in")
        values = [self._next("a value")]
        while self._take_mark(","):
            values.append(self._next("a value"))
        if not self._take_mark(")"):
            self._refuse("',' or ')'")
        return Comparison(name, "=", tuple(values))

    def _next(self, what: str, *, keyword: bool = True) -> str:
        """The next name or value."""
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == "quoted" or (token.kind == "word" and (keyword or not token.is_word(*_WORDS))):
                self._at += 1
                return token.text
        return self._refuse(what)

    def _is_word(self, word: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at].is_word(word)

    def _take_word(self, word: str) -> bool:
        taken = self._is_word(word)
        self._at += taken
        return taken

    def _take_mark(self, mark: str) -> bool:
        here = self._tokens[self._at] if self._at < len(self._tokens) else None
        taken = here is not None and here.kind == "mark" and here.text == mark
        self._at += taken
        return taken

    def _refuse(self, expected: str) -> str:
        """Refuse what stands here.

        Raises:
            UsageError: always.
        """
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            where = f"found {token.text!r:.100} at character {token.place}"
        else:
            where = "the filter ends there"
        raise UsageError(f"filter {self._text!r:.300}: expected {expected}, {where}.")
