"""Arguments of ``export``, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pretrieve.core.errors import UsageError
from pretrieve.core.files import check_apart, check_free

GRAPH = "onnx/model.onnx"  # where sentence-transformers looks for it, beside the transformer
INT8 = "onnx/model_qint8.onnx"
REPORT = "export.json"


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """Arguments of ``export``; see the options of the command."""

    model: str
    output: Path
    to: Literal["onnx"] = "onnx"
    int8: bool = False
    benchmark: Path | None = None
    split: str = "test"
    documents: tuple[str, ...] = ()
    overwrite: bool = False

    def check(self) -> None:
        """Refuse what cannot be written or measured, before the work.

        Raises:
            UsageError: the output is taken or read, or options contradict each other.
        """
        check_free(self.output, replace=self.overwrite)
        read = [self.model, *self.documents] + ([] if self.benchmark is None else [str(self.benchmark)])
        check_apart(self.output, read)
        if self.benchmark is not None and self.documents:
            raise UsageError("--benchmark has queries and labels, for which --documents stands in: give one of them.")
        if self.benchmark is None and self.split != "test":
            raise UsageError("--split is of --benchmark: give that too, or leave --split out.")
        if not self.int8 and (self.benchmark is not None or self.documents):
            option = "--documents" if self.documents else "--benchmark"
            raise UsageError(f"{option} measures what --int8 costs: give that too, or leave {option} out.")


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written and measured.

    Attributes:
        model: what was exported.
        fingerprint: of the model.
        files: sizes in bytes of the files of ONNX, by name.
        copied: number of files of the model that were copied.
        left_out: number of files of the model that were not, by reason.
        difference: largest difference of a vector's value from torch's, for vectors of length one.
        texts: number of texts that this was found on.
        tokens: number of tokens of the shortest and the longest of them.
        speed: texts a second of torch, fp32 and int8, in one run.
        cosine: mean and lowest cosine of vectors of int8 and fp32; None without int8.
        cost: what int8 costs in nDCG@10; None where it was not measured.
        evaluation: the whole evaluation on labels, as JSON; None without.
        versions: of the packages that made the files.
    """

    model: str
    fingerprint: str
    files: Mapping[str, int]
    copied: int
    left_out: Mapping[str, int]
    difference: float
    texts: int
    tokens: tuple[int, int]
    speed: Mapping[str, float]
    cosine: Mapping[str, float] | None
    cost: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "files": dict(self.files),
            "copied": self.copied,
            "left_out": dict(self.left_out),
            "difference": self.difference,
            "texts": self.texts,
            "tokens": list(self.tokens),
            "texts_per_second": dict(self.speed),
            "cosine": None if self.cosine is None else dict(self.cosine),
            "cost": None if self.cost is None else dict(self.cost),
            "evaluation": self.evaluation,
            "versions": dict(self.versions),
        }
