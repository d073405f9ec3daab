"""The documents of a run, for a program that uses them after the run has removed its workspace."""

from __future__ import annotations

import atexit
import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.sources import DOCUMENTS
from pretrieve.text.documents import Documents


@contextlib.contextmanager
def kept_documents(shared: Path) -> Iterator[Callable[[], Documents]]:
    """Keep the documents of the runs in a block until Python exits; their tokens are removed when the block ends.

    Args:
        shared: a new folder of the caller, named in the requests of the runs; of several processes the first one
            removes it.

    Yields:
        A function that opens the documents, to be called after the runs.
    """
    leads = processes.current().leads
    if leads:
        atexit.register(shutil.rmtree, shared, ignore_errors=True)
    try:
        yield lambda: Documents.open(shared / DOCUMENTS)
    finally:
        for path in shared.iterdir() if leads and shared.is_dir() else ():
            if path.name != DOCUMENTS:
                shutil.rmtree(path, ignore_errors=True)
