"""From a request and a token store to everything that a run needs: recipe, encoder, objective, batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pretrieve.methods as methods
from pretrieve.core.config import check_names, options_of
from pretrieve.core.errors import ExtensionError, UsageError, suggest
from pretrieve.core.extensions import place
from pretrieve.models.build import EncoderOptions, build_encoder, is_static, load_base, named_base, new_transformer
from pretrieve.models.checks import check_objective
from pretrieve.models.encoder import Encoder
from pretrieve.models.objective import Objective
from pretrieve.models.pretrained import is_decoder
from pretrieve.pipeline.pretrain.request import Tokenization, TrainRequest
from pretrieve.pipeline.run.recipe import Recipe
from pretrieve.pipeline.run.settings import sort_settings
from pretrieve.sampling.batches import Batches
from pretrieve.text import tokenizer
from pretrieve.text.store import Store
from pretrieve.training.options import TrainingOptions

STATIC_DEFAULT = "structure"
TRANSFORMER_DEFAULT = "contriever-inbatch"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Values after the preset and the user's settings, before the documents are known.

    Attributes:
        method: name of the preset.
        module: its method's module.
        options: values of the method's ``Options`` set by the preset or the user.
        given: names of options set by the user.
        given_training: names of training options set by the user.
        training: how to train.
        encoder: how to build the encoder.
        tokenization: how to train a vocabulary.
        variant: name of the variant of the preset; empty where it has none.
        fixed_length: the preset fixes the number of steps, which minutes limit but do not extend.
    """

    method: str
    module: methods.Method
    options: Mapping[str, object]
    given: frozenset[str]
    given_training: frozenset[str]
    training: TrainingOptions
    encoder: EncoderOptions
    tokenization: Tokenization
    variant: str = ""
    fixed_length: bool = False

    def __post_init__(self) -> None:
        options_of(self.module.Options, self.options)  # their bounds, before any document is read

    def facts(self) -> dict[str, Any]:
        """The values that determine a run and are known before the documents are read, as plain values."""
        return {
            "method": self.method,
            "variant": self.variant,
            "options": {key: str(value) for key, value in self.options.items()},
            "training": self.training.facts(),
            "encoder": dataclasses.asdict(self.encoder),
            "tokenizer": dataclasses.asdict(self.tokenization),
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run needs."""

    recipe: Recipe
    encoder: Encoder
    objective: Objective
    batches: Batches
    training: TrainingOptions
    pretraining_only: bool = False  # the model needs fine-tuning before search


def choose(request: TrainRequest) -> Choices:
    """Combine preset and settings.

    Raises:
        UsageError: a setting is unknown (the closest is suggested) or does not fit.
        ExtensionError: the method's file is wrong.
    """
    name = request.method or (STATIC_DEFAULT if is_static(request.base) else TRANSFORMER_DEFAULT)
    module, preset = methods.find(name)
    _check_base(name, module, request.base)
    parts = _parts(module)
    mine = sort_settings(request.settings, parts)
    for part, values in (("method", preset.options), ("training", preset.training), ("encoder", preset.encoder)):
        _check_names(module, parts[part], values, f"preset {name}")
    static = _static(module, preset if is_static(request.base) else methods.Preset(summary=""), name)
    training = {**_values(preset.training), **static["training"]}
    training |= {"steps": request.steps} if request.steps is not None else {}
    encoder = {**({"dimensions": 512} if is_static(request.base) else {}), **_values(preset.encoder)}
    if (folder := named_base(request.base)) is not None and is_decoder(Path(folder)):
        encoder.pop("pooling", None)  # the preset's is an encoder's: a decoder's last token alone has seen the row
    built = options_of(EncoderOptions, {**encoder, **mine["encoder"]})
    built.check(pretrained=folder is not None, base=f"--base {request.base}")
    return Choices(
        method=name,
        module=module,
        options={**_values(preset.options), **static["method"], **mine["method"]},
        given=frozenset(mine["method"]),
        given_training=frozenset(mine["training"]),
        training=options_of(TrainingOptions, {**training, **mine["training"]}),
        encoder=built,
        tokenization=options_of(Tokenization, mine["tokenizer"]),
        fixed_length=is_static(request.base) and "steps" in preset.static,
    )


def variants(request: TrainRequest, choices: Choices) -> list[Choices]:
    """The runs of a request: one for each variant of the preset, of which the label-free selection saves the best.

    Only static encoders have several, as they train in seconds. Without selection, only the first variant is trained.

    Args:
        request: arguments of the run; ``request.variants`` names those to train.
        choices: values of the preset.

    Raises:
        UsageError: the preset has no such variant, or one is named twice.
    """
    known: Mapping[str, Mapping[str, methods.Value]] = {}
    if is_static(request.base):
        known = getattr(choices.module, "VARIANTS", {}).get(choices.method, {})
    for name in request.variants:
        if name not in known:
            raise UsageError(f"{choices.method} has no variant {name!r} here.{suggest(name, known)}")
    names = request.variants or tuple(known)
    if not names:
        return [choices]
    if len(set(names)) < len(names):
        raise UsageError("--variants: one of them is given twice.")
    for name in names:
        _check_names(choices.module, choices.module.Options, known[name], f"variant {name}")
    return [_variant(choices, name, known[name]) for name in (names if request.select else names[:1])]


def _check_names(module: methods.Method, kind: type[Any], values: Mapping[str, methods.Value], where: str) -> None:
    """Refuse unknown values of a preset; the message names the line of the method's file."""
    for key in values:
        try:
            check_names(kind, {key: values[key]}, f"{place(module, key)}: {where}")
        except UsageError as error:
            raise ExtensionError(str(error)) from None


def _static(module: methods.Method, preset: methods.Preset, name: str) -> Mapping[str, Mapping[str, Any]]:
    """A preset's values for a static encoder, by what they configure."""
    try:
        return sort_settings(_values(preset.static), _parts(module), f"{module.__file__}: preset {name}")
    except UsageError as error:
        raise ExtensionError(str(error)) from None


def _variant(choices: Choices, name: str, values: Mapping[str, methods.Value]) -> Choices:
    """Let a variant's values override those of its preset, and the user's override both."""
    options = {key: value for key, value in _values(values).items() if key not in choices.given}
    return dataclasses.replace(choices, variant=name, options={**choices.options, **options})


def encoder_of(request: TrainRequest, choices: Choices, store: Store) -> Encoder:
    """Build the encoder that a run trains.

    Args:
        request: arguments of the run.
        choices: its values.
        store: the documents.

    Raises:
        UsageError: the base or a setting does not fit.
    """
    return build_encoder(request.base, store=store, options=choices.encoder, seed=request.seed)


def make(request: TrainRequest, choices: Choices, store: Store, encoder: Encoder | None = None) -> Plan:
    """Build what a run needs around its encoder: the objective may copy it (towers, a slow encoder).

    Args:
        request: arguments of the run.
        choices: its values.
        store: the documents.
        encoder: from ``encoder_of``, which is called without it.

    Raises:
        UsageError: the method, the base or a setting does not fit the documents or each other.
    """
    encoder = encoder_of(request, choices, store) if encoder is None else encoder
    options = options_of(choices.module.Options, {**choices.options, **suited(choices, store)})
    recipe = Recipe(
        method=choices.method,
        variant=choices.variant,
        base=request.base,
        seed=request.seed,
        options=dataclasses.asdict(options),
        training=choices.training.facts(),
        encoder=dataclasses.asdict(choices.encoder) | dataclasses.asdict(choices.tokenization),
        corpus=store.corpus,
        tokenizer=store.tokenizer.fingerprint,
        store=store.fingerprint,
        sources=request.sources,
        versions=versions(),
    )
    return Plan(
        recipe=recipe,
        encoder=encoder,
        objective=check_objective(choices.module, choices.module.objective(encoder, options, request.seed, store)),
        batches=Batches(
            sampler=choices.module.sampler(store, encoder.specials, options),
            batch_size=choices.training.batch_size,
            seed=request.seed,
        ),
        training=choices.training,
        pretraining_only=choices.module.CARD.pretraining_only,
    )


def check_base(request: TrainRequest) -> None:
    """Open a base that is a model before any document is read, so that an invalid one is reported early.

    Raises:
        UsageError: there is no such model, or it cannot be trained.
        CorruptError: it is damaged.
    """
    if (folder := named_base(request.base)) is not None:
        tokenizer.load(folder)
        load_base(Path(folder), EncoderOptions(), request.seed)


def _check_base(name: str, module: methods.Method, base: str) -> None:
    new_transformer(base)  # its bounds
    kind = "static" if is_static(base) else "transformer"
    if kind not in module.CARD.encoders:
        other = "--base new:layers=4,hidden=256, or the folder or hub name of a transformer"
        remedy = other if kind == "static" else "--base static"
        raise UsageError(f"{name} does not train a {kind} encoder: add {remedy}.")


def versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on."""
    return {name: version(name) for name in ("pretrieve", "torch", "transformers", "tokenizers", "numpy")}


def suited(choices: Choices, store: Store) -> dict[str, object]:
    """Values that the method derives from the documents; the user's take precedence."""
    chosen_by = getattr(choices.module, "suited", None)
    found: dict[str, object] = chosen_by(store) if chosen_by else {}
    return {key: value for key, value in found.items() if key not in choices.given}


def _parts(module: methods.Method) -> Mapping[str, Any]:
    """The parts that ``--set`` configures, by the prefixes of a setting."""
    return {
        "method": module.Options,
        "training": TrainingOptions,
        "encoder": EncoderOptions,
        "tokenizer": Tokenization,
    }


def _values(part: Mapping[str, methods.Value]) -> dict[str, Any]:
    return {key: value.value for key, value in part.items()}
