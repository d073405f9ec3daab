"""Escape text from outside (titles, ids, paths, names of models) for the terminal."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_SPACES = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]")
# C0 and C1 controls, DEL, overrides of the writing direction, and bytes of a path that are no UTF-8
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: object, *, lines: bool = False, markup: bool = False) -> str:
    r"""Escape unprintable characters, which could control a terminal, such as ``\x1b``.

    Args:
        text: text to print.
        lines: keep line breaks and tabs; without it they become spaces, one for one.
        markup: it is printed by Rich, which takes ``[red]`` for a style: escape such brackets too.

    Example:
        >>> shown("a title\x1b[2J")
        'a title\\x1b[2J'
    """
    found = str(text)
    if not lines:
        found = _SPACES.sub(" ", found)
    found = _UNSAFE.sub(lambda match: match[0] if lines and match[0] in "\n\t" else _escaped(match[0]), found)
    if not markup:
        return found
    from rich.markup import escape

    return escape(found)


def command_line(words: Sequence[str]) -> str:
    """A command that can be copied into a shell; words with control characters stand in ``$'...'``.

    Args:
        words: the program and its arguments.
    """
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if not _UNSAFE.search(word):
        return shlex.join([word])
    inner = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _UNSAFE.sub(lambda match: _escaped(match[0]), inner) + "'"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}"
