"""An accelerator that is not there: tensors of a device of their own, which the CPU computes behind the scenes.

What a real accelerator refuses is refused here: an operation on tensors of two devices (but for scalars and indices),
and a look at a tensor's memory from NumPy. What makes the host wait for the device is counted (``waits``). Slow, and as
exact as the CPU: a run on it gives the CPU's own numbers.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

KIND = "pretend"
_INDEXING = ("index.Tensor", "index_put_.default", "index_put.default", "_index_put_impl_.default")
_SIZED = (
    "nonzero.default",
    "masked_select.default",
    "_unique2.default",
    "repeat_interleave.Tensor",
    "bincount.default",
)
_waits: Counter[str] = Counter()
_ready = False


class Pretended(torch.Tensor):
    """A tensor of the device; ``inner`` is where its values are."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Pretended:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=torch.device(KIND, 0),
        )  # fmt: skip
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor of an accelerator to numpy: copy it to the CPU first.")

    def __deepcopy__(self, memo: Any) -> Any:
        made = Pretended(self.detach().inner.clone())
        if isinstance(self, torch.nn.Parameter):
            made = torch.nn.Parameter(made, requires_grad=self.requires_grad)
        return memo.setdefault(id(self), made)


class _Factories(TorchDispatchMode):
    """Makes tensors on the device where a factory names it."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


def _is_here(device: Any) -> bool:
    return device is not None and torch.device(device).type == KIND


def _computed(function: Any, args: Any, kwargs: Any) -> Any:
    leaves = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    inside = any(isinstance(leaf, Pretended) for leaf in leaves)
    target = kwargs.get("device")
    name = str(function).removeprefix("aten.")
    if inside:
        _check_one_device(name, args, leaves)
    if _is_waiting(name, args, kwargs, inside=inside):
        _waits[name] += 1
    if not inside and not _is_here(target):
        return function(*args, **kwargs)
    plain = {key: value for key, value in kwargs.items() if key != "device" or not _is_here(value)}
    unwrapped = tree_map(lambda leaf: leaf.inner if isinstance(leaf, Pretended) else leaf, (args, plain))
    with torch.no_grad():
        found = function(*unwrapped[0], **unwrapped[1])
    if target is not None and not _is_here(target):
        return found
    if name == "copy_.default":
        return args[0]
    known = {id(leaf.inner): leaf for leaf in leaves if isinstance(leaf, Pretended)}  # changed in place
    return tree_map(lambda leaf: _wrapped(leaf, known), found)


def _is_waiting(name: str, args: Any, kwargs: Any, *, inside: bool) -> bool:
    """Whether the host waits: it reads, copies to the device without saying that it need not wait, or asks how many."""
    target = kwargs.get("device")
    if not inside:
        return _is_here(target) and name in ("_to_copy.default", "copy_.default") and not kwargs.get("non_blocking")
    if name == "copy_.default" and not isinstance(args[1], Pretended):
        return not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
    sized = name in (*_SIZED, "bincount.default") and kwargs.get("output_size") is None
    masks = name == "index.Tensor" and any(_is_mask(index) for index in args[1])
    masks |= name.startswith(("index_put", "_index_put")) and args[2].numel() > 1 and any(map(_is_mask, args[1]))
    return sized or masks or name == "_local_scalar_dense.default" or (target is not None and not _is_here(target))


def _is_mask(index: Any) -> bool:
    return isinstance(index, Pretended) and index.dtype in (torch.bool, torch.uint8)


def _wrapped(found: Any, known: dict[int, Pretended]) -> Any:
    if not isinstance(found, torch.Tensor):
        return found
    return known[id(found)] if id(found) in known else Pretended(found)


def _check_one_device(name: str, args: Any, leaves: list[torch.Tensor]) -> None:
    if name in ("copy_.default", "_to_copy.default"):
        return
    checked = leaves[:1] if name in _INDEXING else leaves
    if any(not isinstance(leaf, Pretended) and leaf.ndim for leaf in checked):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found {KIND}:0 and cpu")


@contextlib.contextmanager
def pretended() -> Iterator[torch.device]:
    """Have the device within the block."""
    global _ready
    if not _ready:
        _setup_privateuseone_for_python_backend(KIND)
        backend = getattr(torch, KIND)
        backend.get_rng_state = lambda device=None: torch.zeros(1)  # the CPU draws
        backend.set_rng_state = lambda state, device=None: None
        backend.get_amp_supported_dtype = lambda: [torch.bfloat16]
        _ready = True
    run = threading.Thread.run

    def run_there(self: threading.Thread) -> None:
        with _Factories():  # a mode is one thread's; a device is every thread's
            run(self)

    threading.Thread.run = run_there  # type: ignore[method-assign]
    try:
        with _Factories():
            yield torch.device(KIND, 0)
    finally:
        threading.Thread.run = run  # type: ignore[method-assign]


@contextlib.contextmanager
def waits() -> Iterator[Counter[str]]:
    """Count the operations that make the host wait for the device."""
    _waits.clear()
    yield _waits


def main(arguments: list[str]) -> None:
    """Run ``pretrieve ARGUMENTS`` on a machine whose accelerator is this device."""
    from pretrieve.cli.app import main as command

    torch.inference_mode = lambda mode=True: torch.no_grad()  # type: ignore[misc,assignment]  # wrapped tensors have none
    sys.argv = ["pretrieve", *arguments]
    code: object = 0
    try:
        with pretended():
            command()
    except SystemExit as end:
        code = end.code
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))  # see pretend_steps.py


if __name__ == "__main__":
    main(sys.argv[1:])
