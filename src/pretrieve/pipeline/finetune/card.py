"""The model card of a fine-tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pretrieve.models.lora import AdapterOptions, card_line
from pretrieve.pipeline.finetune.held_out_queries import METRIC
from pretrieve.pipeline.finetune.request import FinetuneRequest
from pretrieve.pipeline.run.card import CONTENTS, front_matter
from pretrieve.pipeline.run.training_queries import TRAINING_QUERIES


def finetuned_card(request: FinetuneRequest, report: Mapping[str, Any]) -> str:
    """Write the model card in Markdown."""
    values, queries = report["values"], report["queries"]
    parts = [
        front_matter(request.model, request.documents, evaluation=report["evaluation"]),
        f"# A retriever fine-tuned from `{request.model}`\n",
        f"{queries['trained_on']:,} labelled queries over {report['documents']:,} documents; negatives: "
        f"{values['negatives']}; recipe: {values['recipe']}.\n",
        card_line(AdapterOptions(**values["encoder"])),
    ]
    if report["evaluation"]:
        parts.append(_table(report["evaluation"]))
    parts.append(f"## Made by\n\n```console\n{request.command()}\n```\n")
    parts.append(CONTENTS)
    parts.append(
        f"`{TRAINING_QUERIES}` has a hash of each training query, 8 bytes, by which `pretrieve evaluate` tells whether "
        "a query was trained on; so can anybody who has the query.\n"
    )
    lines = ["## Values\n", "| for | value |", "|---|---|"]
    for part in ("loss", "draw", "refresh", "training", "encoder"):
        lines += [f"| {part}.{key} | `{value}` |" for key, value in sorted(values[part].items())]
    return "\n".join([*parts, *lines]) + "\n"


def _table(evaluation: Mapping[str, Any]) -> str:
    lines = [
        f"## Held-out queries\n\n{evaluation['queries']:,} queries among {evaluation['documents']:,} documents. "
        f"Hybrid: BM25 and {evaluation['weights']['model']:g} times the model's score, both standardised.\n",
        f"| system | search | {METRIC} | 95 % |",
        "|---|---|---|---|",
    ]
    for row in evaluation["rows"]:
        low, high = row["ci95"][METRIC]
        lines.append(f"| {row['system']} | {row['mode']} | {row['metrics'][METRIC]:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines) + "\n"
