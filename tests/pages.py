"""The examples of the pages on adding something: the files that they show."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def example(page: str) -> str:
    """The file that a page shows, after the comment that says so."""
    (text,) = re.findall(r"<!--[^>]*-->\n```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    return str(text)
