"""Fully sharded training: the losses and the model of one process, and checkpoints for any number of processes."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

import decoders
import searching
from launching import assert_one_line, children, distance, launch, losses, torchrun, wait_for

TEXTS = [f"{document.title}. {document.text}" for document in searching.documents(30, sentences=2)]
NEW = "new:layers=2,hidden=32,heads=2,dropout=0.1"
SHARDED = ("--set", "sharding=full")
COMMON = ("--set", "batch_size=8", "--set", "evaluate_every=2", "--tracker", "none", "--keep-workspace")
COMMANDS = {
    "contriever": ("train", "docs.jsonl", "--method", "contriever", "--base", "decoder", "--set", "queue=32",
                   "--set", "cache=true", "--set", "chunk=2", "--set", "clip=0.1", "--steps", "6"),
    "retromae": ("train", "docs.jsonl", "--method", "retromae", "--base", NEW, "--set", "vocabulary_size=300",
                 "--set", "chunk=2", "--set", "clip=0.1", "--set", "patience=1", "--steps", "6"),
    "mlm": ("train", "docs.jsonl", "--method", "mlm", "--base", NEW, "--set", "vocabulary_size=300",
            "--set", "chunk=2", "--steps", "6"),
    "finetune": ("finetune", "decoder", "pairs.jsonl", "--pooling", "lasttoken", "--similarity", "cosine", "--steps",
                 "4", "--negatives", "none", "--set", "cache=true", "--set", "chunk_tokens=64"),
}  # fmt: skip


@pytest.fixture(scope="module")
def room(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, pairs, and a language model."""
    folder = tmp_path_factory.mktemp("sharding")
    for name in ("docs.jsonl", "pairs.jsonl"):
        shutil.copy(things / name, folder / name)
    decoders.decoder(folder / "decoder", TEXTS)
    return folder


def words_of(name: str) -> tuple[str, ...]:
    """A command, with a held-out loss where there is one."""
    common = COMMON if name != "finetune" else tuple(word for word in COMMON if "evaluate" not in word)
    return (*COMMANDS[name], *(common if name != "finetune" else ("--set", "batch_size=8", "--tracker", "none")))


@pytest.mark.parametrize("name", COMMANDS)
def test_sharded_processes_make_the_model_of_one(run, room: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(room)
    alone = run(*words_of(name), "-o", name)
    assert alone.code == 0, alone.err
    codes, logs = launch(room, 2, *words_of(name), *SHARDED, "-o", f"{name}-2")
    assert codes == [0, 0], logs
    assert "each of 2 processes holds a part of every layer" in logs[0]
    if name != "finetune":
        for before, after in zip(losses(room / f"{name}.work"), losses(room / f"{name}-2.work"), strict=True):
            assert after == pytest.approx(before, rel=1e-5)
        parts = list((room / f"{name}-2.work").rglob("*-parts/*.safetensors"))
        assert {path.parent.name for path in parts} >= {"weights-parts", "optimiser-parts"}
        assert not list((room / f"{name}-2.work").rglob("*.metadata"))
    assert distance(room / name, room / f"{name}-2") < 1e-5


LONG = ("--steps", "40", "--set", "save_every=5", "--set", "batch_size=8", "--tracker", "none", "--no-select")
LONGER = {
    "contriever": ("--method", "contriever", "--base", "decoder", "--set", "queue=32", "--set", "cache=true",
                   "--set", "chunk=2"),
    "retromae": ("--method", "retromae", "--base", NEW, "--set", "vocabulary_size=300", "--set", "chunk=2"),
}  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes in /proc")
@pytest.mark.parametrize(("method", "world"), [("contriever", 4), ("retromae", 1)])
def test_a_killed_sharded_run_resumes_on_others(
    run, room: Path, monkeypatch: pytest.MonkeyPatch, method: str, world: int
) -> None:
    """Two sharded processes, of which one is killed; then four, or one that holds everything."""
    monkeypatch.chdir(room)
    words = ("train", "docs.jsonl", *LONGER[method], *LONG)
    assert run(*words, "-o", f"whole-{method}").code == 0
    started = torchrun(room, 2, *words, *SHARDED, "-o", f"broken-{method}")
    wait_for(room, f"broken-{method}.work/run/checkpoints/step-*/MANIFEST.json", started)
    os.kill(children(started.pid)[1], signal.SIGKILL)
    assert started.wait(timeout=60) != 0
    assert_one_line([(room / "launcher.log").read_text()], "add --resume to continue")
    assert not (room / f"broken-{method}").exists()
    assert list(room.glob(f"broken-{method}.work/run/checkpoints/step-*/optimiser-parts/*.safetensors"))
    if world == 1:
        resumed = run(*words, "--resume", "-o", f"broken-{method}")
        assert resumed.code == 0, resumed.err
    else:
        codes, logs = launch(room, world, *words, *SHARDED, "--resume", "-o", f"broken-{method}")
        assert codes == [0] * world, logs
    assert distance(room / f"whole-{method}", room / f"broken-{method}") < 1e-4


def test_what_cannot_be_sharded_is_told(room: Path) -> None:
    words = ("train", "docs.jsonl", "--method", "tsdae", "--base", NEW, "--steps", "2", "--set", "batch_size=8")
    codes, logs = launch(room, 2, *words, *SHARDED, "--no-select", "-o", "tied")
    assert codes == [2, 2], logs
    assert_one_line(logs, "this method's decoder uses parts of the encoder's layers; set sharding=none")
