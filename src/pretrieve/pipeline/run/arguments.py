"""Arguments that a Python program gives: paths, with one clear line for anything else."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pretrieve.core.errors import UsageError
from pretrieve.pipeline.run import processes


def path_of(value: object, name: str) -> Path:
    """A path.

    Args:
        value: a text or a path.
        name: name of the argument.

    Raises:
        UsageError: it is something else, empty, or no path of any system.
    """
    return Path(text_of(value, name))


def text_of(value: object, name: str) -> str:
    """A path or another name, as text.

    Args:
        value: a text or a path.
        name: name of the argument.

    Raises:
        UsageError: as ``path_of``.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise UsageError(f"{name}={value!r:.60}: give a text or a path.")
    if not text.strip() or "\0" in text:
        raise UsageError(f"{name}={text!r:.60}: it is {'empty' if not text.strip() else 'no path'}.")
    try:
        text.encode(errors="surrogateescape")
        Path(text).exists()
    except (OSError, ValueError):
        raise UsageError(f"{name}={text!r:.60}: there can be no such path.") from None
    return text


@contextlib.contextmanager
def output_of(value: object, name: str = "output") -> Iterator[Path]:
    """An output folder while it is written; None: a temporary one, the same for all processes of a run.

    Of a temporary one nothing is left where nothing was written.

    Raises:
        UsageError: as ``path_of``.
    """
    if value is not None:
        yield path_of(value, name)
        return
    folder = Path(processes.current().of_first(lambda: tempfile.mkdtemp(prefix="pretrieve-")))
    try:
        yield folder / "model"
    finally:
        with contextlib.suppress(OSError):  # a model, or a run to resume, is there
            folder.rmdir()


def names_of(value: object, name: str, *, least: int = 1) -> tuple[str, ...]:
    """One name or several.

    Args:
        value: a text, or texts.
        name: name of the argument.
        least: minimum number of them.

    Raises:
        UsageError: it is something else.
    """
    several = (value,) if isinstance(value, str | os.PathLike) else value
    if not isinstance(several, Iterable) or isinstance(several, bytes | Mapping):
        raise UsageError(f"{name}={value!r:.60}: give a name, or a list of names.")
    found = tuple(text_of(item, name) for item in several)
    if len(found) < least:
        raise UsageError(f"{name} is empty: give a name, or a list of names.")
    return found
