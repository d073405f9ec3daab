"""How a model is used: its folders, prompts, pooling and similarity. No torch.

Settings are resolved in this order: the user's; the registry of published checkpoints; the model's ``modules.json`` and
``config_sentence_transformers.json``. A missing setting is an error, because a default would be right for some models
and cost others many points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretrieve.core.errors import ModelError, UsageError
from pretrieve.core.files import fingerprint
from pretrieve.core.model_files import START, read_json
from pretrieve.models.bag import model_fingerprint
from pretrieve.models.checkpoints import Checkpoint, known_as
from pretrieve.models.model_folder import model_folder
from pretrieve.models.model_kind import SETTINGS, architecture, last, module_entries, prompts_of, transformer_folder
from pretrieve.models.model_options import OWN_USAGE, ModelOptions
from pretrieve.models.static_folder import find_static
from pretrieve.models.whole_model import check_whole

MULTI_VECTOR_FILE = "views.json"  # models.export.MULTI_VECTOR_FILE; importing it takes seconds
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*/*.safetensors", "*/pytorch_model.bin")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "*/tokenizer.json", MULTI_VECTOR_FILE)


def usage_of(name: str, options: ModelOptions = OWN_USAGE) -> tuple[Path, Path, Checkpoint]:
    """Find a model, and how it is used, by what the user, the registry and its own files say.

    Returns:
        The folder of the model of queries, that of documents (the same if tied), and the usage.

    Raises:
        UsageError: there is no such model, or nobody says how it pools or compares.
        ModelError: it is not whole, or of another kind.
        CorruptError: a file of it is damaged.
    """
    known = known_as(name, options.like)
    if options.like and known is None:
        raise UsageError(f"{options.like!r} is not among the known checkpoints: describe the model by its options.")
    own_code = known is not None and known.remote_code
    folder = _resolve(name, own_code=own_code)
    usage = _usage(name, folder, known, options)
    queries, documents = (
        folder if other is None else _resolve(other, own_code=own_code)
        for other in (usage.query_model, usage.document_model)
    )
    return queries, documents, usage


def identity(folders: Sequence[Path], usage: Checkpoint, options: ModelOptions = OWN_USAGE) -> str:
    """Identity of a model in one folder or two: its weights, its tokenizer, and how it is used."""
    models = [model_fingerprint(folder, _parts(folder)) for folder in dict.fromkeys(folders)]
    said = [usage.document_model, usage.document_prompt, usage.separator, usage.max_length, options.pooling]
    cut = [] if options.truncate_dim is None else [options.truncate_dim]
    return fingerprint([*models, *said, *cut])


def configuration(folders: Sequence[Path]) -> str:
    """Fingerprint of what a model's files say of how its vectors are made: modules, pooling, length, dimensions.

    It is apart from ``identity``, which is by weights and tokenizer.
    """
    facts: list[Any] = []
    for folder in dict.fromkeys(folders):
        for kind, place in module_entries(folder):
            path = place / "config.json"
            facts.append([last(kind), _read(path, None) if last(kind) != "Transformer" else None])
        facts.append(_read(transformer_folder(folder) / "sentence_bert_config.json", None))
        facts.append(_read(folder / SETTINGS, {}).get("truncate_dim"))
    return fingerprint(facts)


def _parts(folder: Path) -> list[Path]:
    """Weights and vocabularies; not those of the model before training, which may lie beside."""
    found = sorted(path for pattern in (*_WEIGHTS, *_VOCABULARIES) for path in folder.glob(pattern))
    return [path for path in found if path.parent != folder / START]


def _resolve(name: str, *, own_code: bool) -> Path:
    """The folder of a model, given or fetched from the hub, and whole."""
    folder = model_folder(Path(name)) if Path(name).exists() else _fetched(name)
    check_whole(folder, name, own_code=own_code)
    return folder


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name, ignore_patterns=["onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot"]))
    except HFValidationError:
        raise UsageError(f"{name}: no such folder, and no name of a model on the hub.") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"{name}: no such folder, and the hub does not give it ({reason}).") from None


def _usage(name: str, folder: Path, known: Checkpoint | None, options: ModelOptions) -> Checkpoint:
    """How a model is used, by what the user, the registry and its own files say, in this order."""
    settings, static = _read(folder / SETTINGS, {}), find_static(folder) is not None
    modules = module_names(folder) or (["StaticEmbedding"] if static else [])
    if options.pooling and modules and modules[0] != "Transformer" and not (folder / MULTI_VECTOR_FILE).is_file():
        raise UsageError(f"{name} is made of {', '.join(modules)}, whose pooling is its own: leave pooling out.")
    pooling = options.pooling or (known.pooling if known else None)
    if pooling is None and not modules:
        if architecture(folder).endswith(("ForCausalLM", "ForConditionalGeneration")):
            raise ModelError(
                f"{name} is a generative model ({architecture(folder)}), and nothing says that it was trained to give "
                "vectors for texts: give an embedding model; if this is one, give pooling (lasttoken) and similarity."
            )
        raise UsageError(
            f"{name} has no modules.json, so nothing says how it pools: give pooling (mean, cls, ...) and similarity "
            "(dot or cosine) as its authors use them."
        )
    similarity = options.similarity or (known.similarity if known else None) or settings.get("similarity_fn_name")
    if similarity is None and ("Normalize" in modules or static):
        similarity = "cosine"  # vectors of length one: cosine and dot are the same; for static ones the libraries' own
    if similarity not in ("cosine", "dot"):
        said = f"compares by {similarity}" if similarity else "does not say how its vectors are compared"
        raise UsageError(f"{name} {said}: give similarity (dot or cosine) as its authors use it.")
    base = known or Checkpoint(
        pooling=pooling or "mean",
        similarity=similarity,
        max_length=None,
        query_length=_read(folder / "sentence_bert_config.json", {}).get("query_length"),
        separator=settings.get("separator", " "),
    )
    own_query, own_document = ("", "") if known else prompts_of(settings)
    return replace(
        base,
        pooling=pooling or base.pooling,
        similarity=similarity,
        query_prompt=first_given(options.query_prompt, own_query or base.query_prompt),
        document_prompt=first_given(options.document_prompt, own_document or base.document_prompt),
        max_length=options.max_length or base.max_length,
        query_length=None if options.max_length else base.query_length,
    )


def module_names(folder: Path) -> list[str]:
    """Names of the classes of a model's modules, in order; empty without ``modules.json``."""
    return [last(kind) for kind, _ in module_entries(folder)]


def first_given(said: str | None, default: str) -> str:
    """A text that was given, the empty one included; else the default."""
    return default if said is None else said


def settings_of(folder: Path) -> dict[str, Any]:
    """``config_sentence_transformers.json`` of a model; empty without one."""
    return dict(_read(folder / SETTINGS, {}))


def _read(path: Path, default: Any) -> Any:
    return read_json(path) if path.is_file() else default
