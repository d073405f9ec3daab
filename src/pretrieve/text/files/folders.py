"""The files of a folder or an archive: which are read, which are passed over and why, and which cannot be read.

Links to files are followed, links to folders are not. Named pipes, sockets and devices are never opened.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import weakref
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pretrieve.core.files import MANIFEST
from pretrieve.text.files import report as reasons
from pretrieve.text.files.file_filter import FileFilter, is_hidden, is_package_folder, is_temporary, patterns
from pretrieve.text.files.streams import chunks, stem
from pretrieve.text.records import Fault

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_CORPUS = re.compile(r"corpus")
_DOCUMENTS = re.compile(r"(collection|documents|passages)")
_QUERIES = re.compile(r"(queries|qrels)([._-].*)?")
_MODEL_FILES = frozenset({"config_sentence_transformers.json", "pytorch_model.bin", "model.safetensors"})
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_SMALL = 1 << 20  # bytes that are read of a small text file
_MEMBERS = 1_000_000  # most members of an archive that are listed


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file or folder that is not read.

    Attributes:
        path: where it is.
        reason: phrase that such files are counted by.
        folder: whether it is a folder, whose files were not counted.
    """

    path: Path
    reason: str
    folder: bool = False


Entry = Path | PassedOver | Fault


def files_of_folder(folder: Path, chosen: FileFilter) -> Iterator[Entry]:
    """Walk a folder in the order of names."""
    yield from _Walk(_Disk(folder), chosen).entries()


def files_of_archive(path: Path, chosen: FileFilter) -> Iterator[Entry]:
    """Walk the members of a zip file in the order of names; nothing is unpacked to disk."""
    try:
        members = _Members(path)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        yield Fault(str(path), "damaged zip", str(error))
        return
    except OSError as error:
        yield Fault(str(path), "unreadable", error.strerror or str(error))
        return
    yield from _Walk(members, chosen).entries()


def files_of_listing(files: Sequence[Path], chosen: FileFilter) -> Iterator[Entry]:
    """Walk files that are known by their addresses, in the order of names."""
    yield from _Walk(_Listing(files), chosen).entries()


def what_is(path: Path) -> str:
    """What a path is, if it is no file or folder that can be read: ``a named pipe``; else nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a dangling link" if path.is_symlink() else ""
    return _SPECIAL.get(stat.S_IFMT(mode), "")


class _Disk:
    """A folder on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def listing(self, folder: str) -> tuple[list[str], list[str], list[PassedOver | Fault]]:
        """Names of folders and of files in a folder, and what is neither."""
        folders: list[str] = []
        files: list[str] = []
        others: list[PassedOver | Fault] = []
        try:
            with os.scandir(self.path(folder)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            return [], [], [Fault(str(self.path(folder)), "unreadable", error.strerror or str(error))]
        for entry in found:
            path = self.path(folder + entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif entry.is_dir():
                others.append(PassedOver(path, "link to a folder", folder=True))
            elif not entry.is_file() and (kind := what_is(path)):
                others.append(Fault(str(path), kind))
            else:
                files.append(entry.name)
        return folders, files, others

    def path(self, name: str) -> Path:
        """The path of a file."""
        return self._root / name

    def text(self, name: str) -> str:
        """The content of a small text file; empty if it cannot be read."""
        try:
            return self.path(name).read_text(errors="replace")
        except OSError:
            return ""


class _Names:
    """A tree of names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._folders: dict[str, tuple[set[str], set[str]]] = {"": (set(), set())}
        for name in names:
            self._add(name)

    def _add(self, name: str) -> None:
        *parents, last = name.split("/")
        folder = ""
        for parent in parents:
            self._folders.setdefault(folder, (set(), set()))[0].add(parent)
            folder += f"{parent}/"
        self._folders.setdefault(folder, (set(), set()))
        if last:
            self._folders[folder][1].add(last)

    def listing(self, folder: str) -> tuple[list[str], list[str], list[PassedOver | Fault]]:
        """Names of folders and of files in a folder."""
        folders, files = (sorted(names) for names in self._folders[folder])
        return folders, files, []


class _Listing(_Names):
    """Files by their addresses, below the folder that all share."""

    def __init__(self, files: Sequence[Path]) -> None:
        first, last = str(min(files, key=str)), str(max(files, key=str))
        same = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), -1)
        start = first.rfind("/", 0, same) + 1 if same >= 0 else first.rfind("/") + 1
        self._root = str(files[0])[:start]
        self._files = {str(file)[start:]: file for file in files}
        super().__init__(self._files)

    def path(self, name: str) -> Path:
        """The file of a name, or what names a folder."""
        return self._files.get(name) or cast(Path, self._root + name)

    def text(self, name: str) -> str:
        """The content of a small text file; empty if it cannot be read."""
        try:
            with self._files[name].open("rb") as file:
                return file.read(_SMALL).decode(errors="replace")
        except (KeyError, OSError):
            return ""


class _Members(_Names):
    """The members of a zip file, as a tree."""

    def __init__(self, path: Path) -> None:
        self._archive = _archive(path)
        self._path = zipfile.Path(self._archive)
        super().__init__(self._archive.namelist()[:_MEMBERS])

    def listing(self, folder: str) -> tuple[list[str], list[str], list[PassedOver | Fault]]:
        """Names of folders and of files in a folder, and encrypted members."""
        folders, files, _ = super().listing(folder)
        secret = [name for name in files if self._archive.getinfo(folder + name).flag_bits & 1]
        faults: list[PassedOver | Fault] = [Fault(str(self.path(folder + name)), "encrypted") for name in secret]
        return folders, [name for name in files if name not in secret], faults

    def path(self, name: str) -> Path:
        """The path of a member: it has the methods of a path that reading needs (text/files/streams.py)."""
        return cast(Path, zipfile.Path(self._path.root, name))

    def text(self, name: str) -> str:
        """The content of a small text file."""
        return self.path(name).read_text(errors="replace")


def _archive(path: Path) -> zipfile.ZipFile:
    """A zip file; one that is not on disk is copied to a temporary file, which goes with the last reference to it."""
    if isinstance(path, Path):
        return zipfile.ZipFile(path)
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        for chunk in chunks(path):
            file.write(chunk)
        archive = zipfile.ZipFile(file)
    except BaseException:
        file.close()
        raise
    weakref.finalize(archive, file.close)
    archive.filename = str(path)
    return archive


class _Walk:
    """A walk through a tree, without recursion: folders may be nested thousands deep."""

    def __init__(self, tree: _Disk | _Listing | _Members, chosen: FileFilter) -> None:
        self._tree, self._chosen = tree, chosen
        self._ignored: dict[str, GitIgnoreSpec] = {}  # by folder

    def entries(self) -> Iterator[Entry]:
        """All files below, and what is passed over."""
        stack = [""]
        while stack:
            folder = stack.pop()
            folders, names, others = self._tree.listing(folder)
            yield from others
            if folder and (reason := self._made(folder, names)):
                yield PassedOver(self._tree.path(folder), reason, folder=True)
                continue
            self._read_ignored(folder, names)
            beside = _beside(folders, names)
            for name in names:
                reason = self._file_reason(folder, name, beside)
                path = self._tree.path(folder + name)
                yield PassedOver(path, reason) if reason else path
            below: list[str] = []
            for name in folders:
                if reason := self._folder_reason(folder, name, beside):
                    yield PassedOver(self._tree.path(folder + name), reason, folder=True)
                else:
                    below.append(f"{folder}{name}/")
            stack += reversed(below)

    def _file_reason(self, folder: str, name: str, beside: Sequence[str]) -> str:
        """Why a file is not read; empty if it is."""
        path = folder + name
        if self._chosen.ignore:
            if is_hidden(name):
                return reasons.HIDDEN
            if is_temporary(name):
                return reasons.TEMPORARY
            if self._is_ignored(path):
                return reasons.IGNORED
        if name in beside:
            return reasons.BESIDE
        excluded = self._chosen.excludes(path) or not self._chosen.includes(path)
        return reasons.EXCLUDED if excluded else ""

    def _folder_reason(self, folder: str, name: str, beside: Sequence[str]) -> str:
        path = f"{folder}{name}/"
        if self._chosen.ignore:
            if is_hidden(name):
                return reasons.HIDDEN
            if is_package_folder(name):
                return "installed packages"
            if self._is_ignored(path):
                return reasons.IGNORED
        if name in beside:
            return reasons.BESIDE
        return reasons.EXCLUDED if self._chosen.excludes(path) else ""

    def _made(self, folder: str, names: Sequence[str]) -> str:
        """What wrote a folder, if it holds no documents: pretrieve, a model, an environment of Python; else nothing."""
        if MANIFEST in names and '"sha256"' in self._tree.text(folder + MANIFEST):
            return reasons.OWN
        if _MODEL_FILES.intersection(names):
            return "a model"
        return "installed packages" if "pyvenv.cfg" in names else ""

    def _read_ignored(self, folder: str, names: Sequence[str]) -> None:
        if self._chosen.ignore and ".gitignore" in names:
            where = f"{folder}.gitignore"
            self._ignored[folder] = patterns(self._tree.text(where).splitlines(), where)

    def _is_ignored(self, path: str) -> bool:
        """Whether a .gitignore above a path names it; the deepest one that says anything counts."""
        for folder, spec in sorted(self._ignored.items(), key=lambda item: -len(item[0])):
            if path.startswith(folder):
                said = spec.check_file(path[len(folder) :]).include
                if said is not None:
                    return said
        return False


def _beside(folders: Sequence[str], names: Sequence[str]) -> list[str]:
    """What is not read in a folder that holds queries beside a corpus, as data sets do.

    Where something is called corpus (``corpus.jsonl``, a folder ``corpus``), it alone is read; where a collection or
    documents are, all but the queries and their labels.
    """
    kinds: Mapping[str, str] = {name: stem(Path(name))[0].lower() for name in names} | {
        name: name.lower() for name in folders
    }
    queries = [name for name, kind in kinds.items() if _QUERIES.fullmatch(kind)]
    corpora = [name for name, kind in kinds.items() if _CORPUS.fullmatch(kind)]
    if corpora and (queries or any(name in names for name in corpora)):
        return [name for name in kinds if name != corpora[0] and not is_hidden(name)]
    documents = [name for name, kind in kinds.items() if _DOCUMENTS.fullmatch(kind)]
    return queries if documents and queries else []
