"""Published ways of fine-tuning, each value with its source, and our own for a start that nobody has published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pretrieve.core.config import Value
from pretrieve.core.errors import UsageError, suggest


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """Named values: ``loss`` for ``contrastive.Options``, ``draw`` for ``labelled.Draw``, ``training`` for the trainer.

    ``epochs`` over the labelled queries decide the number of steps. Where ``width`` is given, the learning rate is for
    transformers of that width, and grows with the inverse square of a model's own.
    """

    summary: str
    epochs: int
    width: int | None = None
    loss: Mapping[str, Value] = field(default_factory=dict)
    draw: Mapping[str, Value] = field(default_factory=dict)
    training: Mapping[str, Value] = field(default_factory=dict)


_ADAM = {
    "schedule": Value("linear", "code", "warm-up, then a line to zero"),
    "epsilon": Value(1e-8, "code", "torch's AdamW"),
    "beta1": Value(0.9, "code", "torch's AdamW"),
    "beta2": Value(0.999, "code", "torch's AdamW"),
}

RECIPES: dict[str, FinetuneRecipe] = {
    "transformer": FinetuneRecipe(
        summary="for a transformer, where no other is asked for",
        epochs=3,
        width=768,
        loss={"temperature": Value(None, "ours", "1 for dot products, 0.05 for cosine")},
        draw={
            "negatives": Value(3, "ours", "hard negatives tell more than batch size on a small machine"),
            "query_length": Value(64, "ours", "questions are short"),
            "passage_length": Value(192, "ours", "most passages fit"),
        },
        training={
            **_ADAM,
            "batch_size": Value(32, "ours", "fits a CPU and any GPU"),
            "learning_rate": Value(2e-5, "ours", "DPR's, for BERT-base; times (768 / width)² for other widths"),
            "warmup": Value(0.1, "ours", "usual"),
            "weight_decay": Value(0.01, "ours", "usual"),
            "clip": Value(1.0, "ours", "usual"),
        },
    ),
    "static": FinetuneRecipe(
        summary="for a static encoder: seconds on a laptop",
        epochs=10,
        loss={"temperature": Value(None, "ours", "0.05 for cosine")},
        draw={
            "negatives": Value(3, "ours", "beside a batch of hundreds"),
            "query_length": Value(512, "ours", "a bag costs the same whatever its length"),
            "passage_length": Value(512, "ours", "as a query"),
        },
        training={
            **_ADAM,
            "batch_size": Value(256, "ours", "a step takes tens of milliseconds"),
            "learning_rate": Value(0.01, "ours", "as in pre-training: word vectors move freely"),
            "warmup": Value(0.1, "ours", "usual"),
            "weight_decay": Value(0.0, "ours", "decay would shrink the vectors of rare words"),
        },
    ),
    "dpr": FinetuneRecipe(
        summary="DPR: two encoders, one BM25 negative, dot product",
        epochs=40,
        loss={
            "encoders": Value("untied", "code", "two encoders, not tied"),
            "temperature": Value(1.0, "code", "none"),
        },
        draw={
            "negatives": Value(1, "code", "conf/train/biencoder_nq.yaml: hard_negatives 1, found by BM25"),
            "hard": Value(1.0, "code", "conf/train/biencoder_nq.yaml: other_negatives 0"),
            "query_length": Value(256, "code", "conf/encoder/hf_bert.yaml: sequence_length"),
            "passage_length": Value(256, "code", "conf/encoder/hf_bert.yaml: sequence_length"),
        },
        training={
            **_ADAM,
            "batch_size": Value(128, "code", "16 on each of 8 devices"),
            "learning_rate": Value(2e-5, "code", "conf/train/biencoder_nq.yaml"),
            "warmup": Value(0.05, "ours", "the conf has 1,237 steps, however many there are"),
            "weight_decay": Value(0.0, "code", "conf/train/biencoder_nq.yaml"),
            "clip": Value(2.0, "code", "conf/train/biencoder_nq.yaml: max_grad_norm"),
        },
    ),
    "contriever": FinetuneRecipe(
        summary="Contriever on MS MARCO: one negative, hard one time in ten",
        epochs=40,  # 20,000 steps of 1,024 of its half a million queries
        loss={"temperature": Value(0.05, "paper", "appendix A.2")},
        draw={
            "negatives": Value(1, "paper", "appendix A.2"),
            "hard": Value(0.1, "paper", "appendix A.2: a mined one 10 % of the time, else random"),
            "query_length": Value(256, "ours", "the released code has one length for both; its value is not published"),
            "passage_length": Value(256, "ours", "as for queries"),
        },
        training={
            **_ADAM,
            "batch_size": Value(1024, "paper", "appendix A.2"),
            "learning_rate": Value(1e-5, "paper", "appendix A.2, for ASAM; the code's optimizer is AdamW"),
            "warmup": Value(0.05, "paper", "1,000 of 20,000 steps (the multilingual model)"),
            "weight_decay": Value(0.01, "code", "src/options.py"),
            "beta2": Value(0.98, "code", "src/options.py"),
            "epsilon": Value(1e-6, "code", "src/options.py"),
        },
    ),
    "cocondenser": FinetuneRecipe(
        summary="coCondenser on MS MARCO: eight passages a query, seven of them negatives",
        epochs=3,
        loss={"temperature": Value(1.0, "code", "none")},
        draw={
            "negatives": Value(7, "code", "tevatron: 8 passages a query"),
            "query_length": Value(32, "code", "tevatron, when encoding; queries of training were cut at 16"),
            "passage_length": Value(128, "code", "tevatron: passages of 128"),
        },
        training={
            **_ADAM,
            "batch_size": Value(8, "code", "tevatron, README: one process of 8 queries"),
            "learning_rate": Value(5e-6, "code", "tevatron, README"),
            "warmup": Value(0.1, "code", "tevatron: the default of its warmup_ratio"),
            "weight_decay": Value(0.0, "code", "the default of transformers' Trainer"),
            "clip": Value(1.0, "code", "the default of transformers' Trainer"),
        },
    ),
}


def find(name: str) -> FinetuneRecipe:
    """Return a recipe by name.

    Raises:
        UsageError: unknown name, with a suggestion.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}.{suggest(name, RECIPES)}")
    return RECIPES[name]
