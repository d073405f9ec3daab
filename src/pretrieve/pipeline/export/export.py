"""The workflow of ``pretrieve export``: a model in, a folder with the model and its graph out, once it is checked."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrieve.core import files
from pretrieve.evaluation.result import Result
from pretrieve.models.model_options import ModelOptions
from pretrieve.pipeline.export import cost
from pretrieve.pipeline.export.request import GRAPH, INT8, REPORT, ExportReport, ExportRequest
from pretrieve.pipeline.export.source import Source, copy_model, open_source, usage_lines
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.sources import read_documents
from pretrieve.text.beir import Collection, load_collection
from pretrieve.text.documents import Documents
from pretrieve.text.named import collection_folder
from pretrieve.text.names import Fields

if TYPE_CHECKING:
    from pretrieve.models.onnx_encoder import GraphEncoder

_PACKAGES = ("torch", "transformers", "sentence-transformers", "onnx", "onnxruntime", "onnxscript")
_REASONS = {"start": "of the model before training", "curves": "of the tracker"}


def export(request: ExportRequest, listener: Listener | None = None) -> tuple[ExportReport, Result | None]:
    """Export a model; the folder appears when all is written and checked, or not at all.

    Args:
        request: arguments.
        listener: receives progress.

    Returns:
        What was written and measured, and the evaluation on labels, if any.

    Raises:
        UsageError: an option is wrong, or the output exists.
        ModelError: the model cannot be exported, or its graph gives other vectors.
        DataError: documents or labels cannot be read.
        StorageError: writing to disk failed.
        MissingExtraError: a package is not installed.
    """
    listener = listener or Silent()
    request.check()
    source = open_source(request.model)
    for line in usage_lines(source):
        listener.note(line)
    files.sweep(request.output.absolute().parent, request.output.name)
    with _data(request, listener) as (collection, documents):
        return _Export(request, source, listener).run(collection, documents)


@contextlib.contextmanager
def _data(request: ExportRequest, listener: Listener) -> Iterator[tuple[Collection | None, Documents | None]]:
    """Labels or documents to measure with, read before the work."""
    if request.benchmark is not None:
        listener.stage("read", unit="documents and queries")
        with collection_folder(request.benchmark, request.split) as folder:
            yield load_collection(folder, request.split), None
    elif request.documents:
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary) / "documents"
            yield None, read_documents(request.documents, place, listener, fields=Fields(), on_bad="auto")
    else:
        yield None, None


class _Export:
    """One export, with its model open."""

    def __init__(self, request: ExportRequest, source: Source, listener: Listener) -> None:
        from pretrieve.models.stock_model import load_stock

        self.request, self.source, self.listener = request, source, listener
        self.model = load_stock(source.folder, source.usage, ModelOptions(device="cpu"))

    def run(self, collection: Collection | None, documents: Documents | None) -> tuple[ExportReport, Result | None]:
        """Write, check and measure."""
        meta = self._meta()
        with files.create(self.request.output, "model", replace=self.request.overwrite, meta=meta) as folder:
            copied, left_out = copy_model(self.source, folder)
            self._say_left_out(left_out)
            encoders = self._graphs(folder)
            report, result = self._measured(encoders, collection, documents)
            sizes = {name: (folder.path / name).stat().st_size for name in self._names(encoders)}
            made = ExportReport(
                model=self.source.name,
                fingerprint=self.source.fingerprint,
                files=sizes,
                copied=copied,
                left_out=left_out,
                versions={name: version(name) for name in _PACKAGES},
                **report,
            )
            folder.json(REPORT, made.to_json())
        return made, result

    def _meta(self) -> dict[str, Any]:
        """What the MANIFEST of the model says, so that the export is used in the same way."""
        place = self.source.folder
        own = files.load_manifest(place, "model")["meta"] if (place / files.MANIFEST).is_file() else {}
        return {**own, "exported": {"to": self.request.to, "fingerprint": self.source.fingerprint}}

    def _say_left_out(self, left_out: dict[str, int]) -> None:
        for reason, number in left_out.items():
            self.listener.note(f"not copied: {number:,} files {_REASONS.get(reason, f'({reason})')}.")

    def _names(self, encoders: dict[str, GraphEncoder]) -> list[str]:
        names = {cost.FP32: GRAPH, cost.QINT8: INT8}
        return [self.source.transformer + names[name] for name in encoders]

    def _graphs(self, folder: files.Folder) -> dict[str, GraphEncoder]:
        """Write the graphs, and open them."""
        from pretrieve.models.onnx_encoder import onnx_encoder
        from pretrieve.models.onnx_graph import graph_of, quantize

        graph, int8 = (self.source.transformer + name for name in (GRAPH, INT8))
        self.listener.stage("export", unit="graphs")
        folder.write(graph, graph_of(self.model, self.source.name))
        self.listener.advance(1, "fp32")
        encoders = {cost.FP32: onnx_encoder(self.model, self.source.usage, folder.path / graph, self.source.name)}
        if self.request.int8:
            quantize(folder.path / graph, folder.path / int8)
            folder.adopt()
            self.listener.advance(1, "int8")
            encoders[cost.QINT8] = onnx_encoder(self.model, self.source.usage, folder.path / int8, self.source.name)
        return encoders

    def _measured(
        self, encoders: dict[str, GraphEncoder], collection: Collection | None, documents: Documents | None
    ) -> tuple[dict[str, Any], Result | None]:
        """Compare the graphs with torch, and with each other."""
        from pretrieve.models.onnx_encoder import torch_encoder

        self.listener.stage("check", unit="graphs")
        reference = torch_encoder(self.model, self.source.usage, self.source.name)
        texts = cost.check_texts(self.model)
        facts: dict[str, Any] = {
            "difference": cost.largest_difference(encoders[cost.FP32], reference, texts),
            "texts": len(texts),
            "tokens": cost.token_range(self.model, texts),
            "speed": cost.speeds(self.model, {"torch": reference, **encoders}),
            "cosine": None,
            "cost": None,
            "evaluation": None,
        }
        if cost.QINT8 not in encoders:
            return facts, None
        facts["cosine"] = cost.cosines(*(one.encode_documents(texts) for one in encoders.values()))
        self.listener.advance(len(encoders))
        self.listener.stage("evaluate", unit="graphs")
        result = None
        if collection is not None:
            result, facts["cost"] = cost.cost_on_labels(collection, encoders)
            facts["evaluation"] = result.to_json()
        elif documents is not None:
            facts["cost"] = cost.cost_on_documents(documents, encoders)
        return facts, result
