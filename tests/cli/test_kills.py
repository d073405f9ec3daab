"""Killed and stopped commands, as real processes: what was there is found as before, and one line says what is kept."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

import forks
import labelling
from looking import seen
from pretrieve import Retriever

QUICK = ("--set", "batch_size=32", "--set", "save_every=2")


def command(report: Connection, words: list[str], log: str) -> None:
    """In a process of its own: the command line, with a pause and a word at each operation of the disk."""
    with Path(log).open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from pretrieve.cli.app import main
    from pretrieve.core import disk

    def pause(operation: str, path: Path) -> None:
        report.send(operation)
        time.sleep(0.01)

    disk.fault_point = pause
    sys.argv = ["pretrieve", *words]
    report.send("begins")
    main()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    labelling.beir(folder / "beir", 240, 20)
    labelling.static_model(folder / "model")
    return folder


class Killed:
    """A command in a process of its own, that is sent a signal after some operations of the disk."""

    def __init__(self, words: list[object], log: Path) -> None:
        self.log = log
        self.process, self.reports = forks.start(command, [str(word) for word in words], str(log))
        assert self.reports.recv() == "begins"

    def after(self, operations: int) -> Killed:
        """Wait for as many operations, or for the end."""
        try:
            for _ in range(operations):
                self.reports.recv()
        except EOFError:
            pass
        return self

    def until(self, place: Path, pattern: str) -> Killed:
        """Wait for a file, or for the end."""
        deadline = time.monotonic() + 60
        while not seen(place, pattern) and self.process.is_alive() and time.monotonic() < deadline:
            self.after(1)
        return self

    def send(self, number: int) -> tuple[int, list[str]]:
        """Send a signal, and return exit code and error lines."""
        if self.process.is_alive():
            os.kill(self.process.pid, number)
        self.process.join(60)
        text = self.log.read_text()
        assert "Traceback" not in text
        return self.process.exitcode, [line for line in text.splitlines() if line.startswith("error:")]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scores(model: Path) -> list[tuple[str, float]]:
    """What a person who searches with a model gets."""
    hits = Retriever.load(model).search("baki", ["baki dolu", "mane pora", "nelu"], top_k=3)
    return [(hit.id, hit.score) for hit in hits]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".log"}


def test_a_model_that_is_overwritten_is_found_until_the_new_one_is_whole(run, made, tmp_path) -> None:
    """finetune --overwrite, killed at random: the old model is searched meanwhile and afterwards, byte for byte."""
    out, chance = tmp_path / "out", random.Random(3)
    words = ["finetune", made / "model", made / "beir", "-o", out, "--negatives", "bm25", *QUICK]
    assert run(*words, "--steps", 2, "--seed", 1).code == 0
    old, found = bytes_of(out), scores(out)
    for kill in (8, 25, 40, *(chance.randrange(8, 70) for _ in range(3))):
        again = Killed([*words, "--steps", 12, "--overwrite"], tmp_path / "a.log").after(kill)
        assert scores(out) == found, "while the run works"
        assert again.send(signal.SIGKILL) == (-signal.SIGKILL, [])
        assert bytes_of(out) == old
        assert names(tmp_path) <= {"out", "out.work"}
    assert run("evaluate", made / "beir", "--model", out).code == 0
    assert run("verify", out).code == 0
    refused = run(*words, "--steps", 12)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert run(*words, "--steps", 12, "--overwrite").code == 0
    assert names(tmp_path) == {"out"}
    assert bytes_of(out) != old
    assert not [name for name in bytes_of(out) if "records" in name or "store" in name], "no copy of the documents"
    finished = run(*words, "--steps", 12, "--resume")
    assert (finished.code, "already finished" in finished.err) == (0, True)


def test_an_overwriting_run_is_resumed_and_then_replaces(run, made, tmp_path) -> None:
    out = tmp_path / "out"
    words = ["finetune", made / "model", made / "beir", "-o", out, "--negatives", "none", *QUICK]
    assert run(*words, "--steps", 2).code == 0
    old = bytes_of(out)
    stopped = Killed([*words, "--steps", 400, "--overwrite"], tmp_path / "a.log")
    stopped.until(tmp_path, "out.work/run/checkpoints/step-*/MANIFEST.json")
    code, lines = stopped.send(signal.SIGTERM)
    assert code == 143, stopped.log.read_text()
    assert len(lines) == 1
    assert "--resume" in lines[0]
    assert bytes_of(out) == old
    assert names(tmp_path) == {"out", "out.work"}
    refused = run(*words, "--steps", 400)
    assert "out.work: add --resume to continue, or --overwrite to restart" in refused.err
    assert run(*words, "--steps", 400, "--resume").code == 0
    assert names(tmp_path) == {"out"}
    assert bytes_of(out)["model.safetensors"] != old["model.safetensors"]


def test_an_index_that_is_overwritten_is_found_until_the_new_one_is_whole(run, made, tmp_path) -> None:
    out = tmp_path / "out"
    words = ["index", made / "beir", "--model", made / "model", "-o", out]
    assert run(*words).code == 0
    old, hits = bytes_of(out), run("search", out, "baki", "--json").out
    for kill in (1, 5, 12):
        again = Killed([*words, "--overwrite"], tmp_path / "a.log").after(kill)
        assert run("search", out, "baki", "--json").out == hits
        again.send(signal.SIGKILL)
        assert bytes_of(out) == old
        assert run("search", out, "baki", "--json").out == hits
    assert names(tmp_path) - {"out"}, "something was left to sweep"
    assert run(*words, "--overwrite").code == 0
    assert names(tmp_path) == {"out"}
    assert run("index", made / "beir", "--model", made / "model", "-o", f"{tmp_path}/new/").code == 0
    assert names(tmp_path) == {"out", "new"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("name", ["finetune", "index", "mine", "evaluate", "compare"])
def test_a_signal_is_answered_at_once_in_one_line(made, tmp_path, name, number, code) -> None:
    """Before anything is kept: one line, and nothing half-written."""
    words = {
        "finetune": ["finetune", made / "model", made / "beir", "-o", tmp_path / "out"],
        "index": ["index", made / "beir", "--model", made / "model", "-o", tmp_path / "out"],
        "mine": ["mine", made / "beir", "--model", made / "model", "-o", tmp_path / "out"],
        "evaluate": ["evaluate", made / "beir", "--model", made / "model", "--output-json", tmp_path / "out"],
        "compare": ["compare", made / "beir", "--benchmark", made / "beir", "-o", tmp_path / "out", "--labels", "100",
                    "--methods", "none,mlm"],
    }[name]  # fmt: skip
    run = Killed(words, tmp_path / "a.log").after(0 if name == "evaluate" else 3)
    time.sleep(0.1 if name == "evaluate" else 0)  # it writes nothing before the end
    got, lines = run.send(number)
    assert got == code, run.log.read_text()
    assert len(lines) == 1
    assert f"stopped by {number.name}: " in lines[0]
    assert "same command again" in lines[0]
    if name in ("finetune", "index", "evaluate"):
        assert names(tmp_path) == set()


def test_a_run_that_has_something_to_resume_says_where(made, tmp_path) -> None:
    words = ["finetune", made / "model", made / "beir", "-o", tmp_path / "out", "--negatives", "mined", *QUICK]
    run = Killed([*words, "--steps", "60"], tmp_path / "a.log").until(tmp_path, "out.work/run/negatives-bm25.jsonl")
    code, lines = run.send(signal.SIGTERM)
    assert code == 143, run.log.read_text()
    assert len(lines) == 1
    assert "out.work" in lines[0]
    assert "--resume" in lines[0]
    assert names(tmp_path) == {"out.work"}


@pytest.mark.parametrize("name", ["finetune", "index"])
def test_an_output_in_a_place_that_cannot_be_written(run, made, name) -> None:
    start = [made / "model", made / "beir"] if name == "finetune" else [made / "beir", "--model", made / "model"]
    outcome = run(name, *start, "-o", "/proc/out")
    assert outcome.code == 1
    assert "error: /proc cannot be written: " in outcome.err
