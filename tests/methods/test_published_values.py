"""The headline values of the presets, typed in from the papers and the released scripts once more, by themselves."""

from typing import Any

import pytest

from pretrieve.finetuning import recipes
from pretrieve.methods import find

PUBLISHED: dict[str, dict[str, Any]] = {
    "contriever": {
        "batch_size": 2048, "steps": 500_000, "learning_rate": 5e-5, "queue": 131_072, "momentum": 0.9995,
        "temperature": 0.05, "window": 256, "ratio_min": 0.05, "ratio_max": 0.5, "delete": 0.1, "pooling": "mean",
        "beta2": 0.98, "epsilon": 1e-6, "concat": True, "mask_same_document": False,
    },
    "mcontriever": {"queue": 32_768, "momentum": 0.999, "ratio_min": 0.1, "delete": 0.0, "coefficient": 0.0,
                    "batch_size": 4096, "temperature": 0.05},
    "orqa-ict": {"block": 288, "query": 64, "keep_probability": 0.1, "batch_size": 4096,
                 "steps": 100_000, "learning_rate": 1e-4, "encoders": "tied", "dropout": 0.1, "pooling": "bert"},
    "condenser": {"rate": 0.15, "head_layers": 2, "late_mlm": True, "learning_rate": 1e-4, "weight_decay": 0.01,
                  "warmup": 0.1, "pooling": "cls"},
    "cocondenser": {"batch_size": 2048, "learning_rate": 1e-4, "warmup": 0.1, "weight_decay": 0.01, "pooling": "cls"},
    "retromae": {"rate": 0.3, "decoder_rate": 0.5, "learning_rate": 1e-4, "weight_decay": 0.01, "pooling": "cls"},
    "dupmae": {"rate": 0.3, "decoder_rate": 0.5, "bag": 0.1},
    "simcse": {"temperature": 0.05, "pooling": "cls"},
    "tsdae": {"delete": 0.6},
    "spider": {"batch_size": 1024, "steps": 200_000, "learning_rate": 2e-5, "delete": 0.5, "query_min": 10,
               "query_max": 30, "words_min": 2, "words_max": 10, "pooling": "cls"},
    "realm": {"batch_size": 512, "steps": 200_000, "learning_rate": 3e-5, "candidates": 8, "refresh": 500,
              "block": 288, "query": 96, "max_masks": 10, "marginal": "token"},
    "mvr": {"views": 8, "local": 0.01, "decay": 0.1, "coldest": 0.3},
}  # fmt: skip
TUNED: dict[str, dict[str, Any]] = {
    "dpr": {"batch_size": 128, "learning_rate": 2e-5, "negatives": 1, "encoders": "untied", "clip": 2.0},
    "contriever": {"batch_size": 1024, "learning_rate": 1e-5, "temperature": 0.05, "hard": 0.1, "negatives": 1},
    "cocondenser": {"learning_rate": 5e-6, "negatives": 7, "batch_size": 8, "passage_length": 128},
}


@pytest.mark.parametrize("preset", sorted(PUBLISHED))
def test_presets_have_the_published_values(preset: str) -> None:
    _, found = find(preset)
    values = {**found.options, **found.training, **found.encoder}
    mine = {name: values[name].value for name in PUBLISHED[preset]}
    assert mine == PUBLISHED[preset]


@pytest.mark.parametrize("name", sorted(TUNED))
def test_recipes_have_the_published_values(name: str) -> None:
    found = recipes.find(name)
    values = {**found.loss, **found.draw, **found.training}
    assert {key: values[key].value for key in TUNED[name]} == TUNED[name]
