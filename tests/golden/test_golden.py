"""Losses of every preset are what they were, to 1e-8 relative (float64)."""

import json
import sys
from pathlib import Path

import pytest

from pretrieve.methods import names

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from make import STEPS, losses  # noqa: E402

import tiny  # noqa: E402


@pytest.mark.parametrize(("preset", "kind"), [(preset, kind) for preset in names() for kind in tiny.kinds(preset)])
def test_golden_losses(preset: str, kind: str) -> None:
    expected = json.loads((HERE / f"{preset}.json").read_text())[kind]
    found = losses(preset, kind)
    assert len(expected) == STEPS
    assert found == pytest.approx(expected, rel=1e-8)
