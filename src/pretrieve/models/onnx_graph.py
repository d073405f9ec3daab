"""The ONNX graph of a stock transformer: token ids in, token vectors out, for any number of texts of any length.

Pooling and what follows stay modules of sentence-transformers. The graph has the inputs that the model's tokenizer
gives, and the output ``last_hidden_state``, as ``ORTModelForFeatureExtraction`` of optimum expects it.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pretrieve.core.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OUTPUT = "last_hidden_state"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_LARGEST = (1 << 31) - (1 << 26)  # bytes of weights: a file of protobuf holds less than 2 GiB, and the graph needs some
_REASON = 300  # characters of a library's message


class _States(nn.Module):
    """A model of transformers whose only output is the last hidden states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._more = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states: Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, **types, **self._more
        ).last_hidden_state
        return states


def inputs_of(model: SentenceTransformer) -> list[str]:
    """Names of the graph's inputs: what the tokenizer gives and the model reads.

    Args:
        model: whose first module is a transformer.
    """
    first: Any = model[0]
    given, read = model.preprocess(["a"]), inspect.signature(first.model.forward).parameters
    return [name for name in _INPUTS if name in given and name in read]


def states_of(model: SentenceTransformer) -> nn.Module:
    """The transformer of a model as the graph has it, to compare with.

    Args:
        model: whose first module is a transformer; it has not run packed.
    """
    first: Any = model[0]
    return _States(first.model).eval()


def graph_of(model: SentenceTransformer, name: str) -> bytes:
    """The graph of a model's transformer, in float32, as a file of ONNX.

    Args:
        model: on the CPU; its first module is a transformer.
        name: of the model, for messages.

    Raises:
        ModelError: torch cannot export it, or its file would be too large.
    """
    states = states_of(model)
    if (size := sum(weight.numel() * 4 for weight in states.parameters())) > _LARGEST:
        raise ModelError(
            f"{name} has {size / 1e9:.1f} GB of weights, and a file of ONNX holds 2: export a smaller model, or distil "
            "it with  pretrieve distill."
        )
    names = inputs_of(model)
    example = model.preprocess(["a b c", "a longer text, so that the other one is padded"])
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=max(4, model.max_seq_length or 512))
    try:
        with without_messages(), torch.no_grad():
            program = torch.onnx.export(
                states,
                (),
                kwargs={one: example[one] for one in names},
                input_names=names,
                output_names=[OUTPUT],
                dynamic_shapes={one: {0: batch, 1: length} for one in names},
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # anything that a model does may be unknown to the exporter
        reason = (" ".join(str(error).split()) or type(error).__name__)[:_REASON]
        raise ModelError(f"{name}: torch cannot export this architecture to ONNX ({reason}).") from None
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


def quantize(graph: Path, output: Path) -> None:
    """Write a graph with int8 weights, whose activations are quantized as it runs.

    Weights of matrices have a scale for each column, and seven bits: with eight, processors that have AVX2 or AVX-512
    without VNNI clip sums, so that vectors would depend on where they are computed.

    Args:
        graph: file of ONNX.
        output: file to write.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with without_messages():
        quantize_dynamic(graph, output, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Hide what the exporter and the quantizer log and warn of: packages of other models, and their own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
