"""Settings by name, ``--set KEY=VALUE``: each configures one part of a run.

A part is a dataclass of options: of the method, the training, the encoder, the tokenizer. A plain name is enough where
only one part has it; ``part.name`` always works. A name that two parts have is an error that names both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pretrieve.core.errors import UsageError, suggest

Parts = Mapping[str, Any]  # dataclasses of options by the name of the part
Sorted = dict[str, dict[str, object]]  # values by part and name


def sort_settings(settings: Mapping[str, object], parts: Parts, where: str = "--set") -> Sorted:
    """Divide settings by the part that they configure.

    Args:
        settings: values by ``name`` or ``part.name``.
        parts: dataclasses of options by the name of the part.
        where: origin of the settings for the message: the option, or a file.

    Returns:
        Values by part and name; a part without settings is empty.

    Raises:
        UsageError: a name is unknown (the closest is suggested), ambiguous, or given twice.
    """
    found: Sorted = {part: {} for part in parts}
    for key, value in settings.items():
        part, name = _home(key, parts, where)
        if name in found[part]:
            raise UsageError(f"{where}: {part}.{name} is given twice.")
        found[part][name] = value
    return found


def names_of(parts: Parts) -> list[str]:
    """All names that can be set, each with and without its part."""
    known = _known(parts)
    return [*known, *(f"{part}.{name}" for name, homes in known.items() for part in homes)]


def _home(key: str, parts: Parts, where: str) -> tuple[str, str]:
    """Part and name of a key."""
    known = _known(parts)
    part, dot, name = key.rpartition(".")
    homes = known.get(name, [])
    if dot and part in homes:
        return part, name
    if dot or not homes:
        raise UsageError(f"{where}: unknown option {key!r}.{suggest(key, names_of(parts))}")
    if len(homes) > 1:
        both = " or ".join(f"{home}.{name}" for home in homes)
        raise UsageError(f"{where}: {name!r} is an option of {' and '.join(homes)}: write {both}.")
    return homes[0], name


def _known(parts: Parts) -> dict[str, list[str]]:
    """The parts that have each name, in the order of the parts."""
    known: dict[str, list[str]] = {}
    for part, kind in parts.items():
        for item in dataclasses.fields(kind):
            known.setdefault(item.name, []).append(part)
    return known


def precision_set(settings: Mapping[str, object]) -> str:
    """The precision that the user's settings name, before they are combined with others; auto without one."""
    return value_set(settings, "precision", "auto")


def value_set(settings: Mapping[str, object], option: str, default: str) -> str:
    """The value of an option that the user's settings name, before they are combined with others."""
    return str(next((value for name, value in settings.items() if name.rpartition(".")[2] == option), default))
