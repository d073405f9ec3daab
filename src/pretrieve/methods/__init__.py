"""The methods. The folder is the registry: a file here is a method, and its ``PRESETS`` are what ``--method`` takes.

A method's file holds, and nothing else knows:

* ``CARD``: the paper, what the released code really does, where we differ;
* ``Options``: a frozen keyword-only dataclass of what can be set;
* ``PRESETS``: named values, each with its source;
* ``view(store, specials, options)``: how documents become examples;
* ``objective(encoder, options, seed, store)``: how vectors become a loss; the store is for methods that look documents
  up while they train (REALM's candidates);
* ``explain(batch, store, specials)``: what a batch made with ``provenance`` shows to people.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pretrieve.core.errors import UsageError, suggest

Source = Literal["paper", "code", "ours"]
Kind = Literal["static", "transformer"]


@dataclass(frozen=True, slots=True)
class Value:
    """A hyper-parameter with its provenance: ``note`` says where in the paper or code it stands, or why it is ours."""

    value: Any
    source: Source
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What to know of a method before using it.

    ``encoders`` are the kinds that it can train. An ``initialiser`` makes a start for fine-tuning: its vectors are not
    meant to be searched before that, so its model is handed out whatever the label-free probe says.
    """

    title: str
    paper: str  # authors, title, venue, arXiv number
    idea: str
    released: str = ""  # what the released code really does
    differs: str = ""  # where we differ, and why
    good_for: str = ""
    encoders: tuple[Kind, ...] = ("static", "transformer")
    initialiser: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Named values for a method: ``options`` for its ``Options``, ``training`` for the trainer's, both with provenance.

    ``static`` holds values that replace those of ``training`` and ``options`` for a static encoder, which takes
    thousands of steps in minutes, at rates of another order.
    """

    summary: str
    options: Mapping[str, Value] = field(default_factory=dict)
    training: Mapping[str, Value] = field(default_factory=dict)
    static: Mapping[str, Value] = field(default_factory=dict)
    encoder: Mapping[str, Value] = field(default_factory=dict)  # e.g. pooling


BERT_OPTIMISER: Mapping[str, Value] = {
    "schedule": Value("linear", "code", "BERT's optimiser"),
    "beta1": Value(0.9, "code", "BERT's optimiser"),
    "beta2": Value(0.999, "code", "BERT's optimiser"),
    "epsilon": Value(1e-6, "code", "BERT's optimiser"),
    "weight_decay": Value(0.01, "code", "BERT's optimiser"),
    "clip": Value(1.0, "code", "BERT's optimiser"),
}


@cache
def names() -> tuple[str, ...]:
    """Names of all presets, read from the text of the files: importing a method imports torch, which takes seconds."""
    found: list[str] = []
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            if any(isinstance(target, ast.Name) and target.id == "PRESETS" for target in targets):
                found += [key.value for key in node.value.keys]  # type: ignore[attr-defined]
    return tuple(sorted(found))


@cache
def presets() -> dict[str, ModuleType]:
    """All presets by name, with the module of their method.

    Raises:
        AssertionError: two files offer the same preset (ours to mend).
    """
    found: dict[str, ModuleType] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for name in module.PRESETS:
            assert name not in found, f"preset {name} is in two files"
            found[name] = module
    return found


def find(name: str) -> tuple[ModuleType, Preset]:
    """Return the module and the preset of a name.

    Raises:
        UsageError: unknown name, with a suggestion.
    """
    known = presets()
    if name not in known:
        raise UsageError(f"unknown method {name!r}.{suggest(name, known)}")
    return known[name], known[name].PRESETS[name]
