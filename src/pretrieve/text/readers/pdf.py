"""PDF files, by PDFium (extra ``documents``): cut at the entries of their table of contents, else at pages."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pretrieve.core.extras import require
from pretrieve.text.files.streams import DamagedStreamError
from pretrieve.text.formats.page_lines import paragraphs, without_margins
from pretrieve.text.formats.pdf_pages import messages
from pretrieve.text.formats.sections import Sections
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".pdf",)
_WINDOW = 32  # pages among which headers and footers are looked for
_JOINED = re.compile(
    r"(?<=\w)[\x02\ufffe\u00ad](?:\r?\n)?(?=\w)"
)  # PDFium's marks of a word broken at the end of a line
_NO_TITLE = re.compile(
    r"(microsoft (word|powerpoint|excel)\b.*|untitled.*|(powerpoint )?presentation\d*|slide \d+|.*\.\w{2,4}|\W*)",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)(\d\d)")
_NO_LETTER = re.compile(r"[\W_]+")
Entry = tuple[int, str]


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one record if short, else as one record a section of its contents, or a few pages.

    Args:
        path: the file.
        limit: not used: a page is cut at some millions of characters.

    Raises:
        MissingExtraError: pypdfium2 is not installed.
    """
    require("documents", str(path))
    sections = Sections(path)
    counts = {"pages": 0, "blank": 0, "bad": 0, "margins": 0}
    fault: Fault | None = None
    try:
        yield from _sections(messages(path), sections, counts)
    except DamagedStreamError as error:
        fault = error.fault(f"{path}:{counts['pages'] + 1}")
    yield from sections.records()
    if fault is None and counts["pages"] == counts["blank"]:
        fault = Fault(f"{path}:1", "no text in the pages", f"{counts['pages']:,} pages, perhaps scanned")
    elif fault is None and counts["blank"] > counts["bad"]:
        yield Note(
            str(path), "with pages without text", f"{counts['blank'] - counts['bad']:,} of {counts['pages']:,} pages"
        )
    if counts["bad"]:
        yield Note(str(path), "with damaged pages", f"{counts['bad']:,} of {counts['pages']:,} pages")
    if counts["margins"]:
        yield Note(str(path), "without repeated page headers and footers", f"{counts['margins']:,} lines")
    if fault is not None:
        yield fault


def _sections(found: Iterator[dict[str, Any]], sections: Sections, counts: dict[str, int]) -> Iterator[Record]:
    """Gather the pages, and give records where there are many."""
    first = next(found)
    title = " ".join((first["title"] or "").split())
    sections.title = "" if _NO_TITLE.fullmatch(title) else title
    sections.facts = partial(_facts, first["facts"])
    contents: dict[int, list[Entry]] = defaultdict(list)
    for page, level, text in first["contents"]:
        contents[page].append((level + 1, text))
    number = 0
    for window in _batched(_pages(found, counts), _WINDOW):
        kept, removed = without_margins(window)
        counts["margins"] += removed
        for lines in kept:
            sections.page = number + 1
            _page(lines, contents[number], sections)
            number += 1
        yield from sections.ready()


def _facts(said: dict[str, str]) -> dict[str, object]:
    """What a file says of itself; its date is written ``D:20250131...``."""
    date = _DATE.match(said.get("date") or "")
    return {**said, "date": "-".join(date.groups()) if date else ""}


def _pages(found: Iterator[dict[str, Any]], counts: dict[str, int]) -> Iterator[list[str]]:
    """The lines of each page."""
    for message in found:
        text = _JOINED.sub("", message["text"])
        lines = [" ".join(line.split()) for line in text.splitlines()]
        counts["pages"] += 1
        counts["bad"] += "bad" in message
        counts["blank"] += not any(lines)
        yield lines


def _batched(pages: Iterator[list[str]], size: int) -> Iterator[list[list[str]]]:
    """Pages in batches; those before an error are given."""
    batch: list[list[str]] = []
    try:
        for page in pages:
            batch.append(page)
            if len(batch) == size:
                yield batch
                batch = []
    except DamagedStreamError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _page(lines: list[str], entries: list[Entry], sections: Sections) -> None:
    """Add a page; an entry of the contents begins at the line that repeats its title, else at the top of the page."""
    keys = [_key(line) for line in lines] if entries else []
    start = 0
    for level, text in entries:
        key = _key(text)
        place = next((place for place in range(start, len(lines)) if key and keys[place].endswith(key)), None)
        stop = start if place is None else place
        _paragraphs(lines[start:stop], sections)
        sections.heading(level, text)
        start = stop if place is None else place + 1
    _paragraphs(lines[start:], sections)


def _paragraphs(lines: list[str], sections: Sections) -> None:
    for text in paragraphs(lines):
        sections.block(text)


def _key(text: str) -> str:
    return _NO_LETTER.sub("", text).lower()
