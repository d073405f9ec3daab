"""Values of fields as filters compare them: texts without case, numbers, and dates as stretches of time."""

from __future__ import annotations

import calendar
import datetime
import re
import unicodedata
from dataclasses import dataclass

_NUMBER = re.compile(r"[+-]?(?:\d{1,18}(?:\.\d{1,18})?|\.\d{1,18})(?:[eE][+-]?\d{1,3})?")
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(?:Z|z)?)?)?)?")
_EPOCH = datetime.datetime(1970, 1, 1)
_MICROSECOND = datetime.timedelta(microseconds=1)
_UNITS = ("year", "month", "day", "minute", "second", "microsecond")


def folded(text: str) -> str:
    """A text as it is compared: composed, without case."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def number_of(text: str) -> float | None:
    """The number that a text is, if it is one."""
    return float(text) if _NUMBER.fullmatch(text) else None


def span_of(text: str) -> tuple[int, int] | None:
    """The stretch of time that a text names, in microseconds since 1970: its first, and the first after it.

    Args:
        text: ``2025``, ``2025-01``, ``2025-01-31``, ``2025-01-31T10:00``, ``2025-01-31T10:00:00``; times in UTC.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction = found.groups()
    try:
        start = datetime.datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0),
            int((fraction or "").ljust(6, "0")),
        )  # fmt: skip
    except ValueError:
        return None
    given = [month, day, hour, second, fraction]
    unit = _UNITS[next((place for place, part in enumerate(given) if part is None), 5)]
    first = (start - _EPOCH) // _MICROSECOND
    days = {
        "year": 366 if calendar.isleap(start.year) else 365,
        "month": calendar.monthrange(start.year, start.month)[1],
    }
    length = {
        "day": 86_400_000_000, "minute": 60_000_000, "second": 1_000_000, "microsecond": 1,
    }.get(unit) or days[unit] * 86_400_000_000  # fmt: skip
    return first, first + length


@dataclass(frozen=True, slots=True)
class Literal:
    """A value in a filter.

    Attributes:
        text: as it is compared.
        number: if it is one.
        span: the stretch of time that it names, if it is a date.
    """

    text: str
    number: float | None
    span: tuple[int, int] | None

    @staticmethod
    def of(text: str) -> Literal:
        """A value as it is written."""
        return Literal(folded(text), number_of(text), span_of(text))
