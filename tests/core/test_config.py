"""Options from text: right types, and errors that help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from pretrieve.core.config import options_of, parse_assignments
from pretrieve.core.errors import UsageError, suggest


@dataclass(frozen=True, kw_only=True)
class Options:
    queue: int = 4096
    temperature: float = 0.05
    symmetric: bool = False
    pooling: Literal["mean", "cls"] = "mean"
    projection: int | None = None
    rates: tuple[float, ...] = (0.1, 0.2)
    name: str = "x"
    teacher: Literal["none", "given"] | None = None
    sharing: Literal["half", "whole"] | None = None


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("queue", "131_072", 131072), ("queue", 7, 7), ("queue", "-3", -3),
        ("temperature", "1e-2", 0.01), ("temperature", "1", 1.0), ("temperature", 2, 2.0),
        ("symmetric", "yes", True), ("symmetric", "OFF", False), ("symmetric", True, True), ("symmetric", 1, True),
        ("pooling", "cls", "cls"), ("projection", "none", None), ("projection", None, None), ("projection", "8", 8),
        ("rates", "0.5, 0.25", (0.5, 0.25)), ("rates", [1, 2], (1, 2)), ("rates", "", ()), ("name", "5", "5"),
        ("teacher", "none", "none"), ("teacher", None, None), ("sharing", "none", None), ("sharing", "half", "half"),
    ],
)  # fmt: skip
def test_values_become_their_type(key: str, value: object, expected: object) -> None:
    found = getattr(options_of(Options, {key: value}), key)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"qeue": "1"}, r"--set: unknown option 'qeue'\. Did you mean 'queue'\?"),
        ({"zzz": "1"}, r"unknown option 'zzz'\. Known: name, pooling, projection"),
        ({"queue": "many"}, r"--set queue: 'many' is not a whole number"),
        ({"queue": "1.5"}, "'1.5' is not a whole number"),
        ({"queue": 1.5}, "1.5 is not a whole number"),
        ({"temperature": "hot"}, "--set temperature: 'hot' is not a number"),
        ({"symmetric": "perhaps"}, "'perhaps' is not yes or no"),
        ({"pooling": "max"}, r"--set pooling: 'max' is not one of mean, cls"),
        ({"projection": "x"}, "'x' is not a whole number"),
        ({"rates": "0.1,x"}, "'x' is not a number"),
        ({"name": 5}, "5 is not text"),
    ],
)
def test_wrong_values_say_what_is_right(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options_of(Options, values)


def test_where_is_named() -> None:
    with pytest.raises(UsageError, match=r"^recipe\.json: unknown option"):
        options_of(Options, {"x": 1}, where="recipe.json")


def test_assignments() -> None:
    assert parse_assignments(["queue=4096", " a = b=c "]) == {"queue": "4096", "a": "b=c"}
    for bad in ("queue", "=5", " =5"):
        with pytest.raises(UsageError, match="write it as key=value"):
            parse_assignments([bad])


def test_suggest() -> None:
    assert suggest("contreiver", ["contriever", "orqa-ict"]) == " Did you mean 'contriever'?"
    assert suggest("zzz", ["b", "a"]) == " Known: a, b."
