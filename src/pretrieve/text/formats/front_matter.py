"""Front matter of Markdown, YAML (``---``) or TOML (``+++``): title and description by simple rules; all for search."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Mapping

_YAML = re.compile(r"\A---[ \t]*\n(.*?)(?:\n|\A)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TOML = re.compile(r"\A\+\+\+[ \t]*\n(.*?)\n\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
_YAML_LINE = re.compile(r"[\w\"'$@.-]+:(?:[ \t].*)?|[ \t#\]}-].*|")
_KEY = re.compile(r"([\w-]+):[ \t]*(.*)")
_LONGEST = 1 << 16  # characters that a parser is given
_TITLES, _DESCRIPTIONS = ("title",), ("description", "summary", "subtitle", "abstract", "excerpt")


def divided(source: str) -> tuple[str, list[str], str]:
    """Title, descriptions, and the text after the front matter, of a Markdown file; no title and all of it without any.

    A text that only begins with a rule has no front matter.
    """
    values: Mapping[str, object] = {}
    if found := _TOML.match(source):
        try:
            values = tomllib.loads(found[1])
        except tomllib.TOMLDecodeError:
            values = _values(found[1].replace(" = ", ": ").splitlines())
    elif found := _YAML.match(source):
        lines = found[1].splitlines()
        if not all(_YAML_LINE.fullmatch(line) for line in lines):
            return "", [], source
        values = _values(lines)
    if found is None:
        return "", [], source
    title = next((str(values[key]) for key in _TITLES if isinstance(values.get(key), str)), "")
    texts = [str(values[key]) for key in _DESCRIPTIONS if isinstance(values.get(key), str)]
    return title, texts, source[found.end() :]


def facts(source: str) -> Mapping[str, object]:
    """All values of the front matter of a text but its title and descriptions; none where it has no front matter.

    Values that a parser refuses are read line by line.
    """
    found = _TOML.match(source) or _YAML.match(source)
    if found is None or len(found[1]) > _LONGEST:
        return {}
    lines = found[1].splitlines()
    if source.startswith("---") and not all(_YAML_LINE.fullmatch(line) for line in lines):
        return {}
    try:
        values = tomllib.loads(found[1]) if source.startswith("+++") else _yaml(found[1])
    except (ValueError, RecursionError):
        values = _values(found[1].replace(" = ", ": ").splitlines())
    return {name: value for name, value in values.items() if name.lower() not in (*_TITLES, *_DESCRIPTIONS)}


def _yaml(text: str) -> Mapping[str, object]:
    """The values of YAML.

    Raises:
        ValueError: it is none, or no mapping.
    """
    yaml = importlib.import_module("yaml")  # a library of the hub's client
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    if not isinstance(values, dict):
        raise ValueError("no mapping")
    return {str(name): value for name, value in values.items()}


def _values(lines: list[str]) -> dict[str, str]:
    """The values of the top level of YAML that are one text, on the line of their key or indented below it."""
    values: dict[str, list[str]] = {}
    key = ""
    for line in lines:
        if found := _KEY.fullmatch(line):
            key = found[1].lower()
            first = found[2].strip()
            values[key] = [] if re.fullmatch(r"[>|][+-]?\d?", first) else [first]
        elif key and line[:1] in (" ", "\t"):
            values[key].append(line.strip())
        elif line.strip():
            key = ""
    return {key: _unquoted(" ".join(words).strip()) for key, words in values.items()}


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        mark = value[0]
        return value[1:-1].replace(mark * 2 if mark == "'" else '\\"', mark)
    return re.sub(r"\s+#.*", "", value)
