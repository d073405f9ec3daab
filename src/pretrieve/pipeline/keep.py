"""What a run leaves: a stock model folder with recipe, report, card, start, and the objective's other weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson
import safetensors.torch
from torch import nn

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError, UsageError
from pretrieve.models.export import save_model
from pretrieve.models.heads import HEADS
from pretrieve.models.objective import Objective
from pretrieve.pipeline.card import model_card
from pretrieve.pipeline.listener import Listener
from pretrieve.pipeline.prepare import Prepared
from pretrieve.pipeline.selection import START as UNTRAINED
from pretrieve.pipeline.selection import Selection
from pretrieve.text.tokenizer import Tokenizer

MODEL, START = "model", "start"
REPORT = "report.json"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run did and found, as kept in ``report.json``.

    Attributes:
        recipe: what decided the run.
        documents: number read, trained on, and held out.
        saved: what was saved: the name of a variant or method, or ``"start"``.
        reason: why, in a sentence.
        probe: what the label-free probe saw of BM25, the start and what was trained; None where nothing was held out.
        fusion: weight of the vectors beside words, and what was seen of others; None where it was not chosen.
        signal: loss and statistics of the method on held-out documents, before and after; None where not measured.
    """

    recipe: dict[str, Any]
    documents: dict[str, int]
    saved: str
    reason: str
    probe: dict[str, Any] | None
    fusion: dict[str, Any] | None
    signal: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "recipe": self.recipe,
            "documents": self.documents,
            "saved": self.saved,
            "reason": self.reason,
            "probe": self.probe,
            "fusion": self.fusion,
            "signal": self.signal,
        }


def open_report(folder: Path) -> Report:
    """Read the report of a finished run.

    Raises:
        UsageError: there is no finished model.
        CorruptError: it is damaged.
    """
    files.read_manifest(folder, MODEL)
    facts = orjson.loads((folder / REPORT).read_bytes()) if (folder / REPORT).is_file() else {}
    if not {"recipe", "saved"} <= facts.keys() <= {item.name for item in fields(Report)}:
        raise UsageError(f"{folder} is no model of `pretrieve train`: choose another place.")
    return Report(**facts)


def open_finished(folder: Path, wanted: Mapping[str, object], listener: Listener) -> Report:
    """Read the report of a run that is done, if it is the one that is asked for.

    Args:
        folder: the model's.
        wanted: values of its recipe by name.
        listener: hears that nothing is left to do.

    Raises:
        UsageError: there is no finished model.
        CorruptError: it is damaged.
        FingerprintError: it is another run.
    """
    report = open_report(folder)
    for name, value in wanted.items():
        if report.recipe[name] != value:
            raise FingerprintError(
                f"cannot resume: {folder} is finished, and its {name} was {report.recipe[name]}: choose another "
                "--output."
            )
    listener.note(f"{folder} is finished already.")
    return report


def keep(output: Path, selection: Selection, prepared: Prepared) -> Report:
    """Write the model beside its checkpoints; it is there when its MANIFEST is.

    Raises:
        StorageError: the disk refused.
    """
    made, found = selection.run.plan, selection.run.gain
    report = Report(
        recipe=made.recipe.to_json(),
        documents={
            "read": len(prepared.documents),
            "trained on": len(prepared.store),
            "held out": len(prepared.held_out),
        },
        saved=selection.saved,
        reason=selection.reason,
        probe=None if selection.probe is None else selection.probe.to_json(),
        fusion=None if selection.fusion is None else selection.fusion.facts(),
        signal=None if found is None else found.facts(),
    )
    tokenizer = prepared.store.tokenizer
    with files.create(output / START, MODEL, replace=True) as folder:
        save_model(folder, selection.start, tokenizer)
    with files.scratch(output, MODEL) as folder:
        _save(folder, made.objective, selection, tokenizer)
        folder.json("recipe.json", report.recipe)
        folder.json(REPORT, report.to_json())
        folder.write("README.md", model_card(report, selection.probe, selection.encoder).encode())
        meta: dict[str, Any] = {"recipe": made.recipe.fingerprint, "weight": None}
        if selection.fusion is not None:
            meta |= {"weight": selection.fusion.dense, "passages": selection.fusion.passages}
        files.publish(folder, output, MODEL, meta)
    return report


def _save(folder: files.Folder, objective: Objective, selection: Selection, tokenizer: Tokenizer) -> None:
    queries = getattr(objective, "query_encoder", None)
    if queries is not None and selection.saved != UNTRAINED:
        save_model(folder, queries, tokenizer, documents=selection.encoder)
    else:
        save_model(folder, selection.encoder, tokenizer)
    heads = _other_weights(objective)
    if heads:
        folder.write(HEADS, safetensors.torch.save(heads))


def _other_weights(objective: nn.Module) -> dict[str, Any]:
    """What learned beside the encoders: heads, to continue pre-training from."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in objective.named_parameters()
        if parameter.requires_grad and not name.startswith(("encoder.", "query_encoder."))
    }
