"""Tensors on disk, of which every rank writes its own part: by torch.distributed.checkpoint, as safetensors.

Its reader puts parts together again for any number of ranks, or for one process with whole tensors. Its own format
can run code when it is read, so parts are written in that of Hugging Face, whose header says where they belong.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrieve.core.disk import storage
from pretrieve.core.errors import CorruptError
from pretrieve.models.shards import is_part, local

_FOLDER = "{}-parts"


def folder_of(path: Path, name: str) -> Path:
    """Where the parts of a group of tensors are in a checkpoint."""
    return path / _FOLDER.format(name)


def write(path: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Write the tensors of a group that are in parts; called by all ranks.

    Args:
        path: folder of the checkpoint, the same for all ranks.
        name: name of the group.
        tensors: by name; whole ones are left out.

    Raises:
        StorageError: writing to disk failed (an OSError of the library's).
    """
    parts = {key: values.detach() for key, values in tensors.items() if is_part(values)}
    if not parts:
        return
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    target = folder_of(path, name)
    writer = HuggingFaceStorageWriter(str(target), save_distributed=True)
    with storage(target):
        try:
            save(parts, storage_writer=writer)
        except CheckpointException as error:
            for one, _ in error.failures.values():
                if isinstance(one, RuntimeError):  # a rank is lost
                    raise one from None
            raise OSError("; ".join(str(one) for one, _ in error.failures.values())) from error


def sizes(path: Path, name: str) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shapes and types of the tensors of a group that are written in parts.

    Args:
        path: folder of the checkpoint.
        name: name of the group.

    Raises:
        CorruptError: the parts cannot be read.
    """
    if not folder_of(path, name).is_dir():
        return {}
    try:
        found: Any = _reader(path, name).read_metadata().state_dict_metadata
    except Exception as error:  # the reader raises anything for files that are not its own
        raise CorruptError(f"{folder_of(path, name)} cannot be read ({error}).") from None
    return {key: (one.size, one.properties.dtype) for key, one in found.items()}


def read(path: Path, name: str, targets: Mapping[str, Tensor]) -> None:
    """Fill tensors, whole or in parts, from the parts of a group; every rank reads what it holds.

    Args:
        path: folder of the checkpoint.
        name: name of the group.
        targets: by name, of the shapes and types that ``sizes`` gives.

    Raises:
        CorruptError: the parts cannot be read.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_loader import load

    wanted: dict[str, Any] = {key: values.detach() for key, values in targets.items()}
    if not wanted:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this process reads alone
            load(wanted, storage_reader=_reader(path, name), no_dist=True)
    except (Exception, CheckpointException) as error:
        raise CorruptError(f"{folder_of(path, name)} cannot be read ({error}).") from None


@torch.no_grad()
def copy_whole(target: Tensor, values: Tensor) -> None:
    """Copy a whole tensor into one that may be in parts.

    Args:
        target: changed in place.
        values: whole, of the same shape.
    """
    if is_part(target):
        from torch.distributed.tensor import distribute_tensor

        part: Any = target
        values = distribute_tensor(values.to(part.device), part.device_mesh, part.placements, src_data_rank=None)
    local(target).copy_(local(values))


def _reader(path: Path, name: str) -> Any:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    return HuggingFaceStorageReader(str(folder_of(path, name)))
