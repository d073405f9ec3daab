"""``pretrieve index --update``, ``--add``, ``--delete`` and ``--compact``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrieve.cli.output import say, working, write_json
from pretrieve.core.errors import UsageError

if TYPE_CHECKING:
    from pretrieve.pipeline.update_index import Updated
    from pretrieve.text.corpus import Fields, FileFilter, OnBad


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to an index that is there.

    Attributes:
        update: bring it up to date.
        add: add documents.
        delete: file of ids to delete.
        compact: merge its parts.
        watch: seconds between two looks at the sources; None: once.
    """

    update: bool
    add: bool
    delete: Path | None
    compact: bool
    watch: float | None

    @property
    def kind(self) -> str:
        """The option that asks for it; empty: the index is built."""
        kinds = ("update", "add", "delete", "compact")
        return next((f"--{kind}" for kind in kinds if getattr(self, kind)), "")

    def check(self, sources: Sequence[str], building: Mapping[str, bool]) -> None:
        """Refuse options that do not go together.

        Args:
            sources: the documents.
            building: options of building by whether they are given.

        Raises:
            UsageError: names the option and what to do.
        """
        given = [f"--{kind}" for kind in ("update", "add", "delete", "compact") if getattr(self, kind)]
        if len(given) > 1:
            raise UsageError(f"{given[0]} and {given[1]} are two commands: give one at a time.")
        if self.watch is not None and not self.update:
            raise UsageError("--watch is for --update: give it too.")
        wanted = self.kind in ("", "--update", "--add")
        if wanted and not sources:
            raise UsageError("the documents are missing: give files, folders or other sources.")
        if not wanted and sources:
            raise UsageError(f"{self.kind} reads no documents: leave {sources[0]} out.")
        if self.kind and (option := next((name for name, is_given in building.items() if is_given), "")):
            raise UsageError(
                f"{option} is chosen when an index is built: leave it out with {self.kind}, or build again with "
                "--overwrite."
            )


def change(
    asked: Change,
    path: Path,
    sources: Sequence[str],
    fields: Fields,
    file_filter: FileFilter,
    on_bad: OnBad,
    model: str | None,
    described: Mapping[str, Any],
    as_json: bool,
    output_json: Path | None,
) -> None:
    """Change an index, and print what was done.

    Args:
        asked: what to do.
        path: the index.
        sources: the documents.
        fields: names of their fields.
        file_filter: the files that are read in folders.
        on_bad: policy for unreadable records.
        model: the model, to be checked.
        described: its usage.
        as_json: print JSON.
        output_json: write JSON to a file.
    """
    from pretrieve.pipeline.update_index import (
        Reading,
        compact_index,
        delete_from_index,
        update_index,
        watch_index,
    )

    def updated() -> Updated:
        reading = Reading(sources=sources, fields=fields, file_filter=file_filter, on_bad=on_bad)
        with working(as_json, output_json) as display:
            return update_index(path, reading, display, remove=asked.update, model=model, described=described)

    if asked.delete is not None:
        with working(as_json, output_json):
            facts = delete_from_index(path, asked.delete).facts()
        if not write_json({"index": str(path), **facts}, as_json, output_json):
            say(f"{facts['removed']:,} removed, {facts['unchanged']:,} unchanged.")
        return
    if asked.compact:
        with working(as_json, output_json):
            merged = compact_index(path)
        if not write_json({"index": str(path), "merged": merged}, as_json, output_json):
            say(f"{merged:,} parts merged into one." if merged else "there is one part without deleted documents.")
        return
    for one in [updated()] if asked.watch is None else watch_index(sources, asked.watch, updated):
        _print(path, one, as_json, output_json)


def _print(path: Path, found: Updated, as_json: bool, output_json: Path | None) -> None:
    facts = {
        "index": str(path), "documents": len(found.index), "reading": found.reading, "changes": found.changes.facts()
    }  # fmt: skip
    if not write_json(facts, as_json, output_json):
        say(f"{found.changes.describe()}.")
