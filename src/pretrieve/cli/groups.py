"""Options that several commands share as one parameter: a dataclass, whose fields are the options.

Typer reads the options of a command in its signature. ``expanded`` gives a command a signature in which the fields of
such a dataclass stand in its place; the command itself gets the dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

_Parameter = inspect.Parameter


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer takes it: each parameter that is a dataclass becomes the options that are its fields."""
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    groups = {name: hints[name] for name in parameters if dataclasses.is_dataclass(hints[name])}

    @functools.wraps(command)
    def run(**options: Any) -> None:
        found = {
            name: group(**{one.name: options.pop(one.name) for one in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        command(**options, **found)

    flat = [
        one
        for name, parameter in parameters.items()
        for one in (_fields(groups[name]) if name in groups else [_keyword(parameter, hints[name])])
    ]
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in flat}
    return run


def _keyword(parameter: _Parameter, annotation: Any) -> _Parameter:
    return parameter.replace(kind=_Parameter.KEYWORD_ONLY, annotation=annotation)


def _fields(group: Any) -> Iterator[_Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for one in dataclasses.fields(group):
        default = _Parameter.empty if one.default is dataclasses.MISSING else one.default
        yield _Parameter(one.name, _Parameter.KEYWORD_ONLY, default=default, annotation=hints[one.name])
