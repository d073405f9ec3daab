"""Several processes of one run, as ``torchrun`` starts them: the same model, one voice, and one end for all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launching import accelerate, assert_one_line, children, distance, launch, losses, room_of, torchrun, wait_for
from pretrieve.cli.app import COMMANDS as COMMANDS_OF_ALL
from pretrieve.pipeline.run import processes

OF_MANY = {"train", "finetune", "read", "compare"}
SMALL = ("--method", "structure", "--set", "dimensions=16", "--set", "vocabulary_size=300", "--set", "batch_size=16")
COMMANDS = {
    "train": ("docs.jsonl", *SMALL, "--variants", "mix,spans", "--steps", "6", "--set", "evaluate_every=2"),
    "train words": ("docs.jsonl", "--method", "contriever", "--base", "new:layers=1,hidden=32,heads=2,dropout=0.1",
                    "--set", "queue=32", "--set", "batch_size=8", "--set", "chunk=2", "--steps", "6",
                    "--set", "evaluate_every=2", "--set", "patience=1", "--set", "vocabulary_size=300"),
    "train realm": ("docs.jsonl", "--method", "realm", "--base", "new:layers=1,hidden=32,heads=2,dropout=0.1",
                    "--set", "refresh=2", "--set", "candidates=3", "--set", "batch_size=8", "--set", "chunk=2",
                    "--set", "query=40", "--set", "block=48", "--set", "joint=96", "--steps", "6",
                    "--set", "evaluate_every=2", "--set", "vocabulary_size=300"),
    "finetune": ("start", "many", "--negatives", "mined", "--set", "batch_size=8", "--steps", "6",
                 "--set", "evaluate_every=2"),
    "finetune ance": ("start", "many", "--negatives", "ance", "--set", "batch_size=8", "--steps", "6",
                      "--set", "evaluate_every=2"),
    "read": ("towns.jsonl", "--questions", "questions.jsonl", "--model", "towers", "--set", "batch_size=4",
             "--set", "block=48", "--set", "read=2", "--steps", "6", "--set", "evaluate_every=2"),
}  # fmt: skip
WORLDS = [
    *((name, 2) for name in COMMANDS),
    *((name, 4) for name in COMMANDS if name.split()[-1] not in ("realm", "ance")),
]


@pytest.fixture(scope="module")
def room(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return room_of(things, tmp_path_factory.mktemp("processes") / "things")


@pytest.fixture
def alone(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The output of a command in one process, and the folder that all work in."""
    monkeypatch.chdir(room)

    def done(name: str) -> str:
        output = name.replace(" ", "-")
        if not Path(output).is_dir():
            found = run(name.split()[0], *words_of(name), "-o", output)
            assert found.code == 0, found.err
        return output

    return done


def words_of(name: str) -> tuple[str, ...]:
    return (*COMMANDS[name], "--tracker", "none", "--keep-workspace")


def check_same(room: Path, one: str, several: str) -> None:
    """The same held-out losses, and the same weights."""
    first, second = losses(room / f"{one}.work"), losses(room / f"{several}.work")
    assert any(first), "losses were measured"
    for before, after in zip(first, second, strict=True):
        assert after == pytest.approx(before, rel=1e-5)
    assert distance(room / one, room / several) < 1e-5


@pytest.mark.parametrize(("name", "world"), WORLDS)
def test_several_processes_make_the_model_of_one(
    alone: Callable[[str], str], room: Path, name: str, world: int
) -> None:
    one = alone(name)
    several = f"{one}-{world}"
    codes, logs = launch(room, world, name.split()[0], *words_of(name), "-o", several)
    assert codes == [0] * world, logs
    assert several in logs[0], "the first process reports"
    assert not "".join(logs[1:]).strip(), "the others are silent"
    check_same(room, one, several)


def test_accelerate_launches_the_same_run(alone: Callable[[str], str], room: Path) -> None:
    """Its --multi_gpu starts several processes, also where there is no GPU."""
    started = accelerate(room, 2, "finetune", *words_of("finetune"), "-o", "accelerated")
    assert started.wait(timeout=180) == 0, (room / "launcher.log").read_text()
    assert (room / "launcher.log").read_text().count("accelerated: ") == 1, "one process reports"
    check_same(room, alone("finetune"), "accelerated")


def test_a_comparison_trains_on_all_processes(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    words = ("compare", "docs.jsonl", "--benchmark", "beir", "--methods", "contriever-inbatch", "--steps", "4",
             "--base", "new:layers=1,hidden=32,heads=2,dropout=0", "--set", "batch_size=8", "--set",
             "vocabulary_size=300", "--labels", "all", "--tune", "batch_size=8", "--tune", "steps=4",
             "--seeds", "1")  # fmt: skip
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


@pytest.mark.parametrize("name", [one.NAME for one in COMMANDS_OF_ALL if one.NAME not in OF_MANY])
def test_other_commands_are_refused_before_they_do_anything(run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """None of them may run once for each process, on one output."""
    for variable, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(variable, value)
    processes.current.cache_clear()
    try:
        found = run(name, "docs.jsonl", "-o", "output")
    finally:
        processes.current.cache_clear()
    assert found.code == 2
    assert f"pretrieve {name} works in one process" in found.err


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
