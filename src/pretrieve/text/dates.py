"""Dates as people and programs write them, to ISO 8601: ``2025-01-31``, ``2025-01-31T10:00:00``, in UTC with a ``Z``.

A date whose day and month could be exchanged (``01/02/2025``) is no date here: nobody can tell.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from email.utils import parsedate_to_datetime

_LOOKS = re.compile(r"(?=.{8,40}\Z).*\d")  # what is worth trying
_ISO = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})")
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(?:[.,]\d{1,9})?)?\s?(Z|UTC|[+-]\d\d:?\d\d)?", re.I)
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_WORDS = re.compile(r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?(\d{1,2})\.?\s+([a-z]{3,9})\.?,?\s+(\d{4})", re.I)
_AMERICAN = re.compile(r"([a-z]{3,9})\.?\s+(\d{1,2}),?\s+(\d{4})", re.I)
_LETTER = re.compile(r"(?:[a-z]{3},\s*)?\d{1,2}\s+[a-z]{3}\s+\d{4}\s+\d\d:\d\d.*", re.I)
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip


def iso_date(text: str) -> str | None:
    """A date, or a date and time, in ISO 8601; None for a text that is neither.

    Args:
        text: such as ``2025/1/31``, ``31.1.2025``, ``31 January 2025``, ``Fri, 31 Jan 2025 10:00:00 +0100``.
    """
    if not _LOOKS.match(text):
        return None
    with contextlib.suppress(ValueError, TypeError, IndexError, OverflowError):
        if found := _ISO.fullmatch(text):
            return datetime.date(int(found[1]), int(found[3]), int(found[4])).isoformat()
        if _ISO_TIME.fullmatch(text):
            return written(_moment(text))
        if found := _DOTTED.fullmatch(text):
            return datetime.date(int(found[3]), int(found[2]), int(found[1])).isoformat()
        if found := _WORDS.fullmatch(text):
            return datetime.date(int(found[3]), _month(found[2]), int(found[1])).isoformat()
        if found := _AMERICAN.fullmatch(text):
            return datetime.date(int(found[3]), _month(found[1]), int(found[2])).isoformat()
        if _LETTER.fullmatch(text):
            return written(parsedate_to_datetime(text))
    return None


def written(moment: datetime.date) -> str:
    """A date or a moment in ISO 8601; one with a time zone in UTC."""
    if not isinstance(moment, datetime.datetime):
        return moment.isoformat()
    if moment.tzinfo is None:
        return moment.isoformat()
    return moment.astimezone(datetime.UTC).replace(tzinfo=None).isoformat() + "Z"


def _moment(text: str) -> datetime.datetime:
    text = text.upper().replace("UTC", "Z").replace(" Z", "Z").replace(",", ".").replace(" +", "+").replace(" -", "-")
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    return datetime.datetime.fromisoformat(text)


def _month(name: str) -> int:
    """The number of a month by its name, or the first three letters of it.

    Raises:
        ValueError: there is no such month.
    """
    lowered = name.lower()
    found = [number for number, month in enumerate(_MONTHS, 1) if lowered in (month, month[:3], month[:4])]
    if not found:
        raise ValueError(name)
    return found[0]
