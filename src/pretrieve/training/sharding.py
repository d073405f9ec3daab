"""Fully sharded training: every rank holds a part of each layer, and gathers a layer when it is computed (FSDP2).

What lies outside of the layers (embeddings, last norm, heads) stays whole on every rank, since methods use it outside
of the model's forward pass; its gradients are averaged as without sharding. Methods know nothing of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pretrieve.core.errors import UsageError
from pretrieve.models import devices
from pretrieve.models.candidates import StaleIndex
from pretrieve.models.reconstruction import TiedDecoder
from pretrieve.models.shards import is_part
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.training.options import TrainingOptions
from pretrieve.training.ranks import Ranks, exchange

LARGE = 1_000_000_000  # parameters above which ``auto`` shards


@dataclass(slots=True)
class Sharding:
    """How the model of a run lies on its ranks.

    Attributes:
        full: whether layers are sharded.
        ranks: the processes that train together.
    """

    full: bool = False
    ranks: Ranks = field(default_factory=Ranks)
    _whole: list[tuple[TransformerEncoder, nn.Module]] = field(default_factory=list)  # and its form without weights

    @staticmethod
    def of(objective: nn.Module, options: TrainingOptions, ranks: Ranks) -> Sharding:
        """Decide for an objective; a single process holds everything.

        Args:
            objective: the method.
            options: ``sharding`` is none, full, or auto.
            ranks: the processes that train together.

        Raises:
            UsageError: full sharding does not go with the method or another option.
        """
        size = sum(parameter.numel() for parameter in objective.parameters())
        wanted = options.sharding == "full" or (options.sharding == "auto" and size > LARGE)
        if ranks.world == 1 or not wanted:
            return Sharding(ranks=ranks)
        if reason := _obstacle(objective, options):
            raise UsageError(f"sharding=full (of {size:,} parameters): {reason}; set sharding=none.")
        return Sharding(full=True, ranks=ranks)

    def place(self, objective: nn.Module, *, bfloat16: bool) -> None:
        """Shard the layers of all transformers in an objective over the ranks' devices, and place the rest there.

        Args:
            objective: changed in place; whole, on any device.
            bfloat16: whether the forward pass is in bfloat16: layers are gathered in it, and gradients summed in
                float32.
        """
        if not self.full:
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        self.ranks.spread([*objective.parameters(), *objective.buffers()])
        device = devices.chosen()
        mesh = init_device_mesh(device.type, (self.ranks.world,))
        policy = MixedPrecisionPolicy(cast_forward_inputs=False)
        if bfloat16:
            policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        for encoder in _transformers(objective):
            model: Any = encoder.model
            layers = layers_of(model)
            inside = {parameter for layer in layers for parameter in layer.parameters()}
            self._whole.append((encoder, _without_weights(model)))
            for layer in layers:
                fully_shard(layer, mesh=mesh, mp_policy=policy)
            outside = {
                parameter for parameter in model.parameters() if parameter not in inside and not is_part(parameter)
            }
            named = type(model)
            fully_shard(model, mesh=mesh, ignored_params=outside)
            for name in ("__name__", "__qualname__", "__module__"):  # transformers looks its models up by their names
                setattr(type(model), name, getattr(named, name))
        devices.place(objective, device)

    def exchange(self) -> AbstractContextManager[None]:
        """In the block, a rank that is lost while layers are gathered is reported as any other."""
        return exchange() if self.full else contextlib.nullcontext()

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """In the block, the first rank has the whole model and computes alone; all ranks call it, the others wait."""
        sharded = [encoder.model for encoder, _ in self._whole]
        for encoder, whole in self._whole:
            self._fill(whole, encoder.model, devices.chosen())
            encoder.model = whole
        try:
            yield
        finally:
            for (encoder, whole), model in zip(self._whole, sharded, strict=True):
                encoder.model = model
                whole.load_state_dict(
                    {name: values.to("meta") for name, values in whole.state_dict().items()}, assign=True
                )

    def join(self, objective: nn.Module) -> None:
        """Give the first rank the whole model again, in its memory of the CPU; the others keep none of it.

        Called by all ranks at the end of training. The model goes back to the device where there is room for it.

        Args:
            objective: sharded by ``place``.
        """
        for encoder, whole in self._whole:
            self._fill(whole, encoder.model, torch.device("cpu"))
            encoder.model = whole
        if self._whole and self.ranks.rank == 0:
            _place_where_it_fits(objective)
        self._whole = []

    @torch.no_grad()
    def _fill(self, whole: nn.Module, sharded: nn.Module, device: torch.device) -> None:
        """Gather a model in the first rank, one tensor at a time."""
        state = {}
        for name, values in sharded.state_dict().items():
            with exchange():
                full = values.full_tensor() if is_part(values) else values
            if self.ranks.rank == 0:
                state[name] = full.detach().to(device, copy=True)
        if self.ranks.rank == 0:
            whole.load_state_dict(state, assign=True)
            whole.to(device)  # with tensors that are computed anew, and not saved
        whole.train(sharded.training)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a transformer: the members of its largest list of modules.

    Args:
        model: a stock model of transformers.

    Raises:
        UsageError: it has none.
    """
    lists = [list(part) for part in model.modules() if isinstance(part, nn.ModuleList) and len(part)]
    if not lists:
        raise UsageError("sharding=full: this model has no list of layers; set sharding=none.")
    return max(lists, key=lambda layers: sum(weights.numel() for layer in layers for weights in layer.parameters()))


def _transformers(objective: nn.Module) -> list[TransformerEncoder]:
    return [part for part in objective.modules() if isinstance(part, TransformerEncoder)]


def _obstacle(objective: nn.Module, options: TrainingOptions) -> str:
    """Why an objective cannot be sharded; empty if it can."""
    parts = list(objective.modules())
    if not any(isinstance(part, TransformerEncoder) for part in parts):
        return "there is no transformer to shard"
    if any(isinstance(part, StaleIndex) for part in parts):
        return "this method encodes its documents anew while it trains, with the whole model"
    if any(isinstance(part, TiedDecoder) for part in parts):
        return "this method's decoder uses parts of the encoder's layers"
    return "it does not go with compile" if options.compile else ""


def _without_weights(model: nn.Module) -> nn.Module:
    """A copy of a model whose parameters have shapes and no values."""
    memo: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
        for parameter in model.parameters()
    }
    return deepcopy(model, memo)


def _place_where_it_fits(objective: nn.Module) -> None:
    """Move what a rank holds to the device if half of the free memory takes it."""
    device = devices.chosen()
    size = sum(parameter.nbytes for parameter in objective.parameters() if not is_part(parameter))
    if device.type == "cuda":
        torch.cuda.empty_cache()
        if 2 * size > torch.cuda.mem_get_info(device)[0]:
            return devices.place(objective, torch.device("cpu"))
    return devices.place(objective, device)
