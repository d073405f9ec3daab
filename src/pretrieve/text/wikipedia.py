"""What ORQA does to pages of Wikipedia before it makes blocks (``orqa/preprocessing/wiki_preprocessor.py``)."""

from __future__ import annotations

import html
import re

_NO_ARTICLE = re.compile(r"(list|index|outline) of \S|.*\(disambiguation\)", re.IGNORECASE)


def is_article(title: str) -> bool:
    """Whether a page is an article: not "List of ...", "Index of ...", "Outline of ..." or "(disambiguation)"."""
    return _NO_ARTICLE.match(html.unescape(title).strip()) is None


def unescaped(text: str) -> str:
    """Read HTML entities, which WikiExtractor leaves in its text (``&lt;``, ``&amp;``, ``&#39;``)."""
    return html.unescape(text)
