"""One run: locked, the same command as before, finished or not, resumed, published. Every command that trains is one.

A command opens its run with ``begin`` and notes with ``Run.same`` what decides it, in the order in which it becomes
known: the request before anything is read, then the documents, the labels, the effective values. Whoever resumes with
something else is refused by the first note that differs, whether the run was stopped or is finished.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.recipe import check_same, plain
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.workspace import CHECKPOINTS, Workspace

RECORD = "run.json"  # what decides the run, in the workspace and beside the finished model
_NOT_DECIDING = ("output", "resume", "overwrite", "tracker", "keep_workspace", "shared")


class Request(Protocol):
    """What every request of a run has; each is a frozen dataclass."""

    @property
    def output(self) -> Path:
        """Folder for the result."""
        ...

    @property
    def resume(self) -> bool:
        """Resume a stopped run."""
        ...

    @property
    def overwrite(self) -> bool:
        """Replace what is at the output."""
        ...


@dataclass(kw_only=True)
class Run:
    """A run that holds its output.

    Attributes:
        command: name of the command.
        output: folder for the result.
        resume: a stopped run is resumed.
        listener: receives progress.
        work: where it works, beside the output.
        facts: what decides the run, as noted so far.
    """

    command: str
    output: Path
    resume: bool
    listener: Listener
    work: Workspace
    facts: dict[str, Any] = field(default_factory=dict)
    _before: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = (self.output if self.finished else self.workspace) / RECORD
        if self.resume and path.is_file():
            self._before = orjson.loads(path.read_bytes())
        elif self.resume and self.finished:
            raise FingerprintError(
                f"cannot resume: {self.output} is finished, and does not say which command made it: choose another "
                "--output."
            )

    @property
    def workspace(self) -> Path:
        """Where documents, tokens and other parts of a run lie while it works."""
        return self.work.path

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.work.path / CHECKPOINTS

    @property
    def finished(self) -> bool:
        """Whether the result is there already."""
        return self.work.finished

    def same(self, name: str, value: Any) -> None:
        """Note something that decides the run, or refuse to resume the run with something else.

        Args:
            name: what it is.
            value: plain values, nested by name.

        Raises:
            FingerprintError: it was another; the message names what differs.
            StorageError: writing to disk failed.
        """
        now = plain(value)
        if name in self._before:
            check_same(self._before[name], now, name if not isinstance(now, Mapping) else "")
        self.facts[name] = now
        if not self.finished:
            files.write_file(self.workspace / RECORD, files.to_json({**self._before, **self.facts}))

    def same_data(self, name: str, fingerprint: str) -> None:
        """Note data that the run reads, or refuse to resume the run with other data.

        Args:
            name: what it is, a plural: documents, labels.
            fingerprint: of its contents.

        Raises:
            FingerprintError: the run read other data.
            StorageError: writing to disk failed.
        """
        if self._before.get(name, fingerprint) != fingerprint:
            raise FingerprintError(
                f"cannot resume: the {name} are not those of before ({self._before[name]} was, {fingerprint} is). Give "
                f"the same {name}, or another --output."
            )
        self.same(name, fingerprint)

    @contextlib.contextmanager
    def publishing(self, kind: str, meta: Mapping[str, Any]) -> Iterator[files.Folder]:
        """Write the result: it takes its place whole when the block ends, with what decided the run in it.

        Args:
            kind: of the result.
            meta: what its MANIFEST says; read when the block ends.

        Raises:
            StorageError: writing to disk failed; what was at the output is there still.
        """
        with self.work.publish(kind, meta) as folder:
            yield folder
            folder.json(RECORD, self.facts)

    def say_finished(self) -> None:
        """Tell that nothing is left to do."""
        self.listener.note(f"{self.output} is already finished.")


@contextlib.contextmanager
def begin(
    command: str,
    request: Request,
    listener: Listener,
    *,
    inputs: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> Iterator[Run]:
    """Hold the output of a run, and check that a run to be resumed is the one that is asked for.

    Args:
        command: name of the command.
        request: its arguments, a frozen dataclass.
        listener: receives progress.
        inputs: names of arguments that are files or folders: their contents decide, not where they lie.
        without: names of arguments that something else stands for: ``Run.same_data`` takes the fingerprint of the
            documents that are read from sources.

    Raises:
        FingerprintError: the run at the output had other arguments.
        LockedError: another process holds the output.
        InterruptedRunError: a signal arrived outside training.
        StorageError: writing to disk failed.
    """
    work = Workspace(
        request.output,
        resume=request.resume,
        overwrite=request.overwrite,
        keep=getattr(request, "keep_workspace", False),
    )
    with stoppable(work.advice), work:
        run = Run(command=command, output=request.output, resume=request.resume, listener=listener, work=work)
        run.same("command", command)
        run.same("request", request_facts(request, inputs, without))
        yield run


def request_facts(request: Any, inputs: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The arguments of a request that decide its run, as plain values.

    Args:
        request: a dataclass.
        inputs: names of arguments that are files or folders, or names of a hub; told by their contents.
        without: names of arguments that something else stands for.
    """
    found: dict[str, Any] = {}
    for item in dataclasses.fields(request):
        value = getattr(request, item.name)
        if item.name in _NOT_DECIDING or item.name in without:
            continue
        if item.name in inputs and value is not None:
            value = files.digest(Path(str(value))) or str(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        elif isinstance(value, Path):
            value = str(value)
        elif isinstance(value, Mapping):
            value = {key: str(setting) for key, setting in value.items()}  # text and typed values are the same
        found[item.name] = value
    return dict(plain(found))
