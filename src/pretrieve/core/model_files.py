"""What lies in a model's folder; its configuration files, checked before libraries read them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pretrieve.core.errors import CorruptError

START = "start"  # folder in a model's: the model before training
CURVES = "curves"  # folder in a model's: what trackers that write files leave
_OBJECTS = ("config.json", "config_sentence_transformers.json", "tokenizer_config.json", "sentence_bert_config.json")
_LARGE = "tokenizer.json"  # megabytes: only its beginning is looked at
_MODULES = "modules.json"
_POINTER = b"version https://git-lfs.github.com"


def check_model_files(folder: Path) -> None:
    """Refuse a folder whose configuration is no configuration; files that are not there are not missed.

    Args:
        folder: of a model.

    Raises:
        CorruptError: a file cannot be read, or holds something else; the text names it.
    """
    for name in _OBJECTS:
        if (folder / name).exists():
            read_object(folder / name)
    if (folder / _MODULES).exists():
        modules = read_json(folder / _MODULES)
        if not isinstance(modules, list) or not modules or not all(isinstance(one, dict) for one in modules):
            raise CorruptError(f"{folder / _MODULES} is not a list of modules: restore the model from a copy.")
    if (folder / _LARGE).exists():
        check_file(folder / _LARGE)
    if (folder / _LARGE).exists() and not _bytes(folder / _LARGE, 64).lstrip().startswith(b"{"):
        raise CorruptError(f"{folder / _LARGE} is not a JSON object: restore the model from a copy.")


def check_file(path: Path) -> None:
    """Refuse a file that cannot be read, is empty, or is a pointer of Git LFS in place of the file.

    Raises:
        CorruptError: it is one of these.
    """
    start = _bytes(path, 64)
    if start.startswith(_POINTER):
        raise CorruptError(
            f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder, or download it again."
        )
    if not start:
        raise CorruptError(f"{path} is empty: download it again, or restore it from a copy.")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model's folder.

    Raises:
        CorruptError: the file cannot be read, or holds something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise CorruptError(f"{path} is not a JSON object: restore the model from a copy.")
    return found


def read_json(path: Path) -> Any:
    """Read a JSON file of a model's folder.

    Raises:
        CorruptError: the file cannot be read.
    """
    check_file(path)
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
