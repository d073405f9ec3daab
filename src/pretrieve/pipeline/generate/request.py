"""What a person asks of ``generate``: checked before anything slow begins."""

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
from pretrieve.text.corpus import Fields, OnBad

if TYPE_CHECKING:
    from pretrieve.generation.asking import Generator

_AT_LEAST = {"queries": 1, "keep_within": 1, "negatives": 0, "depth": 1, "batch_size": 1, "document_words": 1}
_AT_LEAST |= {"copied_words": 0}
_BEFORE = b'{"id":'  # how a line of ours begins
# What decides the bytes of the file; sources and models count by their contents.
_DECIDES = ("queries", "temperature", "top_k", "top_p", "max_new_tokens", "batch_size", "document_words",
            "max_documents", "keep_within", "copied_words", "negatives", "depth", "seed")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """The arguments of a run.

    Attributes:
        sources: documents; none where they are given otherwise.
        output: the file of labels.
        generator: folder or hub name of a seq2seq or causal model, or the model's name at the endpoint.
        endpoint: address of an OpenAI-compatible API, instead of a model on this machine.
        model: folder or hub name of a retriever that searches beside BM25.
        cross_encoder: folder or hub name of the teacher; without it there are no scores.
        queries: wanted for each document.
        prompt: template with {document}, {title} and {number}, or @FILE; what suits the generator if not given.
        max_documents: ask for queries of so many documents, drawn at random; all are searched.
        document_words: the generator sees so many words of a document.
        temperature: of the generator's draws.
        top_k: of the generator's draws; not sent to an endpoint.
        top_p: of the generator's draws.
        max_new_tokens: most tokens of a query.
        batch_size: documents that the generator reads at once, on this machine.
        keep_within: a query is kept if its document is among the first so many hits.
        copied_words: a query with a longer verbatim run of its document is dropped; 0 keeps all.
        negatives: hard negatives of a query.
        depth: they are drawn from the best so many documents.
        api_key_env: environment variable with the API key.
        allow_remote: the endpoint may be another machine.
        timeout: seconds to wait for an answer of the endpoint.
        retries: of a request.
        concurrency: requests at once.
        skip_refused: leave out documents that the endpoint refuses.
        beir: folder to write documents, queries and what is relevant to as well.
        seed: all randomness comes from it.
        resume: go on with a run that was stopped.
        overwrite: replace what is at ``output``.
        on_bad: what to do with records that cannot be read.
        fields: which fields of the sources hold what.
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
    on_bad: OnBad = "fail"
    fields: Fields = field(default_factory=Fields)

    def check(self) -> None:
        """Say at once what cannot work.

        Raises:
            UsageError: a number is too small, options do not go together, or the output is taken.
        """
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: {least} is the fewest.")
        if self.max_documents is not None and self.max_documents < 1:
            raise UsageError(f"--max-documents {self.max_documents}: 1 is the fewest.")
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
        """Where a run keeps what is done."""
        return self.output.with_name(f"{self.output.name}.parts")

    @property
    def report(self) -> Path:
        """The report beside the file."""
        return self.output.with_name(f"{self.output.name}.report.json")

    @property
    def sampling(self) -> Sampling:
        """How the generator draws."""
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
        )

    def connection(self) -> Connection | None:
        """How the endpoint is reached, if there is one.

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
            UsageError: there is no such model, or it writes no text.
            MissingExtraError: a model of transformers is asked for, which is not installed.
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
        """What decides the result, to refuse to go on with another run."""
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
        """Refuse a place that is taken, that the run reads, or that holds a run which nobody asked to go on with."""
        output = self.output
        if self.beir is not None:
            files.check_free(self.beir, replace=self.overwrite or self.resume)
            files.check_apart(self.beir, [output.parent / output.name, *self.sources])
        if output.is_dir() or not output.name:
            raise UsageError(f"{output} is a folder: give --output the name of a file, such as labels.jsonl.")
        files.check_apart(output, [*self.sources, self.generator, self.model or "", self.cross_encoder or ""])
        if self.parts.is_dir() and not (self.resume or self.overwrite):
            raise UsageError(
                f"{output} has a run that was not finished: add --resume to go on, or --overwrite to start anew."
            )
        if not output.is_file():
            return
        with output.open("rb") as file:
            ours = file.readline(1 << 16).startswith(_BEFORE) and self.report.is_file()
        if not ours:
            raise UsageError(f"{output} exists, and was not written by `pretrieve generate`: choose another name.")
        if not (self.resume or self.overwrite):
            raise UsageError(f"{output} exists already: choose another name, or replace it with --overwrite.")


def _template(text: str) -> str:
    """A template as it is given, or out of a file that is named after ``@``."""
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
    left_out = ("fields", "resume", "overwrite", "output", "beir")
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if name not in left_out}
