"""Several vectors per document: viewer tokens in front of a document each give a vector.

Zhang, Liang, Gong, Jiang, Duan, *Multi-View Document Representation Learning for Open-Domain Dense Retrieval*,
ACL 2022, arXiv 2203.08372.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tokenizers
import torch
from tokenizers import processors
from torch import Tensor, nn

from pretrieve.core.errors import UsageError
from pretrieve.core.types import IntArray, Rows
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import seeded
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.text.tokenizer import Tokenizer


class MultiVectorEncoder(Encoder):
    """A transformer whose documents have V vectors, and whose queries have one.

    The viewers replace [CLS], all at position 0; words keep positions 1, 2, ... Each vector is the last hidden state of
    its viewer, without a projection. A document's score is the highest of its vectors' dot products.

    Position 0 is set through ``position_ids``. Local attention (some layers of ModernBERT) counts its window in
    tokens, as in the stock model, so viewers count too.

    Attributes:
        encoder: the transformer, whose vocabulary ends with the viewers.
        viewers: ids of the documents' viewers, (V,).
        query_viewer: ids of the queries' viewer, (1,).

    Args:
        encoder: a transformer with embeddings for the viewers (``add_viewers``).
        vectors_per_document: V, the number of viewers of a document.

    Raises:
        UsageError: the model has to be padded, so that its positions cannot be set.
    """

    def __init__(self, encoder: TransformerEncoder, vectors_per_document: int) -> None:
        super().__init__()
        if not encoder.packed:
            kind = encoder._model.config.model_type
            raise UsageError(
                f"{kind}: several vectors per document need their own position ids; use BERT, RoBERTa or ModernBERT."
            )
        first = encoder.specials.vocabulary
        assert encoder.specials.cls is not None
        assert len(encoder.words) > first + vectors_per_document, "the viewers have rows"
        self.encoder = encoder
        self.query_viewer = np.array([first], np.int64)
        self.viewers = first + 1 + np.arange(vectors_per_document, dtype=np.int64)
        self.dimensions, self.vectors_per_document = encoder.dimensions, vectors_per_document
        self.max_length, self.specials = encoder.max_length, encoder.specials
        self.similarity = encoder.similarity = "dot"
        encoder.max_length += vectors_per_document - 1  # more tokens, but no more positions

    def forward(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R documents as (R, V, D).

        Args:
            rows: [CLS] words [SEP], as for any transformer.
            segments: ignored: a document is one segment.
        """
        return self._states(rows, self.viewers)

    def queries(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R queries, [CLS] words [SEP] each, as (R, 1, D)."""
        return self._states(rows, self.query_viewer)

    def _states(self, rows: Rows, viewers: IntArray) -> Tensor:
        seen, positions = rows.once(_with_viewers, *viewers.tolist())
        (states,) = self.encoder.states(seen, positions=positions)
        places = seen.offsets[:-1, None] + np.arange(len(viewers))
        return states[devices.put(places, states.device)]

    @property
    def position_table(self) -> str | None:
        """Name of the weights that hold a vector for every position; None where positions are rotations."""
        for name, module in self.encoder.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                return f"{name}.weight"
        return None


def with_viewers(rows: Rows, viewers: IntArray) -> tuple[Rows, IntArray]:
    """Replace the first token of each row with viewers.

    Args:
        rows: R rows of S tokens.
        viewers: (V,) their ids.

    Returns:
        R rows of S + R (V - 1) tokens, and the position of each token: 0 for viewers, then 1, 2, ...
    """
    count = len(viewers)
    lengths = rows.lengths + count - 1
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    positions = np.maximum(places - (count - 1), 0)
    tokens = np.asarray(rows.tokens[np.repeat(rows.offsets[:-1], lengths) + positions], np.int64)
    shown = places < count
    tokens[shown] = viewers[places[shown]]
    return Rows(tokens, offsets), positions


def _with_viewers(rows: Rows, *viewers: int) -> tuple[Rows, IntArray]:
    return with_viewers(rows, np.array(viewers, np.int64))


def add_viewers(encoder: TransformerEncoder, vectors_per_document: int, seed: int) -> MultiVectorEncoder:
    """Add V + 1 randomly initialised viewers to the end of a transformer's vocabulary.

    The paper does not specify whether queries share a viewer with documents; here they have their own.

    Args:
        encoder: the transformer; changed in place.
        vectors_per_document: V, the number of viewers of a document.
        seed: the run's seed; viewers are normal with the deviation that the model's own words start with.

    Raises:
        UsageError: the model has to be padded.
    """
    model: Any = encoder.model
    first = encoder.specials.vocabulary
    last = first + vectors_per_document + 1
    with seeded(seed, "viewers"):
        if len(encoder.words) < last:
            model.resize_token_embeddings(last, mean_resizing=False)
        with torch.no_grad():
            encoder.words[first:last].normal_(std=float(getattr(model.config, "initializer_range", 0.02)))
    return MultiVectorEncoder(encoder, vectors_per_document)


def moved_positions(table: Tensor, vectors_per_document: int, first: int) -> Tensor:
    """Repeat the row of position 0, for stock models that give each of V viewers its own position.

    Args:
        table: (positions, D).
        vectors_per_document: V, the number of viewers of a document.
        first: the row of position 0.

    Returns:
        (positions + V - 1, D): the row of position 0 stands V times.
    """
    return torch.cat([table[:first], table[first : first + 1].expand(vectors_per_document, -1), table[first + 1 :]])


def document_weights(encoder: MultiVectorEncoder) -> dict[str, Tensor]:
    """Weights of the stock model of documents: those of the encoder, but for the table of positions."""
    weights: dict[str, Tensor] = encoder.encoder.model.state_dict()
    name = encoder.position_table
    assert name is not None
    return {
        **weights,
        name: moved_positions(weights[name], encoder.vectors_per_document, encoder.encoder.first_position),
    }


def name_viewers(tokenizer: Tokenizer, encoder: MultiVectorEncoder, viewers: IntArray) -> Tokenizer:
    """Give a copy of a tokenizer that knows all viewers, and puts some of them where it put [CLS].

    Args:
        tokenizer: the encoder's, without viewers.
        encoder: the encoder with the viewers.
        viewers: (V,) ids of the viewers in front of a text.

    Raises:
        UsageError: the tokenizer has gaps in its token ids, so new tokens get other ids.
    """
    names = {int(encoder.query_viewer[0]): "[VIE]"}
    names |= {int(viewer): f"[VIE_{number}]" for number, viewer in enumerate(encoder.viewers, start=1)}
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens(list(names.values()))
    if [backend.token_to_id(name) for name in names.values()] != list(names):
        raise UsageError("the tokenizer has gaps in its token ids, so viewers cannot be saved: use another base.")
    assert encoder.specials.sep is not None, "viewers need a transformer"
    end = str(backend.id_to_token(encoder.specials.sep))
    front = [names[int(viewer)] for viewer in viewers]
    backend.post_processor = processors.TemplateProcessing(
        single=[*front, "$A", end], special_tokens=[(name, backend.token_to_id(name)) for name in (*front, end)]
    )
    specials = replace(tokenizer.specials, vocabulary=max(names) + 1)
    return Tokenizer(backend, specials)
