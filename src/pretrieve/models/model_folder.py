"""Whether a path holds a model, told by its files, without torch."""

from __future__ import annotations

from pathlib import Path

from pretrieve.core.errors import UsageError
from pretrieve.core.model_files import check_model_files

CONTRIEVER = "checkpoint.pth"  # the original Contriever code's own file
_MARKS = ("config.json", "modules.json", "views.json")


def model_folder(path: Path) -> Path:
    """Return a path that is there, if it is a folder with a model.

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
    """Say of a folder without ``config.json`` what is wrong with it, and what to do."""
    if (folder / CONTRIEVER).is_file():
        return (
            f"{folder} holds {CONTRIEVER} of the original Contriever code, which is not a model of transformers: "
            f"convert it with  python -m pretrieve.models.original_contriever {folder} NEW_FOLDER"
        )
    return f"{folder} is not a model: it has no config.json. Give a folder of transformers' save_pretrained."
