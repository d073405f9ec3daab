"""Evaluating answers: exact match, and whether a retrieved text contains an answer.

Exact match normalises as SQuAD and ORQA do (Rajpurkar et al., EMNLP 2016; Lee et al., ACL 2019, ``orqa/utils``);
answer recall finds answers word by word, as DPR does (Karpukhin et al., EMNLP 2020, ``has_answer``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from pretrieve.core.errors import DataError
from pretrieve.core.types import BoolArray

_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Normalise an answer: Unicode NFD, lower case, no punctuation, no articles, single spaces."""
    folded = unicodedata.normalize("NFD", text).lower()
    kept = "".join(char for char in folded if not unicodedata.category(char).startswith("P") and char not in _SYMBOLS)
    return " ".join(_ARTICLES.sub(" ", kept).split())


_SYMBOLS = frozenset("$+<=>^`|~")  # the ASCII signs that Python calls punctuation and Unicode calls symbols


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether a prediction equals one of the answers after normalisation."""
    return normalise(prediction) in {normalise(answer) for answer in answers}


def regex_match(prediction: str, patterns: Sequence[str]) -> bool:
    """Whether one of the regular expressions matches a prediction, ignoring case (CuratedTrec).

    Raises:
        DataError: a pattern cannot be read.
    """
    return any(_compiled(pattern).search(prediction) for pattern in patterns)


def words(text: str) -> list[str]:
    """Cut a text into words and signs, NFD and lower-cased: runs of letters, marks and digits, or one other sign."""
    found: list[str] = []
    inside = False
    for char in unicodedata.normalize("NFD", text).lower():
        kind = unicodedata.category(char)[0]
        if kind in "LNM":
            if inside:
                found[-1] += char
            else:
                found.append(char)
        elif kind not in "ZC":
            found.append(char)
        inside = kind in "LNM"
    return found


def has_answer(text: str, answers: Sequence[str], *, patterns: bool = False) -> bool:
    """Whether a text contains one of the answers, as a sequence of whole words.

    Args:
        text: a retrieved block.
        answers: answers to look for.
        patterns: the answers are regular expressions.

    Raises:
        DataError: a pattern cannot be read.
    """
    if patterns:
        return regex_match(unicodedata.normalize("NFD", text), answers)
    padded = _padded(text)
    return any(sought in padded for sought in map(_padded, answers) if sought != _SPACE)


def answer_recall(holds: BoolArray, cuts: Sequence[int]) -> dict[int, float]:
    """Share of the questions with an answer among the first k blocks.

    Args:
        holds: (B, K) whether block k of question b, best first, holds an answer.
        cuts: the values of k.
    """
    return {cut: float(np.mean(holds[:, :cut].any(axis=1))) for cut in cuts}


_SPACE = "  "


@lru_cache(maxsize=65_536)
def _padded(text: str) -> str:
    """The words with spaces around each, so that a substring is a sequence of whole words."""
    return f" {' '.join(words(text))} "


@lru_cache(maxsize=65_536)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(unicodedata.normalize("NFD", pattern), re.IGNORECASE | re.UNICODE | re.MULTILINE)
    except re.error as error:
        raise DataError(f"the answer {pattern!r} is no regular expression ({error}): leave --patterns out.") from None


def matcher(patterns: bool) -> Callable[[str, Sequence[str]], bool]:
    """Return how predictions are evaluated: by patterns, or by exact match."""
    return regex_match if patterns else exact_match
