"""Any sentence-transformers model as an index sees it: the right prompts, pooling and similarity, and no guessing.

What a name or folder means is decided in this order: what the user says; the registry of published checkpoints; the
model's own ``modules.json`` and ``config_sentence_transformers.json``. What nobody says is an error, because a default
would be right for some models and cost the others many points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from pretrieve.core.errors import UsageError
from pretrieve.core.extras import require
from pretrieve.core.files import fingerprint
from pretrieve.core.types import FloatArray, Similarity, TextEncoder
from pretrieve.models.bag import Bag, model_fingerprint
from pretrieve.models.checkpoints import Checkpoint, Pooling, known_as
from pretrieve.models.model_folder import model_folder
from pretrieve.text.encoding import first_words

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from pretrieve.models.multi_vector import MultiVectorEncoder
    from pretrieve.text.tokenizer import Tokenizer

_MULTI_VECTOR_FILE = "views.json"  # models.export.VIEWS; importing it takes seconds
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*/*.safetensors", "*/pytorch_model.bin")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "*/tokenizer.json", _MULTI_VECTOR_FILE)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What user specifies about a model; None leaves it to the registry or to the model's own files.

    Attributes:
        pooling: of the last hidden states, for a folder that does not say.
        similarity: similarity function of the vectors.
        query_prompt: prompt of a query.
        document_prompt: prompt of a document.
        max_length: tokens kept of a text.
        like: a published checkpoint that the model was made from and is used like.
        batch_size: texts encoded at once.
        device: of torch; chosen by what is there without it.
    """

    pooling: Pooling | None = None
    similarity: Similarity | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_length: int | None = None
    like: str | None = None
    batch_size: int = 32
    device: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchTextEncoder:
    """One sentence-transformers model, or two for untied encoders.

    Attributes:
        query_model: encodes queries.
        document_model: encodes documents; the same object if tied.
        usage: prompts, similarity, and whatever else decides the vectors.
        fingerprint: identity of weights, tokenizer and of what was said about them.
        location: name or folder.
        batch_size: texts encoded at once.
        described: what was said about it, kept by an index to open the model in the same way.
    """

    query_model: SentenceTransformer
    document_model: SentenceTransformer
    usage: Checkpoint
    fingerprint: str
    location: str
    batch_size: int
    described: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared."""
        return self.usage.similarity

    @property
    def separator(self) -> str:
        """What stands between title and text of a document."""
        return self.usage.separator

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) float32, each text after the prompt for queries."""
        return self._encode(self.query_model, texts, self.usage.query_prompt, "query")

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (R, D) float32, each text after the prompt for documents."""
        return self._encode(self.document_model, texts, self.usage.document_prompt, "document")

    def _encode(self, model: SentenceTransformer, texts: Sequence[str], prompt: str, task: str) -> FloatArray:
        longest = _longest(model)  # what a model cuts off need not be tokenized
        # in a folder with untied encoders, the task selects one
        vectors = model.encode(
            [first_words(text, longest) for text in texts] if longest else list(texts),
            prompt=prompt,
            task=task,
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiVectorTextEncoder:
    """A model of ours with several vectors per document, run by our own encoder: stock ones cannot run every kind.

    Attributes:
        encoder: encodes queries and documents.
        tokenizer: of both, without viewers.
        query_prompt: prompt of a query.
        document_prompt: prompt of a document.
        fingerprint: identity of weights, tokenizer and of what was said about them.
        location: its folder.
        described: what was said about it, kept by an index to open the model in the same way.
        similarity: of a query and a document vector; a document's score is that of its best vector.
    """

    encoder: MultiVectorEncoder
    tokenizer: Tokenizer
    query_prompt: str
    document_prompt: str
    fingerprint: str
    location: str
    described: Mapping[str, str | int] = field(default_factory=dict)
    similarity: Similarity = "dot"

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) float32, each text after the prompt for queries."""
        return self._encode(texts, self.query_prompt, queries=True)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts with the document prompt: (R, V, D) float32; (R, D) for a model with one vector per document."""
        return self._encode(texts, self.document_prompt, queries=False)

    def _encode(self, texts: Sequence[str], prompt: str, *, queries: bool) -> FloatArray:
        from pretrieve.models.inference import encode

        return encode(self.encoder, self.tokenizer, [prompt + text for text in texts], queries=queries)


def _longest(model: SentenceTransformer) -> int | None:
    """Tokens of the longest text that a model reads, by any of its routes; None where there is no limit."""
    inputs = [part[0] for part in model[0].sub_modules.values()] if hasattr(model[0], "sub_modules") else [model[0]]
    limits = [max(getattr(part, name, None) or 0 for name in ("max_seq_length", "query_length")) for part in inputs]
    return max(limits) if all(limits) else None


def open_encoder(name: str, options: ModelOptions = ModelOptions()) -> TextEncoder:
    """Open a model by folder or hub name.

    Args:
        name: a folder, or the name of a model on the hub.
        options: what is said about it.

    Returns:
        A static model without torch, where it is one and nothing else is said of it; else a model of torch.

    Raises:
        UsageError: it is no model, is not there, or nobody says how it pools or compares.
        MissingExtraError: it needs torch, which is not installed.
    """
    static = Path(name).is_dir() and Bag.readable(Path(name))
    if static and options == ModelOptions():
        return Bag.load(Path(name))
    if static:
        require("train", f"{name} with other prompts, length or similarity than its own")
    elif Path(name).exists():
        require("train", f"{name}, which is not a static model,")
    else:
        require("train", f"{name} is not a folder here, and a model of the hub")
    if (Path(name) / _MULTI_VECTOR_FILE).is_file():
        return _open_multi_vector(Path(name), options)
    queries, documents, usage = usage_of(name, options)
    known = known_as(name, options.like) is not None
    model = _load(queries, usage, options, known=known)
    return TorchTextEncoder(
        query_model=model,
        document_model=model if documents == queries else _load(documents, usage, options, known=known),
        usage=usage,
        fingerprint=identity((queries, documents), usage, options),
        location=name,
        batch_size=options.batch_size,
        described=_described(options),
    )


def usage_of(name: str, options: ModelOptions = ModelOptions()) -> tuple[Path, Path, Checkpoint]:
    """Find a model, and how it is used, by what the user, the registry and its own files say.

    Returns:
        The folder of the model of queries, that of documents (the same if tied), and the usage.

    Raises:
        UsageError: as ``open_encoder``.
    """
    known = known_as(name, options.like)
    if options.like and known is None:
        raise UsageError(f"{options.like!r} is not among the known checkpoints: describe the model by its options.")
    folder = _resolve(name)
    usage = _usage(name, folder, known, options)
    queries = folder if usage.query_model is None else _resolve(usage.query_model)
    return queries, folder if usage.document_model is None else _resolve(usage.document_model), usage


def identity(folders: Sequence[Path], usage: Checkpoint, options: ModelOptions = ModelOptions()) -> str:
    """Identity of a model in one folder or two: its weights, its tokenizer, and how it is used."""
    models = [model_fingerprint(folder, _parts(folder)) for folder in dict.fromkeys(folders)]
    said = [usage.document_model, usage.document_prompt, usage.separator, usage.max_length, options.pooling]
    return fingerprint([*models, *said])


def _parts(folder: Path) -> list[Path]:
    return sorted(path for pattern in (*_WEIGHTS, *_VOCABULARIES) for path in folder.glob(pattern))


def _open_multi_vector(folder: Path, options: ModelOptions) -> MultiVectorTextEncoder:
    if options.pooling or options.like or options.similarity not in (None, "dot"):
        raise UsageError(f"{folder} has several vectors per document, compared by dot product: give prompts alone.")
    import torch

    from pretrieve.models.multi_vector import MultiVectorEncoder
    from pretrieve.models.restore import load_encoder
    from pretrieve.text import tokenizer

    encoder = load_encoder(folder)
    assert isinstance(encoder, MultiVectorEncoder)
    encoder.max_length = min(options.max_length or encoder.max_length, encoder.max_length)
    own_query, own_document = _prompts(_read(folder / "config_sentence_transformers.json", {}))
    query, document = _first(options.query_prompt, own_query), _first(options.document_prompt, own_document)
    usage = Checkpoint(pooling="cls", similarity="dot", document_prompt=document, max_length=encoder.max_length)
    return MultiVectorTextEncoder(
        encoder=encoder.to(options.device or ("cuda" if torch.cuda.is_available() else "cpu")),
        tokenizer=tokenizer.load(folder),
        query_prompt=query,
        document_prompt=document,
        fingerprint=identity((folder,), usage, options),
        location=str(folder),
        described=_described(options),
    )


def _described(options: ModelOptions) -> dict[str, str | int]:
    names = ("pooling", "similarity", "query_prompt", "document_prompt", "max_length", "like")
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _resolve(name: str) -> Path:
    """The folder of a model: given, or fetched from the hub."""
    if Path(name).exists():
        return model_folder(Path(name))
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
    modules, settings = _modules(folder), _read(folder / "config_sentence_transformers.json", {})
    if options.pooling and modules and modules[0] != "Transformer" and not (folder / _MULTI_VECTOR_FILE).is_file():
        raise UsageError(f"{name} is made of {', '.join(modules)}, whose pooling is its own: leave pooling out.")
    pooling = options.pooling or (known.pooling if known else None)
    if pooling is None and not modules:
        raise UsageError(
            f"{name} has no modules.json, so nothing says how it pools: give pooling (mean, cls, ...) and similarity "
            "(dot or cosine) as its authors use them."
        )
    similarity = options.similarity or (known.similarity if known else None) or settings.get("similarity_fn_name")
    if similarity is None and "Normalize" in modules:
        similarity = "cosine"  # vectors of length one: cosine and dot are the same
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
    own_query, own_document = ("", "") if known else _prompts(settings)
    return replace(
        base,
        pooling=pooling or base.pooling,
        similarity=similarity,
        query_prompt=_first(options.query_prompt, own_query or base.query_prompt),
        document_prompt=_first(options.document_prompt, own_document or base.document_prompt),
        max_length=options.max_length or base.max_length,
        query_length=None if options.max_length else base.query_length,
    )


def _load(folder: Path, usage: Checkpoint, options: ModelOptions, *, known: bool = False) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    from pretrieve.models.pretrained import without_bar

    longest = usage.max_length
    with without_bar():
        if _modules(folder) and options.pooling is None and not (known and _pools_otherwise(folder, usage)):
            foreign = usage.remote_code and not _is_in_transformers(folder)
            model = SentenceTransformer(str(folder), device=options.device, trust_remote_code=foreign)
        else:
            parts, longest = _of_bare_weights(folder, usage)
            model = SentenceTransformer(modules=parts, device=options.device)
    if longest is not None:
        model.max_seq_length = min(longest, _positions(model, longest))
    if usage.query_length is not None:
        model[0].query_length = usage.query_length
    model.similarity_fn_name = usage.similarity
    return model


def _positions(model: SentenceTransformer, longest: int) -> int:
    """Tokens that a model of known architecture has positions for; else ``longest``."""
    from pretrieve.models.restore import position_limit
    from pretrieve.models.transformer import PACKED

    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    return position_limit(config) if getattr(config, "model_type", None) in PACKED else longest


def _of_bare_weights(folder: Path, usage: Checkpoint) -> tuple[list[Any], int | None]:
    """Stock modules, and the tokens kept of a text; weights of encoders are loaded strictly: stock ones fill gaps."""
    from sentence_transformers.sentence_transformer import modules

    from pretrieve.models.pretrained import DPR, load_pretrained
    from pretrieve.models.restore import position_limit
    from pretrieve.models.transformer import PACKED

    class Strict(modules.Transformer):  # type: ignore[misc]
        def _load_model(self, *asked: Any, **also: Any) -> Any:
            return load_pretrained(folder)

    longest = usage.max_length
    if _read(folder / "config.json", {}).get("model_type") in (*PACKED, DPR):
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

    return _read(folder / "config.json", {}).get("model_type") in CONFIG_MAPPING_NAMES


def _modules(folder: Path) -> list[str]:
    return [module["type"].rsplit(".", 1)[-1] for module in _read(folder / "modules.json", [])]


def _first(said: str | None, default: str) -> str:
    return default if said is None else said


def _prompts(settings: Mapping[str, Any]) -> tuple[str, str]:
    prompts = settings.get("prompts") or {}
    documents = [prompts[task] for task in ("document", "passage", "corpus") if task in prompts]  # ST's order
    return prompts.get("query", ""), documents[0] if documents else ""


def _read(path: Path, default: Any) -> Any:
    try:
        return orjson.loads(path.read_bytes()) if path.is_file() else default
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} cannot be read ({error}): restore the model from a copy.") from None
