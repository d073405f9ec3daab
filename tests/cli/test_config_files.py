"""``--config`` and ``--recipe``: what stands in a file is the same as on the command line, which overrides it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import orjson
import pytest

from cli.conftest import READ

NONE = ("--tracker", "none")
SETTINGS = {"batch_size": "training", "dimensions": "encoder", "vocabulary_size": "tokenizer", "temperature": "method"}


def sha(folder: Path | str) -> str:
    return hashlib.sha256(Path(folder, "model.safetensors").read_bytes()).hexdigest()


def one_line(outcome, code: int = 2) -> str:
    (line,) = outcome.err.strip().splitlines()
    assert line.startswith("error: ")
    assert outcome.code == code
    return line


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


TOML = """
sources = ["{things}/docs.jsonl"]
steps = 3
seed = 2
tracker = "none"
select = false
variants = ["mix"]
on-bad = "skip"
training.batch_size = 16
encoder = {{ dimensions = 8 }}

[tokenizer]
vocabulary_size = 300
lowercase = false
"""


def test_a_file_is_a_command_line(run, things) -> None:
    Path("c.toml").write_text(TOML.format(things=things))
    values = {"sources": [f"{things}/docs.jsonl"], "steps": 3, "seed": 2, "select": False, "variants": "mix",
              "on_bad": "skip", "tracker": "none", "training": {"batch_size": 16}, "encoder.dimensions": 8,
              "set": ["tokenizer.vocabulary_size=300", "lowercase=no"]}  # fmt: skip
    Path("c.json").write_text(json.dumps(values))
    settings = ("batch_size=16", "dimensions=8", "vocabulary_size=300", "lowercase=no")
    words = ["--steps", "3", "--seed", "2", *NONE, "--no-select", "--variants", "mix", "--on-bad", "skip"]
    words += [word for setting in settings for word in ("--set", setting)]
    ways = {"a": (things / "docs.jsonl", *words), "b": ("--config", "c.toml"), "c": ("--config", "c.json")}
    for name, given in ways.items():
        outcome = run("train", *given, "-o", name)
        assert outcome.code == 0, outcome.err
    recipes = [orjson.loads(Path(name, "recipe.json").read_bytes()) for name in "abc"]
    assert len({recipe["fingerprint"] for recipe in recipes}) == 1
    assert sha("a") == sha("b") == sha("c")


def test_the_command_line_overrides_a_file(run, things) -> None:
    Path("c.toml").write_text(TOML.format(things=things) + "\n[set]\ntemperature = 0.2\n")
    words = ("--minutes", "0.01", "--select", "--set", "batch_size=8", "--set", "method.temperature=0.3", "--seed", "5")
    outcome = run("train", "--config", "c.toml", "-o", "m", *words)
    assert outcome.code == 0, outcome.err
    recipe = orjson.loads(Path("m/recipe.json").read_bytes())
    assert (recipe["training"]["batch_size"], recipe["options"]["temperature"], recipe["seed"]) == (8, 0.3, 5)
    assert recipe["encoder"]["dimensions"] == 8
    request = orjson.loads(Path("m/run.json").read_bytes())["request"]
    assert (request["minutes"], request["steps"], request["select"]) == (0.01, None, True)


USUAL = {
    "train": ("{}/docs.jsonl",),
    "finetune": ("{}/start", "{}/beir"),
    "read": ("{}/towns.jsonl", "--questions", "{}/questions.jsonl", "--model", "{}/towers"),
    "distill": ("{}/docs.jsonl", "--teacher", "{}/teacher"),
    "compare": ("{}/beir", "--benchmark", "{}/beir", "--methods", "none"),
}


@pytest.mark.parametrize("name", [*USUAL, "generate"])
def test_what_is_wrong_in_a_file_names_it(run, things, name) -> None:
    usual = USUAL.get(name, ("{}/docs.jsonl", "--generator", "{}/t5"))
    words = [word.format(things) for word in usual]
    Path("c.toml").write_text("outputt = 1\n")
    assert "c.toml: outputt: unknown option. Did you mean 'output'?" in one_line(
        run(name, *words, "-o", "out", "--config", "c.toml")
    )
    Path("c.toml").write_text("seed = 'many'\n")
    assert "c.toml: seed: " in one_line(run(name, *words, "-o", "out", "--config", "c.toml"))
    if name != "generate":
        Path("c.toml").write_text("training.learning_rat = 0.1\n" if name != "compare" else "set.dimension = 1\n")
        line = one_line(run(name, *words, "-o", "out", "--config", "c.toml"))
        assert "c.toml" in line
        assert "Did you mean" in line
    assert not Path("out").exists()


def test_options_of_every_command_are_taken_from_a_file(run, things) -> None:
    Path("c.toml").write_text('steps = 2\ntracker = "none"\ntraining.batch_size = 16\nsplit = "test"\n')
    outcome = run("finetune", things / "start", things / "beir", "-o", "tuned", "--config", "c.toml", "--json")
    values = orjson.loads(outcome.out)["values"]["training"]
    assert (values["steps"], values["batch_size"]) == (2, 16)
    Path("c.toml").write_text('steps = 2\ntracker = "none"\nstages = ["tokens", "distil"]\ntraining.batch_size = 16\n')
    outcome = run(
        "distill", things / "docs.jsonl", "--teacher", things / "teacher", "-o", "d", "--config", "c.toml", "--json"
    )
    recipe = orjson.loads(outcome.out)["recipe"]
    assert (recipe["options"]["stages"], recipe["training"]["batch_size"]) == (["tokens", "distil"], 16)
    values = {"sources": [f"{things}/beir"], "benchmark": f"{things}/beir", "labels": [20], "methods": "none",
              "seeds": 1, "base": "static", "tune": {"training.batch_size": 16, "steps": 1},
              "set": {"dimensions": 8, "vocabulary_size": 300}}  # fmt: skip
    Path("c.json").write_text(json.dumps(values))
    outcome = run("compare", "-o", "c", "--config", "c.json")
    assert outcome.code == 0, outcome.err
    assert "20 labels" in outcome.out
    Path("c.json").write_text(json.dumps({"queries": 2, "negatives": 0, "max-new-tokens": 4, "keep_within": 40}))
    outcome = run(
        "generate", things / "docs.jsonl", "-o", "l.jsonl", "--generator", things / "t5", "--config", "c.json", "--json"
    )
    assert orjson.loads(outcome.out)["values"]["queries"] == 2
    Path("c.json").write_text(json.dumps({"questions": f"{things}/questions.jsonl", "reading.read": 2}))
    read = [word for word in READ if word not in ("read=2", "--set")]
    settings = ("--set", "batch_size=12", "--set", "block=48")
    outcome = run(
        "read", things / "towns.jsonl", "--model", things / "towers", "-o", "r", "--config", "c.json", *read[:4],
        *settings, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert orjson.loads(outcome.out)["options"]["read"] == 2


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("c.yaml", b"steps: 2", "TOML (.toml) or JSON (.json)"),
        ("c.toml", b"steps = = 2", "cannot be read"),
        ("c.toml", b"caf\xe9 = 2", "not UTF-8"),
        ("c.toml", b"a = " + b"[" * 100_000, "cannot be read"),
        ("c.json", b"[1, 2]", "a table of names and values"),
        ("c.json", b"3", "a table of names and values"),
        ("c.json", b'{"a":' * 5000 + b"1" + b"}" * 5000, "cannot be read"),
        ("c.json", b'{"steps": 1e400}', "c.json"),
        ("c.json", b'{"set": 3}', "KEY=VALUE"),
        ("c.json", b'{"select": "perhaps"}', "true or false"),
        ("c.json", b'{"steps": {"a": 1}}', "steps"),
        ("c.json", None, "no such file"),
    ],
)
def test_a_hostile_file_is_one_line(run, things, name, data, words) -> None:
    if data is not None:
        Path(name).write_bytes(data)
    assert words in one_line(run("train", things / "docs.jsonl", "-o", "out", "--config", name))


def test_a_folder_or_a_pipe_is_no_file(run, things) -> None:
    Path("folder.json").mkdir()
    os.mkfifo("pipe.toml")
    for name in ("folder.json", "pipe.toml"):
        assert "not a file" in one_line(run("train", things / "docs.jsonl", "-o", "out", "--config", name))
        assert "not a file" in one_line(run("train", "-o", "out", "--recipe", name))


@pytest.mark.parametrize(
    "words",
    [
        ("--minutes", "0.02"),
        ("--steps", "3", "--variants", "spans,exact", "--set", "temperature=0.2"),
        ("--steps", "3", "--no-select"),
        ("--steps", "3", "--base", "new:layers=1,hidden=16,heads=2", "--method", "simcse"),
    ],
)
def test_a_recipe_repeats_the_weights(run, documents, words) -> None:
    lines = documents.read_bytes().replace(b'"text"', b'"body_text"')
    Path("d.jsonl").write_bytes(lines + b"{broken\n")
    settings = (
        "--set",
        "batch_size=8",
        "--set",
        "vocabulary_size=300",
        "--text-field",
        "body_text",
        "--on-bad",
        "skip",
    )
    outcome = run("train", "d.jsonl", "-o", "a", *NONE, *settings, *words, "--seed", "7")
    assert outcome.code == 0, outcome.err
    outcome = run("train", "--recipe", "a/recipe.json", "-o", "b", *NONE)
    assert outcome.code == 0, outcome.err
    assert "is another one" not in outcome.err
    assert sha("a") == sha("b")
    first, second = (orjson.loads(Path(name, "recipe.json").read_bytes())["fingerprint"] for name in "ab")
    assert first == second


def test_a_recipe_alone_and_with_other_sources(run, documents) -> None:
    settings = ("--steps", "3", "--set", "batch_size=8", "--set", "vocabulary_size=300", "--set", "dimensions=16")
    outcome = run("train", documents, "-o", "a", *NONE, *settings, "--no-select")
    assert outcome.code == 0, outcome.err
    Path("recipe.json").write_bytes(Path("a/recipe.json").read_bytes())
    assert run("train", "--recipe", "recipe.json", "-o", "b", *NONE).code == 0
    assert sha("a") == sha("b"), "without run.json beside it"
    Path("few.jsonl").write_bytes(b"\n".join(documents.read_bytes().splitlines()[:120]))
    outcome = run("train", "few.jsonl", "--recipe", "recipe.json", "-o", "c", *NONE)
    assert outcome.code == 0, outcome.err
    assert "other documents than recipe.json" in outcome.err
    outcome = run("train", "--recipe", "recipe.json", "-o", "d", *NONE, "--steps", "2", "--set", "temperature=0.3")
    recipe = orjson.loads(Path("d/recipe.json").read_bytes())
    assert (recipe["training"]["steps"], recipe["options"]["temperature"]) == (2, 0.3)
    Path("recipe.json").write_bytes(Path("a/recipe.json").read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    outcome = run("train", "--recipe", "recipe.json", "-o", "e")
    assert outcome.code == 1
    assert "it was changed" in outcome.err


@pytest.mark.parametrize("name", ["train", "finetune", "read", "distill"])
def test_a_tracker_is_checked_before_anything_is_read(run, things, name) -> None:
    words = [word.format("no/such/place") for word in USUAL[name]]
    assert "unknown tracker 'wandbb'. Did you mean 'wandb'?" in one_line(
        run(name, *words, "-o", "o", "--tracker", "wandbb")
    )
    assert "pip install" in one_line(run(name, *words, "-o", "o", "--tracker", "swanlab"), code=1)


@pytest.mark.parametrize("name", ["finetune", "distill"])
def test_a_tracker_gets_the_curves(run, things, name) -> None:
    pytest.importorskip("tensorboard")
    words = [word.format(things) for word in USUAL[name]]
    stages = ("--stages", "tokens,distil") if name == "distill" else ()
    outcome = run(name, *words, "-o", "out", "--steps", "2", "--tracker", "tensorboard", *stages)
    assert outcome.code == 0, outcome.err
    assert list(Path("out").rglob("events.out.tfevents.*"))
