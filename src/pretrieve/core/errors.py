"""The errors a user can meet: one line that says what is wrong, where, and what to do.

Two kinds of error exist here: these, for the user, whose text holds the remedy, and ``assert``, for us.
The command line prints the text of a ``PretrieveError`` and exits with its ``exit_code``; it never shows a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator


class PretrieveError(ValueError):
    """Base of all errors that a user can cause or fix; ``exit_code`` is what the command line returns."""

    exit_code = 1


class PretrieveWarning(UserWarning):
    """Something is done as requested but is likely a mistake: the text says what to do instead."""


class UsageError(PretrieveError):
    """An option, name or value is invalid (exit code 2)."""

    exit_code = 2


class ModelError(UsageError):
    """A model cannot be loaded whole, or is of another kind: the text says what is missing and what to do."""

    exit_code = 1  # nothing is wrong with how the command was written


class DataError(PretrieveError):
    """The documents cannot be read: the text names ``file:line`` and the reason."""


class CorruptError(PretrieveError):
    """An artefact does not match its MANIFEST: the text names the file, what was expected and what was found."""


class VersionError(PretrieveError):
    """An artefact was written in a format that this version cannot read."""


class FingerprintError(PretrieveError):
    """Two artefacts do not belong together (another corpus, tokenizer, model or recipe): the text names both."""


class LockedError(PretrieveError):
    """Another process is writing to the same place: the text names its pid and host."""


class StorageError(PretrieveError):
    """Writing to disk failed (full, read-only, missing): the text names the path and, when known, the bytes needed."""


class NotFiniteError(PretrieveError):
    """The loss or a gradient became NaN or infinite: the text names step, seed and documents; nothing was updated."""


class LostRankError(PretrieveError):
    """Another process that trains has ended, or cannot be reached: the text says why, if known, and how to go on.

    Attributes:
        cause: the first part of the text.
    """

    def __init__(
        self,
        cause: str = "another process of this run has ended or cannot be reached",
        advice: str = "run the same command again",
    ) -> None:
        super().__init__(f"{cause}; {advice}, on any number of processes.")
        self.cause = cause

    def advising(self, advice: str) -> LostRankError:
        """The same error with another way to resume."""
        return LostRankError(self.cause, advice)


class ExtensionError(PretrieveError):
    """A file of the user's own (a method, a reader, ...) is wrong: the text names the file, and the line if known."""


class MissingExtraError(UsageError):
    """An optional part is not installed: the text names the extra to install.

    Attributes:
        extra: its name.
    """

    exit_code = 1  # nothing is wrong with how the command was written

    def __init__(self, text: str, extra: str = "") -> None:
        super().__init__(text)
        self.extra = extra


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it came of, innermost last."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


_LONG_DASHES = "–—−‒‐"  # what word processors and web pages make of a hyphen


def hyphened(word: str) -> str:
    """Return an option that begins with a long dash, as copied texts have it, with hyphens; empty for any other word.

    Example:
        >>> hyphened("—steps")
        '--steps'
    """
    if word[:1] not in tuple(_LONG_DASHES):
        return ""
    name = word.lstrip(_LONG_DASHES + "-")
    return f"{'--' if len(name) > 1 else '-'}{name}"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest known word, else the list of known words.

    Args:
        word: what the user wrote.
        known: the words that would have been right.

    Example:
        >>> suggest("contreiver", ["contriever", "orqa-ict"])
        " Did you mean 'contriever'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(names)}."
