"""Arguments that a Python program gives: paths, with one clear line for anything else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pretrieve.core.errors import UsageError


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


def output_of(value: object, name: str = "output") -> Path:
    """An output folder; None: a new one in the system's temporary folder.

    Raises:
        UsageError: as ``path_of``.
    """
    return Path(tempfile.mkdtemp(prefix="pretrieve-")) / "model" if value is None else path_of(value, name)


def check_mapping(value: object, name: str) -> None:
    """Refuse what should be a dict and is not.

    Args:
        value: a dict, or None.
        name: name of the argument.

    Raises:
        UsageError: it is something else.
    """
    if value is not None and not isinstance(value, Mapping):
        raise UsageError(f"{name}={value!r:.60}: give a dict of values by name.")
