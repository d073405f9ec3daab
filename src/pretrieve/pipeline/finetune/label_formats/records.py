"""A record with a query: a pair, a triplet, an n-tuple, a labelled pair or a labelled list.

The fields decide which of them it is. FlagEmbedding's, DPR's and Tevatron's records are triplets with lists; those that
sentence-transformers mines are triplets, n-tuples, labelled pairs or labelled lists.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pretrieve.pipeline.finetune.label_formats.documents import item_of, items_of
from pretrieve.pipeline.finetune.label_formats.example import BadLabelError, Example, Item, Scored
from pretrieve.pipeline.finetune.label_formats.fields import (
    ANSWERS,
    LABEL,
    LIST,
    LIST_ID,
    NEGATIVE,
    NEGATIVE_ID,
    NEGATIVE_SCORES,
    NUMBERED_LIST,
    NUMBERED_NEGATIVE,
    POSITIVE,
    POSITIVE_ID,
    POSITIVE_SCORES,
    QUERY,
    QUERY_ID,
    LabelFields,
    either,
    empty,
    id_of,
    listed,
    text_of,
)
from pretrieve.pipeline.finetune.label_formats.scores import POSITIVE_FROM, label_of, score_of, teacher_scores

Sides = tuple[list[Scored], list[Scored]]
_LABELS, _SCORES = LABEL[:2], LABEL[2:]
_TEACHER, _ANY_NEGATIVE = (*POSITIVE_SCORES, *NEGATIVE_SCORES), (*NEGATIVE, *NEGATIVE_ID)


def example_of(value: object, where: str, raw: object = None) -> Example:
    """Read a record.

    Args:
        value: an object, or an array of query, positive and perhaps negative.
        where: ``file:line``.
        raw: the record as it was.

    Raises:
        BadLabelError: it has no query or no document, or a document, a label or a score is none.
    """
    fields = LabelFields(_mapping(value))
    query, name, counts = text_of(fields, QUERY, "query"), id_of(fields, QUERY_ID), Counter[str]()
    answers = _answers(fields)
    found = _negatives(fields, where)
    labelled = fields.has(LABEL) and not found and not fields.has(_TEACHER)
    positives, negatives = _labelled(fields, where, counts) if labelled else _triplet(fields, found, where, counts)
    return Example(
        query=query, where=where, name=name, positives=positives, negatives=negatives, answers=answers,
        unused=fields.unused(), counts=counts, raw=raw,
    )  # fmt: skip


def _mapping(value: object) -> Mapping[Any, Any]:
    """A record by field; an array is query, positive and perhaps negative."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and len(value) in (2, 3) and all(isinstance(one, str) for one in value):
        return dict(zip(("query", "positive", "negative"), value, strict=False))
    raise BadLabelError("not a record", "a JSON object was expected, or an array of query, positive and negative")


def _answers(fields: LabelFields) -> list[str]:
    found = fields.first(ANSWERS)
    answers = [] if found is None else [one for one in listed(found[1]) if not empty(one)]
    if any(isinstance(answer, list | dict) for answer in answers):
        raise BadLabelError("answers are not texts", f"{answers!r:.60}")
    return [str(answer) for answer in answers]


def _negatives(fields: LabelFields, where: str) -> list[Item | None] | None:
    """The negatives of a record, None for each that is empty; None where there is no such field."""
    numbered = fields.numbered(NUMBERED_NEGATIVE)
    if any(not empty(value) for _, value in numbered):
        return [item_of(value, name, fields, where) for name, value in numbered]
    if not fields.has(_ANY_NEGATIVE):
        return None
    found = items_of(fields, NEGATIVE, NEGATIVE_ID, where)
    return None if found is None else found[1]


def _triplet(fields: LabelFields, negatives: Sequence[Item | None] | None, where: str, counts: Counter[str]) -> Sides:
    """Positives and negatives, with a teacher's scores of both."""
    found = items_of(fields, POSITIVE, POSITIVE_ID, where)
    if found is None:
        raise BadLabelError(
            "no positive document",
            f"name it {either(POSITIVE[:3])} or as in docs/labels.md; its fields: {fields.listed()}",
        )
    positives = found[1]
    if not positives or None in positives:
        raise BadLabelError("no positive document", f"{found[0]} is empty, or holds an empty document")
    others = list(negatives or ())
    scores = _scores_of_both(fields, len(positives), len(others))
    counts["empty_negatives"] += sum(item is None for item in others)
    return _scored(positives, scores[: len(positives)]), _scored(others, scores[len(positives) :])


def _scores_of_both(fields: LabelFields, positives: int, negatives: int) -> list[float]:
    """A teacher's scores of positives, then of negatives, in two fields or, the positive's first, in one."""
    sides = [
        *teacher_scores(fields, POSITIVE_SCORES, positives),
        *teacher_scores(fields, NEGATIVE_SCORES, negatives),
    ]
    if fields.has(_TEACHER) or not fields.has(LABEL):
        return sides
    found = fields.first((*_SCORES, *_LABELS))
    assert found is not None
    name, values = found
    if not isinstance(values, list):  # of a triplet as a whole: it says nothing of one document
        fields.release(name)
        return sides
    if len(values) != positives + negatives:
        count = f"{positives + negatives} documents"
        raise BadLabelError("wrong number of scores", f"{len(values)} {name} for {count}, the positive's first")
    return [score_of(value, name) for value in values]


def _labelled(fields: LabelFields, where: str, counts: Counter[str]) -> Sides:
    """Documents with a label each: 0 is a negative, .5 and more a positive; what is between is neither.

    A score is a label too, where there is no other, and a teacher's score in any case.
    """
    judged, scored = fields.first(_LABELS), fields.first(_SCORES)
    found = judged or scored
    assert found is not None
    name, items = found[0], _labelled_items(fields, where, found[0])
    labels = [label_of(value, name) for value in _as_many(listed(found[1]), len(items), name)]
    scores = [math.nan] * len(items)
    if scored is not None:
        scores = [score_of(value, scored[0]) for value in _as_many(listed(scored[1]), len(items), scored[0])]
    sides: Sides = ([], [])
    for item, label, score in zip(items, labels, scores, strict=True):
        kind = "positive" if label >= POSITIVE_FROM else "negative" if label == 0 else "between"
        counts[f"labelled_{kind}"] += 1
        if kind != "between":
            sides[kind == "negative"].append(Scored(item, score))
    return sides


def _labelled_items(fields: LabelFields, where: str, name: str) -> list[Item]:
    """The documents that have a label, numbered fields or those of one."""
    numbered = [(field, value) for field, value in fields.numbered(NUMBERED_LIST) if not empty(value)]
    if numbered:
        found = [item_of(value, field, fields, where) for field, value in numbered]
    else:
        documents = items_of(fields, (*LIST, *POSITIVE), (*LIST_ID, *POSITIVE_ID), where)
        if documents is None:
            raise BadLabelError("no document", f"{name} is of none; its fields: {fields.listed()}")
        found = documents[1]
    items = [item for item in found if item is not None]
    if len(items) < len(found) or not items:
        raise BadLabelError("no document", f"a document with {name} is empty")
    return items


def _as_many(values: list[Any], count: int, name: str) -> list[Any]:
    if len(values) != count:
        raise BadLabelError("wrong number of labels", f"{len(values)} {name} for {count} documents")
    return values


def _scored(items: Sequence[Item | None], scores: Sequence[float]) -> list[Scored]:
    return [Scored(item, score) for item, score in zip(items, scores, strict=True) if item is not None]
