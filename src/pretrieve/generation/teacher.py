"""A teacher: a cross-encoder that scores query and document together.

Hofstätter et al., *Improving efficient neural ranking models with cross-architecture knowledge distillation*, arXiv
2010.02666; Wang et al., *GPL*, NAACL 2022, arXiv 2112.07577.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import FloatArray
from pretrieve.generation.named import identity, opening
from pretrieve.models import devices

_HEAD = "ForSequenceClassification"


class Teacher:
    """A sentence-transformers ``CrossEncoder`` with one score.

    Attributes:
        fingerprint: identity of the model.

    Args:
        name: folder, or name of the hub.
        batch_size: pairs scored at once.

    Raises:
        UsageError: there is no such model, or it does not give one score.
    """

    def __init__(self, name: str, batch_size: int = 32) -> None:
        self._name, self._batch_size = name, batch_size
        self._model = _open(name)
        self.fingerprint = identity(name, self._model.config)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Score texts (query, document): (n,) float32, the model's own numbers, not squeezed into 0 to 1.

        A sigmoid would make all margins of confident answers the same.

        Raises:
            DataError: a score is not finite.
        """
        if not pairs:
            return np.zeros(0, np.float32)
        found = self._model.predict(
            [list(pair) for pair in pairs],
            batch_size=self._batch_size,
            show_progress_bar=False,
            activation_fn=torch.nn.Identity(),
            convert_to_numpy=True,
        )
        values = np.asarray(found, np.float32)
        if not np.isfinite(values).all():
            query = pairs[int(np.flatnonzero(~np.isfinite(values))[0])][0]
            raise DataError(f"{self._name} gives no finite score for the query {query!r}: use another --cross-encoder.")
        return values


def _open(name: str) -> Any:
    from sentence_transformers import CrossEncoder

    with opening(name, "cross-encoder"):
        _check_head(name)
        model = CrossEncoder(name, device=str(devices.chosen()))
    if model.num_labels != 1:
        raise UsageError(
            f"{name} has {model.num_labels} labels, and a cross-encoder has one: its score. Give a model that was "
            "trained to rank."
        )
    return model


def _check_head(name: str) -> None:
    """Refuse a model without a trained head: sentence-transformers would put a random one on it.

    What was saved as a ``CrossEncoder`` says so; of anything else only a classifier of sequences is one.
    """
    from transformers import AutoConfig

    if _said(name, "modules.json") is not None:
        kind = (_said(name, "config_sentence_transformers.json") or {}).get("model_type", "SentenceTransformer")
        known, ranks = [f"a {kind}"], kind == "CrossEncoder"
    else:
        known = getattr(AutoConfig.from_pretrained(name), "architectures", None) or ["a model without a named class"]
        ranks = any(_HEAD in item for item in known)
    if not ranks:
        raise UsageError(
            f"{name} is {', '.join(known)}, which scores no pairs: give a cross-encoder (a sequence-classification "
            "model with one label)."
        )


def _said(name: str, file: str) -> Any:
    """What a file of a model says, in a folder or on the hub; None where there is none."""
    from sentence_transformers.util import load_file_path

    path = load_file_path(name, file)
    return None if path is None else orjson.loads(Path(path).read_bytes())
