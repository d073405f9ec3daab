"""HTML pages: navigation, banners, footers and what is hidden are dropped, long pages are cut at headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats import pages
from pretrieve.text.formats.outline import outlined
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".html", ".htm", ".xhtml", ".xht", ".shtml")
_CHARSET = re.compile(
    rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})|\A\s*<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})",
    re.IGNORECASE,
)


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a page as one document if short, else as one document a section, titled ``Guide > Install``.

    Args:
        path: the file, perhaps compressed; UTF-8 unless it declares another charset.
        limit: most bytes of the file.
    """
    return outlined(path, limit, pages.outline, charset)


def charset(head: bytes) -> str | None:
    """The charset that a page declares."""
    found = _CHARSET.search(head)
    return (found[1] or found[2]).decode() if found else None


def recognises(head: bytes) -> bool:
    """Whether a file without a known suffix is a page."""
    return re.match(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<(!doctype\s+html|html)\b", head, re.IGNORECASE) is not None
