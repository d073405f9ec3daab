"""Build the encoder of ``--base``: static, a randomly initialised BERT, a folder, or a name on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.bounds import TOKENS, WIDTH, check_bounds
from pretrieve.core.config import options_of, parse_assignments
from pretrieve.core.errors import ExtensionError, UsageError
from pretrieve.core.extensions import place
from pretrieve.core.files import MANIFEST
from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray, SpecialTokens
from pretrieve.models import kinds
from pretrieve.models.bag import Bag
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import seeded
from pretrieve.models.lora import AdapterOptions, adapt
from pretrieve.models.multi_vector import MultiVectorEncoder
from pretrieve.models.pretrained import resolve
from pretrieve.models.restore import load_encoder, load_encoders, position_limit
from pretrieve.models.static import TokenizedDocuments
from pretrieve.models.transformer import TransformerEncoder

STATIC = "static"
_NEW = "new"


@dataclass(frozen=True, kw_only=True)
class NewTransformer:
    """A randomly initialised BERT, ``--base new:layers=4,hidden=256`` (Devlin et al., NAACL 2019)."""

    layers: int = 4
    hidden: int = 256  # width of the hidden states
    heads: int | None = None  # hidden / 64 if None, at least 2
    intermediate: int | None = None  # width of the feed-forward layers; 4 * hidden if None
    dropout: float = 0.1
    words: Literal["random", "static"] = "random"  # initial word vectors; "static": a minute of static training

    def __post_init__(self) -> None:
        check_bounds(self, 1, 1000, "layers", prefix="--base new: ")
        check_bounds(self, 1, WIDTH, "hidden", "heads", prefix="--base new: ")
        check_bounds(self, 1, 16 * WIDTH, "intermediate", prefix="--base new: ")
        check_bounds(self, 0, 1, "dropout", below=True, prefix="--base new: ")
        if self.hidden % self.heads_or_default():
            raise UsageError(f"--base new: hidden={self.hidden} is not a multiple of heads={self.heads_or_default()}.")

    def heads_or_default(self) -> int:
        """Number of attention heads."""
        return self.heads if self.heads is not None else max(2, self.hidden // 64)


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(AdapterOptions):
    """Options of the encoder; a base ignores those that do not apply to it."""

    # of transformers; if None, the checkpoint's own, or else mean (last token for a decoder)
    pooling: Literal["mean", "cls", "lasttoken", "bert"] | None = None
    max_length: int | None = None  # tokens; the model's own limit if None, 512 for a new one
    dimensions: int = 256  # of a static encoder
    attention_dropout: bool = False  # of packed transformers: drop attention weights in training, as the model says
    stop_word_scale: float = 1.0  # of a static encoder: factor on the vectors of stop words after training

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, 1, WIDTH, "dimensions")
        check_bounds(self, 4, TOKENS, "max_length")
        check_bounds(self, 0, 1, "stop_word_scale")


def is_static(base: str) -> bool:
    """Return whether ``--base`` is a randomly initialised static encoder, or another bag of words."""
    kind = kinds.find(base)
    return kind is not None and kind.FAMILY == STATIC


def new_transformer(base: str) -> NewTransformer | None:
    """Parse ``new`` or ``new:layers=4,hidden=256``; None for other values of ``--base``.

    Raises:
        UsageError: an unknown option, or one that does not fit.
    """
    kind, _, settings = base.partition(":")
    if kind != _NEW:
        return None
    pairs = [pair for pair in settings.split(",") if pair.strip()]
    return options_of(NewTransformer, parse_assignments(pairs), where="--base new")


def named_base(base: str) -> str | None:
    """Return the folder of a base with its own tokenizer, or None for bases that use the corpus's tokenizer.

    Raises:
        UsageError: there is no such folder or model.
    """
    return None if kinds.find(base) is not None else str(resolve(base))


def retrieval_folder(base: str) -> Path | None:
    """The folder of a base that is a retrieval model already; None for other bases.

    A published transformer of sentence-transformers with weights in safetensors counts; a static model and one of our
    own do not.

    Raises:
        UsageError: there is no such folder or model.
    """
    if kinds.find(base) is not None:
        return None
    folder = resolve(base)
    stock = (folder / "modules.json").is_file() and not (folder / MANIFEST).is_file()
    return folder if stock and any(folder.rglob("*.safetensors")) and not Bag.readable(folder) else None


def build_encoder(
    base: str, *, store: TokenizedDocuments, options: EncoderOptions | None = None, seed: int = 0
) -> Encoder:
    """Build the encoder to train.

    Args:
        base: ``static``, ``new:layers=4,hidden=256``, a folder, or a name on the hub.
        store: the documents, tokenized with ``named_base``'s tokenizer if there is one.
        options: pooling, maximum length, dimensions.
        seed: seed of the run.

    Raises:
        UsageError: the base does not exist, its weights do not fit, or it does not support the rows or the tokenizer.
        ExtensionError: a user's kind of encoder is wrong.
    """
    options = options or EncoderOptions()
    kind = kinds.find(base)
    if kind is not None:
        found = kind.build(base.partition(":")[2], store, options, seed)
        if not isinstance(found, Encoder):
            raise ExtensionError(f"{place(kind.build)}: build must return an Encoder, not a {type(found).__name__}.")
        return _prepared(found, options, seed)
    encoder = load_base(resolve(base), options, seed)
    if encoder.specials.vocabulary != store.specials.vocabulary:
        raise UsageError(
            f"{base}: its vocabulary has {encoder.specials.vocabulary} entries, the documents were tokenized with "
            f"{store.specials.vocabulary}: prepare them again with the tokenizer of this base."
        )
    _fit(base, encoder, options.max_length)
    return _prepared(encoder, options, seed)


def _prepared(encoder: Encoder, options: EncoderOptions, seed: int) -> Encoder:
    """Attention weights are dropped if the options say so (not hidden states), and adapters are put in."""
    towers = [encoder] if encoder.query_encoder is None else [encoder, encoder.query_encoder]
    for part in (part for tower in towers for part in tower.modules()):
        if isinstance(part, TransformerEncoder):
            part.drop_attention = options.attention_dropout
    for number, tower in enumerate(towers):
        adapt(tower, options, seed, f"lora-{number}")
    return encoder


def start_words_from(encoder: TransformerEncoder, vectors: FloatArray | Tensor, seed: int) -> None:
    """Start a transformer's word vectors from those of a static encoder of the same vocabulary.

    The static vectors are centred, cut to their principal axes if they have more dimensions than the model, turned by
    a random rotation, so that no coordinate is special to LayerNorm, and scaled to the deviation that the model's own
    start has. Special tokens keep theirs.

    Args:
        encoder: the transformer; changed in place.
        vectors: (V, D) of a ``StaticEncoder``.
        seed: seed of the run, for the rotation.
    """
    words: Tensor = encoder._model.get_input_embeddings().weight
    static = torch.as_tensor(vectors).detach().float().cpu()
    assert len(static) == len(words), "the same vocabulary"
    first, width = encoder.specials.first_ordinary, words.shape[1]
    ordinary = static[first:] - static[first:].mean(dim=0)
    axes = torch.linalg.eigh(ordinary.T @ ordinary).eigenvectors.flip(1)[:, :width]
    noise = generator(seed, "words-rotation").standard_normal((width, axes.shape[1]))
    rotation = torch.from_numpy(np.linalg.qr(noise)[0].astype(np.float32))
    started = ordinary @ axes @ rotation.T
    started *= words[first:].std() / started.std()
    with torch.no_grad():
        words[first:] = started.to(words)


def load_base(folder: Path, options: EncoderOptions, seed: int) -> Encoder:
    """Load a model's encoder; of untied encoders the one of documents, with the other as its ``query_encoder``.

    Args:
        folder: folder of the model.
        options: pooling, where the model's files do not specify it.
        seed: seed for weights that a checkpoint lacks.

    Raises:
        UsageError: the model cannot be trained.
        CorruptError: the file is damaged.
    """
    if not (folder / "router_config.json").is_file():
        return load_encoder(folder, pooling=options.pooling, seed=seed)
    queries, documents = load_encoders(folder)
    if queries is not documents:
        documents.untie(queries)
    return documents


def build_transformer(
    new: NewTransformer, specials: SpecialTokens, options: EncoderOptions, seed: int
) -> TransformerEncoder:
    """Build a transformer from scratch.

    Args:
        new: size of the model.
        specials: special tokens of the tokenizer.
        options: pooling and maximum length.
        seed: seed of the run.

    Raises:
        UsageError: the tokenizer has no [CLS] and [SEP].
    """
    if specials.cls is None or specials.sep is None:
        raise UsageError(
            "the tokenizer has no [CLS] and [SEP], which a new transformer needs: train one on the corpus."
        )
    from transformers import BertConfig, BertModel  # imported here because it takes seconds

    max_length = options.max_length or 512
    config: Any = BertConfig(
        vocab_size=specials.vocabulary,
        hidden_size=new.hidden,
        num_hidden_layers=new.layers,
        num_attention_heads=new.heads_or_default(),
        intermediate_size=new.intermediate or 4 * new.hidden,
        hidden_dropout_prob=new.dropout,
        attention_probs_dropout_prob=new.dropout,
        max_position_embeddings=max_length,
        pad_token_id=specials.pad,
    )
    with seeded(seed, "new-transformer"):
        model = BertModel(config)
    return TransformerEncoder(model, specials, pooling=options.pooling or "mean", max_length=max_length)


def _fit(base: str, encoder: Encoder, max_length: int | None) -> None:
    if max_length is None:
        return
    inner = encoder.encoder if isinstance(encoder, MultiVectorEncoder) else encoder
    if isinstance(inner, TransformerEncoder) and max_length > position_limit(inner._model.config):
        limit = position_limit(inner._model.config)
        raise UsageError(f"{base} reads rows of at most {limit} tokens; {max_length} were requested.")
    encoder.max_length = max_length
