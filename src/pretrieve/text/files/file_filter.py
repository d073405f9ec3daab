"""Which files of a folder are read: patterns of the user, .gitignore, and what is never meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pretrieve.core.errors import UsageError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_PACKAGES = frozenset({"node_modules", "bower_components", "__pycache__", "site-packages", "dist-packages", "vendor"})
_PREFIXES, _SUFFIXES = ("~$", "#"), ("~", ".swp", ".tmp", ".bak", ".part", ".crdownload")


@dataclass(frozen=True, kw_only=True)
class FileFilter:
    """The files that are read in folders and archives; a file that is named itself is always read.

    Attributes:
        include: patterns as in ``.gitignore``; a file is read if one matches. None: all files.
        exclude: patterns as in ``.gitignore``; a file or folder is left out if one matches.
        ignore: leave out hidden files, folders of installed packages, temporary files, and what ``.gitignore`` names.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore: bool = True

    def includes(self, path: str) -> bool:
        """Whether a file is included; its path is relative to the source, with ``/``."""
        return self._include is None or self._include.match_file(path)

    def excludes(self, path: str) -> bool:
        """Whether a file or folder (with a final ``/``) is excluded."""
        return self._exclude is not None and self._exclude.match_file(path)

    @cached_property
    def _include(self) -> GitIgnoreSpec | None:
        return patterns(self.include, "--include") if self.include else None

    @cached_property
    def _exclude(self) -> GitIgnoreSpec | None:
        return patterns(self.exclude, "--exclude") if self.exclude else None


def patterns(lines: Sequence[str], where: str) -> GitIgnoreSpec:
    """Patterns of ``.gitignore``.

    Raises:
        UsageError: a pattern is invalid.
    """
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def is_hidden(name: str) -> bool:
    """Whether a name begins with a dot."""
    return name.startswith(".")


def is_package_folder(name: str) -> bool:
    """Whether a folder holds packages that others wrote, or what an interpreter made of files."""
    return name in _PACKAGES or name.endswith((".egg-info", ".dist-info"))


def is_temporary(name: str) -> bool:
    """Whether a file is a lock, a backup or a part of a download."""
    return name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)
