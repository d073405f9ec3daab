"""What kind of model a folder holds, by its files: only models that give one dense vector for a text are taken.

A sparse, multi-vector or classifying model opened as a dense one gives vectors that look right and rank badly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrieve.core.errors import CorruptError, ModelError
from pretrieve.core.model_files import read_json, read_object

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
_ADAPTER = "adapter_config.json"
_STOCK = "sentence_transformers."
_SPARSE = ("SpladePooling", "MLMTransformer", "SparseAutoEncoder", "SparseStaticEmbedding", "CSRSparsity")
_MULTI_VECTOR = ("LateInteraction", "MultiVectorMask", "HierarchicalPooling")
_SCORERS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice")
_DENSE = "Give an embedding model with one dense vector for a text, such as BAAI/bge-small-en-v1.5."


def module_entries(folder: Path) -> list[tuple[str, Path]]:
    """Types and folders of the modules of ``modules.json``, in order; empty without one.

    Raises:
        CorruptError: the file cannot be read.
        ModelError: a module has no type or no folder, or one outside of the model's.
    """
    path = folder / MODULES
    entries = read_json(path) if path.is_file() else []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CorruptError(f"{path} is not a list of modules: restore the model from a copy.")
    found = []
    for entry in entries:
        kind, place = entry.get("type"), entry.get("path")
        if not isinstance(kind, str) or not isinstance(place, str) or not _is_inside(place):
            raise ModelError(f"{path}: a module needs a type, and a path in {folder}: restore the model from a copy.")
        found.append((kind, folder / place))
    return found


def transformer_folder(folder: Path) -> Path:
    """Where the transformer of a model is: the folder of that module, or the folder itself."""
    return next((place for kind, place in module_entries(folder) if last(kind) == "Transformer"), folder)


def last(kind: str) -> str:
    """The name of a class in its dotted path."""
    return kind.rsplit(".", 1)[-1]


def architecture(folder: Path) -> str:
    """The class that a transformer was saved as; empty where its configuration names none."""
    path = folder / "config.json"
    names = read_object(path).get("architectures") if path.is_file() else None
    return str(names[0]) if isinstance(names, list) and names else ""


def prompts_of(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Prompts of a query and of a document in ``config_sentence_transformers.json``."""
    prompts = settings.get("prompts") or {}
    documents = [prompts[task] for task in ("document", "passage", "corpus") if task in prompts]  # ST's order
    return prompts.get("query") or "", (documents[0] if documents else "") or ""


def refuse_other_kinds(folder: Path, name: str, *, own_code: bool = False) -> None:
    """Refuse a model that does not give one dense vector for a text, or needs what pretrieve does not run.

    Args:
        folder: of the model.
        name: as the user gave it.
        own_code: whether the repository's own code may be used: pretrieve knows the checkpoint.

    Raises:
        ModelError: it is sparse, multi-vector, a classifier or cross-encoder, an adapter, or needs code of its own.
        CorruptError: a file cannot be read.
    """
    kinds = [kind for kind, _ in module_entries(folder)]
    settings = read_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    inner = transformer_folder(folder)
    for path in (folder / _ADAPTER, inner / _ADAPTER):
        if path.is_file():
            base = read_object(path).get("base_model_name_or_path") or "another model"
            raise ModelError(
                f"{name} is an adapter (LoRA) of {base}, not a whole model: merge the two with peft (merge_and_unload, "
                "then save_pretrained) and give the merged folder."
            )
    if what := _other_kind(folder, inner, kinds, settings):
        raise ModelError(f"{name} is {what}. {_DENSE}")
    if not own_code:
        _refuse_own_code(inner, name, kinds)


def _other_kind(folder: Path, inner: Path, kinds: list[str], settings: Mapping[str, Any]) -> str:
    """A sparse, multi-vector or scoring model, in words; empty for a dense one."""
    names, said, saved = [last(kind) for kind in kinds], settings.get("model_type"), architecture(inner)
    similarity = str(settings.get("similarity_fn_name")).lower()
    if said == "SparseEncoder" or set(names) & set(_SPARSE) or any(".sparse_encoder." in kind for kind in kinds):
        return "a sparse model (SPLADE and the like): its vectors are weights of words"
    late = similarity in ("maxsim", "colbert") or "colbert" in saved.lower() or _is_unpooled(folder, names)
    if said == "MultiVectorEncoder" or late or set(names) & set(_MULTI_VECTOR) or any(map(_is_late, kinds)):
        return "a multi-vector model (ColBERT, PyLate and the like): it has several vectors for a text"
    if said == "CrossEncoder" or (saved.endswith(_SCORERS) and "Pooling" not in names):
        return f"a cross-encoder or classifier ({said or saved}): it scores texts and gives no vectors for them"
    return ""


def _is_late(kind: str) -> bool:
    return kind.startswith("pylate.") or ".multi_vector_encoder." in kind


def _is_unpooled(folder: Path, names: list[str]) -> bool:
    """Whether token vectors go through a dense layer and are never pooled."""
    return bool(names) and names[0] == "Transformer" and "Dense" in names and not any("Pooling" in n for n in names)


def _refuse_own_code(inner: Path, name: str, kinds: list[str]) -> None:
    foreign = next((kind for kind in kinds if not kind.startswith(_STOCK)), "")
    path = inner / "config.json"
    config = read_object(path) if path.is_file() else {}
    kind = config.get("model_type")
    if not foreign and kind not in (None, "model2vec") and not _in_transformers(kind):
        foreign = f"the architecture {kind}"
        if not config.get("auto_map"):
            raise ModelError(
                f"{path} names {foreign}, which the installed transformers does not have: update transformers if the "
                "model is newer, or give another model."
            )
    if foreign:
        raise ModelError(
            f"{name} needs code that comes with it (trust_remote_code), for {foreign}, and pretrieve runs such code "
            "only for the checkpoints it knows: name one with --like if this is a copy of it, or give a model whose "
            "architecture is in transformers."
        )


def _in_transformers(model_type: object) -> bool:
    try:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # only here: it takes a second
    except ImportError:  # whoever loads the model says that it is not installed
        return True
    return model_type in CONFIG_MAPPING_NAMES


def _is_inside(place: str) -> bool:
    path = Path(place)
    return not path.is_absolute() and ".." not in path.parts
