"""The start of fine-tuning: a model's encoders, tokenizer and prompts, used as its authors use it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from pretrieve.core.errors import PretrieveWarning, UsageError
from pretrieve.core.files import fingerprint
from pretrieve.models.encoder import Encoder
from pretrieve.models.export import MULTI_VECTOR_FILE
from pretrieve.models.heads import Projected
from pretrieve.models.model_usage import settings_of
from pretrieve.models.multi_vector import MultiVectorEncoder
from pretrieve.models.restore import load_encoder, load_encoders, position_limit
from pretrieve.models.text_encoder import ModelOptions, identity, usage_of
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Start:
    """What fine-tuning starts from.

    Attributes:
        documents: encoder of documents, and of queries unless there are untied encoders.
        query_encoder: encoder of queries if untied; None otherwise.
        tokenizer: tokenizer of both encoders.
        prompts: prompts of queries and documents.
        separator: text between title and text of a document.
        longest_query: maximum number of tokens of a query, special tokens included.
        fingerprint: identity of the weights and of how they are used.
    """

    documents: Encoder
    query_encoder: Encoder | None
    tokenizer: Tokenizer
    prompts: tuple[str, str]
    separator: str
    longest_query: int
    fingerprint: str

    @property
    def width(self) -> int | None:
        """Width of the transformer's hidden states, before any projection; None for a static encoder."""
        encoder = self.documents
        while isinstance(encoder, Projected | MultiVectorEncoder):
            encoder = encoder.encoder
        return encoder.dimensions if isinstance(encoder, TransformerEncoder) else None


def open_start(model: str, options: ModelOptions | None = None, *, seed: int = 0) -> Start:
    """Open a model to train it further.

    Args:
        model: a folder or a hub name; published checkpoints are known (``evaluation/checkpoints.py``).
        options: usage of a model that is neither known nor specified by its files.
        seed: seed of unused weights that the checkpoint lacks.

    Raises:
        UsageError: there is no such model, it cannot be trained, or its pooling or similarity is unknown.
        CorruptError: its weights are damaged.
    """
    given = options = options or ModelOptions()
    if (Path(model) / MULTI_VECTOR_FILE).is_file():  # stock libraries name pooling and similarity differently
        options = replace(options, pooling="cls", similarity="dot")
    folder, folder_of_documents, usage = usage_of(model, options)
    if (folder / "modules.json").is_file() and given.pooling is None:
        queries, documents = load_encoders(folder)
    else:
        if usage.pooling not in ("mean", "cls", "lasttoken"):
            raise UsageError(f"{model} pools by {usage.pooling}, which cannot be trained; mean, cls and lasttoken can.")
        queries = documents = load_encoder(folder, pooling=usage.pooling, seed=seed)
        if folder_of_documents != folder:
            documents = load_encoder(folder_of_documents, pooling=usage.pooling, seed=seed)
    documents.similarity = queries.similarity = usage.similarity
    for encoder in (queries, documents):
        limit = encoder.max_length
        if isinstance(encoder, TransformerEncoder):  # the given length may be longer than that of the folder
            limit = position_limit(encoder.model.config)
        encoder.max_length = min(usage.max_length or encoder.max_length, limit)
    _warn_of_cut(model, folder, options)
    prompts = (usage.query_prompt, usage.document_prompt)
    weights = identity((folder, folder_of_documents), usage, options)
    return Start(
        documents=documents,
        query_encoder=None if queries is documents else queries,
        tokenizer=tokenizers.load(folder),
        prompts=prompts,
        separator=usage.separator,
        longest_query=min(queries.max_length, usage.query_length or queries.max_length),
        fingerprint=fingerprint([weights, prompts, usage.query_length]),
    )


def _warn_of_cut(model: str, folder: Path, options: ModelOptions) -> None:
    """Vectors are cut when they are searched; training, and the model that it saves, has all dimensions."""
    kept = options.truncate_dim or settings_of(folder).get("truncate_dim")
    if kept is not None:
        warnings.warn(
            f"{model} keeps {kept} dimensions of its vectors: it is fine-tuned, and saved, with all of them. Give "
            "truncate_dim when the new model is loaded.",
            PretrieveWarning,
            stacklevel=3,
        )
