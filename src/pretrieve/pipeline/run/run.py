"""One run: locked, the same command as before, finished or not, resumed, published. Every command that trains is one.

A command opens its run with ``begin`` and records with ``Run.same`` what determines it, in order: the
request before anything is read, then the documents, the labels, the effective values. Resuming with other
values is refused at the first difference, for interrupted and finished runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError, LostRankError
from pretrieve.models import devices, flash_attention
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.recipe import check_same, plain
from pretrieve.pipeline.run.settings import value_set
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.workspace import CHECKPOINTS, Workspace
from pretrieve.training.options import NOT_DECIDING

CURVES = "curves"  # what trackers that write files leave
RECORD = "run.json"  # values that determine the run, in the workspace and beside the finished model
_NOT_DECIDING = ("output", "resume", "overwrite", "tracker", "keep_workspace", "shared", "device")
_said: ContextVar[str | None] = ContextVar("said", default=None)  # the first line of the command that runs
_DEVICE = "device"  # recorded, and not compared: a run resumes on any device


class Request(Protocol):
    """The fields that every request has; each request is a frozen dataclass."""

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
        """Replace an existing output."""
        ...

    @property
    def keep_workspace(self) -> bool:
        """Keep the workspace of a finished run."""
        ...

    @property
    def device(self) -> str:
        """Where to compute: auto, cpu, or the name of an accelerator."""
        ...


@dataclass(kw_only=True)
class Run:
    """A run that holds its output.

    Attributes:
        command: name of the command.
        output: folder for the result.
        resume: whether to resume an interrupted run.
        listener: receives progress.
        work: workspace, beside the output.
        facts: values that determine the run, as recorded so far.
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
        """The folder of documents, tokens and other parts while the run works."""
        return self.work.path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.work.path / CHECKPOINTS

    @property
    def finished(self) -> bool:
        """Whether the result exists already."""
        return self.work.finished

    def same(self, name: str, value: Any) -> None:
        """Record a value that determines the run, or refuse to resume the run with another one.

        The first process does so for all.

        Args:
            name: name of the value.
            value: plain values, nested by name.

        Raises:
            FingerprintError: the values differ; the message names them.
            StorageError: writing to disk failed.
        """
        now = plain(value)
        if not processes.current().leads:
            return
        if name in self._before:
            check_same(self._before[name], now, name if not isinstance(now, Mapping) else "")
        self.facts[name] = now
        if not self.finished:
            files.write_file(self.workspace / RECORD, files.to_json({**self._before, **self.facts}))

    def same_data(self, name: str, fingerprint: str) -> None:
        """Record data that the run reads, or refuse to resume the run with other data.

        Args:
            name: name of the data, in the plural: documents, labels.
            fingerprint: fingerprint of its contents.

        Raises:
            FingerprintError: the run read other data.
            StorageError: writing to disk failed.
        """
        if processes.current().leads and self._before.get(name, fingerprint) != fingerprint:
            raise FingerprintError(
                f"cannot resume: the {name} are not those of before ({self._before[name]} was, {fingerprint} is). Give "
                f"the same {name}, or another --output."
            )
        self.same(name, fingerprint)

    def computes_on(self, device: str) -> None:
        """Record the device of the run; one that is resumed on another device says so, and goes on.

        Args:
            device: name of the device or its product.

        Raises:
            StorageError: writing to disk failed.
        """
        before = str(self._before.get(_DEVICE, device))
        if self.finished or before.endswith(device):
            self.facts[_DEVICE] = before
        else:
            self.facts[_DEVICE] = f"{before}, then {device}"
            self.listener.note(
                f"the run began on {before} and resumes on {device}: its result is no longer bit-equal to that of an "
                "uninterrupted run."
            )
        if not self.finished and processes.current().leads:
            files.write_file(self.workspace / RECORD, files.to_json({**self._before, **self.facts}))

    @property
    def device(self) -> str:
        """The devices of the run, for its report."""
        return str(self.facts.get(_DEVICE, ""))

    @contextlib.contextmanager
    def publishing(self, kind: str, meta: Mapping[str, Any]) -> Iterator[files.Folder]:
        """Write the result: it is published when the block ends, with the values that determine the run.

        Args:
            kind: kind of the result.
            meta: facts for its MANIFEST; read when the block ends.

        Raises:
            StorageError: writing to disk failed; an existing output is unchanged.
        """
        with self.work.publish(kind, meta) as folder:
            yield folder
            folder.json(RECORD, self.facts)
            if (self.workspace / CURVES).is_dir():
                files.put(self.workspace / CURVES, folder.path / CURVES)

    def say_finished(self) -> None:
        """Report that the run is finished."""
        self.listener.note(f"{self.output} is already finished.")


@contextlib.contextmanager
def begin(
    command: str,
    request: Request,
    listener: Listener,
    *,
    inputs: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    precision: str = devices.AUTO,
    attention: bool = True,
) -> Iterator[Run]:
    """Lock the output of a run, set its device, and check that a resumed run has the same arguments.

    The first line of the run names device, precision, attention and number of processes.

    Args:
        command: name of the command.
        request: arguments of the command, a frozen dataclass.
        listener: receives progress.
        inputs: names of arguments that are files or folders: their contents count, not their paths.
        without: names of arguments checked otherwise: ``Run.same_data`` checks the fingerprint of the documents read
            from the sources.
        precision: precision of the forward pass.
        attention: whether a transformer is trained.

    Raises:
        UsageError: there is no such device, or it does not compute in this precision, or with this attention.
        FingerprintError: the run at the output had other arguments.
        LockedError: another process has locked the output.
        InterruptedRunError: a signal arrived outside training.
        StorageError: writing to disk failed.
    """
    work = Workspace(
        request.output,
        resume=request.resume,
        overwrite=request.overwrite,
        keep=request.keep_workspace,
    )
    listener = listener if processes.current().leads else Silent()
    with devices.using(request.device), _told_of_lost_processes(work), stoppable(work.advice), _held(work):
        run = Run(command=command, output=request.output, resume=request.resume, listener=listener, work=work)
        run.same("command", command)
        run.same("request", request_facts(request, inputs, without))
        asked = value_set(getattr(request, "settings", {}), "flash_attention", flash_attention.STOCK)
        with (
            flash_attention.using(asked, precision),
            saying_device(Silent() if run.finished else listener, precision, attention=attention),
        ):
            run.computes_on(devices.product(devices.chosen()))
            yield run


@contextlib.contextmanager
def saying_device(listener: Listener, precision: str = devices.AUTO, *, attention: bool = True) -> Iterator[None]:
    """Report where a command computes, and warn of an accelerator that is idle; runs within it do not repeat that.

    Args:
        listener: receives the lines.
        precision: precision of the forward pass.
        attention: whether a transformer is run.

    Raises:
        UsageError: the device does not compute in this precision.
    """
    described = devices.describe(precision, attention=attention, processes=processes.current().world)
    lines = [line for line in (described, devices.idle_accelerator()) if line]
    for line in lines if _said.get() is None else ():
        listener.note(line)
    before = _said.set(_said.get() or lines[0])
    try:
        yield
    finally:
        _said.reset(before)


@contextlib.contextmanager
def _held(work: Workspace) -> Iterator[None]:
    """Hold a workspace in the first process until all have done with it; they go on once it is released."""
    together = processes.current()
    with contextlib.ExitStack() as stack:
        work.finished = together.of_first(lambda: stack.enter_context(work).finished)
        yield
        together.meet()  # where nothing is trained, the first process is far ahead of one that opens its files
        together.of_first(stack.close)


@contextlib.contextmanager
def _told_of_lost_processes(work: Workspace) -> Iterator[None]:
    """Say why another process has ended, if it is known, and how to go on."""
    try:
        yield
    except LostRankError as error:
        raise LostRankError(processes.current().cause() or error.cause, work.advice()) from error


def request_facts(request: Any, inputs: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The arguments of a request that determine its run, as plain values.

    Args:
        request: a dataclass.
        inputs: names of arguments that are files, folders or hub names; identified by their contents.
        without: names of arguments to leave out.
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
            deciding = (key for key in value if key.rpartition(".")[2] not in NOT_DECIDING)
            value = {key: str(value[key]) for key in deciding}  # text and typed values are the same
        found[item.name] = value
    return dict(plain(found))
