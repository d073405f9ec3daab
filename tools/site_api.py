"""Pages of the reference: Python from docstrings (mkdocstrings), commands from their options."""

from __future__ import annotations

from typing import Any

import typer.main

from pretrieve.cli.app import app
from site_methods import table

PYTHON = {  # page: what it is, and whose docstrings it shows
    "retriever": ("Retriever", "The whole workflow in Python.", ["pretrieve.retriever.Retriever"]),
    "index": (
        "Index and hits",
        "What `Retriever.index` and `Retriever.search` give.",
        ["pretrieve.index.index.Index", "pretrieve.index.hits.Hit"],
    ),
    "evaluation": (
        "Evaluation",
        "What `Retriever.evaluate` and `Retriever.compare` give.",
        ["pretrieve.evaluation.result.Result", "pretrieve.evaluation.fair.FairTable"],
    ),
    "options": (
        "Options of training",
        "What `--set` and `settings=` take beside a method's own values, and what fine-tuning takes.",
        [
            "pretrieve.training.options.TrainingOptions",
            "pretrieve.pipeline.pretrain.request.TrainRequest",
            "pretrieve.pipeline.finetune.request.FinetuneRequest",
            "pretrieve.pipeline.compare.request.CompareRequest",
        ],
    ),
    "methods": (
        "For authors of methods",
        "What a file of a method uses: [Adding a method](../add-a-method.md).",
        [
            "pretrieve.methods.Method",
            "pretrieve.methods.Card",
            "pretrieve.methods.Preset",
            "pretrieve.core.config.Value",
            "pretrieve.models.objective",
            "pretrieve.models.losses",
            "pretrieve.core.types",
            "pretrieve.testing.contract",
        ],
    ),
    "errors": ("Errors", "What is raised where a user can fix something.", ["pretrieve.core.errors"]),
}


def api_pages() -> dict[str, str]:
    """Texts of the pages, by their places below ``docs``."""
    pages = {f"api/{name}.md": _python(*page) for name, page in PYTHON.items()}
    return {**pages, "api/commands.md": _commands()}


def _python(title: str, text: str, names: list[str]) -> str:
    return "\n\n".join([f"# {title}", text, *(f"::: {name}" for name in names)]) + "\n"


def _commands() -> str:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    parts = ["# Commands", "Every command and option, as `--help` prints them."]
    for name, command in commands.items():
        parts += [f"## pretrieve {name}", " ".join((command.help or "").split()), _options(command)]
    return "\n\n".join(parts) + "\n"


def _options(command: Any) -> str:
    rows = []
    for parameter in command.params:
        names = [f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts)]
        argument = parameter.param_type_name == "argument"
        shown = f"`{parameter.metavar or parameter.name}`" if argument else ", ".join(names)
        default = "" if parameter.default in (None, False, ()) or argument else f"`{parameter.default}`"
        rows.append((shown, " ".join((parameter.help or "").split()), default))
    return table(("argument or option", "what it does", "default"), rows)
