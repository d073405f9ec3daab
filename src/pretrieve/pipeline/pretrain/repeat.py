"""``train --recipe``: the arguments that repeat a run, from the files saved beside its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

import pretrieve.methods as methods
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.models.build import EncoderOptions
from pretrieve.pipeline.run import recipe as recipes
from pretrieve.pipeline.run.recipe import Recipe
from pretrieve.pipeline.run.run import RECORD

_FIELDS = ("text", "title", "id", "group")


def options_of_recipe(path: Path) -> dict[str, Any]:
    """Options of ``pretrieve train``, by name, that train the same weights again.

    The recipe holds the effective values and the number of steps. ``run.json`` beside it holds the request: the fields,
    the variants that were compared, and whether the probe selected. Without it, only the recipe's variant is trained,
    and saved.

    Args:
        path: ``recipe.json`` in the folder of a model.

    Returns:
        Values by the name of the option; under ``set`` the effective values by dotted name.

    Raises:
        UsageError: there is no such file, or another command made it.
        CorruptError: it is damaged.
    """
    if not path.is_file():
        raise UsageError(f"--recipe {path}: {'not a file' if path.exists() else 'no such file'}.")
    made = recipes.load(path)
    if made.method not in methods.names():
        raise UsageError(f"--recipe {path}: it was made by {made.method}, not by `pretrieve train`.")
    requested = _request(path.with_name(RECORD))
    variants = tuple(requested.get("variants", ())) if requested else (made.variant,) if made.variant else ()
    found: dict[str, Any] = {
        "sources": list(made.sources),
        "method": requested.get("method", made.method),
        "base": made.base,
        "steps": made.training["steps"],
        "seed": made.seed,
        "variants": ",".join(variants),
        "select": requested.get("select", False),
        "on_bad": requested.get("on_bad", "auto"),
        "held_out_documents": requested.get("held_out"),
        "set": _settings(made, variants, requested.get("settings", {})),
    }
    fields = requested.get("fields", {})
    files = requested.get("file_filter", {})
    found |= {
        "include": files.get("include"),
        "exclude": files.get("exclude"),
        "no_ignore": not files.get("ignore", True),
    }
    found |= {"columns": ",".join(fields.get("columns") or ())}
    found |= {f"{name}_field": fields.get(name) for name in _FIELDS}
    found |= {"without_titles": not fields.get("use_titles", True), "wikipedia": fields.get("wikipedia", False)}
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def _request(path: Path) -> Mapping[str, Any]:
    """The request of the run; empty where it is unknown."""
    if not path.is_file():
        return {}
    try:
        requested = orjson.loads(path.read_bytes())["request"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path} cannot be read as the record of a run ({error}).") from None
    if not isinstance(requested, dict):
        raise CorruptError(f"{path} cannot be read as the record of a run (no request).")
    return requested


def _settings(made: Recipe, variants: tuple[str, ...], requested: Mapping[str, str]) -> dict[str, Any]:
    """Effective values by dotted name, except those that differ between the compared variants."""
    varied = _varied(made, variants) - {key.rpartition(".")[2] for key in requested}
    encoder = {item.name for item in dataclasses.fields(EncoderOptions)}
    found = {f"method.{name}": value for name, value in made.options.items() if name not in varied}
    found |= {f"training.{name}": value for name, value in made.training.items() if name != "steps"}
    return found | {
        f"{'encoder' if name in encoder else 'tokenizer'}.{name}": value for name, value in made.encoder.items()
    }


def _varied(made: Recipe, variants: tuple[str, ...]) -> set[str]:
    if not made.variant or variants == (made.variant,):
        return set()
    known: Mapping[str, Mapping[str, Any]] = getattr(methods.find(made.method)[0], "VARIANTS", {}).get(made.method, {})
    return {name for variant in variants or known for name in known.get(variant, {})}
