"""What a search is asked for, checked before anything is computed."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal, get_args

from pretrieve.core.errors import UsageError, suggest

Mode = Literal["hybrid", "dense", "lexical"]
MODES: tuple[Mode, ...] = get_args(Mode)
LONGEST = 100_000  # characters of a query


def check_query(query: object, name: str = "the query") -> str:
    """A query, if it is a text that can be searched for.

    Args:
        query: what was given.
        name: what to call it.

    Raises:
        UsageError: it is no text, blank, too long, or holds characters that no text has.
    """
    if not isinstance(query, str):
        raise UsageError(f"{name} is not a text but {type(query).__name__}: give a text, or a list of texts.")
    if not query.strip():
        raise UsageError(f"{name} is empty: give the words to search for.")
    if len(query) > LONGEST:
        raise UsageError(f"{name} has {len(query):,} characters; {LONGEST:,} is the maximum: give a passage of it.")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{name} holds a lone surrogate at {error.start}, which is no character.") from None
    return str(query)


def check_queries(queries: Sequence[object]) -> list[str]:
    """Queries that can be searched for; the first that cannot is named by its place.

    Raises:
        UsageError: as ``check_query``.
    """
    return [check_query(query, f"queries[{number}]") for number, query in enumerate(queries)]


def check_top_k(number: object) -> int:
    """A number of hits, at least 1; more than there are documents gives all of them.

    Raises:
        UsageError: it is no whole number, or below 1.
    """
    try:
        if isinstance(number, bool):
            raise TypeError
        found = operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"top_k={number!r:.40}: give a whole number of hits, at least 1.") from None
    if found < 1:
        raise UsageError(f"top_k={found}: the minimum is 1.")
    return found


def check_mode(mode: object) -> Mode:
    """A mode that exists.

    Raises:
        UsageError: it does not; the closest is suggested.
    """
    for known in MODES:
        if isinstance(mode, str) and mode == known:
            return known
    raise UsageError(f"unknown mode {mode!r:.40}.{suggest(str(mode)[:40], MODES)}")
