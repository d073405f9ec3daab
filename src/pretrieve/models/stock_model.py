"""Models of sentence-transformers, loaded as it loads them, but strictly and with errors of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrieve.core.errors import ModelError, PretrieveError, UsageError
from pretrieve.core.model_files import read_object
from pretrieve.models.checkpoints import Checkpoint
from pretrieve.models.misfits import strictly
from pretrieve.models.model_kind import transformer_folder
from pretrieve.models.model_options import ModelOptions
from pretrieve.models.model_usage import module_names, settings_of
from pretrieve.models.pretrained import quietly

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_WHOLE_TEXTS = ("StaticEmbedding", "BoW")
_REASON = 300  # characters of a library's message


def load_stock(folder: Path, usage: Checkpoint, options: ModelOptions, *, known: bool = False) -> SentenceTransformer:
    """Load a model as sentence-transformers does, strictly.

    Args:
        folder: of the model, checked by ``check_whole``.
        usage: how it is used.
        options: usage given by the user.
        known: whether its usage is that of a published checkpoint.

    Raises:
        ModelError: it cannot be loaded, or its weights do not fit; the text says why.
    """
    with explained(folder), quietly(), strictly(folder, pooler=not any("Pooling" in n for n in module_names(folder))):
        return _load(folder, usage, options, known=known)


def _load(folder: Path, usage: Checkpoint, options: ModelOptions, *, known: bool) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    longest = usage.max_length
    names = module_names(folder)
    if names and options.pooling is None and not (known and _pools_otherwise(folder, usage)):
        foreign = usage.remote_code and not _is_in_transformers(folder)
        model = SentenceTransformer(str(folder), device=options.device, trust_remote_code=foreign)
    else:
        parts, longest = _of_bare_weights(transformer_folder(folder), usage)
        model = SentenceTransformer(modules=parts, device=options.device)
    if longest is not None and names and names[0] in _WHOLE_TEXTS:
        raise UsageError(f"{folder}: a model of {names[0]} reads whole texts: leave the maximum length out.")
    if longest is not None:
        model.max_seq_length = min(longest, _positions(model, longest))
    if usage.query_length is not None:
        model[0].query_length = usage.query_length
    model.similarity_fn_name = usage.similarity
    model.truncate_dim = options.truncate_dim or settings_of(folder).get("truncate_dim")
    _check_vocabularies(folder, model)
    return model


def _positions(model: SentenceTransformer, longest: int) -> int:
    """Tokens that a model of known architecture has positions for; else ``longest``."""
    from pretrieve.models.restore import position_limit
    from pretrieve.models.transformer import DECODERS, PACKED

    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    return position_limit(config) if getattr(config, "model_type", None) in PACKED | DECODERS else longest


def _of_bare_weights(folder: Path, usage: Checkpoint) -> tuple[list[Any], int | None]:
    """Stock modules, and the tokens kept of a text; weights of encoders are loaded strictly: stock ones fill gaps."""
    from sentence_transformers.sentence_transformer import modules

    from pretrieve.models.pretrained import DPR, load_pretrained
    from pretrieve.models.restore import position_limit
    from pretrieve.models.transformer import DECODERS, PACKED

    class Strict(modules.Transformer):  # type: ignore[misc]
        def _load_model(self, *asked: Any, **also: Any) -> Any:
            return load_pretrained(folder)

    longest = usage.max_length
    if _config(folder / "config.json", {}).get("model_type") in (*PACKED, *DECODERS, DPR):
        transformer = Strict(str(folder))
        limit = position_limit(transformer.config)
        longest = min(longest or limit, limit)
    else:
        transformer = modules.Transformer(str(folder))
    parts = [transformer, modules.Pooling(transformer.get_embedding_dimension(), usage.pooling)]
    return [*parts, *([modules.Normalize()] if usage.normalise else [])], longest


def _pools_otherwise(folder: Path, usage: Checkpoint) -> bool:
    """Whether a folder's modules pool in another way than its authors do: saving bare weights guesses the mean."""
    from pretrieve.models.restore import said_pooling

    mode = next((said_pooling(path) for path in sorted(folder.glob("*Pooling"))), None)
    return mode is not None and mode != usage.pooling and (folder / "config.json").is_file()


def _is_in_transformers(folder: Path) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return _config(folder / "config.json", {}).get("model_type") in CONFIG_MAPPING_NAMES


@contextmanager
def explained(name: object) -> Iterator[None]:
    """Whatever a library raises within it becomes one line.

    Args:
        name: of the model.

    Raises:
        ModelError: a library raised something else than memory that is used up.
    """
    try:
        yield
    except (PretrieveError, MemoryError):
        raise
    except Exception as error:  # libraries raise anything for a model that is not whole
        reason = " ".join(str(error).split())[:_REASON] or type(error).__name__
        raise ModelError(
            f"{name}: sentence-transformers cannot use it ({reason}): restore the model from a copy, or give another."
        ) from None


def _check_vocabularies(folder: Path, model: SentenceTransformer) -> None:
    """A token without a vector would end the process in the middle of the documents."""
    for part in model.modules():
        inner: Any = getattr(part, "auto_model", None)
        tokenizer: Any = getattr(part, "tokenizer", None)
        table = None if inner is None or tokenizer is None else inner.get_input_embeddings()
        rows = getattr(table, "num_embeddings", None)
        if rows is not None and len(tokenizer) > rows:
            raise ModelError(
                f"{folder}: the tokenizer has {len(tokenizer)} entries and the model {rows} vectors: they do not "
                "match. Restore both from the same model."
            )


def _config(path: Path, default: dict[str, Any]) -> dict[str, Any]:
    return read_object(path) if path.is_file() else default
