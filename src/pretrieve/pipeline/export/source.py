"""The model that is exported: what can be, and which of its files go along."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from pretrieve.core.errors import ModelError, UsageError
from pretrieve.core.extras import require
from pretrieve.core.files import MANIFEST, Folder, load_manifest, storage
from pretrieve.core.model_files import CURVES, START, read_json, read_object
from pretrieve.models.checkpoints import Checkpoint, known_as
from pretrieve.models.model_folder import model_folder
from pretrieve.models.model_kind import MODULES, SETTINGS, last, module_entries, prompts_of
from pretrieve.models.model_usage import MULTI_VECTOR_FILE, identity, settings_of, usage_of
from pretrieve.models.static_folder import find_static
from pretrieve.models.whole_model import check_whole
from pretrieve.pipeline.export.request import REPORT

_STOCK = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize")
_FORMATS = ("onnx", "openvino")  # folders of other formats, which would be those of another version of the model
_LENGTHS, _SHORTER = "sentence_bert_config.json", "query_length"  # which sentence-transformers knows from version 6
_OF_FORMATS = (".onnx", ".h5", ".msgpack", ".ot", ".gguf")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model that can be exported.

    Attributes:
        name: as the user gave it.
        folder: where it is.
        transformer: folder of its transformer, from that of the model; empty for the same.
        usage: how it is used.
        query_length: maximum length of a query, where its files say one; the export has none.
        fingerprint: of weights, tokenizer and usage.
    """

    name: str
    folder: Path
    transformer: str
    usage: Checkpoint
    query_length: int | None
    fingerprint: str


def open_source(name: str) -> Source:
    """Find a model and refuse what has no graph, or none that a stock loader would take.

    Args:
        name: a folder, or a name of the hub.

    Raises:
        UsageError: there is no such model.
        ModelError: it is no transformer of sentence-transformers with one vector for a text, or not whole.
        CorruptError: a file of it is damaged.
        MissingExtraError: torch or onnxruntime is not installed.
    """
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        load_manifest(folder, "model")
    if (folder / MULTI_VECTOR_FILE).is_file():
        raise ModelError(
            f"{name} has several vectors per document (MVR), and sentence-transformers loads no such model from ONNX: "
            "export a model with one vector, or use this one as it is."
        )
    if folder.is_dir():
        _refuse_static(name, folder)
    require("train", "pretrieve export")
    require("onnx", "pretrieve export")
    if folder.exists():
        check_whole(model_folder(folder), name)
        _refuse_bare(name, folder)
    queries, documents, usage = usage_of(name)
    _refuse_static(name, queries)
    _refuse_bare(name, queries)
    modules = module_entries(queries)
    if queries != documents or last(modules[0][0]) in ("Router", "Asym"):
        raise ModelError(
            f"{name} has untied encoders for queries and documents, and sentence-transformers loads one graph for a "
            "model: export a model with one encoder, or use this one as it is."
        )
    if last(modules[0][0]) != "Transformer":
        raise ModelError(f"{name} is made of {last(modules[0][0])}, not of a transformer: it has no graph to export.")
    _refuse_other_pooling(name, queries, usage)
    place, lengths = modules[0][1].relative_to(queries).as_posix(), modules[0][1] / _LENGTHS
    return Source(
        name=name,
        folder=queries,
        transformer="" if place == "." else f"{place}/",
        usage=replace(usage, query_length=None),
        query_length=read_object(lengths).get(_SHORTER) if lengths.is_file() else None,
        fingerprint=identity((queries, documents), usage),
    )


def _refuse_static(name: str, folder: Path) -> None:
    if find_static(folder) is not None:
        raise ModelError(
            f"{name} is a static model, a table of vectors without a graph: it needs no export. SentenceTransformer "
            "loads it as it is, and  pretrieve index  reads it with NumPy alone."
        )


def _refuse_bare(name: str, folder: Path) -> None:
    if not module_entries(folder):
        raise ModelError(
            f"{name} has no modules.json, so that a loader of the export would guess its pooling: save it with "
            "sentence-transformers first, with the pooling of its authors."
        )


def _refuse_other_pooling(name: str, folder: Path, usage: Checkpoint) -> None:
    """Refuse a published checkpoint whose files were saved with another pooling than that of its authors."""
    from pretrieve.models.restore import said_pooling

    places = [place for kind, place in module_entries(folder) if last(kind) == "Pooling"]
    said = said_pooling(places[0]) if places and known_as(name, None) is not None else usage.pooling
    if said != usage.pooling:
        raise ModelError(
            f"{name} pools by {said}, and its authors by {usage.pooling}: correct {places[0].name}/config.json in a "
            "copy of its folder, and export that."
        )


def copy_model(source: Source, folder: Folder) -> tuple[int, dict[str, int]]:
    """Copy a model's files, with the usage that pretrieve knows for a published checkpoint written down.

    Args:
        source: the model.
        folder: of the export.

    Returns:
        Number of files that were copied, and of those that were not, by reason.

    Raises:
        StorageError: reading or writing failed.
        UsageError: a file of the model would be one of the export.
    """
    copied, left_out = 0, Counter[str]()
    for path in sorted(path for path in source.folder.rglob("*") if path.is_file()):
        name = path.relative_to(source.folder)
        if (reason := _left_out(name)) is not None:
            left_out[reason] += 1
        elif name.as_posix() == f"{source.transformer}{_LENGTHS}" and source.query_length is not None:
            folder.json(name.as_posix(), {key: value for key, value in read_object(path).items() if key != _SHORTER})
            copied += 1
        elif name.as_posix() == MODULES:
            folder.json(MODULES, [_everywhere(entry) for entry in read_json(path)])
            copied += 1
        elif name.as_posix() not in (MANIFEST, REPORT, SETTINGS):
            with storage(path), path.open("rb") as read, folder.open(name.as_posix()) as copy:
                shutil.copyfileobj(read, copy, 1 << 22)
            copied += 1
    folder.json(SETTINGS, _settings(source))
    return copied + 1, dict(left_out)


def _everywhere(module: dict[str, object]) -> dict[str, object]:
    """A module by the name of its class in every version: where the classes lie differs from 5 to 6."""
    kind = str(module["type"])
    return {**module, "type": f"sentence_transformers.models.{last(kind)}"} if last(kind) in _STOCK else module


def _left_out(name: Path) -> str | None:
    """Why a file is not copied; None for one that is."""
    if any(part.startswith(".") for part in name.parts):
        return "hidden"
    if any(part in _FORMATS for part in name.parts[:-1]) or name.suffix in _OF_FORMATS:
        return "other formats"
    return next((part for part in (START, CURVES) if part in name.parts[:-1]), None)


def _settings(source: Source) -> dict[str, object]:
    """The settings of the model, with prompts and similarity where its own files lack them."""
    settings, usage = settings_of(source.folder), source.usage
    if prompts_of(settings) != (usage.query_prompt, usage.document_prompt):
        own = settings.get("prompts") or {}
        settings["prompts"] = {**own, "query": usage.query_prompt, "document": usage.document_prompt}
    if settings.get("similarity_fn_name") is None:
        settings["similarity_fn_name"] = usage.similarity
    return settings


def usage_lines(source: Source) -> list[str]:
    """What the export says about the model's usage that the model's own files do not.

    Raises:
        UsageError: the usage of its authors is one that its files contradict.
    """
    settings, usage = settings_of(source.folder), source.usage
    own = settings.get("similarity_fn_name")
    if own is not None and own != usage.similarity:
        raise UsageError(
            f"{source.name} compares by {own}, and its authors by {usage.similarity}: correct similarity_fn_name in "
            f"{source.folder / SETTINGS} first."
        )
    lines = []
    if prompts_of(settings) != (usage.query_prompt, usage.document_prompt):
        lines.append(f"{SETTINGS} gets the prompts of the model's authors: its own files have others, or none.")
    if own is None:
        lines.append(f"{SETTINGS} gets the similarity {usage.similarity}, which the model's own files leave open.")
    if source.query_length is not None:
        lines.append(
            f"{_LENGTHS} loses query_length ({source.query_length}), which sentence-transformers knows from version 6: "
            "queries are cut where documents are."
        )
    return lines
