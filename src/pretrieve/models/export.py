"""Save models as stock sentence-transformers folders.

``SentenceTransformer(folder)`` loads what is written here without remote code: only stock modules are used, and
similarity, prompts and pooling are explicit (published checkpoints that left them out are compared by the wrong
similarity to this day).

A model with several vectors per document is saved as a sentence-transformers ``MultiVectorEncoder``. Stock models give
every token its own position, viewers included, so documents use a copy of the model whose position table repeats the
row of position 0 V times. A query has one vector, so MaxSim is the score of the best vector. Models with rotary
positions have no such table: their folder is
pretrieve's own and has no ``modules.json``, so that stock loaders refuse it instead of giving other scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from pretrieve.core.errors import ExtensionError
from pretrieve.core.extensions import place
from pretrieve.core.files import Folder
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import Projected
from pretrieve.models.multi_vector import MultiVectorEncoder, document_weights, name_viewers
from pretrieve.models.static import StaticEncoder
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.text.special_tokens import names_of
from pretrieve.text.tokenizer import Tokenizer

_BASE = "sentence_transformers.base.modules"
_OWN = "sentence_transformers.sentence_transformer.modules"
_TYPES = {
    "StaticEmbedding": f"{_OWN}.static_embedding.StaticEmbedding",
    "Transformer": f"{_BASE}.transformer.Transformer",
    "Pooling": f"{_OWN}.pooling.Pooling",
    "Dense": f"{_BASE}.dense.Dense",
    "LayerNorm": f"{_OWN}.layer_norm.LayerNorm",
    "Normalize": f"{_BASE}.normalize.Normalize",
    "Router": f"{_BASE}.router.Router",
    "MultiVectorMask": "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask",
}
MULTI_VECTOR_FILE = "views.json"  # in the folder of a model with several vectors per document: how many
QUERY_MODEL, DOCUMENT_MODEL = "query_0_Transformer", "document_0_Transformer"
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"


@dataclass(frozen=True, kw_only=True)
class Module:
    """One stock module.

    Attributes:
        kind: its class in sentence-transformers, one of those that are known here.
        files: bytes or JSON values by name.
    """

    kind: str
    files: dict[str, Any]


def save_model(
    folder: Folder,
    encoder: Encoder,
    tokenizer: Tokenizer,
    *,
    prompts: Mapping[str, str] | None = None,
    separator: str = " ",
    documents: Encoder | None = None,
    query_length: int | None = None,
) -> None:
    """Write a stock sentence-transformers model into an artefact.

    Args:
        folder: folder of ``core.files.create`` or ``scratch``.
        encoder: encoder of queries and documents; of queries alone if ``documents`` is given.
        tokenizer: the tokenizer of both.
        prompts: prompt of a text, for "query" and "document".
        separator: separator of title and text of a document; stock loaders ignore it.
        documents: the encoder of documents, if untied (saved as a Router); None otherwise.
        query_length: maximum length of a query in tokens, if shorter than that of documents.

    Raises:
        StorageError: writing fails.
    """
    if isinstance(encoder, MultiVectorEncoder):
        assert documents is None
        top = _write_multi_vector(folder, encoder, tokenizer)
        if not top:
            return
    elif documents is None:
        modules = stock_modules(encoder, tokenizer)
        if query_length is not None:
            modules[0].files["sentence_bert_config.json"]["query_length"] = query_length
        paths = ["" if index == 0 else f"{index}_{module.kind}" for index, module in enumerate(modules)]
        top = [(module.kind, path) for module, path in zip(modules, paths, strict=True)]
        _write_modules(folder, modules, paths)
    else:
        assert documents.similarity == encoder.similarity
        top = [("Router", "")]
        _write_router(
            folder, {"query": stock_modules(encoder, tokenizer), "document": stock_modules(documents, tokenizer)}
        )
    entries = [{"idx": i, "name": str(i), "path": path, "type": _TYPES[kind]} for i, (kind, path) in enumerate(top)]
    folder.json("modules.json", entries)
    folder.json(
        "config_sentence_transformers.json",
        {
            "model_type": "MultiVectorEncoder" if isinstance(encoder, MultiVectorEncoder) else "SentenceTransformer",
            "similarity_fn_name": "maxsim" if isinstance(encoder, MultiVectorEncoder) else encoder.similarity,
            "prompts": {"query": "", "document": "", **(prompts or {})},
            "default_prompt_name": None,
            **({"separator": separator} if separator != " " else {}),
        },
    )


def _write_multi_vector(folder: Folder, encoder: MultiVectorEncoder, tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """Write a model with several vectors per document; return its modules and their paths.

    The tokenizer without viewers lies on top, for training on. The mask keeps the viewers of documents by their ids;
    of queries, where it knows no such list, it drops every other word by name.
    """
    folder.json(MULTI_VECTOR_FILE, {"views": encoder.vectors_per_document})
    tokenizer.save(folder)
    names = [name_viewers(tokenizer, encoder, viewers) for viewers in (encoder.query_viewer, encoder.viewers)]
    query = _transformer(encoder.encoder, names[0], encoder.max_length)
    if encoder.position_table is None:
        _write_modules(folder, [query], [QUERY_MODEL])
        return []
    document = _transformer(encoder.encoder, names[1], encoder.encoder.max_length)
    weights, more = document_weights(encoder), encoder.vectors_per_document - 1
    limit = document.files["config.json"]["max_position_embeddings"] + more
    files = {**document.files, "model.safetensors": _stored(weights)}
    files["config.json"] = {**document.files["config.json"], "max_position_embeddings": limit}
    _write_router(folder, {"query": [query], "document": [Module(kind="Transformer", files=files)]})
    others = set(range(names[0].specials.vocabulary)) - set(encoder.query_viewer.tolist())
    words = [word for token in sorted(others) if (word := names[0].backend.id_to_token(token)) is not None]
    mask = {"skiplist_words": words, "skiplist_tasks": ["query"], "keep_only_token_ids": encoder.viewers.tolist()}
    folder.json("1_MultiVectorMask/config.json", mask)
    return [("Router", ""), ("MultiVectorMask", "1_MultiVectorMask")]


def _write_router(folder: Folder, routes: Mapping[str, list[Module]]) -> None:
    names = {
        route: [f"{route}_{index}_{module.kind}" for index, module in enumerate(modules)]
        for route, modules in routes.items()
    }
    types = {
        name: _TYPES[module.kind]
        for route, modules in routes.items()
        for name, module in zip(names[route], modules, strict=True)
    }
    parameters = {"default_route": "document", "allow_empty_key": True, "route_mappings": {}}
    folder.json("router_config.json", {"types": types, "structure": names, "parameters": parameters})
    for route, modules in routes.items():
        _write_modules(folder, modules, names[route])


def _write_modules(folder: Folder, modules: list[Module], paths: list[str]) -> None:
    for module, path in zip(modules, paths, strict=True):
        for name, content in module.files.items():
            place = f"{path}/{name}" if path else name
            if isinstance(content, bytes):
                folder.write(place, content)
            else:
                folder.json(place, content)


def stock_modules(encoder: Encoder, tokenizer: Tokenizer) -> list[Module]:
    """The stock modules that an encoder is saved as, ``Normalize`` last where it is compared by cosine.

    Args:
        encoder: of a kind that is known here, or one that has ``stock_modules(tokenizer)`` itself.
        tokenizer: its.

    Raises:
        ExtensionError: it is neither.
    """
    if isinstance(encoder, StaticEncoder):
        files = {"model.safetensors": _weights(encoder), "tokenizer.json": tokenizer.to_bytes()}
        modules = [Module(kind="StaticEmbedding", files=files)]
    elif isinstance(encoder, TransformerEncoder):
        modules = _transformer_modules(encoder, tokenizer)
    elif isinstance(encoder, Projected):
        inner = [module for module in stock_modules(encoder.encoder, tokenizer) if module.kind != "Normalize"]
        norm = {"config.json": {"dimension": encoder.dimensions}, "model.safetensors": _weights(encoder.norm, "norm.")}
        modules = [*inner, dense(encoder.linear, IDENTITY), Module(kind="LayerNorm", files=norm)]
    elif callable(own := getattr(encoder, "stock_modules", None)):
        modules = list(own(tokenizer))
    else:
        raise ExtensionError(
            f"{place(type(encoder))}: {type(encoder).__name__} has no stock_modules: it cannot be saved."
        )
    if encoder.similarity == "cosine":
        modules.append(Module(kind="Normalize", files={"config.json": {}}))
    return modules


def _transformer_modules(encoder: TransformerEncoder, tokenizer: Tokenizer) -> list[Module]:
    mode = "cls" if encoder.pooling == "bert" else encoder.pooling
    pooling = {"embedding_dimension": encoder.dimensions, "pooling_mode": mode, "include_prompt": True}
    modules = [
        _transformer(encoder, tokenizer, encoder.max_length),
        Module(kind="Pooling", files={"config.json": pooling}),
    ]
    if encoder.pooling == "bert":  # the tanh pooler over the first token, as a stock dense layer
        modules.append(dense(encoder._model.pooler.dense, TANH))
    return modules


def _transformer(encoder: TransformerEncoder, tokenizer: Tokenizer, max_length: int) -> Module:
    model: Any = encoder.model
    segments = getattr(model.config, "type_vocab_size", 0) > 1
    config = {**model.config.to_diff_dict(), "architectures": [type(model).__name__], "dtype": "float32"}
    files = {
        "config.json": json.loads(json.dumps({key: config[key] for key in config if not key.startswith("_")})),
        "model.safetensors": _weights(model),
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "tokenizer.json": tokenizer.to_bytes(),
        "tokenizer_config.json": _tokenizer_config(encoder, tokenizer, segments, max_length),
    }
    return Module(kind="Transformer", files=files)


def dense(linear: nn.Linear, activation: str = IDENTITY) -> Module:
    """The stock module of a linear layer with a bias.

    Args:
        linear: the layer.
        activation: class of what follows it.
    """
    config = {"in_features": linear.in_features, "out_features": linear.out_features, "bias": True}
    files = {
        "config.json": {**config, "activation_function": activation},
        "model.safetensors": _weights(linear, "linear."),
    }
    return Module(kind="Dense", files=files)


def _tokenizer_config(encoder: Encoder, tokenizer: Tokenizer, segments: bool, max_length: int) -> dict[str, Any]:
    names = {name: tokenizer.backend.id_to_token(token) for name, token in names_of(encoder.specials).items()}
    inputs = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    return {
        **names,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": inputs,
    }


def _weights(module: nn.Module, prefix: str = "") -> bytes:
    return _stored({prefix + name: tensor for name, tensor in module.state_dict().items()})


def _stored(weights: Mapping[str, Tensor]) -> bytes:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    data: bytes = safetensors.torch.save(state, metadata={"format": "pt"})  # one-writer: into memory
    return data
