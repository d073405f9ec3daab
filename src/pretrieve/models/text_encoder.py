"""Encoders of texts: any sentence-transformers model with its prompts, pooling and similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretrieve.core.errors import ModelError, UsageError
from pretrieve.core.extras import require
from pretrieve.core.types import FloatArray, Similarity, TextEncoder
from pretrieve.models import devices
from pretrieve.models.bag import Bag
from pretrieve.models.checkpoints import Checkpoint, known_as
from pretrieve.models.model_kind import prompts_of
from pretrieve.models.model_options import OWN_USAGE
from pretrieve.models.model_options import ModelOptions as ModelOptions
from pretrieve.models.model_usage import MULTI_VECTOR_FILE, configuration, first_given, settings_of
from pretrieve.models.model_usage import identity as identity
from pretrieve.models.model_usage import usage_of as usage_of
from pretrieve.text.encoding import first_words

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from pretrieve.models.multi_vector import MultiVectorEncoder
    from pretrieve.models.packed_stock import PackedStock
    from pretrieve.text.tokenizer import Tokenizer

_PER_TOKEN = 2  # characters of a token, at least in most texts: what a batch holds is rather too little than too much
_SPECIAL = 4  # special tokens of a row
_WHOLE = 256  # tokens of a text by which a batch size becomes a budget of tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchTextEncoder:
    """One sentence-transformers model, or two for untied encoders.

    Attributes:
        query_model: encodes queries.
        document_model: encodes documents; the same object if tied.
        usage: prompts, similarity and all settings that determine the vectors.
        fingerprint: hash of weights, tokenizer and settings.
        location: name or folder.
        batch_size: texts of 256 tokens that go through it at once; more of shorter ones.
        described: settings of the user, stored by an index to open the model in the same way.
        configuration: hash of what the model's files say of how vectors are made.
    """

    query_model: SentenceTransformer
    document_model: SentenceTransformer
    usage: Checkpoint
    fingerprint: str
    location: str
    batch_size: int
    described: Mapping[str, str | int] = field(default_factory=dict)
    configuration: str = ""
    _forms: dict[str, PackedStock | None] = field(default_factory=dict, repr=False)
    runs_on_torch: ClassVar[bool] = True

    @property
    def similarity(self) -> Similarity:
        """Similarity function of the vectors."""
        return self.usage.similarity

    @property
    def separator(self) -> str:
        """Separator of title and text of a document."""
        return self.usage.separator

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts with the query prompt: (Q, D) float32."""
        with devices.autocast(self.query_model.device):
            return self._encode(self.query_model, texts, self.usage.query_prompt, "query")

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts with the document prompt: (R, D) float32."""
        with devices.autocast(self.document_model.device):
            return self._encode(self.document_model, texts, self.usage.document_prompt, "document")

    def _encode(self, model: SentenceTransformer, texts: Sequence[str], prompt: str, task: str) -> FloatArray:
        longest = _longest(model)  # what a model cuts off need not be tokenized
        texts = [first_words(text, longest) for text in texts] if longest else list(texts)
        packed = self._packed(model, task)
        if packed is not None and texts:
            return packed.encode(texts, prompt, self.batch_size)
        if model.device.type != devices.CPU and texts:
            return self._encode_padded(model, texts, prompt, task, longest)
        return self._stock(model, texts, prompt, task, self.batch_size)  # larger batches of short texts are no faster

    def _stock(
        self, model: SentenceTransformer, texts: list[str], prompt: str, task: str, batch_size: int
    ) -> FloatArray:
        vectors = model.encode(
            texts,
            prompt=prompt,
            task=task,  # in a folder with untied encoders, it selects one
            batch_size=batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32)

    def _encode_padded(
        self, model: SentenceTransformer, texts: list[str], prompt: str, task: str, longest: int | None
    ) -> FloatArray:
        """Encode by the model's own ``encode``, longest first, a budget of tokens with their padding at a time."""
        from pretrieve.models.inference import padded_parts

        tokens = np.array([len(prompt) + len(text) for text in texts], np.int64) // _PER_TOKEN + _SPECIAL
        tokens = np.minimum(tokens, longest) if longest else tokens
        order = np.argsort(-tokens, kind="stable")
        parts = padded_parts(tokens[order], self.batch_size * _WHOLE)
        groups = [[texts[index] for index in order[part]] for part in parts]
        found = np.concatenate([self._stock(model, group, prompt, task, len(group)) for group in groups])
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    def _packed(self, model: SentenceTransformer, task: str) -> PackedStock | None:
        """The form of a model that runs without padding, where it has one."""
        from pretrieve.models.packed_stock import packed_stock

        if task not in self._forms:
            self._forms[task] = packed_stock(model, task)
        return self._forms[task]


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiVectorTextEncoder:
    """A pretrieve model with several vectors per document, run by pretrieve's own encoder.

    Attributes:
        encoder: encodes queries and documents.
        tokenizer: tokenizer of both, without viewers.
        query_prompt: prompt of a query.
        document_prompt: prompt of a document.
        fingerprint: hash of weights, tokenizer and settings.
        location: folder of the model.
        described: settings of the user, stored by an index to open the model in the same way.
        similarity: similarity of a query and a document vector; the best vector of a document counts.
    """

    encoder: MultiVectorEncoder
    tokenizer: Tokenizer
    query_prompt: str
    document_prompt: str
    fingerprint: str
    location: str
    described: Mapping[str, str | int] = field(default_factory=dict)
    similarity: Similarity = "dot"
    runs_on_torch: ClassVar[bool] = True

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts with the query prompt: (Q, D) float32."""
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


def open_encoder(name: str, options: ModelOptions = OWN_USAGE) -> TextEncoder:
    """Open a model by folder or hub name.

    Args:
        name: a folder, or the name of a model on the hub.
        options: settings of the model.

    Returns:
        A static model without torch, where it is one; else a model of torch.

    Raises:
        UsageError: it is no model, is not there, or nobody says how it pools or compares.
        ModelError: it cannot be loaded whole, or is not of dense vectors.
        CorruptError: a file of it is damaged.
        MissingExtraError: it needs torch, which is not installed.
    """
    folder = Path(name)
    if folder.is_dir() and Bag.readable(folder):
        return Bag.load(folder, options)
    if folder.exists():
        require("train", f"{name}, which is not a static model,")
    else:
        require("train", f"{name} is not a folder here, and a model of the hub")
    if (folder / MULTI_VECTOR_FILE).is_file():
        return _open_multi_vector(folder, options)
    queries, documents, usage = usage_of(name, options)
    if Bag.readable(documents):  # of the hub
        return Bag.load(documents, options, location=name)
    from pretrieve.models.stock_model import load_stock

    known = known_as(name, options.like) is not None
    device = devices.chosen(options.device)
    devices.tune(device)
    placed = replace(options, device=str(device))
    model = load_stock(queries, usage, placed, known=known)
    opened = TorchTextEncoder(
        query_model=model,
        document_model=model if documents == queries else load_stock(documents, usage, placed, known=known),
        usage=usage,
        fingerprint=identity((queries, documents), usage, options),
        location=name,
        batch_size=options.batch_size,
        described=options.described(),
        configuration=configuration((queries, documents)),
    )
    _try(opened, name)
    return opened


def _try(encoder: TorchTextEncoder, name: str) -> None:
    """Encode a word on both sides: a route, a pooling or a width that does not fit is found before documents are read.

    Raises:
        ModelError: it fails, or gives vectors of two sizes.
    """
    from pretrieve.models.stock_model import explained

    with explained(name):
        asked, made = encoder.encode_queries(["a"]), encoder.encode_documents(["a"])
    if asked.shape != made.shape or asked.ndim != 2:
        raise ModelError(
            f"{name} gives vectors of {asked.shape[-1]} dimensions for queries and {made.shape[-1]} for documents: "
            "they cannot be compared. Give two encoders that were trained together."
        )


def _open_multi_vector(folder: Path, options: ModelOptions) -> MultiVectorTextEncoder:
    if options.pooling or options.like or options.truncate_dim or options.similarity not in (None, "dot"):
        raise UsageError(f"{folder} has several vectors per document, compared by dot product: give prompts alone.")
    from pretrieve.models.multi_vector import MultiVectorEncoder
    from pretrieve.models.restore import load_encoder
    from pretrieve.text import tokenizer

    encoder = load_encoder(folder)
    assert isinstance(encoder, MultiVectorEncoder)
    encoder.max_length = min(options.max_length or encoder.max_length, encoder.max_length)
    own_query, own_document = prompts_of(settings_of(folder))
    query, document = first_given(options.query_prompt, own_query), first_given(options.document_prompt, own_document)
    usage = Checkpoint(pooling="cls", similarity="dot", document_prompt=document, max_length=encoder.max_length)
    return MultiVectorTextEncoder(
        encoder=encoder.to(devices.chosen(options.device)),
        tokenizer=tokenizer.load(folder),
        query_prompt=query,
        document_prompt=document,
        fingerprint=identity((folder,), usage, options),
        location=str(folder),
        described=options.described(),
    )
