"""A mistake in a command line as one line with a remedy, in place of Typer's box.

Typer's errors are recognised by their methods: which classes they are differs between its versions.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pretrieve.core.errors import hyphened

_CHOICES = re.compile(r"'(?P<value>[^']*)' is not one of (?P<known>.+?)\.?$")
_SEVERAL_WORDS = {"search", "answer"}  # commands whose last argument is a text


def is_usage_error(error: BaseException) -> bool:
    """Whether an exception is one of Typer's, about the command line."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def line_of(error: Any, arguments: Sequence[str], commands: Iterable[str]) -> str:
    """The message in one line: what is wrong, what to do, and where the help is; empty where help was printed already.

    Args:
        error: an error of Typer.
        arguments: the command line, without the program's name.
        commands: names of all commands.
    """
    message = error.format_message().strip()
    if not message:
        return ""
    known, context = list(commands), getattr(error, "ctx", None)
    own = " ".join(["pretrieve", *(word for word in arguments[:1] if word in known)])
    path = own if context is None else str(context.command_path)
    message = re.sub(r"\s*\n\s*", " ", message).replace("Value error, ", "").replace("argument(s)", "argument")
    message += "" if message.endswith((".", "?", ")")) else "."
    hint = _dash(arguments) or _order(message, arguments, known) or _close(error, message)
    hint = hint or _quotes(message, arguments)
    message = re.sub(r" \(Possible options: [^)]*\)|Did you mean .*\?$", "", message).rstrip(" ")
    message += "" if message.endswith((".", ")")) else "."
    return f"{path}: {message}{hint} See `{path} --help`."


def _dash(arguments: Sequence[str]) -> str:
    """A hint where an option begins with a dash that is no hyphen, as copied texts have."""
    found = next(((word, meant) for word in arguments if (meant := hyphened(word))), None)
    return "" if found is None else f" {found[0]!r} begins with a long dash: write {found[1]}."


def _order(message: str, arguments: Sequence[str], commands: Sequence[str]) -> str:
    """A hint where an option stands before the command."""
    place = next((place for place, word in enumerate(arguments) if word in commands), 0)
    if message.startswith("No such option") and place and any(word[:1] == "-" for word in arguments[:place]):
        command = arguments[place]
        return f" Options follow the command: pretrieve {command} {' '.join(arguments[:place])} ..."
    return ""


def _close(error: Any, message: str) -> str:
    """The known word that is closest to the one that was written."""
    if chosen := _CHOICES.search(message):
        known = re.findall(r"'([^']*)'", chosen["known"])
        close = difflib.get_close_matches(chosen["value"].lower(), known, n=1)
        return f" Did you mean '{close[0]}'?" if close else ""
    if near := re.search(r"Did you mean ('[^']*'|\S+)\?", message):
        return f" Did you mean {near[1]}?"
    possible = getattr(error, "possibilities", None) or ()
    name = str(getattr(error, "option_name", ""))
    close = difflib.get_close_matches(name, possible, n=1, cutoff=0.0)
    return f" Did you mean {close[0]}?" if close else ""


def _quotes(message: str, arguments: Sequence[str]) -> str:
    """A hint where the words of a text were not quoted."""
    several = "unexpected extra argument" in message and any(word in _SEVERAL_WORDS for word in arguments[:1])
    return " Write a text of several words between quotes." if several else ""
