"""Labels and a teacher's scores as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pretrieve.pipeline.finetune.label_formats.example import BadLabelError
from pretrieve.pipeline.finetune.label_formats.fields import LabelFields, listed

POSITIVE_FROM = 0.5  # least label of a positive; a negative's is 0
_HIGHEST = 1e6  # maximum absolute teacher score; larger ones are mistakes, and overflow when squared


def teacher_scores(fields: LabelFields, names: Sequence[str], count: int) -> list[float]:
    """A teacher's scores of so many documents, NaN where the record has none.

    Raises:
        BadLabelError: they are of another number, no numbers, or too large.
    """
    found = fields.first(names)
    scores = [] if found is None else listed(found[1])
    if found is None or not scores:
        return [math.nan] * count
    if len(scores) != count:
        raise BadLabelError("wrong number of scores", f"{len(scores)} {found[0]} for {count} documents")
    return [score_of(score, found[0]) for score in scores]


def score_of(value: object, field: str) -> float:
    """A teacher's score; NaN for null.

    Raises:
        BadLabelError: it is no number, or too large.
    """
    if value is None:
        return math.nan
    score = _number(value)
    if score is None:
        raise BadLabelError("wrong score", f"{field}: {value!r:.60} is not a number")
    if abs(score) > _HIGHEST:
        raise BadLabelError("wrong score", f"{field}: one is beyond {_HIGHEST:g}")
    return score


def label_of(value: object, field: str) -> float:
    """A label from 0 to 1.

    Raises:
        BadLabelError: it is something else.
    """
    label = float(value) if isinstance(value, bool) else _number(value)
    if label is None or not 0 <= label <= 1:
        raise BadLabelError(
            "wrong label",
            f"{field}: a label is from 0 to 1, found {value!r:.60}; a teacher's scores are positive_scores",
        )
    return label


def _number(value: object) -> float | None:
    """A number, also as text in a table; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number
