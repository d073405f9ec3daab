"""What ``pretrieve index`` does: build an index, or change it (``--update``, ``--add``, ``--delete``...)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrieve.cli.output import print_next, say, working, write_json
from pretrieve.core.errors import UsageError

if TYPE_CHECKING:
    from pretrieve.index.backends import Address
    from pretrieve.index.index import Index, IndexOptions
    from pretrieve.index.vector_options import Dtype
    from pretrieve.pipeline.update_index import Updated
    from pretrieve.text.corpus import Fields, FileFilter, OnBad

_SHOWN = 12  # fields that are named


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

    def check(
        self, sources: Sequence[str], model: str | None, options: IndexOptions, building: Mapping[str, bool]
    ) -> None:
        """Refuse options that do not go together.

        Args:
            sources: the documents.
            model: the model.
            options: options of the index.
            building: other options of building by whether they are given.

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
        from pretrieve.index.vector_options import EXACT

        lexical = {
            "--k1 and --b": options.bm25 is not None,
            "--stop-words": options.stop_words != "auto",
            "--stemmer": options.stemmer != "auto",
            "--dtype": options.vectors.dtype != "float32",
            "--recall": options.vectors.recall is not None,
            "--exact-up-to": options.vectors.exact_up_to != EXACT,
        }
        chosen = next((name for name, is_given in {**building, **lexical}.items() if is_given), "")
        if self.kind and chosen:
            raise UsageError(
                f"{chosen}: chosen when an index is built; leave it out with {self.kind}, or build again with "
                "--overwrite."
            )
        if not self.kind and model is None:
            raise UsageError("Missing option '--model': give a folder or a hub name; --update takes the index's own.")


@dataclass(frozen=True, kw_only=True)
class Read:
    """What is read.

    Attributes:
        sources: the documents.
        fields: names of their fields.
        file_filter: the files that are read in folders.
        on_bad: policy for unreadable records.
        model: the model; None: the index's own.
        described: its usage.
        passages: words of the passages that long documents are cut into; 0: they are not.
    """

    sources: Sequence[str]
    fields: Fields
    file_filter: FileFilter
    on_bad: OnBad
    model: str | None
    described: Mapping[str, Any]
    passages: int = 0


def chosen_options(
    k1: float | None,
    b: float | None,
    stop_words: str,
    stemmer: str,
    dtype: Dtype,
    recall: float | None,
    exact_up_to: int,
) -> IndexOptions:
    """Options of BM25 and of vectors as they were given.

    Raises:
        UsageError: one is out of bounds.
        MissingExtraError: approximate search is asked for, and its extra is not installed.
    """
    from pretrieve.index.index import IndexOptions
    from pretrieve.index.lexical import BM25
    from pretrieve.index.vector_options import VectorOptions

    given = {name: value for name, value in (("k1", k1), ("b", b)) if value is not None}
    vectors = VectorOptions(dtype=dtype, recall=recall, exact_up_to=exact_up_to)
    vectors.check()
    return IndexOptions(bm25=BM25(**given) if given else None, stop_words=stop_words, stemmer=stemmer, vectors=vectors)


def chosen_store(store: str | None, kind: str) -> Address | None:
    """The collection that ``--store`` names.

    Raises:
        UsageError: it is no address, or there is a type of its index without it.
    """
    from pretrieve.index.backends import Address

    if store is None:
        if kind != "FLAT":
            raise UsageError("--store-index is for --store: give it too.")
        return None
    return Address.parse(store, kind)


def _fields(counts: Mapping[str, int]) -> str:
    """The fields that documents have, in a line."""
    from pretrieve.index.columns import OWN

    own = ", ".join(name for name in counts if name in OWN)
    named = [f"{name} ({count:,})" for name, count in counts.items() if name not in OWN]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return f"Fields to filter by: {', '.join(named[:_SHOWN])}{more}{'; ' if named else ''}{own}."


def build(
    read: Read,
    output: Path,
    options: IndexOptions,
    overwrite: bool,
    vectors: Path | None,
    link_model: bool,
    as_json: bool,
    output_json: Path | None,
    store: Address | None = None,
) -> None:
    """Build an index, and print what is in it.

    Args:
        read: documents and model.
        output: the index's folder.
        options: options of the index.
        overwrite: replace an existing index.
        vectors: vectors of the documents, if they are encoded already.
        link_model: keep the model's path in place of its files.
        as_json: print JSON.
        output_json: write JSON to a file.
        store: collection that the best documents are looked up in.
    """
    from pretrieve.core import files
    from pretrieve.pipeline.index import build_index

    assert read.model is not None
    files.check_free(output, replace=overwrite)
    with working(as_json, output_json) as display:
        built = build_index(
            read.sources,
            read.model,
            output,
            display,
            replace=overwrite,
            fields=read.fields,
            on_bad=read.on_bad,
            file_filter=read.file_filter,
            described=read.described,
            vectors=vectors,
            passages=read.passages,
            lexical=options,
            link_model=link_model,
            store=store,
        )
    _print_built(built, output, read.model, as_json, output_json)


def _print_built(built: Index, output: Path, model: str, as_json: bool, output_json: Path | None) -> None:
    from pretrieve.core import files
    from pretrieve.index.find import field_counts
    from pretrieve.pipeline.run.sources import READING
    from pretrieve.text.documents import Documents

    meta = files.load_manifest(output, "index")["meta"]
    facts = {
        "documents": len(built),
        "reading": built.documents.meta.get(READING) if isinstance(built.documents, Documents) else None,
        "fields": field_counts(built),
        "index": str(output),
        "model": model,
        "bm25": built.lexical.describe(),
        "fusion": built.fusion.facts(),
        "vectors": {**meta["vectors"], "measured": meta["parts"][0].get("measured", {})},
    }
    if not write_json(facts, as_json, output_json):
        say(built.describe(), lines=True)
        say(_fields(field_counts(built)))
        print_next(["pretrieve", "search", str(output), "your question"])


def change(asked: Change, path: Path, read: Read, as_json: bool, output_json: Path | None) -> None:
    """Change an index, and print what was done.

    Args:
        asked: what to do.
        path: the index.
        read: documents, and the model to be checked.
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
        reading = Reading(
            sources=read.sources,
            fields=read.fields,
            file_filter=read.file_filter,
            on_bad=read.on_bad,
            passages=read.passages,
        )
        with working(as_json, output_json) as display:
            return update_index(path, reading, display, remove=asked.update, model=read.model, described=read.described)

    if asked.delete is not None:
        with working(as_json, output_json):
            facts = delete_from_index(path, asked.delete).facts()
        if not write_json({"index": str(path), **facts}, as_json, output_json):
            say(f"{facts['removed']:,} removed, {facts['unchanged']:,} unchanged.")
        return
    if asked.compact:
        with working(as_json, output_json):
            done = compact_index(path)
        if not write_json({"index": str(path), **done.facts()}, as_json, output_json):
            say(done.describe(), lines=True)
        return
    for one in [updated()] if asked.watch is None else watch_index(read.sources, asked.watch, updated):
        _print(path, one, as_json, output_json)


def _print(path: Path, found: Updated, as_json: bool, output_json: Path | None) -> None:
    facts = {
        "index": str(path), "documents": len(found.index), "reading": found.reading, "changes": found.changes.facts()
    }  # fmt: skip
    if not write_json(facts, as_json, output_json):
        say(f"{found.changes.describe()}.")
