"""``--config FILE`` and ``train --recipe FILE``: options and settings from a file.

A file is a command line that is written down: what it holds is put before the user's own options, which override it.
TOML and JSON are read; YAML is not, because no dependency reads it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from pretrieve.core.config import setting_text
from pretrieve.core.errors import UsageError, suggest

_SETTINGS = ("set", "tune")  # options that take KEY=VALUE, so that a file may give a table
_NOT_IN_FILES = ("config", "help")
_ONE_OF = {  # of two budgets, the one on the command line counts
    "train": ("minutes", "steps"),
    "finetune": ("epochs", "steps"),
    "compare": ("tokens", "steps"),
    "distill": ("minutes", "teacher_tokens"),
}


class Configured(TyperCommand):
    """A command whose options may come from a file.

    Attributes:
        origins: file of each setting that came from one.
    """

    origins: Mapping[str, Path]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the options of files before those of the command line.

        Raises:
            UsageError: a file cannot be read, or holds an unknown key or a value that does not fit.
        """
        self.origins = {}
        if ctx.resilient_parsing:  # a shell completes it: what files hold does not matter
            return super().parse_args(ctx, args)
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        parameters = {_name(one): one for one in self.get_params(ctx)}
        values, origins = _merged(self.name or "", given, parameters)
        if not values:
            return super().parse_args(ctx, args)
        before, after = _arguments(values, parameters, origins)
        self.origins = {key: path for (option, key), path in origins.items() if option in _SETTINGS}
        try:
            return super().parse_args(ctx, [*before, *args, *after])
        except typer.BadParameter as error:
            name = "" if error.param is None else _name(error.param)
            if name in values:
                raise UsageError(f"{origins[name, '']}: {name}: {error.message}") from None
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what is wrong with a setting of a file names the file.

        Raises:
            UsageError: as the command says.
        """
        try:
            return super().invoke(ctx)
        except UsageError as error:
            named = _with_origin(str(error), self.origins)
            if named == str(error):
                raise
            raise UsageError(named) from None


def read_config(path: Path) -> dict[str, Any]:
    """Read a TOML or JSON file with a table of values.

    Raises:
        UsageError: there is no such file, or it is not one.
    """
    if path.suffix not in (".toml", ".json"):
        raise UsageError(f"{path}: a configuration is TOML (.toml) or JSON (.json).")
    if not path.is_file():
        raise UsageError(f"{path}: {'not a file' if path.exists() else 'no such file'}.")
    try:
        data = path.read_bytes()
        if path.suffix == ".toml":
            found: Any = tomllib.loads(data.decode("utf-8"))
        else:
            import orjson

            found = orjson.loads(data)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: a table of names and values is expected, not {type(found).__name__}.")
    return found


_Values = dict[str, Any]  # by the name of the option; settings as a table
_Origins = dict[tuple[str, str], Path]  # file by option and, for a setting, its key


def _merged(command: str, given: Mapping[str, Any], parameters: Mapping[str, Any]) -> tuple[_Values, _Origins]:
    """What the files of a command line hold and the command line does not override."""
    values: _Values = {}
    origins: _Origins = {}
    for path, found in _files(command, given):
        for option, value in _sorted(path, found, parameters).items():
            if option in _SETTINGS:
                table = _without(values.get(option, {}), value, exact=command == "compare")
                values[option] = table | value
                origins |= {(option, key): path for key in value}
            else:
                values[option] = value
            origins[option, ""] = path
    own = {name for name, one in parameters.items() if _is_given(given.get(one.name))}
    own |= set(_ONE_OF.get(command, ())) if own & set(_ONE_OF.get(command, ())) else set()
    for option in own & values.keys():
        if option in _SETTINGS:
            keys = {pair.partition("=")[0].strip(): None for pair in given[parameters[option].name]}
            values[option] = _without(values[option], keys, exact=command == "compare")
        else:
            del values[option]
    return values, origins


def _files(command: str, given: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The files of a command line with what they hold, in the order in which they override each other."""
    if command == "train" and _is_given(given.get("recipe")):
        from pretrieve.pipeline.pretrain.repeat import options_of_recipe

        path = Path(given["recipe"])
        yield path, options_of_recipe(path)
    if _is_given(given.get("config")):
        path = Path(given["config"])
        yield path, read_config(path)


def _sorted(path: Path, found: Mapping[str, Any], parameters: Mapping[str, Any]) -> _Values:
    """Options and settings of a file by name; a table or a dotted name that is no option holds settings."""
    known = [name for name in parameters if name not in _NOT_IN_FILES]
    values: _Values = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name in known and name not in _SETTINGS and not isinstance(value, Mapping):
            if value is not None:
                values[name] = value
        elif name in known and name in _SETTINGS:
            values[name] = values.get(name, {}) | _flat(_table(path, key, value))
        elif "set" in known and name not in known and (isinstance(value, Mapping) or "." in key):
            values["set"] = values.get("set", {}) | _flat({key: value})
        else:
            wrong = "takes no table" if name in known else f"unknown option.{suggest(name, known)}"
            raise UsageError(f"{path}: {key}: {wrong}")
    return values


def _table(path: Path, key: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    for pair in value if isinstance(value, list) else [value]:
        if not isinstance(pair, str) or "=" not in pair:
            raise UsageError(f"{path}: {key}: give a table, or a list of KEY=VALUE.")
        name, _, text = pair.partition("=")
        found[name.strip()] = text.strip()
    return found


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested tables as dotted names, with values as text."""
    found: dict[str, str] = {}
    for key, value in table.items():
        name = f"{before}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: setting_text(value)}
    return found


def _without(table: Mapping[str, str], keys: Mapping[str, Any], *, exact: bool) -> dict[str, str]:
    """A table without what keys override: ``learning_rate`` and ``training.learning_rate`` may be the same value."""
    return {name: value for name, value in table.items() if not any(_same(name, key, exact=exact) for key in keys)}


def _same(a: str, b: str, *, exact: bool) -> bool:
    (part, _, name), (other, _, its_name) = a.rpartition("."), b.rpartition(".")
    return a == b if exact else name == its_name and (part == other or not part or not other)


def _arguments(
    values: _Values, parameters: Mapping[str, Any], origins: Mapping[tuple[str, str], Path]
) -> tuple[list[str], list[str]]:
    """Words of a command line: options before those that are given, and positional arguments after them."""
    before: list[str] = []
    after: list[str] = []
    for name, one in parameters.items():
        if name not in values:
            continue
        value, option = values[name], one.opts[0]
        if name in _SETTINGS:
            before += [word for key, text in value.items() for word in (option, f"{key}={text}")]
        elif one.param_type_name == "argument":
            after += [setting_text(item) for item in _several(value)]
        elif one.is_flag:
            before += _flag(origins[name, ""], name, value, one)
        elif one.multiple:
            before += [word for item in _several(value) for word in (option, setting_text(item))]
        else:
            before += [f"{_longest(one.opts)}={setting_text(value)}"]
    return before, ["--", *after] if after else []


def _flag(path: Path, name: str, value: object, one: Any) -> list[str]:
    if not isinstance(value, bool):
        raise UsageError(f"{path}: {name}: give true or false, not {setting_text(value)}.")
    return list(one.opts[:1] if value else one.secondary_opts[:1])


def _several(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def _longest(names: Sequence[str]) -> str:
    return max(names, key=len)


def _name(one: Any) -> str:
    """Name of an option as a file gives it: the long one, without dashes."""
    if one.param_type_name == "argument":
        return str(one.name)
    return _longest(one.opts).lstrip("-").replace("-", "_")


def _is_given(value: object) -> bool:
    """Whether the parser found a value; it marks those that are not there in its own ways."""
    return bool(value) if isinstance(value, str | list | tuple) else isinstance(value, bool | int)


def _with_origin(message: str, origins: Mapping[str, Path]) -> str:
    """A message about a setting, with the file that it came from in place of the option."""
    option, _, rest = message.partition(":")
    words = option.split() + rest.split()[:6]
    if option.split()[:1] not in (["--set"], ["--tune"]):
        return message
    for key, path in origins.items():
        names = {key, key.rpartition(".")[2]}
        if any(word.strip("'\",.:") in names for word in words):
            return f"{path}{message.removeprefix(option.split()[0])}"
    return message
