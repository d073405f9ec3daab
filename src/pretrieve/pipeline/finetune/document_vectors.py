"""The vectors of the documents of labels, encoded by all processes of a run: every n-th block by each, on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pretrieve.core import files
from pretrieve.core.arrays import array_header, load_array
from pretrieve.core.types import FloatArray, IntArray, TextEncoder
from pretrieve.index.dense import check_finite
from pretrieve.index.pseudo import full_text
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.progress import Listener
from pretrieve.sampling.labels import Labels
from pretrieve.text.documents import Documents

_BLOCK = 1024  # documents that are encoded at once, as an index does


def encode_together(
    labels: Labels, model: TextEncoder, folder: Path, listener: Listener
) -> Callable[[Documents], Iterator[FloatArray]]:
    """Encode the documents of labels, a share in each process, and wait for the others.

    Blocks that are there are kept, so that an interrupted run resumes on any number of processes.

    Args:
        labels: their documents come first, and are the same in all processes.
        model: the model.
        folder: for the blocks of this model and these labels, which all processes see.
        listener: receives the progress of this process.

    Returns:
        The vectors of all documents in order, as ``Index.build`` takes them.

    Raises:
        DataError: the model gives values that are not finite.
        LostRankError: another process has ended with an error.
        StorageError: writing to disk failed.
    """
    together = processes.current()
    blocks = [np.arange(start, min(start + _BLOCK, labels.size)) for start in range(0, labels.size, _BLOCK)]
    own = blocks[together.rank :: together.world]
    listener.stage("encode", sum(map(len, own)), f"documents of {labels.size:,}")
    for block in own:
        path = _path(folder, block)
        if not path.is_file():
            vectors = _encoded(labels, model, block)
            files.write_file(path, array_header(vectors.dtype, vectors.shape) + vectors.tobytes())
        listener.advance(len(block))
    together.meet()
    return lambda documents: (load_array(_path(folder, block)) for block in blocks)


def _encoded(labels: Labels, model: TextEncoder, block: IntArray) -> FloatArray:
    separator: str = getattr(model, "separator", " ")
    texts = [full_text(document, separator) for part in labels.records.batches(select=block) for document in part]
    vectors = np.ascontiguousarray(model.encode_documents(texts), np.float32)
    check_finite(vectors, texts, model.location)
    return vectors


def _path(folder: Path, block: IntArray) -> Path:
    return folder / f"{block[0]:09d}"
