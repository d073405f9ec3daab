"""Whether a model's folder is whole: every file that its modules need is there and is what its name says. No torch.

All that opens a model asks here first: ``index``, ``search``, ``evaluate``, ``mine``, ``distill``, ``finetune``,
``train --base`` and ``Retriever.load``. Weights that are missing in a whole file, or left over, are found when they are
loaded (``models/misfits.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrieve.core.errors import CorruptError, ModelError
from pretrieve.core.files import MANIFEST, load_manifest
from pretrieve.core.manifest import check_entry
from pretrieve.core.model_files import check_file, check_model_files, read_object
from pretrieve.models.model_folder import not_a_model
from pretrieve.models.model_kind import MODULES, last, module_entries, refuse_other_kinds
from pretrieve.models.static_folder import find_static
from pretrieve.models.weight_files import check_weights

_ABOUT = ("README.md", "report.json", "recipe.json")  # about the model, for people: may be edited
_OWN_FORMAT = "views.json"  # models.export.MULTI_VECTOR_FILE: loaded strictly by pretrieve itself
# Configuration of a module, and whether it has weights; modules that work without any file are not here.
_NEEDS = {
    "Pooling": ("config.json", False),
    "WeightedLayerPooling": ("config.json", True),
    "Dense": ("config.json", True),
    "LayerNorm": ("config.json", True),
    "CNN": ("cnn_config.json", True),
    "LSTM": ("lstm_config.json", True),
    "BoW": ("config.json", False),
    "WordWeights": ("config.json", False),
    "WordEmbeddings": ("wordembedding_config.json", True),
}
_ROUTERS = ("Router", "Asym")
_KNOWN = (*_NEEDS, *_ROUTERS, "Transformer", "StaticEmbedding", "Normalize", "Dropout")
_STOCK = re.compile(rf"sentence_transformers(\.\w+)*\.(models|modules)(\.\w+)?\.({'|'.join(_KNOWN)})")
_TOKENIZERS = ("tokenizer.json", "vocab*", "*.model", "tekken.json", "*.spm")
_WITHOUT_FILES = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")  # they read bytes or characters
_FROM_COPY = "download it again, or restore the model from a copy."


def check_whole(folder: Path, name: str | None = None, *, own_code: bool = False) -> None:
    """Refuse a model that cannot be loaded whole, or is no model of dense vectors, before a library tries.

    Args:
        folder: of the model.
        name: as the user gave it; default: the folder.
        own_code: whether the code of its repository may be used.

    Raises:
        ModelError: a file is missing, or it is another kind of model; the text says which, and what to do.
        CorruptError: a file is damaged, cut, or a pointer in place of it.
    """
    check_model_files(folder)
    _check_unchanged(folder)
    if (folder / _OWN_FORMAT).is_file():
        return
    refuse_other_kinds(folder, name or str(folder), own_code=own_code)
    modules = module_entries(folder)
    for kind, place in modules:
        _check_module(folder, kind, place)
    if modules:
        return
    if (static := find_static(folder)) is not None:
        _check_static(static.inner)
    else:
        _check_transformer(folder)


def _check_unchanged(folder: Path) -> None:
    """Compare a model of pretrieve with its MANIFEST; of one by an earlier version, the ends of its files."""
    if (folder / MANIFEST).is_file():
        for name, entry in load_manifest(folder, None)["files"].items():
            if name not in _ABOUT:
                _check_entry(folder, name, entry)


def _check_entry(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    try:
        check_entry(folder, name, entry, whole=False)
    except CorruptError as error:
        raise CorruptError(f"{error} If it was changed on purpose, remove {folder / MANIFEST}.") from None


def _check_module(folder: Path, path: str, place: Path) -> None:
    if not _STOCK.fullmatch(path):
        _check_class(folder, path)
    kind = last(path)
    if kind == "Transformer":
        _check_transformer(place)
    elif kind == "StaticEmbedding":
        _check_static(place)
    elif kind in _ROUTERS:
        _check_router(folder, place)
    elif kind in _NEEDS:
        config, weighty = _NEEDS[kind]
        if not (place / config).is_file():
            raise _missing(folder, kind, place / config)
        read_object(place / config)
        if weighty:
            check_weights(place)
    elif kind not in ("Normalize", "Dropout") and not place.is_dir():
        raise _missing(folder, kind, place)


def _check_class(folder: Path, path: str) -> None:
    try:
        from sentence_transformers import __version__
        from sentence_transformers.util import import_from_string
    except ImportError:  # whoever loads the model says that it is not installed
        return
    try:
        import_from_string(path)
    except (ImportError, AttributeError):
        raise ModelError(
            f"{folder}: it names the module {path}, which sentence-transformers {__version__} does not have: update "
            "that library if the model is newer, or restore the model from a copy."
        ) from None


def _missing(folder: Path, kind: str, path: Path) -> ModelError:
    named = path.relative_to(folder).as_posix()
    return ModelError(f"{folder}: {named} of its module {kind} ({MODULES}) is missing: {_FROM_COPY}")


def _check_static(place: Path) -> None:
    if not (place / "tokenizer.json").is_file():
        raise ModelError(f"{place} has no tokenizer.json: {_FROM_COPY}")
    check_file(place / "tokenizer.json")
    check_weights(place)


def _check_transformer(place: Path) -> None:
    if not (place / "config.json").is_file():
        raise ModelError(not_a_model(place))
    config = read_object(place / "config.json")
    if "model_type" not in config:
        raise ModelError(f"{place / 'config.json'} names no model_type: it is not a model of transformers.")
    check_weights(place)
    _check_tokenizer(place)


def _check_tokenizer(place: Path) -> None:
    files = [path for pattern in _TOKENIZERS for path in sorted(place.glob(pattern))]
    said = place / "tokenizer_config.json"
    if not files and not (said.is_file() and read_object(said).get("tokenizer_class") in _WITHOUT_FILES):
        raise ModelError(f"{place} has no tokenizer (tokenizer.json, vocab.txt, ...): {_FROM_COPY}")
    for path in files:
        check_file(path)
    names = {path.name for path in files}
    if "vocab.json" in names and "tokenizer.json" not in names and not (place / "merges.txt").is_file():
        raise ModelError(
            f"{place} has half a tokenizer: merges.txt, which belongs to vocab.json, is missing: {_FROM_COPY}"
        )


def _check_router(folder: Path, place: Path) -> None:
    path, older = place / "router_config.json", place / "config.json"
    if not path.is_file() and (not older.is_file() or "types" not in read_object(older)):
        raise _missing(folder, "Router", path)
    path = path if path.is_file() else older
    facts = read_object(path)
    kinds, routes = facts.get("types"), facts.get("structure")
    if not isinstance(kinds, dict) or not isinstance(routes, dict):
        raise ModelError(f"{path} has no types and structure of a Router: {_FROM_COPY}")
    parameters = facts.get("parameters") or {}
    for task in ("query", "document"):
        if task not in routes and not _is_mapped(task, parameters.get("route_mappings") or {}):
            raise ModelError(
                f"{folder}: its Router has no route {task!r} (it has {', '.join(sorted(routes)) or 'none'}): search "
                "needs one for queries and one for documents. Save the model with both."
            )
    for part in (part for parts in routes.values() for part in parts):
        if part not in kinds:
            raise ModelError(f"{path} names the module {part} and not its type: {_FROM_COPY}")
        _check_module(folder, kinds[part], place / part)


def _is_mapped(task: str, mappings: dict[str, Any]) -> bool:
    """Whether a task finds a route by the mappings of a Router, whose keys are pairs of task and modality as text."""
    return any(repr(task) in pair or pair.startswith("(None,") for pair in mappings)
