"""The token store of a run: encoded once, reopened when the run resumes, and shared by runs with the same texts."""

from __future__ import annotations

from pathlib import Path

from pretrieve.core import disk, files
from pretrieve.core.types import IntArray
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.progress import Listener
from pretrieve.text import store_shards
from pretrieve.text.store import Corpus, Store
from pretrieve.text.tokenizer import Tokenizer


def store_of(
    texts: Corpus,
    vocabulary: Tokenizer,
    listener: Listener,
    *,
    folder: Path,
    shared: Path | None = None,
    select: IntArray | None = None,
    sentences: bool = True,
    unit: str = "documents",
) -> Store:
    """Encode texts, a large collection by several processes; an existing store of the same texts is reused.

    Args:
        texts: documents, or documents and queries.
        vocabulary: the tokenizer.
        listener: receives progress.
        folder: for a store of the run's own.
        shared: folder of stores shared by several runs, in place of ``folder``; one run encodes while others wait.
        select: indices of the texts to encode, ascending; all by default.
        sentences: find where sentences start.
        unit: name of the texts, for the progress.

    Raises:
        DataError: no text has any token.
        StorageError: writing to disk failed.
    """

    def built() -> Store:
        if shared is None:
            return _opened_or_built(texts, vocabulary, listener, folder, select, sentences, unit)
        chosen = None if select is None else select.tolist()
        name = files.fingerprint([texts.fingerprint, vocabulary.fingerprint, chosen, sentences])
        with files.lock(shared / "locks" / name, wait=True):
            return _opened_or_built(texts, vocabulary, listener, shared / f"store-{name}", select, sentences, unit)

    return processes.current().opened(built, Store.open)


def _opened_or_built(
    texts: Corpus,
    vocabulary: Tokenizer,
    listener: Listener,
    folder: Path,
    select: IntArray | None,
    sentences: bool,
    unit: str,
) -> Store:
    count = len(texts) if select is None else len(select)
    if (folder / files.MANIFEST).is_file():
        store = Store.open(folder)
        same = store.corpus == texts.fingerprint and store.tokenizer.fingerprint == vocabulary.fingerprint
        if same and len(store) + store.dropped == count:
            disk.remove(store_shards.shards_of(folder))  # of a process that was killed before it could
            return store
    listener.stage("encode", count, unit)
    store = store_shards.build(
        folder, texts, vocabulary, select=select, sentences=sentences, on_progress=listener.advance
    )
    listener.advance(0, f"{len(store.tokens):,} tokens")
    return store
