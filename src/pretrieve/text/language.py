"""Which language a text is in, and whether its script puts spaces between words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

# Thai, Lao, Tibetan, Myanmar, Khmer, kana, and the ideographs of planes 0, 2 and 3.
SPACELESS = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_SAMPLE = 20_000  # characters looked at; a script shows at once
_DETECT = 2_000  # characters given to the language detector, which reads every one of them
# Written in more than one way: Norwegian by its written forms, Chinese by script, codes that ISO 639 withdrew.
_ALIASES = {"nb": "no", "nn": "no", "zh-hans": "zh-cn", "zh-hant": "zh-tw", "iw": "he", "in": "id", "ji": "yi"}


def spaceless(text: str, share: float = 0.3) -> bool:
    """Whether a text is in a script without spaces between words (Chinese, Japanese, Thai, Khmer, ...).

    Args:
        text: any text; its first 20,000 characters are looked at.
        share: part of the letters that has to be of such scripts, 0 to 1.
    """
    head = text[:_SAMPLE]
    letters = sum(map(str.isalpha, head))
    return letters > 0 and len(SPACELESS.findall(head)) > share * letters


def starts_spaceless(token: str) -> bool:
    """Whether the first character of a token is a letter (not a combining vowel sign) of a spaceless script."""
    return SPACELESS.match(token) is not None and unicodedata.category(token[0]).startswith("L")


def detect(text: str) -> str:
    """Return the two-letter ISO 639-1 code of the language of a text; ``"en"`` when it has no letters.

    The first 2,000 characters decide, by the identifier of Lui & Baldwin, *langid.py*, ACL 2012 demos (py3langid).
    """
    head = text[:_DETECT]
    if not any(map(str.isalpha, head)):
        return "en"
    import py3langid  # loads a model, which takes a fraction of a second: imported on use

    return str(py3langid.classify(head)[0])


def majority(texts: Iterable[str]) -> str:
    """Return the most frequent language of some texts; ``"en"`` when there are none; ties break by code."""
    counts = Counter(detect(text) for text in texts)
    return min(counts, key=lambda code: (-counts[code], code), default="en")


def same_language(group: str, language: str) -> bool:
    """Whether a group of documents contains a language.

    Case and the sign between the parts of a code do not matter (``pt_BR`` is ``pt-br``), Bokmål and Nynorsk are
    Norwegian, and simplified and traditional script are ``zh-cn`` and ``zh-tw``. A code without a region stands for all
    of them, on either side: ``zh``, as a detector says, holds ``zh-cn`` and ``zh-tw``; ``pt-BR`` holds ``pt``. Two
    regions are two languages: ``zh-hk`` does not hold ``zh-cn``.

    Args:
        group: name of a group, usually a code of ISO 639-1 with or without a region.
        language: code of a language.
    """
    first, second = _parts(group), _parts(language)
    return first == second or (first[0] == second[0] and "" in (first[1], second[1]))


def _parts(code: str) -> tuple[str, str]:
    """Language and region (or script), in lower case."""
    code = re.sub(r"[_@]", "-", code.strip().lower())
    language, _, region = _ALIASES.get(code, code).partition("-")
    return _ALIASES.get(language, language), region
