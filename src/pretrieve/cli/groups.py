"""Options that several commands share as one parameter: a dataclass, whose fields are the options.

Typer reads the options of a command in its signature. ``expanded`` gives a command a signature in which the fields of
such a dataclass stand in its place; the command itself gets the dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

_Parameter = inspect.Parameter


class Without:
    """Fields that are no options of a command and keep their defaults: ``Annotated[Reading, Without("wikipedia")]``.

    Args:
        names: the fields.
    """

    def __init__(self, *names: str) -> None:
        self.names = names


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer takes it: each parameter that is a dataclass becomes the options that are its fields."""
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    groups = {name: found for name in parameters if (found := _group(hints[name]))}

    @functools.wraps(command)
    def run(**options: Any) -> None:
        found = {
            name: kind(**{one.name: options.pop(one.name) for one in flat}) for name, (kind, flat) in groups.items()
        }
        command(**options, **found)

    flat = [
        one
        for name, parameter in parameters.items()
        for one in (groups[name][1] if name in groups else [_keyword(parameter, hints[name])])
    ]
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in flat}
    return run


def _group(hint: Any) -> tuple[Any, list[_Parameter]] | None:
    """A dataclass and the parameters that are its fields; None for any other hint."""
    kind, *more = get_args(hint) or (hint,)
    if not dataclasses.is_dataclass(kind):
        return None
    left_out = {name for one in more if isinstance(one, Without) for name in one.names}
    return kind, [one for one in _fields(kind) if one.name not in left_out]


def _keyword(parameter: _Parameter, annotation: Any) -> _Parameter:
    return parameter.replace(kind=_Parameter.KEYWORD_ONLY, annotation=annotation)


def _fields(group: Any) -> Iterator[_Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for one in dataclasses.fields(group):
        default = _Parameter.empty if one.default is dataclasses.MISSING else one.default
        yield _Parameter(one.name, _Parameter.KEYWORD_ONLY, default=default, annotation=hints[one.name])
