"""The options of reading are one parameter of each command, and none of them is without effect."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import orjson
import typer.main

from pretrieve.cli.app import app
from pretrieve.cli.reading import Reading

NAMES = [one.name for one in dataclasses.fields(Reading)]
WITHOUT = {"distill": "wikipedia", "generate": "wikipedia", "inspect": "wikipedia", "read": "group_field"}


def test_all_commands_that_read_documents_have_them_in_one_order() -> None:
    commands = typer.main.get_command(app).commands
    reading = {name: [one.name for one in command.params if one.name in NAMES] for name, command in commands.items()}
    found = {name: names for name, names in reading.items() if "include" in names}
    assert {*found} == {"train", "distill", "generate", "compare", "encode", "index", "read", "inspect"}
    for name, names in found.items():
        assert names == [one for one in NAMES if one != WITHOUT.get(name)]


def test_columns_name_those_of_a_table_without_a_header(run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"r{n},The river number {n} is long. Many people visit river {n} in spring." for n in range(40)]
    Path("table.csv").write_text("\n".join(lines) + "\n")
    outcome = run("inspect", "table.csv", "--columns", "id,text", "-n", "1", "--json")
    assert outcome.code == 0, outcome.err
    facts = orjson.loads(outcome.out)
    assert facts["summary"]["documents"] == 40
    assert facts["pairs"][0]["document"] in {f"r{n}" for n in range(40)}
