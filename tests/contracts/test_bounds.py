"""Every number among the options has bounds, and its preset's value lies within them."""

import dataclasses
import typing
from typing import Any

import pytest

from pretrieve import methods
from pretrieve.core.bounds import check_bounds
from pretrieve.core.config import options_of
from pretrieve.core.errors import UsageError
from pretrieve.finetuning import ance, contrastive, labelled
from pretrieve.methods import names
from pretrieve.models.build import EncoderOptions, NewTransformer
from pretrieve.pipeline.pretrain.request import Tokenization
from pretrieve.training.options import TrainingOptions

KINDS: dict[str, Any] = {
    "training": TrainingOptions,
    "encoder": EncoderOptions,
    "new": NewTransformer,
    "tokenization": Tokenization,
    "loss": contrastive.Options,
    "draw": labelled.Draw,
    "refresh": ance.Refresh,
    **{f"{module.__name__}": module.Options for module in methods.presets().values()},
}


def numbers(kind: Any) -> list[tuple[str, str]]:
    """Names of the numbers among the options, and whether each is whole."""
    hints = typing.get_type_hints(kind)
    found = []
    for field in dataclasses.fields(kind):
        kinds = set(typing.get_args(hints[field.name]) or (hints[field.name],))
        if kinds & {int, float}:
            found.append((field.name, "whole" if int in kinds else "real"))
    return found


CASES = [(where, name, kind) for where, options in KINDS.items() for name, kind in numbers(options)]


@pytest.mark.parametrize(("where", "name", "kind"), CASES)
def test_every_number_has_bounds(where: str, name: str, kind: str) -> None:
    for wrong in ("-1", "1000000000000") if kind == "whole" else ("-1", "nan", "inf", "-inf"):
        with pytest.raises(UsageError) as caught:
            options_of(KINDS[where], {name: wrong})
        assert "\n" not in str(caught.value)
        assert name in str(caught.value) or name.partition("_")[0] in str(caught.value)


def test_a_bound_is_named() -> None:
    for values, words in (
        ({"batch_size": "1000000000"}, "batch_size=1000000000: it is at least 1 and at most 1,000,000."),
        ({"beta1": "2"}, "beta1=2.0: it is at least 0 and below 1."),
        ({"beta2": "1"}, "beta2=1.0: it is at least 0 and below 1."),
        ({"learning_rate": "-0.1"}, "learning_rate=-0.1: it is at least 0, and finite."),
        ({"learning_rate": "nan"}, "--set learning_rate: 'nan' is not a finite number."),
        ({"warmup": "1.5"}, "warmup=1.5: it is at least 0 and at most 1."),
    ):
        with pytest.raises(UsageError) as caught:
            options_of(TrainingOptions, values)
        assert str(caught.value) == words
    with pytest.raises(UsageError, match=r"--base new: hidden=1000000000: it is at least 1 and at most 16,384\."):
        options_of(NewTransformer, {"hidden": "1000000000"})


def test_bounds_of_what_is_given_in_python() -> None:
    for values in ({"learning_rate": float("nan")}, {"learning_rate": float("inf")}, {"beta1": float("nan")}):
        with pytest.raises(UsageError):
            TrainingOptions(**values)
    check_bounds(TrainingOptions(), 0, 1, "warmup")
    assert all(names())
