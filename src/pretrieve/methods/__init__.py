"""The methods. The folder is the registry: each file is a method, and ``--method`` takes the names of its ``PRESETS``.

Your own files are methods too: list their folders in the environment variable ``PRETRIEVE_METHODS``, separated as in
``PATH`` (docs/add-a-method.md).

A method's file defines (see ``Method``):

* ``CARD``: the paper, how the released code differs from it, how this implementation differs;
* ``Options``: a frozen keyword-only dataclass of options;
* ``PRESETS``: named values, each with its source; the names are literals, because they are read without importing;
* ``sampler(store, specials, options, provenance)``: how documents become examples;
* ``objective(encoder, options, seed, store)``: how vectors become a loss; the store is for methods that retrieve
  documents in training (REALM's candidates);
* ``explain(batch, store, specials)``: a description of a batch made with ``provenance``.

And optionally:

* ``suited(store)``: options chosen from the documents;
* ``VARIANTS``: by preset, named overrides; a static encoder is trained with each of them, and the label-free selection
  saves one;
* ``task(options)``: the task of an example in a sentence, for ``pretrieve inspect``;
* ``CANDIDATES = True``: ``Objective.prepare`` adds rows to examples, so ``inspect`` calls it.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

from pretrieve.core.config import Value as Value
from pretrieve.core.errors import ExtensionError, UsageError, suggest
from pretrieve.core.extensions import Registry, assigned, check_call, place
from pretrieve.methods._declared import Declared
from pretrieve.methods._papers import Paper as Paper
from pretrieve.methods._papers import bibtex as bibtex

if TYPE_CHECKING:
    from pretrieve.core.types import Batch, SpecialTokens
    from pretrieve.models.encoder import Encoder
    from pretrieve.models.objective import Objective
    from pretrieve.sampling.batches import Sampler
    from pretrieve.sampling.pairs import PairDescription
    from pretrieve.text.store import Store

Kind = Literal["static", "transformer"]
FOLDERS = "PRETRIEVE_METHODS"  # environment variable: folders of your own methods
REGISTRY = Registry(
    package=__name__,
    folder=Path(__file__).parent,
    variable=FOLDERS,
    noun="method",
    page="docs/add-a-method.md",
    parts=("CARD", "Options", "PRESETS", "sampler", "objective", "explain"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Description of a method, shown by ``pretrieve methods``.

    Attributes:
        title: name of the method and a short description.
        paper: authors, title, venue, arXiv number.
        papers: the same as ``pretrieve methods NAME --bibtex`` prints it.
        idea: the method in a few sentences.
        released: how the released code differs from the paper.
        differs: how this implementation differs from the released code, with reasons.
        good_for: when to use it.
        encoders: kinds of encoders that it trains.
        pretraining_only: whether the model needs fine-tuning before search. Such a model is saved whatever the
            label-free probe reports.
        negatives: roles, as ``explain`` names them, of the rows of other examples that an example is told apart from.
    """

    title: str
    paper: str
    papers: tuple[Paper, ...] = ()
    idea: str
    released: str = ""
    differs: str = ""
    good_for: str = ""
    encoders: tuple[Kind, ...] = ("static", "transformer")
    pretraining_only: bool = False
    negatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Named values for a method: ``options`` for its ``Options``, ``training`` for the trainer's, both with provenance.

    ``static`` holds values that replace those of ``training`` and ``options`` for a static encoder, which trains
    thousands of steps in minutes with other learning rates.
    """

    summary: str
    options: Mapping[str, Value] = field(default_factory=dict)
    training: Mapping[str, Value] = field(default_factory=dict)
    static: Mapping[str, Value] = field(default_factory=dict)
    encoder: Mapping[str, Value] = field(default_factory=dict)  # e.g. pooling


class Method(Protocol):
    """The names that a method's file defines; optional ones are in ``Suited``, ``Varied`` and ``Described``.

    Attributes:
        CARD: description of the method.
        Options: a frozen keyword-only dataclass of options.
        PRESETS: named values, each with its source.
    """

    __file__: str | None
    CARD: Card
    Options: type[Any]
    PRESETS: Mapping[str, Preset]

    def sampler(self, store: Store, specials: SpecialTokens, options: Any, provenance: bool = False) -> Sampler:
        """How documents become examples; with ``provenance`` a batch records where each token comes from."""
        ...

    def objective(self, encoder: Encoder, options: Any, seed: int, store: Store) -> Objective:
        """How the encoder's vectors become a loss."""
        ...

    def explain(self, batch: Batch, store: Store, specials: SpecialTokens) -> Sequence[PairDescription]:
        """Describe a batch made with ``provenance``, an entry per example."""
        ...


class Suited(Protocol):
    """A method that chooses options from the documents."""

    def suited(self, store: Store) -> Mapping[str, object]:
        """Options for these documents; those of the user take precedence."""
        ...


class Varied(Protocol):
    """A method with presets that are trained in several variants.

    Attributes:
        VARIANTS: overrides by preset and name of the variant.
    """

    VARIANTS: Mapping[str, Mapping[str, Mapping[str, Value]]]


class Described(Protocol):
    """A method that describes the task of an example.

    Attributes:
        CANDIDATES: whether ``Objective.prepare`` adds rows to an example, so that ``pretrieve inspect`` calls it.
    """

    CANDIDATES: bool

    def task(self, options: Any) -> str:
        """Describe the task of an example in a sentence."""
        ...


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
        UsageError: a folder of ``PRETRIEVE_METHODS`` does not exist.
        ExtensionError: one of its files cannot be read, or a name is taken.
    """
    return tuple(sorted(_listed(REGISTRY.folders())))


def presets() -> dict[str, Method]:
    """All presets by name, with the module of their method.

    Raises:
        UsageError: as ``names``.
        ExtensionError: as ``names``, or one of your own files fails on import, or lacks a part or has a wrong one.
    """
    return {name: _method(path) for name, path in _listed(REGISTRY.folders()).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Entry of a preset in the list of methods."""

    summary: str
    encoders: tuple[Kind, ...]
    pretraining_only: bool


def listing() -> dict[str, Listed]:
    """Entries of all presets by name, read from the text of the files without importing torch.

    Raises:
        UsageError: as ``names``.
        ExtensionError: as ``names``; or as ``presets``, for a file that does not write its values as literals.
    """
    return {name: _listing(name, path) for name, path in sorted(_listed(REGISTRY.folders()).items())}


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
            pretraining_only=ast.literal_eval(card["pretraining_only"]) if "pretraining_only" in card else False,
        )
    except (ValueError, KeyError):
        method = _method(path)
        summary = method.PRESETS[name].summary
        return Listed(summary=summary, encoders=method.CARD.encoders, pretraining_only=method.CARD.pretraining_only)


def _arguments(path: Path, made: ast.expr | None, *by: str) -> dict[str | None, ast.expr]:
    """Keyword arguments of the call that creates a value, inline or assigned to a name.

    Raises:
        ValueError: it is not created by a call, or has arguments that are not literals.
    """
    if isinstance(made, ast.Name):
        made = _assigned(path, made.id)
    if not isinstance(made, ast.Call) or not isinstance(made.func, ast.Name) or made.func.id not in by:
        raise ValueError
    if any(argument.arg is None for argument in made.keywords):
        raise ValueError
    return {argument.arg: argument.value for argument in made.keywords}


def find(name: str) -> tuple[Method, Preset]:
    """Return the module and the preset of a name; imports no other method.

    Raises:
        UsageError: unknown name, with a suggestion; or as ``presets``.
        ExtensionError: as ``presets``.
    """
    method = _method(_path_of(name))
    return method, method.PRESETS[name]


def _path_of(name: str) -> Path:
    known = _listed(REGISTRY.folders())
    if name not in known:
        raise UsageError(f"unknown method {name!r}.{suggest(name, known)}")
    return known[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a preset's file says of it.

    Attributes:
        card: of its method.
        preset: its values.
        variants: values of its variants, by their names.
        defaults: options that the preset leaves as they are.
    """

    card: Card
    preset: Preset
    variants: Mapping[str, Mapping[str, Value]]
    defaults: Mapping[str, Any]


def facts(name: str) -> Facts:
    """What is said of a preset; a method of the package is read from its text, without importing torch.

    Raises:
        UsageError: as ``find``.
        ExtensionError: as ``find``.
    """
    path = _path_of(name)
    if not REGISTRY.is_own(path):
        known = {"Card": Card, "Paper": Paper, "Preset": Preset, "Value": Value}
        file = Declared(path, REGISTRY.parsed(path), {**globals(), **known})
        try:
            variants = file.value("VARIANTS") if _assigned(path, "VARIANTS") is not None else {}
            return _facts(name, file.value("CARD"), file.value("PRESETS"), variants, file.defaults("Options"))
        except ValueError:  # computed
            pass
    method = _method(path)
    fields = {f.name: f.default for f in dataclasses.fields(method.Options) if f.default is not dataclasses.MISSING}
    return _facts(name, method.CARD, method.PRESETS, getattr(method, "VARIANTS", {}), fields)


def _facts(name: str, card: Card, presets: Mapping[str, Preset], variants: Any, defaults: Mapping[str, Any]) -> Facts:
    preset = presets[name]
    left = {key: value for key, value in defaults.items() if key not in preset.options}
    return Facts(card=card, preset=preset, variants=variants.get(name, {}), defaults=left)


@cache
def _listed(folders: tuple[Path, ...]) -> dict[str, Path]:
    """The file of every preset."""
    found: dict[str, Path] = {}
    for path in REGISTRY.files(folders):
        for name in _names_in(path):
            if name in found:
                raise ExtensionError(f"{path}: the preset {name!r} is in {found[name]} already: give it another name.")
            found[name] = path
    return found


def _names_in(path: Path) -> Iterator[str]:
    """Names of the presets of a file; none where it has no ``PRESETS``."""
    value = _assigned(path, "PRESETS")
    if value is None:
        return
    for key in value.keys if isinstance(value, ast.Dict) else [None]:
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise ExtensionError(f"{path}:{value.lineno}: PRESETS has to be a dictionary whose names are written out.")
        yield key.value


def _assigned(path: Path, name: str) -> ast.expr | None:
    return assigned(_parsed(path, path.stat().st_mtime_ns), name)


@cache
def _parsed(path: Path, changed: int) -> ast.Module:  # a file of one's own may change
    return REGISTRY.parsed(path)


@cache
def _method(path: Path) -> Method:
    """Import the method of a file; a user's method is checked."""
    module = REGISTRY.module(path)
    if REGISTRY.is_own(path):
        check(module)
    return cast(Method, module)


def check(module: ModuleType) -> None:
    """Check that a user's method defines the names of ``Method``.

    Args:
        module: module of the method.

    Raises:
        ExtensionError: one is missing, of another type, or takes other arguments.
    """
    REGISTRY.check_parts(module)
    if not isinstance(module.CARD, Card):
        raise ExtensionError(f"{module.__file__}: CARD is no methods.Card.")
    if not (isinstance(module.Options, type) and dataclasses.is_dataclass(module.Options)):
        raise ExtensionError(f"{module.__file__}: Options is no dataclass.")
    for name, preset in module.PRESETS.items():
        if not isinstance(preset, Preset):
            raise ExtensionError(f"{place(module, name)}: the preset {name!r} is no methods.Preset.")
        for key, value in {**preset.options, **preset.training, **preset.static, **preset.encoder}.items():
            if not isinstance(value, Value):
                raise ExtensionError(f"{place(module, key)}: {key} of the preset {name!r} is no methods.Value.")
    check_call(module.sampler, "store", "specials", "options")
    check_call(module.sampler, "store", "specials", "options", provenance=True)
    check_call(module.objective, "encoder", "options", "seed", "store")
    check_call(module.explain, "batch", "store", "specials")
    for name in ("suited", "task"):
        if hasattr(module, name):
            check_call(getattr(module, name), {"suited": "store", "task": "options"}[name])
