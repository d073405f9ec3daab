"""The processes of one run, started by ``torchrun`` or ``accelerate launch``: all train, the first one does the rest.

Every process runs the same command. What only the first one does (lock, read, write, evaluate, publish) goes through
``Processes``: the others wait, and then open what it wrote. They meet in the launcher's key-value store, where waiting
is not limited in time; training exchanges tensors (``training/ranks.py``). A command that fails in the first process
ends the others with the same exit code, and only one of them prints the error. In a program of the user's own the
others raise ``EndedError`` where the first one raises its error.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson

from pretrieve.core.errors import LostRankError, PretrieveError, UsageError

T = TypeVar("T")
_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by every launcher
_PAUSE = 0.05  # seconds between two looks at the store
_PATIENCE = timedelta(hours=2)  # for a slow process in training; a dead one breaks its connections at once
_LAST_WORDS = 5.0  # seconds that an error waits for the error of the first process
_LOST = 2.0  # seconds that the first process waits for the others where one is lost
_END, _CAUSE, _LEFT = "end", "cause", "left"  # keys of the store


class Stored(Protocol):
    """What is written to disk and opened by its path."""

    @property
    def path(self) -> Path:
        """Its folder."""
        ...


S = TypeVar("S", bound=Stored)


class EndedError(PretrieveError):
    """The first process met an error, which it reports; ``exit_code`` is that of the first process."""

    def __init__(self, exit_code: int, line: str = "") -> None:
        super().__init__(f"the first process of this run met an error: {line}" if line else "the first process ended.")
        self.exit_code = exit_code


@dataclass(slots=True)
class Processes:
    """This process (``rank`` of ``world``) and the others of its run.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1
    _store: Any = None
    _turn: int = 0
    _inside: int = 0
    _own_group: bool = True
    _patience: float = _LAST_WORDS

    @property
    def leads(self) -> bool:
        """Whether this is the first process, or the only one."""
        return self.rank == 0

    def of_first(self, make: Callable[[], T]) -> T:
        """Return what a function returns in the first process; the other processes wait for it.

        All processes make the same calls in the same order. A call within ``make`` is made by the first process alone.

        Args:
            make: returns a plain value.

        Raises:
            EndedError: the function, or the first process, ended with an error.
        """
        if self.world == 1 or self._inside:
            return make()
        store, key = self._met(), self._next_key()
        if not self.leads:
            found = orjson.loads(self._awaited(key))
            if "error" in found:
                raise EndedError(found["exit_code"], found["error"])
            value: T = found["value"]
            return value
        self._inside += 1
        try:
            value = make()
        except Exception as error:
            with contextlib.suppress(RuntimeError):  # the launcher has gone
                store.set(key, orjson.dumps({"error": str(error), "exit_code": int(getattr(error, "exit_code", 1))}))
            raise
        finally:
            self._inside -= 1
        store.set(key, orjson.dumps({"value": value}))
        return value

    def meet(self) -> None:
        """Wait until all processes have come here, without a limit of time.

        Raises:
            LostRankError: another process has ended with an error; for the first process.
            EndedError: the first process ended with an error; for the others.
        """
        if self.world == 1 or self._inside:
            return
        store, key = self._met(), self._next_key()
        with _reaching():
            store.add(key, 1)
            while store.add(key, 0) < self.world:
                if self.leads and store.check([_CAUSE]):
                    raise LostRankError(self.cause())
                self._check_end()
                time.sleep(_PAUSE)

    def alone(self, make: Callable[[], T]) -> T | None:
        """Call a function in the first process alone; None in the others, which wait for its end."""
        found: list[T] = []
        self.of_first(lambda: found.append(make()))
        return found[0] if found else None

    def first(self, make: Callable[[], T], then: Callable[[], T]) -> T:
        """Call a function in the first process, and afterwards another one in the others.

        Args:
            make: makes something, and writes it to disk.
            then: opens it.
        """
        found: list[T] = []
        self.of_first(lambda: found.append(make()))
        return found[0] if found else then()

    def opened(self, make: Callable[[], S], open_: Callable[[Path], S]) -> S:
        """Make something on disk in the first process, and open it in the others.

        Args:
            make: makes it.
            open_: opens it by its path.
        """
        found: list[S] = []

        def made() -> str:
            found.append(make())
            return str(found[0].path.absolute())

        place = self.of_first(made)
        return found[0] if found else open_(Path(place))

    def check_batch(self, size: int) -> None:
        """Check that a batch divides by the processes, before anything slow starts.

        Raises:
            UsageError: it does not.
        """
        if self.world > 1:
            from pretrieve.training.ranks import Ranks

            Ranks(world=self.world).share(size)

    def check_alone(self, command: str) -> None:
        """Refuse several processes for a command that does not use them.

        Raises:
            UsageError: there are several.
        """
        if self.world > 1:
            raise UsageError(f"{command} works in one process: run it without torchrun or accelerate launch.")

    def check_first(self, call: str) -> None:
        """Refuse, in all processes but the first, what writes one output and does not use several processes.

        Raises:
            UsageError: this is another process.
        """
        if not self.leads:
            raise UsageError(
                f"{call} works in one process, and this is process {self.rank} of {self.world}: call it in the first "
                "one alone (RANK is 0), or start the program without torchrun or accelerate launch."
            )

    def cause(self) -> str:
        """The error that another process ended with, for the first process; empty if none is known, as after a kill."""
        store = self._store
        if store is None or not self.leads:
            return ""
        self._patience = _LOST
        end = time.monotonic() + 1
        while time.monotonic() < end:
            if store.check([_CAUSE]):
                return str(store.get(_CAUSE).decode()).removesuffix(".")
            time.sleep(_PAUSE)
        return ""

    def silent(self, error: BaseException, line: str) -> int | None:
        """Decide which process prints an error.

        Args:
            error: what ended this process.
            line: the error as text.

        Returns:
            The exit code of a process that leaves it to the first one to print; None: this one prints.
        """
        if self.leads:
            return None
        code = int(getattr(error, "exit_code", 1))
        store, self._store = self._store, None  # nothing is left to do at exit
        if store is None:  # the first process finds the same mistake; a launcher ends all when one has ended
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.0 if isinstance(error, EndedError) else _LAST_WORDS)
            return code
        try:
            if isinstance(error, EndedError):
                store.add(_LEFT, 1)
                return code
            store.set(_CAUSE, f"process {self.rank}: {line}")
            end = time.monotonic() + _LAST_WORDS
            while time.monotonic() < end:
                if store.check([_END]):
                    store.add(_LEFT, 1)
                    return int(store.get(_END))
                time.sleep(_PAUSE)
        except RuntimeError:  # the store has ended with the first process
            pass
        return None if self.rank == 1 and not isinstance(error, EndedError) else code

    def end(self, code: int) -> None:
        """Let the other processes end, after an error in this one.

        Args:
            code: exit code.
        """
        if self._store is not None and self.leads:
            try:
                self._store.set(_END, str(code))
                self._await_others(self._patience)
            except RuntimeError:  # the launcher has gone
                pass
            self._store = None

    def leave(self, patience: float = 60.0) -> None:
        """Leave the others at the end of a command; the first process, which may hold the store, leaves last.

        Args:
            patience: seconds that the first process waits for the others.
        """
        if self._store is None:
            return
        from torch import distributed

        try:
            if self.leads:
                self._await_others(patience)
            else:
                self._store.add(_LEFT, 1)
        except RuntimeError:  # the store has ended with another process
            pass
        if self._own_group and distributed.is_initialized():
            distributed.destroy_process_group()
        self._store = None

    def _await_others(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._store.add(_LEFT, 0) < self.world - 1 and time.monotonic() < end:
            time.sleep(_PAUSE)

    def _awaited(self, key: str) -> bytes:
        """The value of a key, once the first process has set it."""
        with _reaching():
            while not self._store.check([key]):
                self._check_end()
                time.sleep(_PAUSE)
            return bytes(self._store.get(key))

    def _check_end(self) -> None:
        if self._store.check([_END]):
            raise EndedError(int(self._store.get(_END)))

    def _next_key(self) -> str:
        self._turn += 1
        return f"turn-{self._turn}"

    def _met(self) -> Any:
        """The store, once the processes have met there and formed a group, unless the program has formed one."""
        if self._store is None:
            import torch
            from torch import distributed
            from torch.distributed import distributed_c10d
            from torch.distributed.distributed_c10d import PrefixStore
            from torch.distributed.rendezvous import rendezvous

            if distributed.is_initialized():
                self._own_group, self._store = False, PrefixStore("run", distributed_c10d._get_default_store())
                return self._store
            store, _, _ = next(rendezvous("env://", self.rank, self.world))
            backend = "gloo"
            if torch.cuda.is_available() and distributed.is_nccl_available():
                backend = "cpu:gloo,cuda:nccl"
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
            distributed.init_process_group(
                backend,
                store=PrefixStore("group", store),
                rank=self.rank,
                world_size=self.world,
                timeout=_PATIENCE,
            )
            self._store = PrefixStore("run", store)
            atexit.register(self.leave, _LAST_WORDS)  # a program of the user's own
        return self._store


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Turn a store that has ended with the process that held it into an error in one line."""
    from torch.distributed import DistError

    try:
        yield
    except DistError as error:
        raise LostRankError from error


def launched(environment: Mapping[str, str]) -> tuple[int, int]:
    """Number of this process and number of processes, from the variables that launchers set.

    Raises:
        UsageError: the variables are no such numbers.
    """
    if not all(environment.get(name) for name in _LAUNCHED):
        return 0, 1
    rank, world = environment["RANK"], environment["WORLD_SIZE"]
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise UsageError(f"RANK={rank} and WORLD_SIZE={world}: set by no launcher; unset them.")
    return int(rank), int(world)


@cache
def current() -> Processes:
    """The processes of this run; a single one without a launcher.

    Raises:
        UsageError: as ``launched``.
    """
    rank, world = launched(os.environ)
    return Processes(rank, world)
