"""``--resume`` on a finished folder: the same command is told so, another one is refused, on every training command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

SMALL = ("--set", "batch_size=8", "--set", "dimensions=16", "--set", "vocabulary_size=300")
COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("docs.jsonl", "--method", "structure", "--variants", "mix", *SMALL),
    "finetune": ("start", "beir", "--negatives", "none", "--set", "batch_size=8"),
    "distill": ("docs.jsonl", "--teacher", "teacher", "--stages", "tokens,distil", "--teacher-tokens", "3000",
                "--set", "batch_size=8"),
    "read": ("towns.jsonl", "--questions", "questions.jsonl", "--model", "towers", "--set", "batch_size=2", "--set",
             "block=48", "--set", "read=2"),
}  # fmt: skip
DATA = {"train": "docs.jsonl", "finetune": "beir/corpus.jsonl", "distill": "docs.jsonl", "read": "towns.jsonl"}


@pytest.fixture(scope="module")
def room(things, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("same") / "things"
    shutil.copytree(things, folder)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_finished_run_is_resumed_by_the_same_command_only(run, room, monkeypatch, command: str) -> None:
    monkeypatch.chdir(room)
    words = (*COMMANDS[command], "--steps", "2", "--tracker", "none", "-o", f"{command}-out")
    assert run(command, *words).code == 0
    before = {path: path.read_bytes() for path in (room / f"{command}-out").rglob("*") if path.is_file()}
    again = run(command, *words, "--resume")
    assert again.code == 0
    assert "already finished" in again.err + again.out
    for more, said in (
        (("--seed", "1"), "seed was 0 and is 1"),
        (("--steps", "3"), "steps was 2 and is 3"),
        (("--set", "training.learning_rate=0.007"), "learning_rate was"),
    ):
        other = run(command, *words, *more, "--resume")
        assert other.code == 1, other.err
        assert "cannot resume" in other.err
        assert said in other.err
    data = room / DATA[command]
    text = data.read_bytes()
    data.write_bytes(text.replace(b'"text":"', b'"text":"other ').replace(b'"text": "', b'"text": "other '))
    assert data.read_bytes() != text
    other = run(command, *words, "--resume")
    data.write_bytes(text)
    assert other.code == 1, other.err
    assert "are not those of before" in other.err
    assert {path: path.read_bytes() for path in (room / f"{command}-out").rglob("*") if path.is_file()} == before
    assert not (room / f"{command}-out.work").exists()


@pytest.mark.parametrize("first", ["train", "distill"])
def test_another_command_is_refused(run, room, monkeypatch, first: str) -> None:
    monkeypatch.chdir(room)
    second = {"train": "distill", "distill": "train"}[first]
    words = ("--steps", "2", "--tracker", "none", "-o", f"{first}-of")
    assert run(first, *COMMANDS[first], *words).code == 0
    other = run(second, *COMMANDS[second], *words, "--resume")
    assert other.code == 1
    assert f"command was {first} and is {second}" in other.err


def test_a_setting_that_is_no_name_any_more(run, room, monkeypatch) -> None:
    """``keep`` was a probability in one method and the number of checkpoints in all others."""
    monkeypatch.chdir(room)
    words = ("train", "docs.jsonl", "--method", "orqa-ict", "-o", "out", "--set")
    for name, said in (("keep=3", "unknown option 'keep'"), ("training.keep=3", "unknown option 'training.keep'")):
        found = run(*words, name)
        assert found.code == 2
        assert said in found.err
    assert "keep_probability, short" not in run(*words, "training.max_checkpoints=3", "--set", "x=1").err


def test_a_base_and_a_tracker_are_looked_at_before_documents(run, room, monkeypatch) -> None:
    """Documents that cannot be read would be told first otherwise."""
    monkeypatch.chdir(room)
    Path("bad.jsonl").write_text("{nothing\n")
    (room / "no-model").mkdir(exist_ok=True)
    (room / "no-model" / "config.json").write_text('{"model_type": "bert"}')
    for more, said in (
        (("--base", "no-model", "--method", "contriever-inbatch"), "no-model"),
        (("--base", "nowhere/at-all"), "nowhere/at-all"),
        (("--tracker", "tensorbord"), "tensorbord"),
    ):
        found = run("train", "bad.jsonl", "-o", "out", *more)
        assert found.code in (1, 2)
        assert said in found.err
        assert "bad.jsonl:1" not in found.err
        assert not (room / "out").exists()
        assert not (room / "out.work").exists()


def test_the_workspace_is_kept_where_it_is_asked_for(run, room, monkeypatch) -> None:
    monkeypatch.chdir(room)
    words = ("train", *COMMANDS["train"], "--steps", "1", "--tracker", "none", "-o")
    assert run(*words, "kept", "--keep-workspace").code == 0
    assert (room / "kept.work/run/documents").is_dir()
    assert run(*words, "plain").code == 0
    assert not (room / "plain.work").exists()
