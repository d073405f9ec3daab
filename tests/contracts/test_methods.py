"""What every method promises (``pretrieve.testing.contract``), run over everything in the folder."""

from collections.abc import Callable

import pytest

import tiny
from pretrieve import methods
from pretrieve.methods import names
from pretrieve.testing.contract import PROMISES, card_and_presets_are_whole
from pretrieve.testing.tiny import Case

BOTH = [(preset, kind) for preset in names() for kind in tiny.kinds(preset)]


@pytest.mark.parametrize("preset", names())
def test_card_options_and_presets_are_whole(preset: str) -> None:
    module, _ = methods.find(preset)
    card_and_presets_are_whole(module, preset)


@pytest.mark.parametrize(("preset", "kind"), BOTH)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_methods_keep_their_promises(promise: Callable[[Case], None], preset: str, kind: str) -> None:
    promise(tiny.case(preset, kind))
