"""Warnings about models that are not used as intended; nothing here is an error."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import orjson

import pretrieve.methods as methods
from pretrieve.core.errors import PretrieveWarning
from pretrieve.models.bag import Bag
from pretrieve.models.checkpoints import known_as, wrong_uses
from pretrieve.models.text_encoder import ModelOptions


def before_use(model: str, options: ModelOptions) -> list[str]:
    """Warnings where the given usage of a model contradicts its authors'.

    Args:
        model: a folder or a hub name.
        options: usage given by the user.
    """
    known = known_as(model, options.like)
    if known is None:
        return []
    options_given = ("pooling", "similarity", "query_prompt", "document_prompt")
    return wrong_uses(model, known, {key: getattr(options, key) for key in options_given})


def untuned(model: str, options: ModelOptions) -> list[str]:
    """A warning about a model that needs fine-tuning before search, if it is one."""
    known = known_as(model, options.like)
    if _is_pretraining_only(Path(model)) if known is None else not known.tuned:
        remedy = f"pretrieve finetune {model} LABELS -o tuned"
        return [f"{model} was pre-trained for fine-tuning and cannot search well yet: fine-tune it first ({remedy})."]
    return []


def before_search(model: str, options: ModelOptions) -> list[str]:
    """Warnings of both kinds."""
    return [*before_use(model, options), *untuned(model, options)]


def warn(lines: Iterable[str], *, depth: int = 1) -> None:
    """Emit warnings to a user of Python, at the caller's caller.

    Args:
        lines: the warnings.
        depth: number of calls from the user's to the caller of this.
    """
    for line in lines:
        warnings.warn(line, PretrieveWarning, stacklevel=2 + depth)


def _is_pretraining_only(folder: Path) -> bool:
    """Whether a model of ours is of a pretraining-only method."""
    recipe = folder / "recipe.json"
    if not recipe.is_file() or Bag.readable(
        folder
    ):  # pre-training only models are transformers; a static model needs no torch
        return False
    try:
        method = orjson.loads(recipe.read_bytes())["method"]
    except (ValueError, TypeError, KeyError):  # another file of that name
        return False
    known = methods.listing()
    return method in known and known[method].pretraining_only
