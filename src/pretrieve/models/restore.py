"""Load models strictly: those of ``export``, and published checkpoints that can be trained further."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pretrieve.core.errors import CorruptError, ModelError, UsageError
from pretrieve.models import kinds
from pretrieve.models.encoder import Encoder, Pooling
from pretrieve.models.export import DOCUMENT_MODEL, IDENTITY, MULTI_VECTOR_FILE, QUERY_MODEL, TANH
from pretrieve.models.heads import Projected
from pretrieve.models.multi_vector import MultiVectorEncoder, document_weights
from pretrieve.models.pretrained import load_pretrained, usual_pooling
from pretrieve.models.static import StaticEncoder
from pretrieve.models.static_folder import find_static, read_static
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.tokenizer import Tokenizer


def load_encoder(folder: Path, *, pooling: Pooling | None = None, seed: int = 0) -> Encoder:
    """Load the encoder of a model: what ``save_model`` wrote, or any checkpoint of transformers, strictly.

    Args:
        folder: a sentence-transformers folder whose modules are known here, or a folder of ``save_pretrained``.
        pooling: pooling, where the model's files do not specify it ("mean" if None); otherwise it replaces theirs.
        seed: seed for unused weights that the checkpoint lacks.

    Raises:
        UsageError: it is no such folder, has modules that cannot be trained here, or untied encoders.
        CorruptError: weights are damaged.
    """
    if (folder / MULTI_VECTOR_FILE).is_file():
        return _load_multi_vector(folder, seed)
    modules = _read_json(folder / "modules.json") if (folder / "modules.json").is_file() else None
    if modules is None and (static := find_static(folder)) is not None:  # of model2vec, which compares by cosine
        return load_static(static.inner)
    if modules is None:
        return _load_transformer(folder, folder, [], pooling, seed)
    chain = [(entry["type"].rsplit(".", 1)[-1], folder / entry["path"]) for entry in modules]
    if chain[0][0] == "Router":
        raise UsageError(f"{folder} has untied encoders for queries and documents: load them with load_encoders.")
    return _load_chain(folder, chain, pooling, seed)


def load_encoders(folder: Path) -> tuple[Encoder, Encoder]:
    """Load the encoders of queries and of documents; the same object twice if tied.

    Raises:
        UsageError: as ``load_encoder``.
        CorruptError: as ``load_encoder``.
    """
    if not (folder / "router_config.json").is_file() or (folder / MULTI_VECTOR_FILE).is_file():
        encoder = load_encoder(folder)
        return encoder, encoder
    config = _read_json(folder / "router_config.json")
    query, document = (
        _load_chain(folder, [(config["types"][name].rsplit(".", 1)[-1], folder / name) for name in names], None, 0)
        for names in (config["structure"]["query"], config["structure"]["document"])
    )
    return query, document


def _load_chain(folder: Path, chain: list[tuple[str, Path]], pooling: Pooling | None, seed: int) -> Encoder:
    (kind, first), rest = chain[0], chain[1:]
    normalised = bool(rest) and rest[-1][0] == "Normalize"
    if normalised:
        rest = rest[:-1]
    encoder: Encoder
    if kind == "StaticEmbedding" and not rest:
        encoder = load_static(first)
    elif kind == "Transformer":
        encoder = _load_transformer(folder, first, rest, pooling, seed)
    elif (restore := kinds.restoring([kind, *(name for name, _ in rest)])) is not None:
        encoder = restore([first, *(path for _, path in rest)])
    else:
        raise UsageError(
            f"{folder}: a model of {', '.join(name for name, _ in chain)} can be searched, but not trained."
        )
    said = folder / "config_sentence_transformers.json"
    similarity = _read_json(said).get("similarity_fn_name") if said.is_file() else None
    encoder.similarity = "cosine" if normalised or similarity in (None, "cosine") else "dot"
    return encoder


def _load_multi_vector(folder: Path, seed: int) -> MultiVectorEncoder:
    vectors_per_document, first = int(_read_json(folder / MULTI_VECTOR_FILE)["views"]), folder / QUERY_MODEL
    model: Any = load_pretrained(first, seed=seed)
    tokenizer = tokenizers.load(folder)
    if tokenizer.specials.vocabulary + vectors_per_document + 1 > int(model.config.vocab_size):
        raise CorruptError(f"{folder}: tokenizer, model and {MULTI_VECTOR_FILE} do not match: restore the model.")
    encoder = TransformerEncoder(model, tokenizer.specials, pooling="cls", max_length=_max_length(first, model))
    found = MultiVectorEncoder(encoder, vectors_per_document)
    if found.position_table is not None:
        expected = document_weights(found)
        path = folder / DOCUMENT_MODEL / "model.safetensors"
        weights = _read_weights(path, {name: tensor.ndim for name, tensor in expected.items()})
        if not all(torch.equal(weights[name], tensor) for name, tensor in expected.items()):
            raise UsageError(
                f"{folder}: the models of queries and documents were trained separately: it can be searched by "
                "sentence-transformers, but not by pretrieve."
            )
    return found


def load_static(folder: Path) -> StaticEncoder:
    """Load the token vectors of a folder, one for each token.

    Args:
        folder: of a ``StaticEmbedding``.

    Raises:
        UsageError: its tokenizer does not belong to it.
        CorruptError: the file is damaged.
    """
    tokenizer = tokenizers.load(folder)
    weights = read_static(folder)
    _check_vocabulary(folder, tokenizer, weights.vocabulary)
    return StaticEncoder(torch.from_numpy(weights.folded().copy()), tokenizer.bare())


def _check_vocabulary(folder: Path, tokenizer: Tokenizer, size: int) -> None:
    if tokenizer.specials.vocabulary > size:
        raise ModelError(
            f"{folder}: the tokenizer has {tokenizer.specials.vocabulary} entries and the model {size} vectors: "
            "they do not match. Restore both from the same model."
        )


def _load_transformer(
    folder: Path, first: Path, rest: list[tuple[str, Path]], pooling: Pooling | None, seed: int
) -> Encoder:
    kinds = [kind for kind, _ in rest]
    dense = [path for kind, path in rest if kind == "Dense"]
    configs = [_read_json(path / "config.json") for path in dense]
    tanh = bool(configs) and _is_pooler(configs[0])
    projected = kinds[1 + tanh :] == ["Dense", "LayerNorm"] and configs[-1].get("activation_function") == IDENTITY
    if kinds and (kinds[0] != "Pooling" or (len(kinds) > 1 + tanh and not projected)):
        raise UsageError(f"{folder}: a model with the modules {', '.join(kinds)} can be searched, but not trained.")
    own: Pooling | None = _own_pooling(rest[0][1], tanh) if kinds else None
    wanted = pooling or own or usual_pooling(first)
    model: Any = load_pretrained(first, seed=seed, pooler=wanted == "bert")
    tokenizer = tokenizers.load(first)
    _check_vocabulary(first, tokenizer, int(model.config.vocab_size))
    encoder = TransformerEncoder(
        model, tokenizer.specials, pooling=wanted, max_length=_max_length(first, model), similarity="dot"
    )
    encoder.source = first
    if tanh and wanted == "bert":
        read_into(encoder._model.pooler.dense, dense[0], "linear.")
    if not projected:
        return encoder
    head = Projected(encoder, int(configs[-1]["out_features"]), seed=seed)
    read_into(head.linear, dense[-1], "linear.")
    read_into(head.norm, rest[-1][1], "norm.")
    return head


def _is_pooler(config: dict[str, Any]) -> bool:
    return bool(config.get("activation_function", TANH) == TANH and config["in_features"] == config["out_features"])


def said_pooling(folder: Path) -> Any:
    """Pooling in the configuration of a pooling module, in terms of sentence-transformers 6; None if not specified."""
    config = _read_json(folder / "config.json")
    modes = config.get("pooling_mode")
    if modes is None:  # how sentence-transformers wrote it before version 6
        modes = [key for key in config if key.startswith("pooling_mode_") and config[key]]
        modes = modes[0].removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") if modes else None
    return modes


def _own_pooling(folder: Path, tanh: bool) -> Pooling:
    modes = said_pooling(folder)
    if modes not in ("mean", "cls", "lasttoken") or (tanh and modes != "cls"):
        raise UsageError(f"{folder}: pooling {modes!r} cannot be trained; mean, cls, lasttoken and BERT's pooler can.")
    own: Pooling = "bert" if tanh else modes
    return own


def _max_length(folder: Path, model: Any) -> int:
    limit = position_limit(model.config)
    if (folder / "sentence_bert_config.json").is_file():
        said = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        return min(int(said), limit) if said else limit
    return limit


def position_limit(config: Any) -> int:
    """Maximum length of a row in tokens by the number of positions; 512 if the model does not specify it."""
    limit = int(getattr(config, "max_position_embeddings", 512) or 512)
    after_padding = config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet")
    return limit - (int(config.pad_token_id) + 1 if after_padding else 0)


def read_into(module: nn.Module, folder: Path, prefix: str) -> None:
    """Read the weights of a folder into a module, strictly.

    Args:
        module: changed in place.
        folder: with ``model.safetensors``.
        prefix: what stands before the names of its weights in the file: ``linear.`` of a ``Dense``.

    Raises:
        CorruptError: the file is damaged, or its weights are others.
    """
    expected = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    found = _read_weights(folder / "model.safetensors", {name: tensor.ndim for name, tensor in expected.items()})
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise CorruptError(f"{folder}: {name} has shape {tuple(found[name].shape)}, not {tuple(tensor.shape)}.")
    module.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in found.items()})


def _read_weights(path: Path, expected: Mapping[str, int]) -> dict[str, Tensor]:
    """Read exactly the named tensors, given with their number of axes."""
    try:
        found: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CorruptError(f"{path}: the weights cannot be read ({error}): restore the model from a copy.") from None
    if {name: tensor.ndim for name, tensor in found.items()} != dict(expected):
        raise CorruptError(f"{path}: expected the tensors {sorted(expected)}, found {sorted(found)}.")
    return {name: tensor.to(torch.float32) for name, tensor in found.items()}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UsageError(f"{path} is missing: the folder is not a whole sentence-transformers model.") from None
    except ValueError:
        raise CorruptError(f"{path} is damaged: restore the model from a copy or train it again.") from None
