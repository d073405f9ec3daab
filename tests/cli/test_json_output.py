"""``--json`` means the same everywhere: one JSON object on standard output, and nothing beside it."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from pathlib import Path

import orjson
import pytest

from cli.conftest import READ
from pretrieve.cli.app import COMMANDS, main

SMALL = ("--set", "batch_size=16", "--set", "dimensions=8", "--set", "vocabulary_size=300")
USAGES = {
    "train": ("{}/docs.jsonl", "-o", "out", "--steps", "2", "--tracker", "none", *SMALL),
    "distill": ("{}/docs.jsonl", "--teacher", "{}/teacher", "-o", "out", "--stages", "tokens"),
    "generate": ("{}/docs.jsonl", "-o", "l.jsonl", "--generator", "{}/t5", "--max-new-tokens", "5", "--keep-within",
                 "30", "--negatives", "2", "--max-documents", "8"),
    "export": ("{}/teacher", "-o", "out"),
    "push": ("{}/start", "owner/start", "--dry-run"),
    "mine": ("{}/beir", "-o", "n.jsonl", "--model", "{}/start", "--number", "2"),
    "finetune": ("{}/start", "{}/beir", "-o", "out", "--steps", "2", "--tracker", "none"),
    "compare": ("{}/beir", "--benchmark", "{}/beir", "-o", "out", "--methods", "none", "--base", "static", "--labels",
                "20", "--set", "dimensions=8", "--set", "vocabulary_size=300", "--tune", "steps=2", "--seeds", "1"),
    "encode": ("{}/docs.jsonl", "--model", "{}/static", "-o", "out"),
    "index": ("{}/docs.jsonl", "--model", "{}/static", "-o", "out"),
    "search": ("{}/index", "water"),
    "evaluate": ("{}/beir", "--model", "{}/start"),
    "read": ("{}/towns.jsonl", "--questions", "{}/questions.jsonl", "--model", "{}/towers", "-o", "out", *READ),
    "answer": ("{}/reader", "Where?"),
    "inspect": ("{}/docs.jsonl", "--method", "structure", "-n", "2"),
    "report": ("{}/evaluation.json", "-o", "report.html"),
    "methods": (),
    "verify": ("{}/index",),
    "demo": ("-o", "out", "--minutes", "0.01", "--source", "{}/docs.jsonl"),
}  # fmt: skip
WITHOUT = {"serve"}  # runs until it is stopped; its answers are JSON, tests/serving


@pytest.mark.parametrize("name", [module.NAME for module in COMMANDS if module.NAME not in WITHOUT])
def test_standard_output_is_one_json_object(name, things, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word.format(things) for word in USAGES[name]]
    monkeypatch.setattr(sys, "argv", ["pretrieve", name, *words, "--json", "--output-json", "result.json"])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capfd.readouterr()
    assert code == 0, captured.err
    printed = orjson.loads(captured.out)
    assert isinstance(printed, dict)
    assert printed
    assert printed == orjson.loads(Path("result.json").read_bytes())


def test_a_place_that_cannot_be_written_is_said_before_the_work(run, things, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("train", "mine", "index"):
        words = [word.format(things) for word in USAGES[name]]
        outcome = run(name, *words, "--output-json", tmp_path / "folder")
        assert outcome.code == 2
        assert f"--output-json {tmp_path / 'folder'}: it is a folder" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_searches_without_a_query_are_an_object_each(things, tmp_path, monkeypatch, capfd) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("water\nstone\n\n"))
    monkeypatch.setattr(sys, "argv", ["pretrieve", "search", str(things / "index"), "--json"])
    with pytest.raises(SystemExit):
        main()
    found = [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [one["query"] for one in found] == ["water", "stone"]


@functools.cache
def options_of(module) -> dict[str, ast.arg]:
    (function,) = [node for node in ast.parse(inspect.getsource(module)).body if getattr(node, "name", "") == "command"]
    return {argument.arg: argument for argument in function.args.args}


def test_commands_are_short_and_shared_options_are_declared_once() -> None:
    for module in COMMANDS:
        (function,) = [
            node for node in ast.parse(inspect.getsource(module)).body if getattr(node, "name", "") == "command"
        ]
        assert function.end_lineno - function.body[0].lineno < 60, module.NAME
        for name, argument in options_of(module).items():
            shared = [one.NAME for one in COMMANDS if name in options_of(one)]
            declared = not isinstance(argument.annotation, ast.Name)
            if name in ("as_json", "output_json", "seed", "overwrite", "resume", "tracker", "config", "on_bad"):
                assert not declared, f"{module.NAME}: {name} is declared in cli/options.py, for {shared}"
