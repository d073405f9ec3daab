"""FlashAttention 3 and 4 in place of the kernel that torch comes with, as an option: variable-length attention uses it.

Torch calls its support of both a prototype, and they are packages of their own. So ``stock`` is the default, and
``auto`` takes what fits the GPU and is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pretrieve.core.errors import UsageError
from pretrieve.core.extras import is_installed
from pretrieve.models import devices

if TYPE_CHECKING:
    import torch

STOCK, AUTO = "stock", "auto"
_PACKAGES = {"FA4": "flash_attn.cute", "FA3": "flash_attn_interface"}  # by what torch imports
_GENERATIONS = {"FA4": (9, 10), "FA3": (9,)}  # of GPUs: 9 is Hopper, 10 Blackwell
_NAMES = {9: "a Hopper GPU (H100, H200)", 10: "a Blackwell GPU"}
_AUTOMATIC = {9: ("FA3", "FA4"), 10: ("FA4",)}  # what auto takes, the first that is installed


def choose(asked: str, device: torch.device, precision: str = devices.AUTO) -> str:
    """The implementation that is used: stock, FA3 or FA4.

    Args:
        asked: stock, auto, FA3 or FA4.
        device: the device that computes.
        precision: precision of the forward pass.

    Raises:
        UsageError: the implementation is not known, not installed, or not for this device or precision.
    """
    if asked == STOCK:
        return STOCK
    if asked not in (AUTO, *_PACKAGES):
        raise UsageError(f"flash_attention={asked}: give stock, auto, FA3 or FA4.")
    generation = _generation(device)
    if asked == AUTO:
        half = devices.precision_of(precision, device) == "bfloat16"
        fitting = [name for name in _AUTOMATIC.get(generation, ()) if half and is_installed(_PACKAGES[name])]
        return fitting[0] if fitting else STOCK
    remedy = "leave flash_attention out"
    if generation not in _GENERATIONS[asked]:
        needed = " or ".join(_NAMES[number] for number in _GENERATIONS[asked])
        raise UsageError(
            f"flash_attention={asked}: it needs {needed}, and {devices.product(device)} computes; {remedy}."
        )
    if devices.precision_of(precision, device) != "bfloat16":
        raise UsageError(f"flash_attention={asked}: it computes in bfloat16 only; {remedy}, or precision={precision}.")
    if not is_installed(_PACKAGES[asked]):
        raise UsageError(f"flash_attention={asked}: the package {_PACKAGES[asked]} is not installed; {remedy}.")
    return asked


def _generation(device: torch.device) -> int:
    """Major number of the compute capability; 0 for what is no NVIDIA GPU."""
    import torch

    return torch.cuda.get_device_capability(device)[0] if device.type == "cuda" and torch.version.cuda else 0


@contextmanager
def using(asked: str, precision: str = devices.AUTO) -> Iterator[None]:
    """Use an implementation within the block, on the chosen device; stock changes nothing.

    Args:
        asked: as ``choose``.
        precision: as ``choose``.

    Raises:
        UsageError: as ``choose``, or torch cannot use the package that is installed.
    """
    chosen = STOCK if asked == STOCK else choose(asked, devices.chosen(), precision)
    if chosen == STOCK:
        yield
        return
    from torch.nn.attention import activate_flash_attention_impl, restore_flash_attention_impl

    try:
        activate_flash_attention_impl(chosen)
    except (ImportError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"flash_attention={asked}: the installed package cannot be used ({why}).") from error
    try:
        yield
    finally:
        restore_flash_attention_impl()
