"""Several processes of one command: forked with a launcher's variables, or started by a real launcher."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors.torch import load_file

import forks
import labelling
from looking import seen


def room_of(things: Path, folder: Path) -> Path:
    """A copy of the things, with enough labels to hold some out."""
    shutil.copytree(things, folder)
    labelling.beir(folder / "many")
    return folder


def rank(report: Connection, number: int, world: int, port: int, folder: Path, words: list[str]) -> None:
    """One process of a command, as a launcher starts it."""
    torch.set_num_threads(1)
    os.chdir(folder)
    for name, value in (("RANK", number), ("LOCAL_RANK", number), ("WORLD_SIZE", world), ("MASTER_PORT", port)):
        os.environ[name] = str(value)
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    with (folder / f"log-{number}").open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from pretrieve.cli.app import main

    sys.argv = ["pretrieve", *words]
    main()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def launch(room: Path, world: int, *words: object) -> tuple[list[int], list[str]]:
    """Exit codes and output of all processes of a command."""
    port, texts = free_port(), [str(word) for word in words]
    started = [forks.start(rank, number, world, port, room, texts)[0] for number in range(world)]
    deadline = time.monotonic() + 400  # seconds for all of them: a machine may be busy
    for process in started:
        process.join(timeout=max(0.0, deadline - time.monotonic()))
    codes = [process.exitcode for process in started]
    for process in started:
        process.kill()
    logs = [(room / f"log-{number}").read_text() for number in range(world)]
    assert "Traceback" not in "".join(logs)
    return codes, logs


def distance(a: Path, b: Path) -> float:
    """Largest relative distance between the weights of two folders, a file at a time.

    Not a tensor at a time: the bias of the keys in attention changes nothing and has no gradient but rounding, which
    Adam makes as large as any other.
    """
    names = sorted(path.relative_to(a) for path in a.rglob("*.safetensors"))
    assert names
    assert names == sorted(path.relative_to(b) for path in b.rglob("*.safetensors"))
    found = 0.0
    for name in names:
        one, other = load_file(a / name), load_file(b / name)
        assert one.keys() == other.keys()
        values, others = (torch.cat([part[key].double().reshape(-1) for key in sorted(one)]) for part in (one, other))
        found = max(found, float((values - others).norm() / values.norm().clamp(min=1e-12)))
    return found


def losses(workspace: Path) -> list[Any]:
    """The held-out losses in the checkpoints of a kept workspace."""
    states = sorted(workspace.rglob("state.json"))
    assert states
    return [orjson.loads(path.read_bytes()).get("held_out") for path in states]


def assert_one_line(logs: list[str], text: str) -> None:
    errors = [line for log in logs for line in log.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, errors
    assert text in errors[0]


def torchrun(room: Path, world: int, *words: str, script: Path | None = None) -> subprocess.Popen[bytes]:
    """A command, or a program, under torch's own launcher."""
    port = ("--master-port", str(free_port()))
    return launcher(room, "torch.distributed.run", ("--nproc-per-node", str(world), *port), words, script)


def accelerate(room: Path, world: int, *words: str) -> subprocess.Popen[bytes]:
    """A command under ``accelerate launch``, with all that its configuration might say."""
    options = ("--multi_gpu", "--num_processes", str(world), "--num_machines", "1", "--mixed_precision", "no",
               "--dynamo_backend", "no", "--main_process_port", str(free_port()))  # fmt: skip
    return launcher(room, "accelerate.commands.launch", options, words)


def launcher(
    room: Path, module: str, options: tuple[str, ...], words: tuple[str, ...], script: Path | None = None
) -> subprocess.Popen[bytes]:
    """A launcher that works in a folder; what is printed goes to ``launcher.log`` there."""
    what = ("-m", "pretrieve") if script is None else (str(script),)
    with (room / "launcher.log").open("w") as log:
        command = [sys.executable, "-m", module, *options, *what, *words]
        return subprocess.Popen(command, cwd=room, stdout=log, stderr=subprocess.STDOUT)


def children(pid: int) -> dict[int, int]:
    """Process ids of the processes of a launcher, by their rank."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found |= {int(entry[5:]): int(child) for entry in environment if entry.startswith(b"RANK=")}
    return found


def kill_one(started: subprocess.Popen[bytes], number: int, log: Path, advice: str) -> None:
    """Kill a process: all others end within seconds, and one line says how to go on."""
    killed = time.monotonic()
    os.kill(children(started.pid)[number], signal.SIGKILL)
    assert started.wait(timeout=60) != 0
    assert time.monotonic() - killed < 20, log.read_text()
    text = log.read_text()
    assert_one_line([text], advice)
    assert "pretrieve/cli/app.py" not in text, "no traceback of ours; the launcher prints one of its own"


def wait_for(room: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not seen(room, pattern):
        assert process.poll() is None, (room / "launcher.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
