"""The values of a JSON text one after the other, undecoded, in bounded memory: nothing but one value is held.

Only brackets and quotes are looked at here; whether a value is JSON is found out by whoever decodes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_STRUCTURE = re.compile(rb'["\[\]{}]')
_SCALAR_END = re.compile(rb"[\s,\[\]{}:]")
_NOT_BLANK = re.compile(rb"[^\s,]")
_FLAT = re.compile(rb'\{(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+\}', re.DOTALL)  # an object of plain values
_QUOTE, _BACKSLASH = ord('"'), ord("\\")


class JsonValues:
    """A place in a JSON text that is read in chunks; it moves on value by value.

    Args:
        chunks: the bytes of the text.
        limit: most bytes of a value.
        line: number of the first line.

    Attributes:
        line: number of the line of this place.
        cut: the text ended inside a value, a list or an object.
    """

    def __init__(self, chunks: Iterator[bytes], limit: int, line: int = 1) -> None:
        self._chunks, self._limit = chunks, limit
        self._data, self._at = b"", 0
        self.line, self.cut = line, False

    def peek(self) -> bytes:
        """The next character that is neither blank nor a comma, which the place moves to; empty at the end."""
        while True:
            found = _NOT_BLANK.search(self._data, self._at)
            self._move(found.start() if found else len(self._data))
            if found:
                return found[0]
            if not self._more():
                return b""

    def whole(self) -> bool:
        """Whether the value that begins here ends within the limit; the place stays."""
        return self._end(keep=True) is not None

    def value(self) -> bytes | None:
        """The value that begins here, and move behind it; None if it is longer than the limit, or cut."""
        end = self._end(keep=False)
        if end is None:
            return None
        end = max(end, self._at + 1)  # a sign that begins no value is one
        found = self._data[self._at : end]
        self._move(end)
        return found

    def items(self) -> Iterator[None]:
        """Stand at each element of the list, or each key of the object, that begins here; whoever asks reads it."""
        self._at += 1
        while (character := self.peek()) and character not in b"]}":
            yield
        self.cut = self.cut or not character
        self._at += bool(character)

    def key(self) -> bytes | None:
        """The key that begins here, and move to its value."""
        found = self.value()
        if self.peek() == b":":
            self._at += 1
            self.peek()
        return found

    def _move(self, place: int) -> None:
        self.line += self._data.count(b"\n", self._at, place)
        self._at = place

    def _more(self) -> bool:
        """Read on; what lies before the place is forgotten."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._data, self._at = self._data[self._at :] + chunk, 0
        return True

    def _end(self, *, keep: bool) -> int | None:
        """Where the value that begins here ends; the place moves over one that is too long, unless it is kept."""
        flat = _FLAT.match(self._data, self._at)  # what most records are, at once
        if flat and flat.end() - self._at <= self._limit:
            return flat.end()
        self.peek()
        scan = _Scan(self._data[self._at : self._at + 1])
        seen, dropped = 0, False  # bytes from the place on that were looked at
        while True:
            seen = scan.go_on(self._data, self._at + seen) - self._at
            if dropped or seen > self._limit:
                if keep:
                    return None
                self._move(self._at + seen)
                seen, dropped = 0, True
            if scan.done:
                return None if dropped else self._at + seen
            if not self._more():
                return self._at_the_end(scan, keep=keep, dropped=dropped)

    def _at_the_end(self, scan: _Scan, *, keep: bool, dropped: bool) -> int | None:
        if scan.scalar and not dropped:
            return len(self._data)
        if not keep:
            self._move(len(self._data))
            self.cut = True
        return None


class _Scan:
    """A search for the end of a value, chunk by chunk."""

    def __init__(self, first: bytes) -> None:
        self.scalar = first not in (b'"', b"[", b"{")
        self.done = False
        self._depth, self._inside = 0, False

    def go_on(self, data: bytes, at: int) -> int:
        """Look on from ``at``; return where the value ends if it is ``done``, else how far all is known."""
        if self.scalar:
            found = _SCALAR_END.search(data, at)
            self.done = found is not None
            return found.start() if found else len(data)
        while not self.done:
            if self._inside:
                quote = data.find(b'"', at)
                if quote < 0:
                    return len(data) - _backslashes(data, at, len(data)) % 2
                self._inside = _backslashes(data, at, quote) % 2 == 1
                at = quote + 1
                self.done = not self._inside and self._depth == 0
                continue
            found = _STRUCTURE.search(data, at)
            if found is None:
                return len(data)
            at = found.end()
            character = data[at - 1]
            if character == _QUOTE:
                self._inside = True
            else:
                self._depth += 1 if character in b"[{" else -1
                self.done = self._depth <= 0
        return at


def _backslashes(data: bytes, start: int, stop: int) -> int:
    """Number of backslashes just before ``stop``."""
    at = stop
    while at > start and data[at - 1] == _BACKSLASH:
        at -= 1
    return stop - at
