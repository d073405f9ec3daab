"""Workbooks of Excel: a sheet is a section, a row a line ``cell | cell``; dates are written as dates."""

from __future__ import annotations

import datetime
import re
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from pretrieve.text.formats.container import Container, read_parts
from pretrieve.text.formats.sections import Sections
from pretrieve.text.formats.xml_events import Event
from pretrieve.text.records import Fault, Record

SUFFIXES = (".xlsx", ".xlsm")
_MAIN = "xl/workbook.xml"
_MEMORY = 16 << 20  # bytes of shared strings in memory; more lie on disk
_DATES = frozenset({*range(14, 23), *range(45, 48)})  # number formats that are dates and times
_DATE = re.compile(r"[ymdhs]", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')  # parts of a number format that are no codes
_EPOCH = datetime.datetime(1899, 12, 30)
_LAST = 2_958_466  # day after 9999-12-31


def read(path: Path, limit: int) -> Iterator[Record | Fault]:
    """Read a workbook as one record if short, else as one record a sheet, or several.

    Args:
        path: the file.
        limit: most bytes of one tag of its XML.
    """
    return read_parts(path, limit, _MAIN, _workbook)


def _workbook(container: Container, sections: Sections) -> Iterator[Record]:
    sections.title = container.text("docProps/core.xml", "title")
    sections.facts = container.properties("docProps/core.xml").copy
    with tempfile.SpooledTemporaryFile(_MEMORY) as file:
        strings = _Strings(container.events("xl/sharedStrings.xml"), file)
        yield from _sheets(container, sections, strings)


def _sheets(container: Container, sections: Sections, strings: _Strings) -> Iterator[Record]:
    dates, related = _date_styles(container), container.related(_MAIN)
    for kind, value, attributes, _ in container.events(_MAIN):
        if kind != "start" or value != "sheet":
            continue
        what, target = related.get(attributes.get(":id", ""), ("", ""))
        if what == "worksheet":
            sections.heading(1, attributes.get("name", ""), is_text=False)
            for row in _rows(container.events(target), strings, dates):
                sections.line(row)
                yield from sections.ready()


class _Strings:
    """The strings that cells share, in a file that is in memory as long as they are few."""

    def __init__(self, found: Iterable[Event], file: tempfile.SpooledTemporaryFile[bytes]) -> None:
        self._file = file
        self._starts = array("q", [0])
        for text in _texts(found):
            self._file.write(text.encode(errors="replace"))
            self._starts.append(self._file.tell())

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self._starts) - 1:
            return ""
        self._file.seek(self._starts[number])
        return self._file.read(self._starts[number + 1] - self._starts[number]).decode()


def _texts(found: Iterable[Event]) -> Iterator[str]:
    """The text of each string item, without what says how it is pronounced."""
    words: list[str] = []
    inside = phonetic = False
    for kind, value, _, _ in found:
        if kind == "text":
            if inside and not phonetic:
                words.append(value)
        elif value == "t":
            inside = kind == "start"
        elif value == "rPh":
            phonetic = kind == "start"
        elif value == "si" and kind == "end":
            yield "".join(words)
            words = []


def _date_styles(container: Container) -> frozenset[int]:
    """The styles of cells that show a date."""
    dates, styles = set(_DATES), []
    inside = False
    for kind, value, attributes, _ in container.events("xl/styles.xml"):
        if value == "cellXfs":
            inside = kind == "start"
        elif kind == "start" and value == "numFmt" and _DATE.search(_QUOTED.sub("", attributes.get("formatCode", ""))):
            dates.add(_number(attributes.get("numFmtId", "")))
        elif kind == "start" and value == "xf" and inside:
            styles.append(_number(attributes.get("numFmtId", "")))
    return frozenset(number for number, style in enumerate(styles) if style in dates)


def _rows(found: Iterable[Event], strings: _Strings, dates: frozenset[int]) -> Iterator[str]:
    """The rows of a sheet, without empty cells."""
    row: list[str] = []
    words: list[str] = []
    cell: dict[str, str] = {}
    inside = False
    for kind, value, attributes, _ in found:
        if kind == "text":
            if inside:
                words.append(value)
        elif value in ("v", "t"):
            inside = kind == "start"
        elif value == "c" and kind == "start":
            cell, words = attributes, []
        elif value == "c":
            text = " ".join(_cell(cell, "".join(words), strings, dates).split())
            row += [text] if text else []
        elif value == "row" and kind == "end":
            yield " | ".join(row)
            row = []


def _cell(cell: dict[str, str], value: str, strings: _Strings, dates: frozenset[int]) -> str:
    kind = cell.get("t", "n")
    if kind == "s":
        return strings[_number(value)]
    if kind == "b":
        return "TRUE" if value == "1" else "FALSE"
    if kind == "n" and _number(cell.get("s", "")) in dates:
        return _date(value)
    return value


def _date(value: str) -> str:
    """A date, time or both, of the days since 1900."""
    try:
        days = float(value)
    except ValueError:
        return value
    if not 0 <= days < _LAST:
        return value
    moment = _EPOCH + datetime.timedelta(seconds=round(days * 86_400))
    if days < 1:
        return moment.time().isoformat()
    return moment.date().isoformat() if moment.time() == datetime.time() else moment.isoformat(" ")


def _number(value: str) -> int:
    return int(value) if value.isdecimal() else -1
