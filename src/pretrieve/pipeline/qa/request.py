"""The arguments of ``read``, validated before anything slow begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pretrieve.pipeline.run.sources import OnBad
from pretrieve.pipeline.run.workspace import check_workspace
from pretrieve.text.corpus import Fields
from pretrieve.training.trackers import check_tracker


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """Arguments of ``train_reader``.

    Attributes:
        sources: the documents to answer from.
        questions: file with questions and answers.
        model: the retriever to start from: a folder or a name of the hub.
        output: folder for retriever and reader.
        reader: a transformer to start the reader from; none: the retriever's own.
        steps: updates; none: 20 times through the questions.
        settings: of ``ReadingOptions`` and ``TrainingOptions``.
        seed: seed of the run.
        resume: resume from the last checkpoint.
        overwrite: replace what is at the output.
        on_bad: what to do with documents that cannot be read.
        fields: names of the documents' fields.
        tracker: experiment tracker; ``auto`` is TensorBoard if it is installed.
        keep_workspace: keep tokens and checkpoints of the finished run.
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
    on_bad: OnBad = "fail"
    fields: Fields = field(default_factory=Fields)
    tracker: str = "none"
    keep_workspace: bool = False

    def check(self) -> None:
        """Validate the arguments.

        Raises:
            UsageError: the tracker is unknown, or the output is taken or holds what the run is to read.
        """
        check_tracker(self.tracker)
        models = (self.model, self.reader or self.model)
        sources: list[str | Path] = [*self.sources, self.questions, *models]
        check_workspace(self.output, sources, resume=self.resume, overwrite=self.overwrite)
