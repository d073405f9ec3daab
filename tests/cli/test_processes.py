"""Several processes of one run, as ``torchrun`` starts them: the same model, one voice, and one end for all."""

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
import pytest
import torch
from safetensors.torch import load_file

import forks

SMALL = ("--method", "structure", "--set", "dimensions=16", "--set", "vocabulary_size=300", "--set", "batch_size=16")
COMMANDS = {
    "train": ("docs.jsonl", *SMALL, "--variants", "mix,spans", "--steps", "6", "--set", "evaluate_every=2"),
    "train words": ("docs.jsonl", "--method", "contriever", "--base", "new:layers=1,hidden=32,heads=2,dropout=0.1",
                    "--set", "queue=32", "--set", "batch_size=8", "--set", "chunk=2", "--steps", "6",
                    "--set", "evaluate_every=2", "--set", "patience=1", "--set", "vocabulary_size=300"),
    "finetune": ("start", "many", "--negatives", "mined", "--set", "batch_size=8", "--steps", "6",
                 "--set", "evaluate_every=2"),
    "finetune ance": ("start", "many", "--negatives", "ance", "--set", "batch_size=8", "--steps", "6",
                      "--set", "evaluate_every=2"),
    "read": ("towns.jsonl", "--questions", "questions.jsonl", "--model", "towers", "--set", "batch_size=2",
             "--set", "block=48", "--set", "read=2", "--steps", "6", "--set", "evaluate_every=2"),
}  # fmt: skip


@pytest.fixture(scope="module")
def room(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The things, with enough labels to hold some out."""
    import labelling

    folder = tmp_path_factory.mktemp("processes") / "things"
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
    """Exit codes and output of all processes of a command, which end within seconds."""
    port, texts = free_port(), [str(word) for word in words]
    started = [forks.start(rank, number, world, port, room, texts)[0] for number in range(world)]
    for process in started:
        process.join(timeout=120)
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


@pytest.mark.parametrize("name", COMMANDS)
def test_two_processes_make_the_model_of_one(run, room: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(room)
    command, one, two = name.split()[0], name.replace(" ", "-"), f"{name.replace(' ', '-')}-2"
    words = (*COMMANDS[name], "--tracker", "none", "--keep-workspace")
    alone = run(command, *words, "-o", one)
    assert alone.code == 0, alone.err
    codes, logs = launch(room, 2, command, *words, "-o", two)
    assert codes == [0, 0], logs
    assert two in logs[0], "the first process reports"
    assert not logs[1].strip(), "the others are silent"
    first, second = losses(room / f"{one}.work"), losses(room / f"{two}.work")
    for before, after in zip(first, second, strict=True):
        assert after == pytest.approx(before, rel=1e-5)
    assert distance(room / one, room / two) < 1e-5


def test_a_comparison_trains_on_all_processes(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    words = ("compare", "docs.jsonl", "--benchmark", "beir", "--methods", "contriever-inbatch", "--steps", "4",
             "--base", "new:layers=1,hidden=32,heads=2,dropout=0", "--set", "batch_size=8", "--set",
             "vocabulary_size=300", "--labels", "all", "--tune", "batch_size=8", "--tune", "steps=4")  # fmt: skip
    alone = run(*words, "-o", "table")
    assert alone.code == 0, alone.err
    codes, logs = launch(room, 2, *words, "-o", "table-2")
    assert codes == [0, 0], logs
    assert not logs[1].strip()
    assert distance(room / "table" / "runs", room / "table-2" / "runs") < 1e-5
    assert distance(room / "table" / "tuned", room / "table-2" / "tuned") < 1e-5
    codes, logs = launch(room, 2, *words, "-o", "table-2", "--set", "contriever-inbatch.batch_size=9")
    assert codes == [2, 2]
    assert_one_line(logs, "batch_size=9 does not divide by 2 processes: use 10")


def test_minutes_become_the_same_steps_everywhere(room: Path) -> None:
    codes, logs = launch(room, 2, "train", "docs.jsonl", *SMALL, "--minutes", "0.01", "--no-select", "-o", "timed")
    assert codes == [0, 0], logs


def assert_one_line(logs: list[str], text: str) -> None:
    errors = [line for log in logs for line in log.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, errors
    assert text in errors[0]


MISTAKES = {
    "batch": (("train", "docs.jsonl", *SMALL, "--set", "batch_size=15", "-o", "odd"),
              2, "batch_size=15 does not divide by 2 processes: use 16"),
    "tuning": (("finetune", "start", "many", "--set", "batch_size=15", "-o", "odd"),
               2, "batch_size=15 does not divide by 2 processes: use 16"),
    "command": (("evaluate", "beir"), 2, "pretrieve evaluate works in one process"),
    "option": (("train", "docs.jsonl", "--stepps", "3"), 2, "No such option: --stepps"),
    "reading": (("train", "bad.jsonl", "-o", "bad", "--on-bad", "fail"), 1, "bad.jsonl:2"),
    "output": (("train", "docs.jsonl", "-o", "static"), 2, "static exists"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_once_and_ends_all(room: Path, name: str) -> None:
    (room / "bad.jsonl").write_text('{"text": "a good line"}\n{"text": \n')
    words, code, text = MISTAKES[name]
    began = time.monotonic()
    codes, logs = launch(room, 2, *words)
    assert codes == [code, code], logs
    assert_one_line(logs, text)
    assert time.monotonic() - began < 60
    assert not [path.name for path in room.glob("*.work") if path.stem in ("odd", "bad")]


def torchrun(room: Path, world: int, *words: str) -> subprocess.Popen[bytes]:
    """A command under torch's own launcher."""
    start = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(world), "--master-port",
             str(free_port()), "-m", "pretrieve")  # fmt: skip
    with (room / "launcher.log").open("w") as log:
        return subprocess.Popen([*start, *words], cwd=room, stdout=log, stderr=subprocess.STDOUT)


def children(pid: int) -> dict[int, int]:
    """Process ids of the processes of a launcher, by their rank."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found |= {int(entry[5:]): int(child) for entry in environment if entry.startswith(b"RANK=")}
    return found


def wait_for(room: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not list(room.glob(pattern)):
        assert process.poll() is None, (room / "launcher.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes in /proc")
def test_a_killed_process_ends_all_and_the_run_resumes_on_others(run, room: Path) -> None:
    """Two processes, of which one is killed; then one process, which is stopped; then four."""
    steps = ("--steps", "160", "--set", "save_every=10", "--variants", "mix", "--tracker", "none", "--no-select")
    words = ("train", "docs.jsonl", *SMALL, *steps)
    whole = room / "whole"
    assert run("train", room / "docs.jsonl", *words[2:], "-o", whole).code == 0
    words = (*words, "-o", "broken")
    started = torchrun(room, 2, *words)
    wait_for(room, "broken.work/run/checkpoints/mix/step-*", started)
    killed = time.monotonic()
    os.kill(children(started.pid)[1], signal.SIGKILL)
    assert started.wait(timeout=60) != 0
    assert time.monotonic() - killed < 20
    lines = (room / "launcher.log").read_text().splitlines()
    assert_one_line(["\n".join(lines)], "add --resume to continue")
    assert not (room / "broken").exists()
    last = newest(room)
    with (room / "alone.log").open("w") as log:
        alone = subprocess.Popen([sys.executable, "-m", "pretrieve", *words, "--resume"], cwd=room, stderr=log)
    while newest(room) < last + 20:
        assert alone.poll() is None, (room / "alone.log").read_text()
        time.sleep(0.02)
    alone.send_signal(signal.SIGTERM)
    assert alone.wait(timeout=60) == 128 + signal.SIGTERM
    assert last < newest(room) < 160
    codes, logs = launch(room, 4, *words, "--resume")
    assert codes == [0] * 4, logs
    assert distance(whole, room / "broken") < 1e-4


def newest(room: Path) -> int:
    """Steps of the newest checkpoint of the broken run."""
    return max(int(path.name[5:]) for path in (room / "broken.work/run/checkpoints/mix").glob("step-*"))
