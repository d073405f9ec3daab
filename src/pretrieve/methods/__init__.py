"""The methods. The folder is the registry: a file here is a method, and its ``PRESETS`` are what ``--method`` takes.

Files of your own are methods too: name their folders in the environment variable ``PRETRIEVE_METHODS``, as many as you
like, divided as in ``PATH`` (docs/add-a-method.md).

A method's file holds, and nothing else knows:

* ``CARD``: the paper, what the released code really does, where we differ;
* ``Options``: a frozen keyword-only dataclass of what can be set;
* ``PRESETS``: named values, each with its source; the names are written out, as they are read without importing;
* ``view(store, specials, options, provenance)``: how documents become examples;
* ``objective(encoder, options, seed, store)``: how vectors become a loss; the store is for methods that look documents
  up while they train (REALM's candidates);
* ``explain(batch, store, specials)``: what a batch made with ``provenance`` shows to people.

And, where it is of use:

* ``suited(store)``: options that are chosen by the look of the documents;
* ``VARIANTS``: by preset, named values over the preset's that a static encoder is trained with one after another; the
  label-free selection saves one of them;
* ``task(options)``: what an example asks of the model, in a sentence, for ``pretrieve inspect``;
* ``CANDIDATES = True``: ``Objective.prepare`` finds what else an example is made of, so ``inspect`` has to call it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from pretrieve.core.config import Value as Value
from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.extras import explain

Kind = Literal["static", "transformer"]
FOLDERS = "PRETRIEVE_METHODS"  # environment variable: folders of methods of your own
_PARTS = ("CARD", "Options", "PRESETS", "view", "objective", "explain")
_HERE = Path(__file__).parent


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
    "schedule": Value("linear", "code", "google-research/bert, optimization.py"),
    "beta1": Value(0.9, "code", "google-research/bert, optimization.py"),
    "beta2": Value(0.999, "code", "google-research/bert, optimization.py"),
    "epsilon": Value(1e-6, "code", "google-research/bert, optimization.py"),
    "weight_decay": Value(0.01, "code", "google-research/bert, optimization.py"),
    "clip": Value(1.0, "code", "google-research/bert, optimization.py"),
}
TRAINER_OPTIMISER: Mapping[str, Value] = {
    "schedule": Value("linear", "code", "the default of transformers' Trainer"),
    "warmup": Value(0.0, "code", "the default of transformers' Trainer"),
    "beta1": Value(0.9, "code", "the default of transformers' Trainer"),
    "beta2": Value(0.999, "code", "the default of transformers' Trainer"),
    "epsilon": Value(1e-8, "code", "the default of transformers' Trainer"),
    "weight_decay": Value(0.0, "code", "the default of transformers' Trainer"),
    "clip": Value(1.0, "code", "the default of transformers' Trainer"),
}


def names() -> tuple[str, ...]:
    """Names of all presets, read from the text of the files: importing a method imports torch, which takes seconds.

    Raises:
        UsageError: a folder of ``PRETRIEVE_METHODS`` is not there, one of its files cannot be read, or a name is taken.
    """
    return tuple(sorted(_listed(_folders())))


def presets() -> dict[str, ModuleType]:
    """All presets by name, with the module of their method.

    Raises:
        UsageError: as ``names``, or a file of your own fails when it is imported, or lacks a part.
    """
    return {name: _module(path) for name, path in _listed(_folders()).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a list says of a preset."""

    summary: str
    encoders: tuple[Kind, ...]
    initialiser: bool


def listing() -> dict[str, Listed]:
    """What a list says of all presets, by name, read from the text of the files: it needs no torch.

    Raises:
        UsageError: as ``names``; or as ``presets``, for a file whose text does not say it in plain values.
    """
    return {name: _listing(name, path) for name, path in sorted(_listed(_folders()).items())}


def _listing(name: str, path: Path) -> Listed:
    try:
        card = _arguments(path, _assigned(path, "CARD"), "Card")
        presets = _assigned(path, "PRESETS")
        assert isinstance(presets, ast.Dict)  # as _names_in found
        (preset,) = (
            _arguments(path, value, "Preset", "replace")
            for key, value in zip(presets.keys, presets.values, strict=True)
            if isinstance(key, ast.Constant) and key.value == name
        )
        return Listed(
            summary=ast.literal_eval(preset["summary"]),
            encoders=ast.literal_eval(card["encoders"]) if "encoders" in card else get_args(Kind),
            initialiser=ast.literal_eval(card["initialiser"]) if "initialiser" in card else False,
        )
    except (ValueError, KeyError):
        module = _module(path)
        summary = module.PRESETS[name].summary
        return Listed(summary=summary, encoders=module.CARD.encoders, initialiser=module.CARD.initialiser)


def _arguments(path: Path, made: ast.expr | None, *by: str) -> dict[str | None, ast.expr]:
    """Named arguments of the call that a value is made by, there or where its name is given to it.

    Raises:
        ValueError: it is made otherwise, or has arguments that are not written out.
    """
    if isinstance(made, ast.Name):
        made = _assigned(path, made.id)
    if not isinstance(made, ast.Call) or not isinstance(made.func, ast.Name) or made.func.id not in by:
        raise ValueError
    if any(argument.arg is None for argument in made.keywords):
        raise ValueError
    return {argument.arg: argument.value for argument in made.keywords}


def find(name: str) -> tuple[ModuleType, Preset]:
    """Return the module and the preset of a name; imports no other method.

    Raises:
        UsageError: unknown name, with a suggestion; or as ``presets``.
    """
    known = _listed(_folders())
    if name not in known:
        raise UsageError(f"unknown method {name!r}.{suggest(name, known)}")
    module = _module(known[name])
    return module, module.PRESETS[name]


def _folders() -> tuple[Path, ...]:
    """Where methods lie: this folder first, then those of the environment."""
    named = [Path(part) for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
    for folder in named:
        if not folder.is_dir():
            raise UsageError(f"{FOLDERS}: there is no folder {folder}: correct the variable, or make the folder.")
    return (_HERE, *dict.fromkeys(folder.resolve() for folder in named))


@cache
def _listed(folders: tuple[Path, ...]) -> dict[str, Path]:
    """The file of every preset."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("[!_]*.py")):
            for name in _names_in(path):
                if name in found:
                    raise UsageError(f"{path}: the preset {name!r} is in {found[name]} already: give it another name.")
                found[name] = path
    return found


def _names_in(path: Path) -> Iterator[str]:
    """Names of the presets of a file; none where it has no ``PRESETS``."""
    value = _assigned(path, "PRESETS")
    if value is None:
        return
    for key in value.keys if isinstance(value, ast.Dict) else [None]:
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise UsageError(f"{path}: PRESETS has to be a dictionary whose names are written out.")
        yield key.value


def _assigned(path: Path, name: str) -> ast.expr | None:
    """What a file assigns to a name, last; None where it does not."""
    value = None
    for node in _body(path):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
    return value


def _body(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a method ({error}): mend it, or take it away.") from None


@cache
def _module(path: Path) -> ModuleType:
    """The module of a file."""
    return importlib.import_module(f"{__name__}.{path.stem}") if path.parent == _HERE else _import_file(path)


def _import_file(path: Path) -> ModuleType:
    """Import a file of the user's."""
    name = f"pretrieve_method_{path.stem}_{zlib.crc32(bytes(path)):08x}"  # two folders may have files of one name
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a stranger's file does wrong is theirs to mend
        del sys.modules[name]
        if isinstance(error, ModuleNotFoundError) and (lacking := explain(error, f"the method {path}")):
            raise lacking from None
        raise UsageError(f"{path} cannot be imported as a method ({type(error).__name__}: {error}).") from None
    missing = [part for part in _PARTS if not hasattr(module, part)]
    if missing:
        raise UsageError(f"{path} is no whole method: it lacks {', '.join(missing)} (docs/add-a-method.md).")
    return module
