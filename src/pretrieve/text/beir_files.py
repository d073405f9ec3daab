"""Files of a BEIR folder, or of its zip archive as it is downloaded: where they are, and their lines."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from pretrieve.core.errors import DataError, UsageError, suggest
from pretrieve.core.files import storage
from pretrieve.text.files.streams import COMPRESSED, lines
from pretrieve.text.records import Fault

_LONGEST = 1 << 26  # bytes of a line
_PACKED = ("", *COMPRESSED)  # the plain file is read where it is beside a packed one


def beir_root(folder: Path) -> Path:
    """The folder of the data set; inside a zip archive, its one folder.

    Args:
        folder: a folder, or a zip archive.

    Returns:
        The folder; of an archive a ``zipfile.Path``, which has what is used of a path here.

    Raises:
        UsageError: there is no such folder, or it is a file of another kind.
    """
    if folder.is_dir():
        return folder
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder; a BEIR folder with corpus.jsonl and qrels/ was expected.")
    if not zipfile.is_zipfile(folder):
        raise UsageError(f"{folder} is a file: unpack it, and give the folder with corpus.jsonl and qrels/.")
    root = cast(Path, zipfile.Path(folder))
    inner = [one for one in root.iterdir() if one.is_dir() and (one / "qrels").is_dir()]
    return inner[0] if len(inner) == 1 and not (root / "qrels").is_dir() else root


def beir_file(root: Path, stem: str) -> Path:
    """A file of JSON lines, plain or packed; ``stem`` is its name without ``.jsonl``.

    Raises:
        UsageError: it is not there.
    """
    for packed in _PACKED:
        if (found := root / f"{stem}.jsonl{packed}").is_file():
            return found
    raise UsageError(f"{root} has no {stem}.jsonl (or {stem}.jsonl.gz, .zst): it is not a BEIR folder.")


def split_files(folder: Path) -> dict[str, Path]:
    """The files of qrels of a BEIR folder by split, sorted; none for anything else."""
    if not folder.is_dir() and not (folder.is_file() and zipfile.is_zipfile(folder)):
        return {}
    qrels = beir_root(folder) / "qrels"
    listed = qrels.iterdir() if qrels.is_dir() else ()
    names = {path.name: path for path in listed if not path.name.startswith(".")}
    found: dict[str, Path] = {}
    for packed in reversed(_PACKED):
        ending = f".tsv{packed}"
        found |= {name.removesuffix(ending): path for name, path in names.items() if name.endswith(ending)}
    return dict(sorted(found.items()))


def split_file(folder: Path, split: str) -> Path:
    """The file of qrels of a split.

    Raises:
        UsageError: there is none; the text names the splits that are there.
    """
    present = split_files(folder)
    if not present:
        raise UsageError(f"{folder} has no qrels/*.tsv: it is not a BEIR folder.")
    if split not in present:
        raise UsageError(f"{folder} has no split {split!r}.{suggest(split, present)}")
    return present[split]


def beir_lines(path: Path) -> Iterator[tuple[bytes, str]]:
    """The lines of a file that are not blank, each with its ``file:line``.

    Raises:
        DataError: the file is damaged, or has a line that is too long.
        StorageError: it cannot be read.
    """
    with storage(path):
        try:
            for item in lines(path, _LONGEST):
                if isinstance(item, Fault):
                    again = ": fetch the file again" if item.reason.startswith(("cut", "damaged")) else ""
                    raise DataError(f"{item}{again}.")
                number, line = item
                if line.strip():
                    yield line, f"{path}:{number}"
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # its head, encrypted, unknown packing
            raise DataError(f"{path} cannot be unpacked ({error}): fetch it again, or unpack it yourself.") from None


def decoded(line: bytes, where: str) -> str:
    """A line as text.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line[error.start]:02x} at {error.start}"
        raise DataError(f"{where}: not UTF-8 ({byte}); save the file as UTF-8.") from None
