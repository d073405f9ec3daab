"""Every command that is printed under "Next:", or stands in a model card, runs as it is."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from cli.conftest import READ, Outcome

NONE = ("--tracker", "none")
SMALL = (*NONE, "--steps", "2", "--set", "batch_size=16", "--set", "dimensions=8", "--set", "vocabulary_size=300")


def printed(out: str) -> list[list[str]]:
    """The commands under "Next:", as a shell reads them."""
    lines = out.split("Next:\n")[1].splitlines() if "Next:\n" in out else []
    return [shlex.split(line) for line in lines if line.strip().startswith("pretrieve ")]


def of_card(folder: str) -> list[str]:
    """The command of a model card."""
    return shlex.split(Path(folder, "README.md").read_text().split("```console\n")[1].split("\n")[0])


@pytest.fixture
def follow(run, tmp_path, monkeypatch):
    """Run a command, and then every command that it prints; returns those."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")

    def go(*words: object) -> list[list[str]]:
        outcome: Outcome = run(*words)
        assert outcome.code == 0, outcome.err
        found = printed(outcome.out)
        for command in found:
            assert command[0] == "pretrieve"
            done = run(*command[1:])
            assert done.code == 0, (command, done.err)
        return found

    return go


def test_train(follow, things) -> None:
    Path("my docs").mkdir()
    lines = (things / "docs.jsonl").read_bytes().replace(b'"text"', b'"words"').replace(b'"title"', b'"name"')
    Path("my docs/a.jsonl").write_bytes(lines + b"{broken\n")
    fields = ("--text-field", "words", "--title-field", "name", "--on-bad", "skip")
    index, search = follow("train", "my docs", "-o", "m [x]", *SMALL, *fields)
    assert index[1:] == ["index", "my docs", "--model", "m [x]", "-o", "my-index", "--on-bad", "skip", "--text-field",
                         "words", "--title-field", "name"]  # fmt: skip
    assert search[1:] == ["search", "my-index", "your question"]
    again, _ = follow("train", "my docs", "-o", "other", *SMALL, *fields)
    assert "my-index-2" in again, "a command that is printed does not meet what is there"


def test_a_start_for_fine_tuning_is_not_indexed(follow, run, things) -> None:
    base = "new:layers=1,hidden=16,heads=2"
    words = ("train", things / "docs.jsonl", "-o", "m", *NONE, "--method", "mlm", "--base", base, "--steps", "2")
    assert follow(*words) == []


def test_distill_and_its_card(follow, run, things) -> None:
    words = ("distill", things / "docs.jsonl", "--teacher", things / "teacher", "-o", "m", "--minutes", "0.01", *NONE)
    follow(*words, "--steps", "2", "--contrast-steps", "2")
    command = of_card("m")
    assert "--minutes" not in command
    weights = Path("m/model.safetensors").read_bytes()
    assert run(*command[1:], "--overwrite", *NONE).code == 0
    assert Path("m/model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(("split", "other"), [("train", "test"), ("test", "train")])
def test_finetune_is_evaluated_on_another_split(follow, run, things, split, other) -> None:
    words = ("finetune", things / "start", things / "beir", "-o", "tuned", *NONE, "--steps", "2", "--split", split)
    ((*command,),) = follow(*words)
    assert command[1:] == ["evaluate", f"{things}/beir", "--model", "tuned", "--split", other]
    weights = Path("tuned/model.safetensors").read_bytes()
    assert run(*of_card("tuned")[1:], "--overwrite", *NONE).code == 0
    assert Path("tuned/model.safetensors").read_bytes() == weights


def test_finetune_on_a_file(follow, things) -> None:
    words = ("finetune", things / "static", things / "pairs.jsonl", "-o", "tuned", *NONE, "--steps", "2")
    assert follow(*words) == []
    index, _ = follow(*words, "--overwrite", "--documents", things / "docs.jsonl")
    assert index[2] == f"{things}/docs.jsonl"


@pytest.mark.parametrize("model", [(), ("--model", "start")])
def test_mine(follow, things, model) -> None:
    words = [things / word if word == "start" else word for word in model]
    found = follow("mine", things / "beir", "-o", "n.jsonl", "--number", "2", "--split", "test", *words)
    assert [command[1] for command in found] == (["finetune"] if model else ["train", "finetune"])
    assert "test" in found[-1]


def test_mine_for_a_file(follow, things) -> None:
    words = ("mine", things / "pairs.jsonl", "-o", "n.jsonl", "--number", "2")
    assert follow(*words) == []
    assert len(follow(*words, "--documents", things / "docs.jsonl", "--model", things / "static")) == 1


def test_generate(follow, things) -> None:
    words = ("--generator", things / "t5", "--max-new-tokens", "5", "--keep-within", "30", "--negatives", "2")
    train, finetune = follow("generate", things / "docs.jsonl", "-o", "l.jsonl", *words)
    assert train[1] == "train"
    assert finetune[1:3] == ["finetune", "my-model"]


def test_read_compare_and_index(follow, things) -> None:
    words = ("--questions", things / "questions.jsonl", "--model", things / "towers", *READ)
    ((*answer,),) = follow("read", things / "towns.jsonl", "-o", "my reader", *words)
    assert answer[1:3] == ["answer", "my reader"]
    ((*search,),) = follow("index", things / "docs.jsonl", "--model", things / "static", "-o", "my index")
    assert search[1:3] == ["search", "my index"]


def test_encode(follow, things) -> None:
    fields = ("--title-field", "title", "--on-bad", "skip")
    words = ("encode", things / "docs.jsonl", "--model", things / "static", "-o", "my vectors", "--max-length", "20")
    ((*index,),) = follow(*words, *fields)
    assert index[1] == "index"
    assert index[-6:] == ["--on-bad", "skip", "--title-field", "title", "--max-length", "20"]
    assert follow(*words, *fields, "--queries", "-o", "my queries") == []


def test_demo(follow, things) -> None:
    ((*search,),) = follow("demo", "-o", "my demo", "--minutes", "0.01", "--source", things / "docs.jsonl")
    assert search[1:3] == ["search", "my demo/index"]


def test_a_card_has_steps_and_repeats_its_model(run, things, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [word for word in SMALL if word not in ("--steps", "2")]
    base = ("--base", "new:layers=1,hidden=16,heads=2", "--method", "contriever-inbatch")
    settings = [*NONE, "--set", "batch_size=8", "--set", "vocabulary_size=300", *base]
    outcome = run("train", things / "docs.jsonl", "-o", "m", *settings, "--minutes", "0.02")
    assert outcome.code == 0, outcome.err
    command = of_card("m")
    assert "--steps" in command
    assert "--minutes" not in command
    weights = Path("m/model.safetensors").read_bytes()
    assert run(*command[1:], "--overwrite", *NONE).code == 0
    assert Path("m/model.safetensors").read_bytes() == weights


def test_the_remedy_of_an_unfinished_run_works(run, things, tmp_path, monkeypatch) -> None:
    """Commands in errors: what stands between backticks is a command that exists."""
    import re

    from pretrieve.cli.app import COMMANDS

    names = {module.NAME for module in COMMANDS}
    source = Path(__file__).parents[2] / "src" / "pretrieve"
    for path in source.rglob("*.py"):
        for name in re.findall(r"`pretrieve (\w+)", path.read_text()):
            assert name in names, f"{path}: {name}"
