"""``pretrieve train``, stopped while processes tokenize: nobody is left, and it goes on at the last whole shard."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

import forks
from looking import seen

SMALL = ("--method", "structure", "--set", "dimensions=16", "--set", "vocabulary_size=300", "--set", "batch_size=16",
         "--steps", "2", "--keep-workspace")  # fmt: skip
SHARDS = "out.work/run/store.shards/shard-*/MANIFEST.json"


def command(report: Connection, words: list[str], log: str, size: int) -> None:
    """The command line in a process of its own, with small shards and two processes to make them."""
    with Path(log).open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ["PRETRIEVE_WORKERS"] = "2"
    from pretrieve.cli.app import main
    from pretrieve.text import store_shards

    store_shards.SHARD_BYTES = size
    sys.argv = ["pretrieve", *words]
    main()


class Command:
    """A command in a process of its own."""

    def __init__(self, folder: Path, words: list[str], size: int = 60_000) -> None:
        self.log = folder / "log"
        self.process, _ = forks.start(command, words, str(self.log), size)

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def until(self, folder: Path, shards: int) -> Command:
        """Wait until there are some shards."""
        deadline = time.monotonic() + 60
        while len(seen(folder, SHARDS)) < shards:
            assert self.process.is_alive(), self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def ended(self) -> tuple[int, list[str]]:
        """Exit code, and lines with errors."""
        self.process.join(60)
        text = self.log.read_text()
        assert "Traceback" not in text
        return self.process.exitcode, [line for line in text.splitlines() if line.startswith("error:")]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four megabytes of text."""
    path = tmp_path_factory.mktemp("source") / "docs.jsonl"
    words = ["river", "engine", "garden", "violin", "harbour", "glacier", "market", "library"]
    with path.open("wb") as file:
        for number in range(4000):
            text = " ".join(
                f"The {words[number * place % 8]} has {number % 97 + place} doors." for place in range(1, 40)
            )
            file.write(
                orjson.dumps({"id": f"d{number}", "title": f"{words[number % 8]} {number}", "text": text}) + b"\n"
            )
    return path


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run that is not stopped, with one shard, makes."""
    folder = tmp_path_factory.mktemp("whole")
    made = Command(folder, ["train", str(source), "-o", str(folder / "out"), *SMALL], size=1 << 30)
    assert made.ended() == (0, []), made.log.read_text()
    return result(folder)


def result(folder: Path) -> dict[str, bytes]:
    """Bytes of the store and of the model."""
    store = {path.name: path.read_bytes() for path in (folder / "out.work" / "run" / "store").iterdir()}
    return store | {"model": (folder / "out" / "model.safetensors").read_bytes()}


def none_left(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=2)[1]


def parent(run: Command, number: int) -> None:
    os.kill(run.process.pid, number)


def worker(run: Command, number: int) -> None:
    run.workers()[0].send_signal(number)


@pytest.mark.parametrize(
    ("who", "number", "code", "said"),
    [
        (parent, signal.SIGKILL, -9, ""),
        (
            worker,
            signal.SIGKILL,
            1,
            "a process of this command was ended by SIGKILL (is memory short? PRETRIEVE_WORKERS",
        ),
        (parent, signal.SIGINT, 130, "stopped by SIGINT: "),
        (parent, signal.SIGTERM, 143, "stopped by SIGTERM: "),
    ],
)
def test_a_stop_leaves_nobody_and_the_rerun_goes_on(
    run, source: Path, whole: dict[str, bytes], tmp_path: Path, who: Any, number: int, code: int, said: str
) -> None:
    words = ["train", str(source), "-o", str(tmp_path / "out"), *SMALL]
    started = Command(tmp_path, words).until(tmp_path, 3)
    mine = started.workers()
    assert len(mine) == 2
    begin = time.monotonic()
    who(started, number)
    got, lines = started.ended()
    assert (got, len(lines)) == (code, 1 if said else 0), started.log.read_text()
    assert time.monotonic() - begin < 5
    assert none_left(mine)
    assert said in "".join(lines)
    assert "add --resume to continue" in "".join(lines) or not said
    there = {path: path.stat().st_mtime_ns for path in tmp_path.glob(SHARDS)}
    assert 3 <= len(there) < 60
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.work/run/store").exists()
    if number != signal.SIGKILL or who is worker:
        assert not list(tmp_path.glob("out.work/run/**/.pretrieve-*")), "nothing half-written"
    refused = run(*words)
    assert refused.code == 2
    assert "has an unfinished run" in refused.err

    again = Command(tmp_path, [*words, "--resume"]).until(tmp_path, len(there) + 3)
    assert there.items() <= {path: path.stat().st_mtime_ns for path in tmp_path.glob(SHARDS)}.items(), "as they were"
    assert again.ended() == (0, []), again.log.read_text()
    assert result(tmp_path) == whole
    assert not (tmp_path / "out.work/run/store.shards").exists()


def test_few_documents_start_no_process_and_leave_nothing_to_resume(run, documents: Path, tmp_path: Path) -> None:
    done = Command(tmp_path, ["train", str(documents), "-o", str(tmp_path / "out"), *SMALL], size=1 << 25)
    assert done.ended() == (0, [])
    assert not (tmp_path / "out.work/run/store.shards").exists()
