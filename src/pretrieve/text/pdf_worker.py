"""The process that reads PDF files: a file that crashes, blocks or bloats PDFium ends this process and no other.

It gets open files through a socket, one after the other, and writes a line of JSON for each page.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import orjson

MEMORY = 384 << 20  # bytes of addresses that the process may use
_REOPEN = 1_000  # pages after which a document is opened anew: PDFium keeps all that it has parsed
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
            for item in _document(f"/dev/fd/{files[0]}"):
                sys.stdout.buffer.write(orjson.dumps(item, default=str) + b"\n")
                sys.stdout.buffer.flush()
            os.close(files[0])


def _limit_memory() -> None:
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _document(path: str) -> Iterator[dict[str, Any]]:
    """The title and contents of a document, then its pages, then its end; or what is wrong."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
        pages = len(document)
        yield {"title": document.get_metadata_value("Title"), "pages": pages, "contents": _contents(document)}
        for number in range(pages):
            if number and number % _REOPEN == 0:
                document.close()
                document = pypdfium2.PdfDocument(path)
            yield _page(document, number)
        document.close()
    except pypdfium2.PdfiumError as error:
        secret = getattr(error, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD
        yield {"fault": "encrypted" if secret else "damaged PDF", "detail": "" if secret else str(error)}
        return
    yield {"end": True}


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
