"""The device of a run: chosen once, named in one line, and the same for all that computes. Importing it needs no torch.

``using`` sets the device of a command, and ``chosen`` gives it wherever a model is made or opened; methods never name
one. The accelerator is whatever ``torch.accelerator`` finds: CUDA, ROCm, MPS, XPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.extras import require

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

AUTO, CPU = "auto", "cpu"
KINDS = ("cuda", "mps", "xpu")
Precision = Literal["float32", "bfloat16", "float64"]
_NAME = re.compile(r"([a-z]\w*)(?::(\d+))?")
_WITHOUT_BFLOAT16 = ("cpu", "mps")  # there, ``auto`` stays in float32
_current: ContextVar[str] = ContextVar("device", default=AUTO)


def check(name: str) -> None:
    """Refuse a device that does not exist; ``auto`` and ``cpu`` always do, and are checked without torch.

    Args:
        name: auto, cpu, or an accelerator: cuda, cuda:1, mps, xpu.

    Raises:
        UsageError: it is no such name, or there is no such device here.
        MissingExtraError: it needs torch, which is not installed.
    """
    if name in (AUTO, CPU):
        return
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in (*KINDS, _private_kind()):
        raise UsageError(
            f"--device {name}: give auto, cpu, cuda, cuda:1, mps or xpu.{suggest(name, (AUTO, CPU, *KINDS))}"
        )
    require("train", f"--device {name}")
    _check_there(name, match[1], int(match[2] or 0))


def _private_kind() -> str:
    """The kind of accelerator that another package has added to torch, if torch is in use; empty without one."""
    import sys

    torch: Any = sys.modules.get("torch")
    accelerator = None if torch is None else torch.accelerator.current_accelerator()
    return "" if accelerator is None else str(accelerator.type)


def _check_there(name: str, kind: str, number: int) -> None:
    import torch

    accelerator = _accelerator()
    if accelerator is None or accelerator.type != kind:
        there = "no accelerator" if accelerator is None else f"{accelerator.type}"
        raise UsageError(
            f"--device {name}: PyTorch {torch.__version__} finds {there} here; give --device auto or cpu, or install a "
            "PyTorch that is built for it."
        )
    count = torch.accelerator.device_count()
    if number >= count:
        known = ", ".join(f"{kind}:{index}" for index in range(count))
        raise UsageError(f"--device {name}: there is no such device here; give one of {known}.")


def _accelerator() -> torch.device | None:
    """The accelerator of this machine; None without one."""
    import torch

    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def chosen(name: str | None = None) -> torch.device:
    """The device of a name, or of the command that runs now.

    Args:
        name: as ``check``; None for the device that ``using`` has set, auto outside it.

    Returns:
        The device, with its number where it is an accelerator.

    Raises:
        UsageError: there is no such device.
    """
    import torch

    name = name or _current.get()
    check(name)
    if name == CPU:
        return torch.device(CPU)
    accelerator = _accelerator()
    if accelerator is None:
        return torch.device(CPU)
    found = accelerator if name == AUTO else torch.device(name)
    index = torch.accelerator.current_device_index() if found.index is None else found.index
    return torch.device(found.type, index)


@contextmanager
def using(name: str) -> Iterator[None]:
    """Set the device of all that is computed in the block; ``auto`` keeps the one that is set outside of it.

    Args:
        name: as ``check``.

    Raises:
        UsageError: there is no such device.
    """
    check(name)
    before = _current.set(_current.get() if name == AUTO else name)
    try:
        yield
    finally:
        _current.reset(before)


def place(module: nn.Module, device: torch.device | None = None) -> None:
    """Move a module to a device, with the query encoders of untied bases, which are no part of it.

    Args:
        module: changed in place; initialised on the CPU, so that its weights are the same on every device.
        device: the device; None: the chosen one.
    """
    device = device or chosen()
    for part in list(module.modules()):
        for other in getattr(part, "_query_encoder", ()):
            other.to(device)
    module.to(device)


def put(values: np.ndarray[Any, Any], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Copy an array to a device; to CUDA through pinned memory, so that the host does not wait for the copy.

    Every other way from NumPy to a device (``torch.as_tensor(..., device=...)``, ``.to(device)``) waits.

    Args:
        values: the array.
        device: the device; on a CPU, the tensor shares the array's memory.
        dtype: of the tensor; None: the array's.
    """
    import torch

    tensor = torch.from_numpy(values)
    if dtype is not None:
        tensor = tensor.to(dtype)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device, non_blocking=True)


def precision_of(asked: str, device: torch.device) -> Precision:
    """The precision of the forward pass; weights stay float32 (float64 for float64).

    Args:
        asked: auto, or a precision.
        device: the device that computes.

    Raises:
        UsageError: the device does not compute in this precision.
    """
    if asked == "float64" and device.type == "mps":
        raise UsageError("precision=float64: mps has none; give --device cpu, or another precision.")
    if asked != AUTO:
        return asked  # type: ignore[return-value]
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether an accelerator multiplies matrices in bfloat16 in hardware."""
    import torch

    if device.type in _WITHOUT_BFLOAT16:
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported = getattr(getattr(torch, device.type, None), "is_bf16_supported", None)
    return bool(supported and supported())


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """The precision in which texts are encoded without training: bfloat16 on accelerators that have it.

    Args:
        device: the device that encodes; on a CPU nothing changes.
    """
    import torch

    return torch.autocast(device.type, torch.bfloat16) if has_bfloat16(device) else nullcontext()


def tune(device: torch.device) -> None:
    """Let CUDA multiply what stays in float32 in TF32; other devices are left as they are."""
    import torch

    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def product(device: torch.device) -> str:
    """The product that a device is, such as ``NVIDIA H200``; the kind of device where it does not say."""
    import torch

    properties = getattr(getattr(torch, device.type, None), "get_device_properties", None)
    if device.type == CPU or properties is None:
        return device.type
    return str(getattr(properties(device), "name", device.type))


def describe(precision: str = AUTO, *, attention: bool = True, processes: int = 1) -> str:
    """The first line of a run: ``device: cuda:0 (NVIDIA H200), bfloat16, variable-length attention, 1 process``.

    Args:
        precision: the precision asked for.
        attention: whether a transformer is run.
        processes: number of processes that train together.

    Raises:
        UsageError: the device does not exist, or does not compute in this precision.
    """
    device = chosen()
    computed = precision_of(precision, device)
    name = product(device)
    parts = [str(device) if name == device.type else f"{device} ({name})", computed]
    if attention:
        kernel = device.type == "cuda" and computed == "bfloat16"
        parts.append(f"variable-length attention{_implementation()}" if kernel else "attention by rows of equal length")
    parts.append("1 process" if processes == 1 else f"{processes} processes")
    return f"device: {', '.join(parts)}"


def _implementation() -> str:
    """The implementation of attention that is used instead of torch's own, in brackets; empty for torch's own."""
    from torch.nn.attention import current_flash_attention_impl

    name = current_flash_attention_impl()
    return f" ({name})" if name else ""


def idle_accelerator() -> str:
    """A warning that the CPU computes beside an accelerator; empty where it does not."""
    accelerator = _accelerator()
    if accelerator is None or chosen().type != CPU:
        return ""
    return f"the CPU computes, and an accelerator is idle: leave --device out to use {accelerator.type}."


def inference_lines(encoder: object) -> list[str]:
    """What to report before texts are encoded: the accelerator in use, or the one that is idle; none without one.

    Args:
        encoder: the opened encoder; a static one that NumPy runs has no torch in it, and computes on the CPU.
    """
    if not getattr(encoder, "runs_on_torch", False) or _accelerator() is None:
        return []
    device = chosen()
    return (
        [idle_accelerator()]
        if device.type == CPU
        else [f"device: {device} ({product(device)}), {precision_of(AUTO, device)}"]
    )
