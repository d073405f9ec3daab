"""Arguments of ``generate``, validated before any slow work starts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrieve.core import files
from pretrieve.core.errors import UsageError
from pretrieve.core.extras import require
from pretrieve.generation.asking import Sampling
from pretrieve.generation.endpoint import Connection
from pretrieve.generation.prompts import DEFAULTS, Kind, Prompt
from pretrieve.models import devices
from pretrieve.text.corpus import Fields, FileFilter, OnBad

if TYPE_CHECKING:
    from pretrieve.generation.asking import Generator

_AT_LEAST = {"queries": 1, "keep_within": 1, "negatives": 0, "depth": 1, "batch_size": 1, "document_words": 1}
_AT_LEAST |= {"copied_words": 0}
_BEFORE = b'{"id":'  # start of a line of our files
# Arguments that determine the file; sources and models count by their contents.
_DECIDES = ("queries", "temperature", "top_k", "top_p", "max_new_tokens", "batch_size", "document_words",
            "max_documents", "keep_within", "copied_words", "negatives", "depth", "seed")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """The arguments of a run.

    Attributes:
        sources: documents; empty where they are given otherwise.
        output: the file of labels.
        generator: folder or hub name of a seq2seq or causal model, or the model's name at the endpoint.
        endpoint: address of an OpenAI-compatible API, instead of a model on this machine.
        model: folder or hub name of a retriever that searches beside BM25.
        cross_encoder: folder or hub name of the cross-encoder; None: no scores.
        queries: queries to generate per document.
        prompt: template with {document}, {title} and {number}, or @FILE; default: by the kind of generator.
        max_documents: maximum number of documents to generate for, drawn at random; all are searched.
        document_words: maximum number of words of a document in the prompt.
        temperature: sampling temperature.
        top_k: sampling among the most likely tokens; 0: all. Not sent to an endpoint.
        top_p: nucleus sampling probability.
        max_new_tokens: maximum number of tokens of a query.
        batch_size: documents per batch of a local generator.
        keep_within: rank within which a query must find its document to be kept.
        copied_words: maximum number of consecutive words copied from the document; 0: no limit.
        negatives: hard negatives per query.
        depth: number of top documents to draw negatives from.
        api_key_env: name of the environment variable with the API key.
        allow_remote: allow sending documents to another machine.
        timeout: timeout of a request, in seconds.
        retries: retries of a failed request.
        concurrency: number of concurrent requests.
        skip_refused: leave out documents that the endpoint refuses.
        beir: BEIR folder to write as well.
        seed: seed of all randomness.
        resume: resume an interrupted run.
        overwrite: replace an existing output.
        on_bad: policy for unreadable records.
        file_filter: the files that are read in folders.
        fields: field names of the sources.
        device: where to compute: auto, cpu, or the name of an accelerator.
    """

    sources: tuple[str, ...] = ()
    output: Path
    generator: str
    endpoint: str | None = None
    model: str | None = None
    cross_encoder: str | None = None
    queries: int = 3
    prompt: str | None = None
    max_documents: int | None = None
    document_words: int = 300
    temperature: float = 1.0
    top_k: int = 25
    top_p: float = 0.95
    max_new_tokens: int = 64
    batch_size: int = 8
    keep_within: int = 20
    copied_words: int = 8
    negatives: int = 10
    depth: int = 200
    api_key_env: str = ""
    allow_remote: bool = False
    timeout: float = 120.0
    retries: int = 5
    concurrency: int = 8
    skip_refused: bool = False
    beir: Path | None = None
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    on_bad: OnBad = "auto"
    file_filter: FileFilter = field(default_factory=FileFilter)
    fields: Fields = field(default_factory=Fields)
    device: str = "auto"

    def check(self) -> None:
        """Validate the arguments.

        Raises:
            UsageError: a number is too small, options do not go together, or the output is taken.
        """
        devices.check(self.device)
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: {least} is the minimum.")
        if self.max_documents is not None and self.max_documents < 1:
            raise UsageError(f"--max-documents {self.max_documents}: the minimum is 1.")
        if self.negatives > self.depth:
            raise UsageError(f"--negatives {self.negatives}: they are drawn from --depth {self.depth} documents.")
        if self.cross_encoder and not self.negatives:
            raise UsageError("--cross-encoder scores negatives beside positives: give --negatives 1 or more.")
        for name in ("api_key_env", "allow_remote", "skip_refused"):
            if getattr(self, name) and self.endpoint is None:
                raise UsageError(f"--{name.replace('_', '-')} is for --endpoint: give both, or leave it out.")
        self.sampling.__post_init__()
        self.connection()
        if self.prompt is not None:
            self.asked_as("chat")
        self._check_place()

    @property
    def parts(self) -> Path:
        """The folder of a run's progress."""
        return self.output.with_name(f"{self.output.name}.parts")

    @property
    def report(self) -> Path:
        """The report beside the file."""
        return self.output.with_name(f"{self.output.name}.report.json")

    @property
    def sampling(self) -> Sampling:
        """The sampling options of the generator."""
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
        )

    def connection(self) -> Connection | None:
        """The connection to the endpoint, if there is one.

        Raises:
            UsageError: its options do not fit.
        """
        if self.endpoint is None:
            return None
        return Connection(
            url=self.endpoint,
            model=self.generator,
            api_key_env=self.api_key_env,
            allow_remote=self.allow_remote,
            timeout=self.timeout,
            retries=self.retries,
            concurrency=self.concurrency,
            skip_refused=self.skip_refused,
        )

    def open_generator(self) -> Generator:
        """The generator, weights not loaded yet.

        Raises:
            UsageError: there is no such model, or it does not generate text.
            MissingExtraError: the generator needs transformers, which is not installed.
        """
        if (connection := self.connection()) is not None:
            from pretrieve.generation.endpoint import EndpointGenerator

            return EndpointGenerator(connection, self.sampling)
        require("train", f"the generator {self.generator}, without --endpoint,")
        from pretrieve.generation.local import LocalGenerator

        return LocalGenerator(self.generator, self.sampling)

    def asked_as(self, kind: Kind) -> Prompt:
        """The prompt for a kind of generator.

        Raises:
            UsageError: the template does not fit, its file is not there, or all answers would be the same.
        """
        template = DEFAULTS[kind] if self.prompt is None else _template(self.prompt)
        prompt = Prompt(template, self.queries, self.document_words)
        if self.temperature == 0 and self.queries > 1 and not prompt.at_once:
            raise UsageError(
                f"--temperature 0 gives the same query {self.queries} times: give --queries 1, a temperature above 0, "
                "or a --prompt with {number}."
            )
        return prompt

    def facts(self, **more: Any) -> dict[str, Any]:
        """The values that determine the result, to refuse to resume another run."""
        return {**{name: getattr(self, name) for name in _DECIDES}, **more}

    def finetune_words(self, model: str, output: str) -> list[str]:
        """The command that fine-tunes a model on the file.

        Args:
            model: folder or hub name of the model.
            output: folder for the fine-tuned one.
        """
        words = ["pretrieve", "finetune", model, str(self.output), "-o", output]
        words += ["--negatives", "given"] if self.negatives else []
        return words + (["--set", "loss=margin-mse"] if self.cross_encoder else [])

    def _check_place(self) -> None:
        """Refuse an output that exists, that the run reads, or that has an unfinished run."""
        output = self.output
        if self.beir is not None:
            files.check_free(self.beir, replace=self.overwrite or self.resume)
            files.check_apart(self.beir, [output.parent / output.name, *self.sources])
        if output.is_dir() or not output.name:
            raise UsageError(f"{output} is a folder: give --output the name of a file, such as labels.jsonl.")
        files.check_apart(output, [*self.sources, self.generator, self.model or "", self.cross_encoder or ""])
        if self.parts.is_dir() and not (self.resume or self.overwrite):
            raise UsageError(f"{output} has an unfinished run: add --resume to continue, or --overwrite to restart.")
        if not output.is_file():
            return
        with output.open("rb") as file:
            ours = file.readline(1 << 16).startswith(_BEFORE) and self.report.is_file()
        if not ours:
            raise UsageError(f"{output} exists, and was not written by `pretrieve generate`: choose another name.")
        if not (self.resume or self.overwrite):
            raise UsageError(f"{output} exists already: choose another name, or replace it with --overwrite.")


def _template(text: str) -> str:
    """A template, as given or read from the file named after ``@``."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--prompt {text}: {path} cannot be read ({error}).") from None


def plain_values(request: GenerateRequest) -> dict[str, Any]:
    """The arguments as JSON, for the report."""
    values = {item.name: getattr(request, item.name) for item in dataclasses.fields(request)}
    left_out = ("fields", "file_filter", "resume", "overwrite", "output", "beir", "device")
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if name not in left_out}
