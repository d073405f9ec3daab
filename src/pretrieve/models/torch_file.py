"""Files of ``torch.save``, as released checkpoints have them: read as weights alone, so that no code in them runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from pretrieve.core.errors import CorruptError


def read_torch(path: Path) -> dict[str, Any]:
    """Read tensors, numbers, text and containers of them, and the command line of an ``argparse`` program.

    Args:
        path: what ``torch.save`` wrote.

    Raises:
        CorruptError: it is damaged, or holds other objects, whose reading could run code.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # a plain holder of values
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a stranger's file brings about
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CorruptError(
            f"{path} cannot be read as weights alone ({reason}): it is damaged, or would run code when it is read."
        ) from None
    if not isinstance(found, dict):
        raise CorruptError(f"{path} holds a {type(found).__name__}, and not weights by name.")
    return found
