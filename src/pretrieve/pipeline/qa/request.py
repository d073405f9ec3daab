"""The arguments of ``read``, validated before anything slow begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pretrieve.models import devices
from pretrieve.pipeline.run.workspace import check_workspace
from pretrieve.text.corpus import Fields, FileFilter, OnBad
from pretrieve.training.trackers import check_tracker


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """Arguments of ``train_reader``.

    Attributes:
        sources: documents to answer from.
        questions: file of questions with answers.
        model: retriever to start from: a folder or hub name.
        output: folder for retriever and reader.
        reader: transformer to start the reader from; None: the retriever's.
        steps: training steps; None: 20 passes over the questions.
        settings: values of ``ReadingOptions`` and ``TrainingOptions``, by name.
        seed: seed of the run.
        resume: resume from the last checkpoint.
        overwrite: replace an existing output.
        on_bad: policy for unreadable records of documents and questions.
        file_filter: the files that are read in folders.
        fields: field names of the sources.
        tracker: experiment tracker; ``auto`` is TensorBoard if it is installed.
        keep_workspace: keep tokens and checkpoints of the finished run.
        device: where to compute: auto, cpu, or the name of an accelerator.
    """

    sources: tuple[str, ...]
    questions: Path
    model: str
    output: Path
    reader: str | None = None
    steps: int | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    on_bad: OnBad = "auto"
    file_filter: FileFilter = field(default_factory=FileFilter)
    fields: Fields = field(default_factory=Fields)
    tracker: str = "none"
    keep_workspace: bool = False
    device: str = "auto"

    def check(self) -> None:
        """Validate the arguments.

        Raises:
            UsageError: tracker or device is unknown, or the output is taken or holds what the run is to read.
        """
        check_tracker(self.tracker)
        devices.check(self.device)
        models = (self.model, self.reader or self.model)
        sources: list[str | Path] = [*self.sources, self.questions, *models]
        check_workspace(self.output, sources, resume=self.resume, overwrite=self.overwrite)
