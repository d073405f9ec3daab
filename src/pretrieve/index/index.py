"""The index of a collection: documents, BM25, vectors and fusion weights; one artefact, opened by memory mapping.

Artefact of kind ``index``: ``parts/`` (``parts.py``), ``model/`` (``stored_model.py``), and in the MANIFEST the parts,
how text was analysed, the model, and the weights of fusion. See ``building.py``, ``opening.py``, ``updating.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, SupportsIndex

from pretrieve.core.errors import UsageError
from pretrieve.core.types import BoolArray, Document, IntArray, TextEncoder
from pretrieve.index.analysis import Analyzer
from pretrieve.index.answers import Numbered, answers
from pretrieve.index.asked import MODES, Mode, check_mode, check_queries, check_query, check_top_k
from pretrieve.index.backends import Address
from pretrieve.index.building import BLOCK, Vectors, in_memory, on_disk
from pretrieve.index.candidates import Candidates, find_candidates
from pretrieve.index.columns import Columns
from pretrieve.index.compaction import compact
from pretrieve.index.dense import Dense
from pretrieve.index.exhaustive import lexical_ranker
from pretrieve.index.filling import complete, fill, link_new
from pretrieve.index.filters import Filter
from pretrieve.index.fuse import Fusion
from pretrieve.index.hits import Hits
from pretrieve.index.ids import Members
from pretrieve.index.lexical import Lexical
from pretrieve.index.opening import Opened, OpenModel, open_parts
from pretrieve.index.options import IndexOptions
from pretrieve.index.pseudo import Records
from pretrieve.index.rankers import Best, Queries, Ranker, batch
from pretrieve.index.ranking import best_groups
from pretrieve.index.store import STORE, Store
from pretrieve.index.updating import Changes, delete, stored_for_update, update
from pretrieve.index.writing import writing

__all__ = ["MODES", "Changes", "Index", "IndexOptions", "Mode"]

_QUERIES = 1024  # queries that are encoded at once


@dataclass(frozen=True, kw_only=True)
class Index:
    """Search over R documents by BM25, by vectors, or by both.

    An index on disk is copied, and sent to other processes, by its folder; one in memory with all that it holds.

    Attributes:
        documents: the documents, without those that are deleted.
        lexical: BM25.
        dense: the vectors; None for lexical search only.
        fusion: weights of the rankers.
        members: their ids and order.
        numbered: the documents by their numbers in ``members``.
        third: vectors of a static model beside those of a retrieval model.
        path: its folder; None in memory.
        model: what the model was when the index was built, for people.
        store: collection that the best documents of each ranker come from; None: they come from the folder.
        stored_columns: fields of the documents of each part; None in memory, where they are gathered when asked for.
    """

    documents: Records
    lexical: Lexical
    dense: Dense | None
    fusion: Fusion
    members: Members
    numbered: Numbered
    third: Dense | None = None
    path: Path | None = None
    model: str = ""
    stored_columns: Sequence[Columns] | None = None
    store: Store | None = None

    @staticmethod
    def of(
        documents: Records,
        encoder: TextEncoder | None = None,
        options: IndexOptions = IndexOptions(),  # noqa: B008 - frozen
        *,
        lexical: Lexical | None = None,
    ) -> Index:
        """Index documents in memory.

        Args:
            documents: R documents.
            encoder: the model; None: lexical search only.
            options: options of the index.
            lexical: BM25 of the same documents, if already indexed.

        Raises:
            DataError: the model gives values that are not finite.
        """
        made = in_memory(documents, encoder, options, lexical)
        return Index(
            documents=documents,
            lexical=made.lexical,
            dense=made.dense,
            fusion=made.fusion,
            members=made.members,
            numbered=documents,
            third=made.third,
            model="" if encoder is None else encoder.location,
        )

    @staticmethod
    def build(
        target: Path,
        documents: Iterable[Document],
        encoder: TextEncoder,
        options: IndexOptions = IndexOptions(),  # noqa: B008 - frozen
        *,
        replace: bool = False,
        vectors: Vectors | None = None,
        link_model: bool = False,
        facts: Mapping[str, Any] | None = None,
        store: Address | None = None,
    ) -> Index:
        """Index documents on disk; vectors are streamed to it.

        Args:
            target: output folder.
            documents: the documents; read once.
            encoder: the model.
            options: options of the index.
            replace: replace an existing index.
            vectors: gives the vectors of the documents in order, encoded before; default: they are encoded here.
            link_model: keep the path of the model's folder from the index, in place of its files.
            facts: further facts to keep in its MANIFEST.
            store: collection to keep words and vectors in too, where the best of each are then looked up.

        Raises:
            DataError: there are no documents, or the model gives values that are not finite.
            UsageError: ``target`` exists.
            LockedError: another process builds or changes an index there.
            StorageError: writing to disk failed; nothing is left on disk.
        """
        if store is not None:
            facts = {**(facts or {}), STORE: link_new(target, store, replace=replace).meta(target)}
        on_disk(target, documents, encoder, options, replace=replace, vectors=vectors, link_model=link_model,
                facts=facts)  # fmt: skip
        if store is not None:
            fill(target)
        return Index.open(target, encoder)

    @staticmethod
    def open(
        path: Path,
        encoder: TextEncoder | None = None,
        *,
        open_model: OpenModel | None = None,
        with_model: bool = True,
        place: str | None = None,
    ) -> Index:
        """Open what ``build`` wrote; data is read only as queries need it.

        Args:
            path: the index's folder.
            encoder: the model; default: the index's own.
            open_model: opens the index's own model; default: a static one only.
            with_model: open vectors and model; without them there is lexical search alone.
            place: where its model is, in place of what the index says.

        Raises:
            UsageError: there is no index, or its model no longer exists or must be given.
            CorruptError: it is damaged.
            VersionError: an earlier version of this package made it.
            FingerprintError: the index was built with another model.
        """
        opened = open_parts(path, encoder, open_model=open_model, with_model=with_model, place=place)
        return Index._of(path, opened)

    @staticmethod
    def _of(path: Path, opened: Opened) -> Index:
        return Index(
            documents=opened.documents,
            lexical=opened.lexical,
            dense=opened.dense,
            fusion=opened.fusion,
            members=opened.members,
            numbered=opened.collection,
            third=opened.third,
            path=path.absolute(),
            model=opened.meta["model"]["location"],
            stored_columns=[part.columns for part in opened.parts if part.columns is not None],
            store=Store.of(path, opened),
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Copies, and other processes, open an index on disk again with the same model."""
        if self.path is None or self.dense is None:
            return super().__reduce_ex__(protocol)
        return Index.open, (self.path, self.dense.encoder)

    def add(self, documents: Iterable[Document], *, remove: bool = False) -> tuple[Index, Changes]:
        """Add documents to an index on disk, and replace those whose ids are there; this one answers as before.

        Args:
            documents: the documents; what is unchanged is not encoded again.
            remove: remove all others.

        Returns:
            The index with them, and what was done.

        Raises:
            DataError: there are none, two of them have one id, or the model gives values that are not finite.
            LockedError: another process changes the index.
            StorageError: writing to disk failed; the index is unchanged.
        """
        path, encoder = self._on_disk()
        with writing(path), stored_for_update(path, documents) as stored:
            changes = update(path, open_parts(path, encoder), stored, remove=remove)
        return Index.open(path, encoder), changes

    def delete(self, ids: Iterable[str]) -> tuple[Index, Changes]:
        """Delete documents from an index on disk; this one answers as before.

        Args:
            ids: of the documents.

        Returns:
            The index without them, and what was done.

        Raises:
            UsageError: an id is not in the index, or all documents would be deleted.
            LockedError: another process changes the index.
            StorageError: writing to disk failed; the index is unchanged.
        """
        path, encoder = self._on_disk()
        with writing(path):
            changes = delete(path, open_parts(path, encoder), list(ids))
        return Index.open(path, encoder), changes

    def compact(self) -> Index:
        """Merge the parts of an index on disk into one, without deleted documents.

        Raises:
            LockedError: another process changes the index.
            StorageError: writing to disk failed; the index is unchanged.
        """
        path, encoder = self._on_disk()
        with writing(path):
            compact(path, whole=True)
            complete(path)
        return Index.open(path, encoder)

    def _on_disk(self) -> tuple[Path, TextEncoder]:
        if self.path is None or self.dense is None:
            raise UsageError("this index is in memory, or was opened without its model: build it on disk to change it.")
        return self.path, self.dense.encoder

    @cached_property
    def columns(self) -> Sequence[Columns]:
        """The fields of the documents, for each part."""
        return [Columns.of(self.documents)] if self.stored_columns is None else self.stored_columns

    def __len__(self) -> int:
        return self.members.count

    def describe(self) -> str:
        """Describe in a few lines what is indexed, how text is analysed, and the fusion weights."""
        assert isinstance(self.lexical.analyzer, Analyzer)
        languages = ", ".join(self.lexical.analyzer.analysis.languages)
        lines = [f"{len(self):,} documents; {len(self.lexical.vocabulary):,} different terms (languages: {languages})."]
        lines.append(f"{self.lexical.describe()}.")
        if self.store is not None:
            lines.append(f"The best documents are looked up in {self.store.link.address.describe()}.")
        if self.dense is not None:
            size, views = self.dense.size, self.dense.views
            several = f", {views} a document," if views > 1 else ""
            lines.append(f"Vectors of {size} dimensions{several} by {self.model}.")
            lines += [*self.dense.notes, *(() if self.third is None else self.third.notes)]
            lines.append(f"Fusion: {self.fusion.words}: {self.fusion.reason}.")
        return "\n".join(lines)

    def search(self, query: str, k: int = 10, mode: Mode = "hybrid", *, allowed: BoolArray | None = None) -> Hits:
        """Find the k best documents for a query, best first; ties go by id.

        Args:
            query: what to search for.
            k: number of hits.
            mode: hybrid, dense or lexical.
            allowed: (R,) documents that may be found, by their numbers in ``members``; all without it.

        Raises:
            UsageError: the query is no text or blank, ``k`` is below 1, or the mode is unknown.
        """
        return self.search_many([check_query(query)], k, mode, allowed=allowed)[0]

    def search_many(
        self, queries: Iterable[str], k: int = 10, mode: Mode = "hybrid", *, allowed: BoolArray | None = None
    ) -> list[Hits]:
        """Find the k best documents for each of many queries; faster than one after the other.

        Raises:
            UsageError: as ``search``; a query is named by its place.
        """
        asked, k = check_queries(list(queries)), check_top_k(k)
        return self.hits(asked, self.rank(asked, k, mode, allowed=allowed), mode)

    def hits(self, queries: Sequence[str], ranked: Iterable[Best], mode: Mode) -> list[Hits]:
        """Describe the documents that ``rank`` found for each of some queries, with their relevance."""
        dense = self.dense if mode != "lexical" else None
        return answers(queries, ranked, self.rankers(mode), self.numbered, self.lexical, dense)

    def rank(
        self,
        queries: Sequence[str],
        k: int,
        mode: Mode = "hybrid",
        *,
        groups: IntArray | None = None,
        allowed: BoolArray | None = None,
        where: Filter | None = None,
    ) -> Iterator[Best]:
        """Find the k best documents for each of many queries.

        Args:
            queries: Q texts.
            k: documents per query; lexical search returns fewer where fewer share a word with it.
            mode: lexical, dense or hybrid.
            groups: (R,) documents of one group are one hit, at the place of the best (``ranking.groups_of``).
            allowed: (R,) documents that may be found; all without it.
            where: filter that those allowed fit, for a collection that filters itself.

        Yields:
            For each query the documents' numbers (<= k,), best first, and their scores.

        Raises:
            UsageError: unknown mode.
        """
        check_mode(mode)
        for some in batch(queries, where).blocks(_QUERIES):
            if groups is None:
                yield from self._best(some, k, mode, allowed)
            else:
                yield from best_groups(partial(self._best, mode=mode, allowed=allowed), some, k, groups)

    def _best(self, queries: Queries, k: int, mode: Mode, allowed: BoolArray | None) -> Iterator[Best]:
        ranker = self.words
        if mode == "dense" and self.dense is not None:
            ranker = self.vectors(self.dense)
        elif mode == "hybrid" and self.dense is not None and self.fusion.dense:
            rankers, weights = zip(*self.rankers(), strict=True)
            for found in self.candidates(rankers, queries, k, allowed):
                yield from found.best(weights, k)
            return
        for some in queries.blocks(self.block):
            yield from ranker.top(some, k, allowed)

    @property
    def ranks(self) -> IntArray:
        """(R,) order of the documents' ids."""
        return self.members.ranks

    @property
    def words(self) -> Ranker:
        """BM25 as a ranker."""
        found = lexical_ranker(self.lexical, self.members)
        return found if self.store is None else self.store.words(found, self.lexical)

    def vectors(self, dense: Dense) -> Ranker:
        """The vectors as a ranker."""
        return dense if self.store is None else self.store.vectors(dense)

    def rankers(self, mode: Mode = "hybrid") -> list[tuple[Ranker, float]]:
        """What a mode fuses, with the weight of each: BM25, the vectors, the best passage, the static model."""
        if mode == "dense" and self.dense is not None:
            return [(self.dense, 1.0)]
        found: list[tuple[Ranker, float]] = [(self.words, 1.0)]
        if mode == "hybrid" and self.dense is not None and self.fusion.dense:
            found.append((self.vectors(self.dense), self.fusion.dense))
            if self.fusion.passages and self.lexical.passages is not None:
                found.append((lexical_ranker(self.lexical.passages, self.members), self.fusion.passages))
            if self.fusion.third and self.third is not None:
                found.append((self.third, self.fusion.third))
        return found

    def candidates(
        self, rankers: Sequence[Ranker], queries: Queries, k: int, allowed: BoolArray | None = None
    ) -> Iterator[Candidates]:
        """Candidates of queries by some rankers, in blocks; see ``candidates.find_candidates``."""
        return find_candidates(rankers, queries, k, self.members, block=self.block, allowed=allowed)

    @property
    def block(self) -> int:
        """Queries that are scored at once, so that memory is bounded."""
        views = 1 if self.dense is None else self.dense.views
        return max(1, BLOCK // max(1, self.members.size * views))
