"""Org files: marks, drawers and settings are dropped, the text is kept; long documents are cut at headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.outline import Outline, outlined
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".org",)
_HEADING = re.compile(r"(\*+)[ \t]+(?:(?:TODO|DONE|NEXT|WAITING)[ \t]+)?(?:\[#\w\][ \t]+)?(.*)")
_TAGS = re.compile(r"[ \t]:[\w@:]+:$")
_TITLE = re.compile(r"#\+title:[ \t]*(.*)", re.IGNORECASE)
_PASSED = re.compile(r"[ \t]*(?:#\+.*|#(?:[ \t].*)?|\|[-+|]+)|(?:[ \t]*(?:SCHEDULED|DEADLINE|CLOSED):.*)")
_DRAWER = re.compile(r"[ \t]*:(?:PROPERTIES|LOGBOOK):[ \t]*", re.IGNORECASE)
_DRAWER_END = re.compile(r"[ \t]*:END:[ \t]*", re.IGNORECASE)
_LINK = re.compile(r"\[\[([^\[\]]+)\](?:\[([^\[\]]+)\])?\]")
_MARKS = re.compile(r"(?<!\w)([*/_=~+])(?=\S)([^\n]{1,300}?)(?<=\S)\1(?!\w)")
_SAYS = re.compile(r"^#\+(AUTHOR|DATE|EMAIL|LANGUAGE|KEYWORDS|FILETAGS):[ \t]*(\S.*?)[ \t]*$", re.M | re.I)
_ITEM = re.compile(r"([ \t]*)(?:[-+]|\d+[.)])[ \t]+(?:\[[ X-]\][ \t]+)?")


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document if short, else as one document a section, titled ``Guide > Install``.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    return outlined(path, limit, outline)


def outline(source: str) -> Outline:
    """Headings and blocks of a text."""
    found = Outline(facts=lambda: {name.lower(): value for name, value in _SAYS.findall(source)})
    block: list[str] = []
    in_drawer = False
    for number, line in enumerate([*source.split("\n"), ""], start=1):
        heading = _HEADING.fullmatch(line)
        if heading or not line.strip():
            found.block("\n".join(block))
            block.clear()
        if not any(block):
            found.line = number
        if heading:
            in_drawer = False
            found.heading(len(heading[1]), _plain(_TAGS.sub("", heading[2].rstrip())))
        elif title := _TITLE.fullmatch(line):
            found.title = title[1].strip()
        elif in_drawer or _DRAWER.fullmatch(line):
            in_drawer = not _DRAWER_END.fullmatch(line)
        elif not _PASSED.fullmatch(line):
            block.append(_plain(line))
    return found


def _plain(line: str) -> str:
    line = _ITEM.sub(r"\1", _LINK.sub(lambda found: found[2] or found[1], line), count=1)
    if line.lstrip().startswith("|"):
        line = " | ".join(cell.strip() for cell in line.split("|") if cell.strip())
    return _MARKS.sub(r"\2", line)
