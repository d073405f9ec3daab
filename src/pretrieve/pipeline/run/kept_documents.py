"""The documents of a run, for a program that uses them after the run has removed its workspace."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.memory_sources import sources_of
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.sources import DOCUMENTS, SharesDocuments
from pretrieve.text.documents import Documents

R = TypeVar("R", bound=SharesDocuments)


def run_and_keep(
    run: Callable[[R, Listener], object], request: R, sources: object, listener: Listener
) -> tuple[str, Documents]:
    """Run a command for a program, and keep its documents.

    Args:
        run: the command.
        request: its arguments, which are checked; a dataclass.
        sources: sources, or documents in memory.
        listener: receives progress.

    Returns:
        The model's folder, and the documents.

    Raises:
        PretrieveError: as the command.
    """
    with (
        _shared_folder() as shared,
        sources_of(sources, listener, output=request.output, on_bad=request.on_bad, fields=request.fields) as named,
    ):
        run(cast(R, replace(cast(Any, request), sources=named, shared=shared)), listener)
    return str(request.output), Documents.open(shared / DOCUMENTS)


@contextlib.contextmanager
def _shared_folder() -> Iterator[Path]:
    """A new folder for documents and tokens: the documents stay until Python exits, the tokens until the block ends.

    After an error neither stays.
    Of several processes the first one makes and removes it.
    """
    leads = processes.current().leads
    shared = Path(processes.current().of_first(lambda: tempfile.mkdtemp(prefix="pretrieve-documents-")))
    if leads:
        atexit.register(shutil.rmtree, shared, ignore_errors=True)
    try:
        yield shared
    except BaseException:
        if leads:
            shutil.rmtree(shared, ignore_errors=True)
        raise
    finally:
        for path in shared.iterdir() if leads and shared.is_dir() else ():
            if path.name != DOCUMENTS:
                shutil.rmtree(path, ignore_errors=True)
