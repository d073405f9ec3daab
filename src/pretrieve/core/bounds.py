"""Bounds of options: a value outside is refused with one line that names the bound."""

from __future__ import annotations

import math

from pretrieve.core.errors import UsageError

COUNT = 1_000_000_000  # steps, records, entries: more is a typing error
BATCH = 1_000_000  # examples or rows of a step
TOKENS = 131_072  # of one row
WIDTH = 16_384  # dimensions of a vector or a layer
QUEUE = 10_000_000  # vectors that a run remembers


def check_bounds(options: object, low: float, high: float, *names: str, below: bool = False, prefix: str = "") -> None:
    """Refuse options outside their bounds; those that are None are not checked.

    Args:
        options: object with the options as attributes.
        low: lowest value allowed.
        high: highest value allowed; infinity for any finite number.
        names: of the options.
        below: the highest value itself is excluded.
        prefix: put before the name in the message.

    Raises:
        UsageError: names the option, its value and the bound.
    """
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        if not (low <= value and (value < high or (value == high and not below))):  # also where it is not a number
            raise UsageError(f"{prefix}{name}={value}: it is at least {low:,}{_highest(high, below)}.")


def _highest(high: float, below: bool) -> str:
    if math.isinf(high):
        return ", and finite"
    return f" and {'below' if below else 'at most'} {high:,}"
