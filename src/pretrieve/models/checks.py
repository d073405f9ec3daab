"""What is checked of an objective while it runs, so that a mistake in a method's file is one line that names it.

A wrong shape would otherwise be torch's error, many calls later, or nothing at all: a mean of a mean is a scalar too.
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
    """Return what a method's ``objective`` gave, if it can be trained.

    Args:
        module: the method, for the message.
        objective: what it gave.

    Raises:
        ExtensionError: it is no objective, has no encoder, or its functions take other arguments.
    """
    if not isinstance(objective, Objective):
        raise ExtensionError(
            f"{place(getattr(module, 'objective', module))}: objective gives no Objective but {_kind(objective)}."
        )
    if not hasattr(objective, "encoder"):
        raise ExtensionError(f"{place(type(objective))}: the objective has no encoder: set self.encoder.")
    for name, arguments in _CALLS.items():
        check_call(getattr(type(objective), name), *arguments, method=True)
    return objective


def check_encoded(objective: Objective, encoded: Encoded, size: int) -> Encoded:
    """Return what ``encode`` gave for a number of examples, if its shapes are those of the contract.

    Args:
        objective: the method's, for the message.
        encoded: what it gave.
        size: B.

    Raises:
        ExtensionError: vectors are not (B, N, V, D), or the local loss or a statistic is not (B,).
    """
    if not isinstance(encoded, Encoded):
        _refuse(objective.encode, f"encode has to give Encoded, not {_kind(encoded)}")
    for name, vectors in encoded.vectors.items():
        if not isinstance(vectors, Tensor) or vectors.ndim != 4 or len(vectors) != size:
            _refuse(
                objective.encode, f"the vectors {name!r} have to be (B, N, V, D) with B={size}, not {_kind(vectors)}"
            )
    alone = {"the local loss": encoded.example_loss} if encoded.example_loss is not None else {}
    for name, values in {**alone, **{f"the statistic {key!r}": it for key, it in encoded.statistics.items()}}.items():
        if not isinstance(values, Tensor) or values.shape != (size,):
            _refuse(objective.encode, f"{name} has to be (B,) with B={size}, not {_kind(values)}")
    return encoded


def check_loss(objective: Objective, loss: Loss) -> Loss:
    """Return what ``compare`` gave, if it is scalars.

    Args:
        objective: the method's, for the message.
        loss: what it gave.

    Raises:
        ExtensionError: it is something else.
    """
    if not isinstance(loss, Loss):
        _refuse(objective.compare, f"compare has to give Loss, not {_kind(loss)}")
    for name, value in {"value": loss.value, **loss.statistics}.items():
        if not isinstance(value, Tensor) or value.ndim:
            _refuse(objective.compare, f"{name} of the loss has to be a scalar, not {_kind(value)}")
    return loss


def _refuse(function: object, message: str) -> NoReturn:
    raise ExtensionError(f"{place(function)}: {message}.")


def _kind(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
