"""Encode texts with a graph of ONNX: tokens and pooling by sentence-transformers, token vectors by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.files import digest
from pretrieve.core.types import FloatArray, Similarity
from pretrieve.models.checkpoints import Checkpoint
from pretrieve.models.onnx_graph import OUTPUT, inputs_of, states_of
from pretrieve.text.encoding import first_words

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

States = Callable[[Mapping[str, Tensor]], Tensor]
_BATCH = 32  # texts


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphEncoder:
    """A model of sentence-transformers whose token vectors come from elsewhere.

    Attributes:
        model: tokenizes, pools and normalises.
        usage: prompts and similarity.
        states: from what the tokenizer gives to token vectors (R, longest row, D).
        fingerprint: hash of what computes the token vectors.
        location: where the model is.
    """

    model: SentenceTransformer
    usage: Checkpoint
    states: States
    fingerprint: str
    location: str

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
        return self._encode(texts, self.usage.query_prompt)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts with the document prompt: (R, D) float32."""
        return self._encode(texts, self.usage.document_prompt)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str], prompt: str) -> FloatArray:
        """Encode longest first, so that little is padded."""
        longest = self.model.max_seq_length
        texts = [first_words(text, longest) for text in texts] if longest else list(texts)
        order = np.argsort([-len(text) for text in texts], kind="stable")
        parts = [
            self._vectors([texts[index] for index in order[start : start + _BATCH]], prompt)
            for start in range(0, len(texts), _BATCH)
        ] or [np.zeros((0, self.model.get_embedding_dimension() or 0), np.float32)]
        found = np.empty((len(texts), parts[0].shape[1]), np.float32)
        found[order] = np.concatenate(parts)
        return found

    def _vectors(self, texts: list[str], prompt: str) -> FloatArray:
        features: dict[str, Any] = self.model.preprocess(texts, prompt=prompt)
        features["token_embeddings"] = self.states(features)
        for module in list(self.model)[1:]:
            features = module(features)
        vectors: Tensor = features["sentence_embedding"][:, : self.model.truncate_dim]
        return np.asarray(vectors.float().numpy())


def torch_encoder(model: SentenceTransformer, usage: Checkpoint, location: str) -> GraphEncoder:
    """The model as torch computes it, padded: what its graph is compared with.

    Args:
        model: on the CPU.
        usage: how it is used.
        location: where it is.
    """
    names, inner = inputs_of(model), states_of(model)
    return GraphEncoder(
        model=model,
        usage=usage,
        states=lambda features: inner(**{name: features[name] for name in names}),
        fingerprint="torch",
        location=location,
    )


def onnx_encoder(model: SentenceTransformer, usage: Checkpoint, graph: Path, location: str) -> GraphEncoder:
    """The model with a graph in place of its transformer, on the CPU, with as many threads as torch has.

    Args:
        model: on the CPU.
        usage: how it is used.
        graph: file of ONNX.
        location: where the model is.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def states(features: Mapping[str, Tensor]) -> Tensor:
        (found,) = session.run([OUTPUT], {name: features[name].numpy() for name in names})
        return torch.from_numpy(found)

    return GraphEncoder(model=model, usage=usage, states=states, fingerprint=digest(graph), location=location)
