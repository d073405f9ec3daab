"""Changing an artefact in place: new files beside the old ones, then a new MANIFEST in one step.

A reader finds the MANIFEST of before or that of after, and the files that it names. Files that no MANIFEST names any
more are removed at last; who has them open keeps them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrieve.core import disk, files
from pretrieve.core.disk import LOCK
from pretrieve.core.files import MANIFEST, Folder
from pretrieve.core.manifest import load_manifest, manifest_of


@dataclass
class Revision:
    """A new version of an artefact, being written.

    Attributes:
        folder: for new files, in folders that the artefact does not have.
        meta: facts of the MANIFEST, to change.
        entries: the files of the version before that stay, to remove from.
    """

    folder: Folder
    meta: dict[str, Any]
    entries: dict[str, dict[str, Any]]

    def drop(self, prefix: str) -> None:
        """Leave out the files of the version before whose names begin so."""
        self.entries = {name: entry for name, entry in self.entries.items() if not name.startswith(prefix)}


@contextlib.contextmanager
def revise(target: Path, kind: str) -> Iterator[Revision]:
    """Write a new version of an artefact, which replaces the one before when the block ends, or not at all.

    The caller holds a lock; what killed writers left is removed first.

    Args:
        target: the artefact.
        kind: of it.

    Raises:
        UsageError: there is no such artefact.
        CorruptError: its MANIFEST is damaged.
        StorageError: writing to disk failed; the artefact is unchanged.
    """
    before = load_manifest(target, kind)
    remove_unnamed(target, before["files"])
    with files.scratch(target, "revision") as folder:
        revision = Revision(folder, dict(before["meta"]), dict(before["files"]))
        yield revision
        named = {**revision.entries, **folder.entries}
        folder.write(MANIFEST, manifest_of(kind, revision.meta, named))
        moved: list[Path] = []
        try:
            _move(folder.path, target, moved)
            with disk.storage(target):
                disk.fault_point("rename", target / MANIFEST)
                (folder.path / MANIFEST).replace(target / MANIFEST)
        except BaseException:
            for path in moved:
                disk.remove(path)
            raise
        with disk.storage(target):
            disk.fault_point("fsync", target)
            disk.sync_folder(target)
    remove_unnamed(target, named)


def _move(source: Path, target: Path, moved: list[Path]) -> None:
    """Move new folders to their place, and add them to a list."""
    for path in sorted(source.iterdir()):
        place = target / path.name
        if place.is_dir():
            _move(path, place, moved)
        elif path.name != MANIFEST:
            with disk.storage(place):
                disk.fault_point("rename", place)
                path.rename(place)
                moved.append(place)
    with disk.storage(target):
        disk.fault_point("fsync", target)
        disk.sync_folder(target)


def remove_unnamed(target: Path, entries: Mapping[str, Any]) -> None:
    """Remove the files of an artefact that its MANIFEST does not name, and folders without files."""
    named = {target / name for name in entries} | {target / MANIFEST, target / LOCK}
    folders = {parent for path in named for parent in path.parents}
    for path in sorted(target.iterdir()):
        _remove_unnamed(path, named, folders)


def _remove_unnamed(path: Path, named: set[Path], folders: set[Path]) -> None:
    if path not in folders:
        if path not in named:
            disk.fault_point("remove", path)
            disk.remove(path)
        return
    for inner in sorted(path.iterdir()):
        _remove_unnamed(inner, named, folders)
