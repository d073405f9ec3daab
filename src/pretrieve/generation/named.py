"""Opening models by folder or hub name, without warnings of the libraries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrieve.core import files
from pretrieve.core.errors import UsageError
from pretrieve.core.extras import require
from pretrieve.models.pretrained import quietly


@contextlib.contextmanager
def opening(name: str, what: str) -> Iterator[None]:
    """Open a model within it: quiet, and errors of the libraries as one line.

    Args:
        name: folder, or name of the hub.
        what: it has to be, for the text of an error.

    Raises:
        UsageError: there is no such folder, or the libraries cannot open it.
        MissingExtraError: the libraries are not installed.
    """
    if not Path(name).is_dir() and (name.startswith(("/", ".", "~")) or name.count("/") > 1):
        raise UsageError(f"{name}: no such folder; give a folder with {what}, or a name of the hub.")
    require("train", name)
    try:
        with quietly():
            yield
    except UsageError:
        raise
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"{name}: no {what} could be opened; give a folder with one, or a name of the hub ({reason})."
        ) from None


def identity(name: str, config: Any) -> str:
    """What a model is known by: the hash of its folder, or its name with the version that the hub gave."""
    path = Path(name)
    return files.digest(path) if path.is_dir() else f"{name}@{getattr(config, '_commit_hash', None)}"


def longest(tokenizer: Any, otherwise: int) -> int:
    """Tokens that a tokenizer says its model reads; where it says nothing, ``otherwise``."""
    said = int(tokenizer.model_max_length)
    return said if said < 1 << 20 else otherwise  # what knows no limit gives a number beyond all use
