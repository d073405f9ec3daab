"""Options are dataclasses beside what they configure; this module builds them from text.

An unknown key or a value of the wrong type is an error with a suggestion (published code that ignores unknown flags
trained other models than its README says: methods card of Contriever).
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pretrieve.core.errors import UsageError, suggest

T = TypeVar("T")
Source = Literal["paper", "code", "ours"]
_EXPECTED: Mapping[Any, str] = {str: "text", Path: "a path", Mapping: "a dict", tuple: "a list", list: "a list"}


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A hyper-parameter with its provenance: ``note`` gives the place in paper or code, or our reason."""

    value: Any
    source: Source
    note: str = ""


def parse_assignments(pairs: list[str]) -> dict[str, str]:
    """Turn ``["queue=4096", "temperature=0.05"]`` into a mapping.

    Raises:
        UsageError: a pair has no ``=``.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {pair!r}: write it as key=value.")
        settings[key.strip()] = value.strip()
    return settings


def options_of(kind: type[T], values: Mapping[str, Any], where: str = "--set") -> T:
    """Build a dataclass of options from names and values; text is converted to the type of the field.

    Args:
        kind: the dataclass.
        values: field names and values (text from the command line, or typed values from a recipe).
        where: origin of the values, for the message.

    Raises:
        UsageError: unknown key (with a suggestion), or a value that does not fit its type.
    """
    check_names(kind, values, where)
    hints = typing.get_type_hints(kind)
    return kind(**{key: _convert(value, hints[key], f"{where} {key}") for key, value in values.items()})


def check_names(kind: type[Any], names: Iterable[str], where: str) -> None:
    """Refuse names that a dataclass of options does not have.

    Args:
        kind: the dataclass.
        names: given names.
        where: origin of the values, for the message.

    Raises:
        UsageError: a name is unknown; the closest is suggested.
    """
    known = [item.name for item in dataclasses.fields(kind)]
    for name in names:
        if name not in known:
            raise UsageError(f"{where}: unknown option {name!r}.{suggest(name, known)}")


def _convert(value: object, hint: Any, where: str) -> Any:
    if get_origin(hint) in (typing.Union, types.UnionType):
        return _convert_optional(value, hint, where)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise UsageError(f"{where}: {value!r} is not one of {', '.join(map(str, get_args(hint)))}.")
        return value
    if hint is bool:
        return _convert_bool(value, where)
    if hint in (int, float):
        return _convert_number(value, hint, where)
    origin = get_origin(hint)
    if origin in (tuple, list) and isinstance(value, str):
        inner = get_args(hint)[0]
        return origin(_convert(part.strip(), inner, where) for part in value.split(",") if part.strip())
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return origin(_checked(part, str, where) for part in value) if get_args(hint)[0] is str else origin(value)
    return _checked(value, hint, where)


def _checked(value: object, hint: Any, where: str) -> Any:
    """A value that is of its type already, or cannot become one of it; a text is a path."""
    if hint is Path and isinstance(value, str):
        return Path(value)
    kind, expected = get_origin(hint) or hint, _EXPECTED.get(get_origin(hint) or hint)
    if isinstance(kind, type) and not isinstance(value, kind):
        raise UsageError(f"{where}: {value!r:.60} is not {expected or f'of type {kind.__name__}'}.")
    return value


def _convert_number(value: object, hint: type, where: str) -> int | float:
    if not isinstance(value, str | numbers.Real) or isinstance(value, bool):
        raise UsageError(f"{where}: {value!r:.60} is not {'a number' if hint is float else 'a whole number'}.")
    try:
        number = float(value) if hint is float else int(str(value).replace("_", ""))
    except ValueError:
        raise UsageError(f"{where}: {value!r} is not {'a number' if hint is float else 'a whole number'}.") from None
    if isinstance(number, float) and not math.isfinite(number):
        raise UsageError(f"{where}: {value!r} is not a finite number.")
    return number


def _convert_optional(value: object, hint: Any, where: str) -> Any:
    (inner,) = [arg for arg in get_args(hint) if arg is not type(None)]
    if value is None or (value == "none" and "none" not in get_args(inner)):  # one of the choices, where it is named
        return None
    return _convert(value, inner, where)


def _convert_bool(value: object, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "yes", "on", "1"):
        return True
    if str(value).lower() in ("false", "no", "off", "0"):
        return False
    raise UsageError(f"{where}: {value!r} is not yes or no.")


def setting_text(value: object) -> str:
    """A value as text that becomes the same value again: what ``--set`` takes.

    Args:
        value: a plain value, or a list of them.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ",".join(setting_text(item) for item in value)
    return str(value)
