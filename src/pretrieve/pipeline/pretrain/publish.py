"""The output of a run: a stock model folder with recipe, report, card, start, and the objective's other weights."""

from __future__ import annotations

from typing import Any

import safetensors.torch
from torch import nn

from pretrieve.core import files
from pretrieve.core.model_files import START
from pretrieve.models.build import named_base
from pretrieve.models.export import save_model
from pretrieve.models.heads import HEADS
from pretrieve.models.objective import Objective
from pretrieve.pipeline.pretrain.base_usage import usage_of_base
from pretrieve.pipeline.pretrain.card import model_card
from pretrieve.pipeline.pretrain.data import Prepared
from pretrieve.pipeline.pretrain.report import MODEL, REPORT, Report
from pretrieve.pipeline.pretrain.selection import START as UNTRAINED
from pretrieve.pipeline.pretrain.selection import Selection
from pretrieve.pipeline.run.run import Run
from pretrieve.pipeline.run.sources import READING
from pretrieve.pipeline.run.training_queries import write_training_queries
from pretrieve.text.tokenizer import Tokenizer


def publish(run: Run, selection: Selection, prepared: Prepared) -> Report:
    """Write the model with its start, recipe, report and card; it is complete once its MANIFEST exists.

    Raises:
        StorageError: writing to disk failed.
    """
    made, found = selection.run.plan, selection.run.gain
    report = Report(
        recipe=made.recipe.to_json(),
        documents={
            "read": len(prepared.documents),
            "trained_on": len(prepared.store),
            "held_out": len(prepared.held_out),
        },
        reading=prepared.documents.meta.get(READING),
        saved=selection.saved,
        reason=selection.reason,
        probe=None if selection.probe is None else selection.probe.to_json(),
        fusion=None if selection.fusion is None else selection.fusion.facts(),
        signal=None if found is None else found.facts(),
        device=run.device,
    )
    tokenizer = prepared.store.tokenizer
    meta: dict[str, Any] = {"recipe": made.recipe.fingerprint, "weight": None}
    if selection.fusion is not None:
        meta |= {"weight": selection.fusion.dense, "passages": selection.fusion.passages}
    with run.publishing(MODEL, meta) as folder:
        _save(folder, made.objective, selection, tokenizer)
        folder.json("recipe.json", report.recipe)
        folder.json(REPORT, report.to_json())
        folder.write("README.md", model_card(report, selection.probe, selection.encoder).encode())
        with files.create(folder.path / START, MODEL) as start:
            save_model(start, selection.start, tokenizer, **_usage(selection))
            _keep_training_queries(start, made.recipe.base)
        _keep_training_queries(folder, made.recipe.base)
    return report


def _keep_training_queries(folder: files.Folder, base: str) -> None:
    """What the base was fine-tuned on is known of the model too."""
    if (named := named_base(base)) is not None:
        write_training_queries(folder, named)


def _save(folder: files.Folder, objective: Objective, selection: Selection, tokenizer: Tokenizer) -> None:
    queries = getattr(objective, "query_encoder", None)
    if queries is not None and selection.saved != UNTRAINED:
        save_model(folder, queries, tokenizer, documents=selection.encoder, **_usage(selection))
    else:
        save_model(folder, selection.encoder, tokenizer, **_usage(selection))
    heads = _other_weights(objective)
    if heads:
        folder.write(HEADS, safetensors.torch.save(heads))


def _usage(selection: Selection) -> dict[str, Any]:
    """Prompts and separator of the base, which the model uses in search too."""
    usage = usage_of_base(selection.run.plan.recipe.base)
    return {"prompts": usage.prompts, "separator": usage.separator}


def _other_weights(objective: nn.Module) -> dict[str, Any]:
    """Weights trained beside the encoders: heads, to continue pre-training from."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in objective.named_parameters()
        if parameter.requires_grad and not name.startswith(("encoder.", "query_encoder."))
    }
