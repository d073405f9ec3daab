"""Values that cannot be are refused at once, by `train` and `finetune`, and a ruined model is not published."""

from pathlib import Path

import pytest
from test_bad_input import one_line

import labelling

IMPOSSIBLE = [
    ("batch_size=1000000000", "at most 1,000,000"),
    ("beta1=2", "below 1"),
    ("learning_rate=-0.1", "at least 0"),
    ("epsilon=inf", "finite"),
    ("steps=1000000000000", "at most 1,000,000,000"),
]
TRAIN_ONLY = [
    ("dimensions=1000000000", "at most 16,384"),
    ("max_length=1000000000", "at most 131,072"),
    ("vocabulary_size=1000000000", "at most 1,000,000"),
    ("window=1000000000", "at most 131,072"),
    ("coefficient=-2", "at least 0"),
]
TUNE_ONLY = [
    ("query_length=1000000000", "at most 131,072"),
    ("negatives=1000000000", "at most 10,000"),
    ("depth=1000000000000", "at most 1,000,000,000"),
]


@pytest.mark.parametrize(("setting", "bound"), [*IMPOSSIBLE, *TRAIN_ONLY])
def test_train_refuses_at_once(run, documents: Path, tmp_path: Path, setting: str, bound: str) -> None:
    outcome = run("train", documents, "-o", tmp_path / "out", "--set", setting)
    assert outcome.code == 2
    line = one_line(outcome.err)
    assert setting.partition("=")[0] in line
    assert bound in line
    assert "read" not in outcome.err, "before any document is read"
    assert not (tmp_path / "out").exists()


def test_train_refuses_an_impossible_transformer(run, documents: Path, tmp_path: Path) -> None:
    for base, words in (
        ("new:hidden=1000000000", "hidden=1000000000: it is at least 1 and at most 16,384"),
        ("new:layers=1000000000", "layers=1000000000: it is at least 1 and at most 1,000"),
        ("new:dropout=1", "dropout=1.0: it is at least 0 and below 1"),
    ):
        outcome = run("train", documents, "-o", tmp_path / "out", "--base", base)
        assert outcome.code == 2
        assert words in one_line(outcome.err)
        assert "read" not in outcome.err


@pytest.mark.parametrize(("setting", "bound"), [*IMPOSSIBLE, *TUNE_ONLY])
def test_finetune_refuses_at_once(run, model: Path, tmp_path: Path, setting: str, bound: str) -> None:
    outcome = run("finetune", model, tmp_path / "labels", "-o", tmp_path / "out", "--set", setting)
    assert outcome.code == 2
    line = one_line(outcome.err)
    assert setting.partition("=")[0] in line, "and not that there are no labels"
    assert bound in line


@pytest.mark.parametrize("extra", [(), ("--no-select",), ("--set", "save_every=1")])
def test_a_model_that_its_last_update_ruined_is_not_published(run, documents: Path, tmp_path: Path, extra) -> None:
    settings = ("batch_size=32", "dimensions=32", "vocabulary_size=400", "learning_rate=1e38")
    words = [word for setting in settings for word in ("--set", setting)]
    outcome = run("train", documents, "-o", tmp_path / "out", "--steps", "1", *words, *extra)
    assert outcome.code == 1
    line = one_line(outcome.err)
    assert "step 1 (seed 0)" in line
    assert "lower learning_rate" in line
    assert not list(tmp_path.glob("out/**/*.safetensors"))


def test_finetune_publishes_no_ruined_model(run, model: Path, tmp_path: Path) -> None:
    folder = labelling.beir(tmp_path / "labels")
    outcome = run("finetune", model, folder, "-o", tmp_path / "out", "--steps", "1", "--set", "learning_rate=1e38")
    assert outcome.code == 1
    assert "lower learning_rate" in one_line(outcome.err)
    assert not (tmp_path / "out" / "MANIFEST.json").exists()
