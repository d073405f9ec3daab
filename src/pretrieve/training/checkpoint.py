"""Checkpoints: weights, buffers and optimizer state as safetensors, the step as JSON; written atomically.

A checkpoint is an artefact (``core/files.py``) at ``checkpoints/step-000123``, named by the number of steps done.
It holds no random state: random draws depend on (seed, step) alone. Sharded tensors are beside the whole ones, in parts
(``training/parts.py``): any number of ranks reads either.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pretrieve.core import files
from pretrieve.core.disk import storage
from pretrieve.core.errors import CorruptError, FingerprintError
from pretrieve.models.lora import frozen
from pretrieve.models.shards import is_part
from pretrieve.training import parts
from pretrieve.training.ranks import Ranks

KIND = "checkpoint"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: parent folder of ``step-000123``.
        keep: number of newest checkpoints to keep, at least 1.
        fingerprints: hashes of corpus, tokenizer, recipe, ... by name; a checkpoint with others is refused.
        ranks: the processes that train together; the first writes, and the others what they alone hold.
    """

    folder: Path
    keep: int = 2
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    ranks: Ranks = field(default_factory=Ranks.current)

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending; incomplete ones are skipped."""
        found = [(_NAME.fullmatch(path.name), path) for path in self.folder.glob("step-*")]
        return sorted(int(match[1]) for match, path in found if match and (path / files.MANIFEST).is_file())

    def latest(self) -> int | None:
        """The newest complete checkpoint, or None."""
        return max(self.steps(), default=None)

    def path(self, step: int) -> Path:
        """Path of the checkpoint after ``step`` steps."""
        return self.folder / f"step-{step:06d}"

    def save(
        self, step: int, objective: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any] | None = None
    ) -> Path:
        """Write a checkpoint after ``step`` steps, and remove the oldest beyond ``keep``; called by all ranks.

        Args:
            step: steps done.
            objective: the module with all weights and buffers.
            optimizer: the optimizer, whose state is saved by parameter name.
            state: further state of the trainer, as JSON.

        Raises:
            StorageError: writing fails; older checkpoints are unchanged.
        """
        groups = {"weights": trained_tensors(objective), "optimiser": _moments(objective, optimizer)}
        self._write(step, groups, {"step": step, **(state or {})})
        if self.ranks.rank == 0:
            for old in self.steps()[: -self.keep]:
                self._remove(self.path(old))
        return self.path(step)

    def save_weights(self, step: int, objective: nn.Module) -> None:
        """Write the weights alone, and remove older ones; called by all ranks.

        Args:
            step: steps done.
            objective: the module with all weights and buffers.

        Raises:
            StorageError: writing fails.
        """
        self._write(step, {"weights": trained_tensors(objective)})
        for old in self.steps() if self.ranks.rank == 0 else ():
            if old != step:
                self._remove(self.path(old))

    def _write(
        self, step: int, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any] | None = None
    ) -> None:
        """Write groups of tensors: whole ones by the first rank, parts by the rank that holds them."""
        with contextlib.ExitStack() as stack:
            folder, place = None, ""
            if self.ranks.rank == 0:
                meta = {"fingerprints": dict(self.fingerprints)}
                folder = stack.enter_context(files.create(self.path(step), KIND, replace=True, meta=meta))
                place = str(folder.path)
            in_parts = any(is_part(values) for tensors in groups.values() for values in tensors.values())
            if in_parts:
                place = self.ranks.text_of_first(place)
            for name, tensors in groups.items():
                if in_parts:
                    parts.write(Path(place), name, tensors)
                if folder is not None:
                    whole = {key: values.detach() for key, values in tensors.items() if not is_part(values)}
                    stored = {key: values.contiguous().cpu() for key, values in whole.items()}
                    folder.write(f"{name}.safetensors", safetensors.torch.save(stored))
            if folder is not None and in_parts:
                folder.adopt()
            if folder is not None and state is not None:
                folder.json("state.json", dict(state))
        self.ranks.barrier()

    def load_weights(self, step: int, objective: nn.Module) -> None:
        """Load the weights that ``save_weights`` wrote.

        Raises:
            FingerprintError: the checkpoint is of another corpus, tokenizer or recipe.
            CorruptError: a file is damaged or does not fit.
        """
        path = self.path(step)
        self._check_fingerprints(path, files.read_manifest(path, KIND)["fingerprints"])
        files.verify(path)
        _fill(trained_tensors(objective), path)

    def load(self, step: int, objective: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Load a checkpoint strictly: no missing or unexpected tensors, equal shapes.

        Returns:
            State of the trainer, including ``step``.

        Raises:
            FingerprintError: the checkpoint is of another corpus, tokenizer or recipe.
            CorruptError: a file is damaged or does not fit.
        """
        path = self.path(step)
        self._check_fingerprints(path, files.read_manifest(path, KIND)["fingerprints"])
        files.verify(path)
        _fill(trained_tensors(objective), path)
        _restore_moments(objective, optimizer, path)
        state: dict[str, Any] = orjson.loads((path / "state.json").read_bytes())
        return state

    def sweep(self) -> None:
        """Remove leftovers of a killed process: temporary folders and partly removed checkpoints."""
        files.sweep(self.folder)
        for path in self.folder.glob("step-*"):
            if _NAME.fullmatch(path.name) and not (path / files.MANIFEST).is_file():
                shutil.rmtree(path, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        with storage(path):
            (path / files.MANIFEST).unlink(
                missing_ok=True
            )  # removed first, so that a partly removed folder is no checkpoint
            shutil.rmtree(path)

    def _check_fingerprints(self, path: Path, found: Mapping[str, str]) -> None:
        for name in sorted({*found, *self.fingerprints}):
            if found.get(name) != self.fingerprints.get(name):
                raise FingerprintError(
                    f"cannot resume: {path} belongs to another {name} ({found.get(name)}; this run has "
                    f"{self.fingerprints.get(name)}). Give the same command as before, or another output folder."
                )


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, in the module's order; a shared tensor once."""
    persistent = module.state_dict()
    tensors: dict[str, Tensor] = dict(module.named_parameters())
    tensors |= {name: values for name, values in module.named_buffers() if name in persistent}
    return tensors


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The same without what adapters freeze, which is read from the base again (``models/lora.py``)."""
    kept = frozen(module)
    return {name: values for name, values in named_tensors(module).items() if id(values) not in kept}


def digest(module: nn.Module) -> str:
    """The sha256 of all parameters and persistent buffers: equal if two runs end bit-identical."""
    found = hashlib.sha256()
    for name, values in named_tensors(module).items():
        found.update(name.encode())
        found.update(values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as ``name::key``."""
    return {
        f"{name}::{key}": values
        for name, parameter in module.named_parameters()
        for key, values in sorted(optimizer.state.get(parameter, {}).items())
    }


def _restore_moments(module: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    path = folder / "optimiser.safetensors"
    parameters = dict(module.named_parameters())
    optimizer.state.clear()
    saved, divided = _read(path), parts.sizes(folder, "optimiser")
    filled: dict[str, Tensor] = {}
    for full, size in {**{name: values.shape for name, values in saved.items()}, **_shapes(divided)}.items():
        name, _, key = full.partition("::")
        if name not in parameters:
            raise CorruptError(f"{path} holds the state of {name!r}, which this model does not have.")
        parameter = parameters[name]
        if key != "step" and size != parameter.shape:
            raise CorruptError(f"{path}: {full} has shape {list(size)}, not {list(parameter.shape)}.")
        if key == "step":
            optimizer.state[parameter][key] = saved[full].to(parameter.device)
            continue
        dtype = divided[full][1] if full in divided else saved[full].dtype
        optimizer.state[parameter][key] = filled[full] = torch.zeros_like(parameter, dtype=dtype).detach()
        if full in saved:
            parts.copy_whole(filled[full], saved[full])
    parts.read(folder, "optimiser", {full: filled[full] for full in divided})


def _shapes(divided: Mapping[str, tuple[torch.Size, torch.dtype]]) -> dict[str, torch.Size]:
    return {name: size for name, (size, _) in divided.items()}


def _fill(targets: dict[str, Tensor], folder: Path) -> None:
    path = folder / "weights.safetensors"
    saved, divided = _read(path), parts.sizes(folder, "weights")
    found = {name: (values.shape, values.dtype) for name, values in saved.items()} | divided
    missing, extra = sorted(targets.keys() - found.keys()), sorted(found.keys() - targets.keys())
    if missing or extra:
        raise CorruptError(f"{path} does not fit this model: missing {missing[:3]}, not expected {extra[:3]}.")
    for name, (shape, dtype) in found.items():
        if shape != targets[name].shape or dtype != targets[name].dtype:
            mine = _kind(targets[name].shape, targets[name].dtype)
            raise CorruptError(f"{path}: {name} is {_kind(shape, dtype)}, this model has {mine}.")
    for name, values in saved.items():
        parts.copy_whole(targets[name], values)
    parts.read(folder, "weights", {name: targets[name] for name in divided})


def _kind(shape: torch.Size, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')}{list(shape)}"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Any] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CorruptError(f"{path} cannot be read ({error}).") from None
    return tensors
