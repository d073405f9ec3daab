"""The characters of a document: what is refused, replaced or removed, and what is kept.

Line ends become line feeds and other control characters a space. Characters that nobody sees and that part a word from
its twin are removed: the soft hyphen, zero-width spaces, byte order marks, marks of direction. The zero-width joiner
and non-joiner are kept: Persian, Indic scripts and emoji are spelt with them.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_INVISIBLE = re.compile("[\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_USUAL = bytes({9, 10, *range(32, 127)})  # ASCII without control characters


class BadValueError(Exception):
    """What is wrong with a value: reason and detail of a fault."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def clean(value: str) -> str:
    """A text without control and invisible characters, and without white space around it.

    Raises:
        BadValueError: it holds NUL or half of a surrogate pair.
    """
    if value.isascii():
        plain = not value.encode().translate(None, _USUAL)
    else:  # a no-break space is not printable: it takes the longer way, and stays
        plain = value.replace("\n", " ").replace("\t", " ").isprintable()
    if plain:
        return value.strip()
    check(value)
    if "\r" in value:
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    if not value.isascii():
        value = _INVISIBLE.sub("", value)
    return _CONTROL.sub(" ", value).strip()


def line(value: str) -> str:
    """A cleaned text in one line, its white space single blanks.

    Raises:
        BadValueError: as ``clean``.
    """
    if value.isprintable() and "  " not in value:  # what most titles are
        return value.strip()
    return " ".join(clean(value).split())


def check(value: str) -> None:
    """Refuse NUL and half of a surrogate pair.

    Raises:
        BadValueError: one is there.
    """
    if "\0" in value:
        raise BadValueError("NUL character", f"at {value.index(chr(0))}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadValueError("lone surrogate", f"at {error.start}") from None
