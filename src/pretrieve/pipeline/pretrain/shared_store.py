"""Tokens that several runs share: what one of them has encoded, the others only open."""

from __future__ import annotations

from pathlib import Path

from pretrieve.core import files
from pretrieve.core.types import IntArray
from pretrieve.pipeline.pretrain.data import build_store
from pretrieve.pipeline.run.progress import Listener
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer


def shared_store(
    shared: Path, documents: Documents, select: IntArray, vocabulary: Tokenizer, listener: Listener
) -> Store:
    """The same in a folder shared by several runs: one of them encodes, the others open the result.

    Args:
        shared: the folder.
        documents: as of ``build_store``.
        select: as of ``build_store``.
        vocabulary: as of ``build_store``.
        listener: as of ``build_store``.

    Raises:
        DataError: no document has any token.
    """
    name = files.fingerprint([documents.fingerprint, vocabulary.fingerprint, select.tolist()])
    with files.lock(shared / "locks" / name, wait=True):
        return build_store(shared / f"store-{name}", documents, select, vocabulary, listener)
