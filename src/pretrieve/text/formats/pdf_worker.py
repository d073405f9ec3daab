"""The process that reads PDF files: a file that crashes, blocks or bloats PDFium ends this process and no other.

It gets open files through a socket, one after the other, and writes a line of JSON for each page.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson

MEMORY = 384 << 20  # bytes of addresses that the process may use
_HELD = 192 << 20  # bytes from which a document is opened anew: PDFium keeps all that it has parsed
_CHECKED = 500  # pages after which that is looked at
_ENTRIES = 20_000  # most entries of a table of contents
_CHARACTERS = 1 << 22  # most characters of a page


def serve(number: int) -> None:
    """Read files as they come through a socket, until it is closed.

    Args:
        number: of the socket's file descriptor.
    """
    _limit_memory()
    with socket.socket(fileno=number) as link:
        while True:
            message, files, _, _ = socket.recv_fds(link, 1, 1)
            if not message or not files:
                return
            with os.fdopen(files[0], "rb") as file:
                for item in _document(file):
                    sys.stdout.buffer.write(orjson.dumps(item, default=str) + b"\n")
                    sys.stdout.buffer.flush()


def _limit_memory() -> None:
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _document(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The title and contents of a document, then its pages, then its end; or what is wrong."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(file)
        pages = len(document)
        said = {"author": "Author", "date": "CreationDate", "keywords": "Keywords", "subject": "Subject"}
        facts = {name: document.get_metadata_value(key) for name, key in said.items()}
        title = document.get_metadata_value("Title")
        yield {"title": title, "facts": facts, "pages": pages, "contents": _contents(document)}
        for number in range(pages):
            if number % _CHECKED == _CHECKED - 1 and _resident() > _HELD:
                document.close()
                document = pypdfium2.PdfDocument(file)
            yield _page(document, number)
        document.close()
    except pypdfium2.PdfiumError as error:
        secret = getattr(error, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD
        yield {"fault": "encrypted" if secret else "damaged PDF", "detail": "" if secret else str(error)}
        return
    yield {"end": True}


def _resident() -> int:
    """Bytes of memory that the process holds; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _page(document: Any, number: int) -> dict[str, Any]:
    import pypdfium2

    try:
        page = document[number]
        words = page.get_textpage()
        count = words.count_chars()
        text = words.get_text_range(0, min(count, _CHARACTERS)) if count else ""
        words.close()
        page.close()
    except pypdfium2.PdfiumError as error:
        return {"text": "", "bad": str(error)}
    return {"text": text}


def _contents(document: Any) -> list[tuple[int, int, str]]:
    """Page, level and title of the entries of the table of contents."""
    import pypdfium2

    found: list[tuple[int, int, str]] = []
    with contextlib.suppress(pypdfium2.PdfiumError, UnicodeDecodeError):
        for entry in document.get_toc():
            target = entry.get_dest()
            place = target.get_index() if target is not None else None
            if place is not None:
                found.append((place, entry.level, entry.get_title()[:200]))
            if len(found) == _ENTRIES:
                break
    return found
