"""Checks of an objective at run time: a mistake in a method's file is reported in one line that names it.

Without them a wrong shape is an error of torch many calls later, or is not noticed: a mean of a mean is a scalar too.
"""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor

from pretrieve.core.errors import ExtensionError
from pretrieve.core.extensions import check_call, place
from pretrieve.models.objective import Encoded, Loss, Objective

_CALLS = {
    "prepare": ("batch", "step"),
    "encode": ("batch", "step"),
    "compare": ("local_vectors", "global_vectors", "batch", "first", "step"),
    "after_step": ("global_vectors", "batch", "step"),
}


def check_objective(module: object, objective: Objective) -> Objective:
    """Return the result of a method's ``objective`` after checking it.

    Args:
        module: the method, for the error text.
        objective: the result.

    Raises:
        ExtensionError: it is not an objective, has no encoder, or its functions have other arguments.
    """
    if not isinstance(objective, Objective):
        raise ExtensionError(
            f"{place(getattr(module, 'objective', module))}: objective must return an Objective, "
            f"not {_kind(objective)}."
        )
    if not hasattr(objective, "encoder"):
        raise ExtensionError(f"{place(type(objective))}: the objective has no encoder: set self.encoder.")
    for name, arguments in _CALLS.items():
        check_call(getattr(type(objective), name), *arguments, method=True)
    return objective


def check_encoded(objective: Objective, encoded: Encoded, size: int) -> Encoded:
    """Return the result of ``encode`` after checking its shapes.

    Args:
        objective: the objective, for the error text.
        encoded: the result.
        size: B.

    Raises:
        ExtensionError: vectors are not (B, N, V, D), or the example loss or a statistic is not (B,).
    """
    if not isinstance(encoded, Encoded):
        _refuse(objective.encode, f"encode must return Encoded, not {_kind(encoded)}")
    for name, vectors in encoded.vectors.items():
        if not isinstance(vectors, Tensor) or vectors.ndim != 4 or len(vectors) != size:
            _refuse(objective.encode, f"the vectors {name!r} must be (B, N, V, D) with B={size}, not {_kind(vectors)}")
    alone = {"the example loss": encoded.example_loss} if encoded.example_loss is not None else {}
    for name, values in {**alone, **{f"the statistic {key!r}": it for key, it in encoded.statistics.items()}}.items():
        if not isinstance(values, Tensor) or values.shape != (size,):
            _refuse(objective.encode, f"{name} must be (B,) with B={size}, not {_kind(values)}")
    return encoded


def check_loss(objective: Objective, loss: Loss) -> Loss:
    """Return the result of ``compare`` after checking that it consists of scalars.

    Args:
        objective: the objective, for the error text.
        loss: the result.

    Raises:
        ExtensionError: it is something else.
    """
    if not isinstance(loss, Loss):
        _refuse(objective.compare, f"compare must return Loss, not {_kind(loss)}")
    for name, value in {"value": loss.value, **loss.statistics}.items():
        if not isinstance(value, Tensor) or value.ndim:
            _refuse(objective.compare, f"{name} of the loss must be a scalar, not {_kind(value)}")
    return loss


def _refuse(function: object, message: str) -> NoReturn:
    raise ExtensionError(f"{place(function)}: {message}.")


def _kind(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
