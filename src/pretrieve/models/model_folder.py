"""Detect by its files whether a path holds a model, without torch."""

from __future__ import annotations

from pathlib import Path

from pretrieve.core.errors import UsageError
from pretrieve.core.manifest import kind_of, named
from pretrieve.core.model_files import check_model_files

CONTRIEVER = "checkpoint.pth"  # the original Contriever code's own file
_MARKS = ("config.json", "modules.json", "views.json", "config_sentence_transformers.json")


def model_folder(path: Path) -> Path:
    """Return an existing path after checking that it is a folder with a model.

    Raises:
        UsageError: it is a file, or a folder without configuration and modules; the text says what to do.
        CorruptError: its configuration is damaged.
    """
    if not path.is_dir() and path.name != CONTRIEVER:
        raise UsageError(f"{path} is not a folder; a model is one.")
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and any((folder / name).is_file() for name in _MARKS):
        check_model_files(path)
        return path
    raise UsageError(not_a_model(folder))


def not_a_model(folder: Path) -> str:
    """The error of a folder without ``config.json``, with the remedy."""
    if (folder / CONTRIEVER).is_file():
        return (
            f"{folder} holds {CONTRIEVER} of the original Contriever code, which is not a model of transformers: "
            f"convert it with  python -m pretrieve.models.original_contriever {folder} NEW_FOLDER"
        )
    if (kind := kind_of(folder)) is not None:
        own = f" Its model is {folder / 'model'}." if (folder / "model").is_dir() else ""
        return f"{folder} is {named(kind)} of pretrieve, not a model.{own}"
    return f"{folder} is not a model: it has no config.json. Give a folder of transformers' save_pretrained."
