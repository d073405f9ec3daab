"""LoRA (Hu et al., ICLR 2022): low-rank adapters on a transformer's linear layers; its own weights are frozen.

The adapters are peft's, put into the stock model in place: its forward pass stays the one that runs packed. Once it is
trained they are merged into the weights, so that what is evaluated and published is a stock model.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from pretrieve.core.bounds import WIDTH, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.extras import require
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import seeded
from pretrieve.models.transformer import TransformerEncoder

_ADAPTER = (".lora_A.", ".lora_B.")  # in the names of peft's parameters


@dataclass(frozen=True, kw_only=True)
class AdapterOptions:
    """Options of adapters."""

    lora: int = 0  # rank of adapters on a transformer, whose own weights are then frozen; 0: all weights are trained

    def __post_init__(self) -> None:
        check_bounds(self, 0, WIDTH, "lora")

    def check(self, *, pretrained: bool, base: str) -> None:
        """Refuse adapters where they cannot be, before any document is read.

        Args:
            pretrained: whether the base is a transformer with trained weights.
            base: its name, for the message.

        Raises:
            UsageError: the base has no trained weights of a transformer.
            MissingExtraError: peft is not installed.
        """
        if not self.lora:
            return
        if not pretrained:
            raise UsageError(f"lora={self.lora}: {base} has no trained transformer to adapt; set lora=0.")
        require("lora", f"lora={self.lora}")


def adapt(encoder: Encoder, options: AdapterOptions, seed: int, name: str = "lora") -> None:
    """Freeze a transformer and put adapters into the linear layers of its attention and feed-forward blocks.

    They start as zero: the vectors are those of the base.

    Args:
        encoder: changed in place, before an objective copies it.
        options: ``lora`` is the rank; nothing is done for 0.
        seed: seed of the run.
        name: address of the initial weights.

    Raises:
        UsageError: there is no transformer in it, or one without linear layers.
        MissingExtraError: peft is not installed.
    """
    if not options.lora:
        return
    require("lora", f"lora={options.lora}")
    from peft import LoraConfig, inject_adapter_in_model  # imported here because it takes seconds

    parts = [part for part in encoder.modules() if isinstance(part, TransformerEncoder)]
    names = [_projections(part.model) for part in parts]
    if not parts or not all(names):
        raise UsageError(f"lora={options.lora}: this encoder has no transformer with linear layers; set lora=0.")
    for part, found in zip(parts, names, strict=True):
        config = LoraConfig(r=options.lora, lora_alpha=options.lora, target_modules=found)
        with seeded(seed, name), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that GPT-2's matrices lie the other way round
            inject_adapter_in_model(config, part.model)


def frozen(module: nn.Module) -> set[int]:
    """The ids of the parameters that adapters keep as they are: those of adapted transformers and their copies.

    Args:
        module: an objective, or a part of one.
    """
    return {
        id(parameter)
        for part in _adapted(module)
        for name, parameter in part.model.named_parameters()
        if not _is_adapter(name)
    }


def check_adapted(objective: nn.Module) -> None:
    """Refuse an objective that trains weights that adapters freeze, or that needs them trained.

    Args:
        objective: built over an adapted encoder; another is not checked.

    Raises:
        UsageError: says why.
    """
    rule = "lora trains adapters and heads alone, and"
    for part in objective.modules():
        if isinstance(part, Encoder) and part.vectors_per_document > 1 and any(_adapted(part)):
            raise UsageError(f"{rule} several vectors per document need word vectors of their own; set lora=0.")
    kept = frozen(objective)
    own = [name for name, values in objective.named_parameters() if values.requires_grad and id(values) in kept]
    if own:
        raise UsageError(f"{rule} this method trains {len(own)} of the base's own weights ({own[0]}); set lora=0.")


@torch.no_grad()
def merge(module: nn.Module) -> None:
    """Add the adapters to the weights, so that all transformers in a module are stock models again.

    Args:
        module: changed in place; one without adapters stays as it is.
    """
    for part in _adapted(module):
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [(name, layer) for name, layer in part.model.named_modules() if isinstance(layer, BaseTunerLayer)]
        for name, layer in layers:
            layer.merge()
            above, _, last = name.rpartition(".")
            setattr(part.model.get_submodule(above), last, layer.get_base_layer())
        if hasattr(part.model, "peft_config"):
            del part.model.peft_config


def notes(objective: nn.Module, options: AdapterOptions, *, learning_rate: float, chosen: bool) -> list[str]:
    """What a user is told of adapters; nothing without.

    Args:
        objective: what is trained.
        options: ``lora`` is the rank.
        learning_rate: of the run.
        chosen: whether the user set it.
    """
    if not options.lora:
        return []
    sizes = [(values.numel(), values.requires_grad) for values in objective.parameters()]
    trained, total = sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
    rate = f"learning_rate is {learning_rate:g}"
    if not chosen:
        rate += ", a value for training all weights; peft's guide trains adapters with 0.001: set learning_rate"
    return [f"lora={options.lora}: {trained:,} of {total:,} parameters are trained; {rate}."]


def card_line(options: AdapterOptions) -> str:
    """What a model card says of adapters; empty without.

    Args:
        options: ``lora`` is the rank.
    """
    if not options.lora:
        return ""
    return f"Trained by LoRA of rank {options.lora} and merged: the weights are those of a stock model.\n"


def _adapted(module: nn.Module) -> Iterator[TransformerEncoder]:
    for part in module.modules():
        if isinstance(part, TransformerEncoder) and any(_is_adapter(name) for name, _ in part.model.named_parameters()):
            yield part


def _is_adapter(name: str) -> bool:
    return any(part in name for part in _ADAPTER)


def _projections(model: nn.Module) -> list[str]:
    """Names of the linear layers inside of a model's layers; poolers and embeddings lie outside."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    stacks = [name for name, part in model.named_modules() if isinstance(part, nn.ModuleList)]
    return [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | Conv1D) and any(name.startswith(f"{stack}.") for stack in stacks)
    ]
