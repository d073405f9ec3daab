"""Checkpoints: weights, buffers and optimizer state as safetensors, the step as JSON; written atomically.

A checkpoint is an artefact (``core/files.py``) at ``checkpoints/step-000123``, named by the number of steps done.
It holds no random state: random draws depend on (seed, step) alone.
"""

from __future__ import annotations

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

KIND = "checkpoint"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: parent folder of ``step-000123``.
        keep: number of newest checkpoints to keep, at least 1.
        fingerprints: hashes of corpus, tokenizer, recipe, ... by name; a checkpoint with others is refused.
    """

    folder: Path
    keep: int = 2
    fingerprints: Mapping[str, str] = field(default_factory=dict)

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
        """Write a checkpoint after ``step`` steps, and remove the oldest beyond ``keep``.

        Args:
            step: steps done.
            objective: the module with all weights and buffers.
            optimizer: the optimizer, whose state is saved by parameter name.
            state: further state of the trainer, as JSON.

        Raises:
            StorageError: writing fails; older checkpoints are unchanged.
        """
        weights = {name: values.detach().contiguous().cpu() for name, values in named_tensors(objective).items()}
        moments = {name: values.contiguous().cpu() for name, values in _moments(objective, optimizer).items()}
        with files.create(
            self.path(step), KIND, replace=True, meta={"fingerprints": dict(self.fingerprints)}
        ) as folder:
            folder.write("weights.safetensors", safetensors.torch.save(weights))
            folder.write("optimiser.safetensors", safetensors.torch.save(moments))
            folder.json("state.json", {"step": step, **(state or {})})
        for old in self.steps()[: -self.keep]:
            self._remove(self.path(old))
        return self.path(step)

    def save_weights(self, step: int, objective: nn.Module) -> None:
        """Write the weights alone, and remove older ones.

        Args:
            step: steps done.
            objective: the module with all weights and buffers.

        Raises:
            StorageError: writing fails.
        """
        weights = {name: values.detach().contiguous().cpu() for name, values in named_tensors(objective).items()}
        meta = {"fingerprints": dict(self.fingerprints)}
        with files.create(self.path(step), KIND, replace=True, meta=meta) as folder:
            folder.write("weights.safetensors", safetensors.torch.save(weights))
        for old in self.steps():
            if old != step:
                self._remove(self.path(old))

    def load_weights(self, step: int, objective: nn.Module) -> None:
        """Load the weights that ``save_weights`` wrote.

        Raises:
            FingerprintError: the checkpoint is of another corpus, tokenizer or recipe.
            CorruptError: a file is damaged or does not fit.
        """
        path = self.path(step)
        self._check_fingerprints(path, files.read_manifest(path, KIND)["fingerprints"])
        files.verify(path)
        _fill(named_tensors(objective), _read(path / "weights.safetensors"), path / "weights.safetensors")

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
        targets = named_tensors(objective)
        _fill(targets, _read(path / "weights.safetensors"), path / "weights.safetensors")
        _restore_moments(objective, optimizer, _read(path / "optimiser.safetensors"), path / "optimiser.safetensors")
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


def _restore_moments(module: nn.Module, optimizer: torch.optim.Optimizer, saved: dict[str, Tensor], path: Path) -> None:
    parameters = dict(module.named_parameters())
    optimizer.state.clear()
    for full, values in saved.items():
        name, _, key = full.partition("::")
        if name not in parameters:
            raise CorruptError(f"{path} holds the state of {name!r}, which this model does not have.")
        parameter = parameters[name]
        if key != "step" and values.shape != parameter.shape:
            raise CorruptError(f"{path}: {full} has shape {list(values.shape)}, not {list(parameter.shape)}.")
        optimizer.state[parameter][key] = values.to(parameter.device)


def _fill(targets: dict[str, Tensor], saved: dict[str, Tensor], path: Path) -> None:
    missing, extra = sorted(targets.keys() - saved.keys()), sorted(saved.keys() - targets.keys())
    if missing or extra:
        raise CorruptError(f"{path} does not fit this model: missing {missing[:3]}, not expected {extra[:3]}.")
    with torch.no_grad():
        for name, values in saved.items():
            if values.shape != targets[name].shape or values.dtype != targets[name].dtype:
                raise CorruptError(f"{path}: {name} is {_kind(values)}, this model has {_kind(targets[name])}.")
            targets[name].copy_(values)


def _kind(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')}{list(values.shape)}"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Any] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CorruptError(f"{path} cannot be read ({error}).") from None
    return tensors
