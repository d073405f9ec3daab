"""Weights that a checkpoint lacks, or that are left over: an error, where libraries take random numbers.

Tolerated are heads that an encoder does not use: those of pre-training (``cls.predictions``, ``lm_head``, ...), of
tasks (``classifier``, ...), and the pooler where vectors are pooled otherwise. Without them the vectors are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pretrieve.core.errors import ModelError, PretrieveWarning

# Heads of pre-training tasks and of classifiers: left over when only the encoder is wanted.
_HEADS = tuple(
    f"{name}."
    for name in (
        *("cls", "lm_head", "head", "decoder", "predictions", "classifier", "qa_outputs", "sop_classifier", "pooler"),
        *("vocab_transform", "vocab_layer_norm", "vocab_projector", "pred_layer", "lm_predictions", "mask_predictions"),
        *("discriminator_predictions", "generator_predictions", "generator_lm_head"),
    )
)
_SIMCSE = ("mlp.",)  # training layer of SimCSE: dropped like those heads, with a note
_COMPUTED = ("position_ids", "inv_freq")  # numbers that older versions saved and newer ones compute


def refuse_misfits(folder: Path, report: Mapping[str, Any], *, pooler: bool = False) -> None:
    """Refuse a checkpoint by what transformers reports of its loading.

    Args:
        folder: of the model.
        report: ``output_loading_info`` of ``from_pretrained``.
        pooler: whether the pooler is used and must be present.

    Raises:
        ModelError: weights are missing, left over, or of another shape; the text names the first.
    """
    missing = sorted(key for key in report["missing_keys"] if pooler or not key.startswith("pooler."))
    left_over = sorted(key for key in report["unexpected_keys"] if not _is_known_unused(key))
    wrong = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"])
    for words, keys, result in (
        ("lacks", missing, "it would be partly random"),
        ("has left over", left_over, "a part of it would be dropped"),
        ("has the wrong shape for", wrong, "it would be partly random"),
    ):
        if keys:
            raise ModelError(
                f"{folder}: the checkpoint {words} {len(keys)} weights of the encoder, first {keys[0]!r}: {result}. "
                "It was saved from another class, or under other names: save it again from its own."
            )
    if dropped := sorted(key for key in report["unexpected_keys"] if key.startswith(_SIMCSE)):
        warnings.warn(
            f"{folder}: the layer that SimCSE trains with ({dropped[0]}) is left out, as its authors do.",
            PretrieveWarning,
            stacklevel=3,
        )


@contextmanager
def strictly(folder: Path, *, pooler: bool = False) -> Iterator[None]:
    """Within it, a model of transformers that any library loads is refused where its weights do not fit.

    transformers reports misfits only to who asks for it, and sentence-transformers does not. Not for several threads.

    Args:
        folder: of the model.
        pooler: whether the pooler is used and must be present.

    Raises:
        ModelError: as ``refuse_misfits``.
    """
    from transformers import PreTrainedModel  # only here: it takes seconds

    original = PreTrainedModel.__dict__["from_pretrained"]

    def checked(cls: type[Any], /, *arguments: Any, output_loading_info: bool = False, **options: Any) -> Any:
        options["ignore_mismatched_sizes"] = True  # refused by name
        model, report = original.__func__(cls, *arguments, output_loading_info=True, **options)
        if output_loading_info:  # who asks checks
            return model, report
        refuse_misfits(folder, report, pooler=pooler)
        return model

    setattr(PreTrainedModel, "from_pretrained", classmethod(checked))  # noqa: B010 - a class of others
    try:
        yield
    finally:
        setattr(PreTrainedModel, "from_pretrained", original)  # noqa: B010


def _is_known_unused(key: str) -> bool:
    return key.startswith((*_HEADS, *_SIMCSE)) or key.endswith(_COMPUTED)
