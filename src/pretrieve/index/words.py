"""What a word is: patterns of the package's own tokenizer, and of those of bm25s and Lucene."""

from __future__ import annotations

import re
from typing import Literal

Tokenizer = Literal["pretrieve", "bm25s", "lucene"]

# ``\w`` leaves out combining marks, which would cut Indic, Arabic and decomposed words in two.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
    "\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a03\u0a3c-\u0a51\u0a70\u0a71"
    "\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bd7\u0c00-\u0c04\u0c3c-\u0c56\u0c81-\u0c83"
    "\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d57\u0dca-\u0ddf\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd"
    "\u0f18-\u0f84\u102b-\u103e\u17b4-\u17d3\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a"
)
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
ZWNJ, ZWJ = "\u200c", "\u200d"  # Persian and Indic words are spelt with and without them
_WORD = re.compile(f"[\\w{_MARKS}{ZWNJ}{ZWJ}]+")
RUN = re.compile(f"[{_SPACELESS}]+|[^{_SPACELESS}]+")
IS_SPACELESS = re.compile(f"[{_SPACELESS}]")
BORDER = re.compile(
    r"[_\u200c]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)",
)

# StandardTokenizer of Lucene, which is UAX #29: a mark between letters (it's, e.g) or digits (3.14) does not part a
# word; an ideograph and a hiragana sign are words of their own.
_SINGLE = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = f"[^\\W\\d_{_SINGLE}]"
_PART = f"(?:[^\\W{_SINGLE}]|[{_MARKS}])+"
_UAX29 = re.compile(
    f"[{_SINGLE}][{_MARKS}]*"
    f"|{_PART}(?:(?<={_LETTER})['\u2018\u2019.:\u00b7](?={_LETTER}){_PART}|(?<=\\d)[.,;'\u2018\u2019](?=\\d){_PART})*"
)
PATTERNS: dict[Tokenizer, re.Pattern[str]] = {
    "pretrieve": _WORD,
    "bm25s": re.compile(r"\b\w\w+\b"),
    "lucene": _UAX29,
}
POSSESSIVE = re.compile("['\u2019\uff07][sS]$")  # what Lucene's EnglishPossessiveFilter takes off
