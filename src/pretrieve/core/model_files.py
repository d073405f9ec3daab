"""The configuration files of a model's folder, checked before libraries read them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pretrieve.core.errors import CorruptError

_OBJECTS = ("config.json", "config_sentence_transformers.json", "tokenizer_config.json", "sentence_bert_config.json")
_LARGE = "tokenizer.json"  # megabytes: only its beginning is looked at
_MODULES = "modules.json"


def check_model_files(folder: Path) -> None:
    """Refuse a folder whose configuration is no configuration; files that are not there are not missed.

    Args:
        folder: of a model.

    Raises:
        CorruptError: a file cannot be read, or holds something else; the text names it.
    """
    for name in _OBJECTS:
        if (folder / name).exists() and not isinstance(_read(folder / name), dict):
            raise CorruptError(f"{folder / name} is not a JSON object: restore the model from a copy.")
    if (folder / _MODULES).exists():
        modules = _read(folder / _MODULES)
        if not isinstance(modules, list) or not modules or not all(isinstance(one, dict) for one in modules):
            raise CorruptError(f"{folder / _MODULES} is not a list of modules: restore the model from a copy.")
    if (folder / _LARGE).exists() and not _bytes(folder / _LARGE, 64).lstrip().startswith(b"{"):
        raise CorruptError(f"{folder / _LARGE} is not a JSON object: restore the model from a copy.")


def _read(path: Path) -> Any:
    try:
        return json.loads(_bytes(path).decode("utf-8"), parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{path} cannot be read ({error}): restore the model from a copy.") from None


def _bytes(path: Path, count: int = -1) -> bytes:
    if not path.is_file():
        raise CorruptError(f"{path} is not a file: restore the model from a copy.")
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise CorruptError(f"{path} cannot be read ({error.strerror}): check who may read it.") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
