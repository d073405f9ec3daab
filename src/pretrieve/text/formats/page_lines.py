"""From the lines of pages to paragraphs: headers and footers that repeat are removed, broken words and lines joined."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_EDGE = 2  # lines at the top and at the bottom of a page that may be its header and footer
_FEWEST = 3  # pages on which a line has to stand
_SHARE = 0.3  # of the pages: left and right pages may have headers of their own
_NARROW = 40  # characters of a line that holds the number of a page alone
_NUMBER = re.compile(r"\d+")
_PAGE = re.compile(r"\W*(page|seite|p\.?)?\W*#\W*((of|von|de|/)?\W*#)?\W*", re.IGNORECASE)
_BROKEN = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010\x02\ufffe]$")
_SHORT = 0.75  # part of the longest line below which a line ends a paragraph
_ITEM = re.compile(r"[•▪◦‣·*–—-]\s|\(?\d{1,3}[.)]\s|\(?[a-z][.)]\s")


def without_margins(pages: Sequence[Sequence[str]]) -> tuple[list[list[str]], int]:
    """Remove headers and footers from neighbouring pages.

    Args:
        pages: the lines of each page.

    Returns:
        The pages, and the number of lines that were removed.
    """
    counts = Counter(key for page in pages for key in {_key(page[place]) for place in _edges(page)})
    least = max(_FEWEST, _SHARE * len(pages))
    found: list[list[str]] = []
    removed = 0
    for page in pages:
        margins = {place for place in _edges(page) if _is_margin(_key(page[place]), counts, least)}
        found.append([line for place, line in enumerate(page) if place not in margins])
        removed += len(margins)
    return found, removed


def paragraphs(lines: Sequence[str]) -> list[str]:
    """The paragraphs of a page: a line that is much shorter than the longest ends one.

    A word that is broken at the end of a line is joined where the next line goes on in small letters.
    """
    longest = max(map(len, lines), default=0)
    found: list[str] = []
    ended = True
    for line in lines:
        if not line:
            ended = True
            continue
        if ended or _ITEM.match(line):
            found.append(line)
        elif _BROKEN.search(found[-1]) and line[0].islower():
            found[-1] = _BROKEN.sub("", found[-1]) + line
        else:
            found[-1] += f" {line}"
        ended = len(line) < _SHORT * longest and not _BROKEN.search(line)
    return found


def _edges(page: Sequence[str]) -> list[int]:
    """Places of the lines that may be header and footer."""
    filled = [place for place, line in enumerate(page) if line]
    return sorted({*filled[:_EDGE], *filled[-_EDGE:]}) if len(filled) > 1 else []


def _key(line: str) -> str:
    return _NUMBER.sub("#", line)


def _is_margin(key: str, counts: Counter[str], least: float) -> bool:
    return counts[key] >= (_FEWEST if len(key) <= _NARROW and _PAGE.fullmatch(key) else least)
