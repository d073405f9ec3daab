"""``--device`` through the command line: refused in one line before anything is read, said first, recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest

SMALL = ("--set", "batch_size=8", "--set", "vocabulary_size=300", "--tracker", "none", "--no-select")
COMMANDS = {
    "train": ("nothing.jsonl", "-o", "out"),
    "finetune": ("nothing", "nothing.jsonl", "-o", "out"),
    "read": ("nothing.jsonl", "--questions", "nothing.jsonl", "--model", "nothing", "-o", "out"),
    "compare": ("nothing.jsonl", "--benchmark", "nothing", "-o", "out"),
    "distill": ("nothing.jsonl", "--teacher", "nothing", "-o", "out"),
    "generate": ("nothing.jsonl", "--generator", "nothing", "-o", "out.jsonl"),
    "index": ("nothing.jsonl", "--model", "nothing", "-o", "out"),
    "search": ("nothing", "words"),
    "evaluate": ("nothing",),
    "mine": ("nothing", "-o", "out.jsonl"),
    "answer": ("nothing", "who?"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_not_there_is_one_line(run, tmp_path: Path, monkeypatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    for device, said in (("cuda:1", "no accelerator here"), ("gpu", "give auto, cpu, cuda, cuda:1, mps or xpu")):
        found = run(command, *COMMANDS[command], "--device", device)
        assert found.code == 2, found.err
        assert f"--device {device}: " in found.err
        assert said in " ".join(found.err.split())
        assert not list(tmp_path.iterdir())


def test_the_first_line_says_where_a_run_computes(run, documents: Path, tmp_path: Path) -> None:
    static = run(
        "train", documents, "-o", tmp_path / "a", "--method", "structure", "--variants", "mix", "--steps", 2, *SMALL
    )
    assert static.code == 0, static.err
    assert static.err.strip().splitlines()[0].strip() == "note: device: cpu, float32, 1 process"
    base = ("--base", "new:layers=1,hidden=32")
    new = run("train", documents, "-o", tmp_path / "b", *base, "--steps", 2, "--set", "precision=float64", *SMALL)
    assert new.code == 0, new.err
    assert new.err.strip().splitlines()[0].strip() == (
        "note: device: cpu, float64, attention by rows of equal length, 1 process"
    )
    assert orjson.loads((tmp_path / "b" / "report.json").read_bytes())["device"] == "cpu"


def test_the_cpu_beside_an_accelerator_is_warned_of(run, documents: Path, tmp_path: Path, accelerators) -> None:
    accelerators("cuda")
    found = run("train", documents, "-o", tmp_path / "a", "--variants", "mix", "--steps", 2, "--device", "cpu", *SMALL)
    assert found.code == 0, found.err
    first, second = (line.strip() for line in found.err.strip().splitlines()[:2])
    assert first == "note: device: cpu, float32, 1 process"
    assert second == "note: the CPU computes, and an accelerator is idle: leave --device out to use cuda."


def test_a_run_resumes_on_another_device_and_says_so(run, documents: Path, tmp_path: Path, monkeypatch) -> None:
    """The device is recorded, and is no part of what has to be the same."""
    import os
    import signal

    from pretrieve.pipeline.run import fit

    words = ("train", documents, "-o", tmp_path / "a", "--variants", "mix", "--steps", 6, *SMALL)
    shown = fit._Shown.__call__

    def stop_at_three(self, progress) -> None:
        shown(self, progress)
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(fit._Shown, "__call__", stop_at_three)
    assert run(*words).code == 143
    monkeypatch.setattr(fit._Shown, "__call__", shown)
    record = tmp_path / "a.work" / "run" / "run.json"
    facts = orjson.loads(record.read_bytes())
    assert facts["device"] == "cpu"
    assert "device" not in facts["request"]
    shutil.copytree(tmp_path / "a.work", tmp_path / "b.work")
    again = run(*words, "--resume", "--device", "cpu")
    assert again.code == 0, again.err
    assert "bit-equal" not in again.err
    record = tmp_path / "b.work" / "run" / "run.json"
    record.write_bytes(orjson.dumps({**facts, "device": "NVIDIA H200"}))
    other = run(*[tmp_path / "b" if word == tmp_path / "a" else word for word in words], "--resume")
    assert other.code == 0, other.err
    said = " ".join(other.err.split())
    assert "the run began on NVIDIA H200 and resumes on cpu: its result is no longer bit-equal" in said
    assert orjson.loads((tmp_path / "b" / "report.json").read_bytes())["device"] == "NVIDIA H200, then cpu"


def test_an_attention_that_is_not_there_is_one_line(run, documents: Path, tmp_path: Path) -> None:
    small = ("--base", "new:layers=1,hidden=32", "--steps", 2, *SMALL)
    found = run("train", documents, "-o", tmp_path / "a", "--set", "flash_attention=FA3", *small)
    assert found.code == 2, found.err
    assert "flash_attention=FA3: it needs a Hopper GPU (H100, H200), and cpu computes" in " ".join(found.err.split())
    assert not (tmp_path / "a").exists()
    wrong = run("train", documents, "-o", tmp_path / "b", "--set", "flash_attention=FA2", *small)
    assert wrong.code == 2
    assert "FA4" in wrong.err
