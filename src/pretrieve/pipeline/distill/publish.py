"""The output of ``distill``: the selected stage, with recipe, report and model card."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from pretrieve.evaluation.choice import Choice
from pretrieve.evaluation.report import choice_markdown
from pretrieve.finetuning.distillation import Taught
from pretrieve.index.fuse import Fusion
from pretrieve.models.encoder import Encoder
from pretrieve.models.export import save_model
from pretrieve.models.inference import query_vectors
from pretrieve.models.static import StaticEncoder
from pretrieve.pipeline.distill.request import DistillRequest
from pretrieve.pipeline.distill.teacher import Teacher
from pretrieve.pipeline.pretrain.data import Prepared
from pretrieve.pipeline.pretrain.report import MODEL, REPORT, Report
from pretrieve.pipeline.pretrain.selection import fused_choice
from pretrieve.pipeline.run.card import CONTENTS, front_matter
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.recipe import Recipe
from pretrieve.pipeline.run.run import Run
from pretrieve.pipeline.run.sources import READING
from pretrieve.pipeline.run.training_queries import write_training_queries

WEIGHT = 1.0  # fusion weight of a distilled model's vectors (records/distill)

_USE = """## Use

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("this folder")
scores = model.similarity(model.encode_query("a question"), model.encode_document(["a text", "another"]))
```
"""


class Stages:
    """The student after each stage, and its agreement with the teacher.

    Args:
        validation: texts with teacher vectors that the student is not trained on; None: no measurement.
    """

    def __init__(self, validation: Taught | None) -> None:
        self._validation = validation
        self.encoders: dict[str, StaticEncoder] = {}
        self.agreement: dict[str, float] = {}

    def add(self, name: str, student: StaticEncoder) -> None:
        """Save a copy of the current student."""
        self.encoders[name] = deepcopy(student)
        if self._validation is not None and len(self._validation.keys) > 1:
            self.agreement[name] = round(agreement(student, self._validation), 4)

    def signal(self, saved: str) -> dict[str, Any] | None:
        """Agreement before training and in the stage that is saved, in the form of other methods' signals."""
        if self._validation is None or not self.agreement:
            return None
        first = next(iter(self.agreement))
        return {
            "documents": len(self._validation.keys),
            "examples": len(self._validation.queries),
            "before": {"agreement": self.agreement[first]},
            "after": {"agreement": self.agreement[saved]},
            "stages": self.agreement,
        }


def agreement(student: Encoder, validation: Taught) -> float:
    """Mean rank correlation of student and teacher: each query's similarities to all documents (Spearman).

    Args:
        student: compared by cosine.
        validation: N documents with Q queries each.
    """
    vectors = query_vectors(student, validation.rows).cpu().numpy()
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    first = validation.queries[:, 0]
    ours, theirs = (found[first] @ found[validation.keys].T for found in (vectors, validation.vectors))
    found = [spearmanr(a, b).statistic for a, b in zip(ours, theirs, strict=True)]
    return float(np.nan_to_num(found).mean())


def keep_distilled(
    run: Run, request: DistillRequest, stages: Stages, prepared: Prepared, made: Recipe, teacher: Teacher
) -> Report:
    """Select a stage and write the model; it is complete once its MANIFEST exists.

    Raises:
        StorageError: writing to disk failed.
    """
    tokenizer = prepared.store.tokenizer
    choice, saved, reason = _chosen(request, stages, prepared, run.listener)
    fusion = Fusion(dense=WEIGHT, reason="the default of a distilled model")
    report = Report(
        recipe=made.to_json(),
        documents={
            "read": len(prepared.documents),
            "trained_on": len(prepared.store),
            "held_out": len(prepared.held_out),
        },
        reading=prepared.documents.meta.get(READING),
        saved=saved,
        reason=reason,
        probe=None if choice is None else {**choice.to_json(), "saved": saved, "weight": WEIGHT},
        fusion=fusion.facts(),
        signal=stages.signal(saved),
        device=run.device,
    )
    with run.publishing(MODEL, {"recipe": made.fingerprint, "weight": WEIGHT}) as folder:
        save_model(folder, stages.encoders[saved], tokenizer)
        folder.json("recipe.json", report.recipe)
        write_training_queries(folder, request.teacher)
        folder.json(REPORT, report.to_json())
        folder.write("README.md", _card(report, choice, teacher).encode())
    return report


def _chosen(
    request: DistillRequest, stages: Stages, prepared: Prepared, listener: Listener
) -> tuple[Choice | None, str, str]:
    """The stage to save, and why: what adds most to BM25 on held-out documents, or the last one."""
    start, *others = stages.encoders
    if not others or not request.select or not len(prepared.held_out):
        last = [start, *others][-1]
        reason = "not compared with the other stages" if others else "the only stage"
        return None, last, f"{reason}: {last} is saved"
    listener.stage("select", len(stages.encoders), "stages")
    trained = {name: stages.encoders[name] for name in others}
    choice = fused_choice(prepared, (start, stages.encoders[start]), trained, request.seed)
    listener.advance(len(stages.encoders))
    sentence = choice.sentence.replace("the untrained start", start).replace("variant ", "the stage ")
    return choice, choice.system, sentence


def _card(report: Report, choice: Choice | None, teacher: Teacher) -> str:
    """The model card in Markdown."""
    recipe = report.recipe
    counts = ", ".join(f"{number:,} {name}" for name, number in report.documents.items())
    licence = f"its card says `{teacher.licence}`" if teacher.licence else "its card does not name one"
    parts = [
        front_matter(recipe["base"], recipe["sources"], tags=("static", "distillation")),
        f"# A static model distilled from `{recipe['base']}`\n",
        f"Teacher: `{recipe['base']}`, fingerprint `{teacher.fingerprint}`. Licence of the teacher: {licence}; this "
        "model is made from the teacher's vectors, so look whether it binds you.\n",
        f"Documents: {counts}. Sources: {', '.join(f'`{source}`' for source in recipe['sources'])}.\n",
        f"Selection: {report.reason}.\n",
    ]
    if report.signal is not None:
        stages = ", ".join(f"{name} {value:.3f}" for name, value in report.signal["stages"].items())
        parts.append(f"Rank correlation with the teacher on held-out texts, by stage: {stages}.\n")
    if choice is not None:
        parts.append(
            f"## Label-free probe\n\nnDCG@10 among {choice.scores.pool:,} documents, on queries made of documents that "
            "were held out from training: BM25, and what each stage's vectors add to it at weights .5 and 1.\n\n"
            f"{choice_markdown(choice)}"
        )
    parts += [_USE, f"## Made by\n\n```console\n{recipe['command']}\n```\n", CONTENTS, _values(recipe)]
    return "\n".join(parts)


def _values(recipe: dict[str, Any]) -> str:
    lines = ["## Values\n", "| for | value |", "|---|---|"]
    for part in ("options", "training", "encoder"):
        lines += [f"| {part}.{key} | `{value}` |" for key, value in sorted(recipe[part].items())]
    lines += [f"| {key} | `{recipe[key]}` |" for key in ("seed", "corpus", "tokenizer", "store", "fingerprint")]
    return "\n".join(lines + [f"| {name} | {number} |" for name, number in sorted(recipe["versions"].items())]) + "\n"
