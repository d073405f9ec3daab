"""Which values of a column fit a comparison: (E,) for its E entries, in NumPy."""

from __future__ import annotations

import re

import numpy as np

from pretrieve.core.types import BoolArray
from pretrieve.index.columns import NO_DATE, Column
from pretrieve.index.field_values import Literal

_STRING, _NUMBER = 0, 1
_EXACT = 1 << 53  # integers beyond are compared as they are written


def equal(column: Column, value: Literal) -> BoolArray:
    """The entries that are a value: the same text, the same number, or a date in the stretch of time that it names.

    A text is a number only for order: ``1.10`` is not ``1.1``, ``007`` not ``7``.
    """
    found = _same_text(column, value.text.encode())
    if value.number is not None and abs(value.number) < _EXACT:
        found |= (column.kinds == _NUMBER) & (column.numbers == value.number)
    if value.span is not None:
        found |= (column.dates >= value.span[0]) & (column.dates < value.span[1])
    return found


def ordered(column: Column, sign: str, value: Literal) -> BoolArray:
    """The entries before or after a value: numbers by size, dates by time, else texts by their characters.

    Args:
        column: the column.
        sign: ``<``, ``<=``, ``>`` or ``>=``.
        value: a number is compared with numbers, a date with dates, a year with both, any other with texts.
    """
    if value.number is None and value.span is None:
        return _ordered_texts(column, sign, value.text.encode())
    found = np.zeros(len(column), bool)
    if value.number is not None:
        with np.errstate(invalid="ignore"):  # what is no number is NaN
            found |= _SIGNS[sign](column.numbers, value.number)
    if value.span is not None:
        first, after = value.span
        dates = column.dates
        inside = {"<": dates < first, "<=": dates < after, ">": dates >= after, ">=": dates >= first}[sign]
        found |= inside & (dates != NO_DATE)
    return found


def containing(column: Column, text: str, *, start: bool) -> BoolArray:
    """The texts that contain a text, or begin with it.

    Args:
        column: the column.
        text: as it is compared.
        start: only where a value begins with it.
    """
    found = np.zeros(len(column), bool)
    if not text:
        return np.asarray(column.kinds == _STRING)
    pattern = re.compile(re.escape(text.encode()))
    places = np.fromiter((match.start() for match in pattern.finditer(column.texts.data)), np.int64)
    entries = np.searchsorted(column.ends, places, side="right") - 1
    found[entries[column.ends[entries] == places] if start else entries] = True
    return np.asarray(found & (column.kinds == _STRING))


_SIGNS = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}


def _same_text(column: Column, text: bytes) -> BoolArray:
    """The entries with a text: those of its length, narrowed byte by byte, from the end, where names differ."""
    found = np.zeros(len(column), bool)
    near = np.flatnonzero(np.diff(column.ends) == len(text) + 1)
    for place in range(len(text) - 1, -1, -1):
        if not len(near):
            break
        near = near[column.texts[column.ends[near] + place] == text[place]]
    found[near] = True
    return found


def _ordered_texts(column: Column, sign: str, text: bytes) -> BoolArray:
    signs = {"<": text.__gt__, "<=": text.__ge__, ">": text.__lt__, ">=": text.__le__}
    fits = signs[sign]
    values = (bool(fits(column.text(entry))) for entry in range(len(column)))
    return np.asarray(np.fromiter(values, bool, len(column)) & (column.kinds == _STRING))
