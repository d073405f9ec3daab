"""What ``pretrieve encode`` is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pretrieve.core.bounds import check_bounds
from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.extras import require
from pretrieve.pipeline.encode.shards import Format, Precision, passage_options
from pretrieve.pipeline.run.sources import source_words
from pretrieve.text.beir_files import beir_file
from pretrieve.text.corpus import Fields, FileFilter, OnBad

Engine = Literal["local", "ray"]
SHARD_SIZE = 32_768  # 34 MB of vectors of 256 dimensions; a multiple of the 1,024 texts that are encoded at once
_LARGEST_SHARD = 1 << 22
_MOST = 100_000  # processes


@dataclass(frozen=True, kw_only=True)
class EncodeRequest:
    """Arguments of a run.

    Attributes:
        sources: documents, or queries.
        model: folder or hub name.
        output: folder of the shards.
        part: (i, n): shards i, i + n, i + 2 n, ... are written, and those of the other n - 1 processes are not.
        format: format of a shard's vectors.
        dtype: their precision.
        shard_size: documents of a shard.
        queries: the sources are queries, encoded as such.
        passages: words of the passages that long documents are cut into, as by an index; 0: they are not.
        engine: ``local``: this process; ``ray``: workers of Ray Data, which take the parts.
        workers: number of Ray's workers; default: its processors, or GPUs for a model of torch.
        fields: names of the fields.
        file_filter: the files that are read in folders.
        on_bad: policy for unreadable records.
        described: usage of a model whose files do not specify it.
    """

    sources: tuple[str, ...]
    model: str
    output: Path
    part: tuple[int, int] = (0, 1)
    format: Format = "npy"
    dtype: Precision = "float32"
    shard_size: int = SHARD_SIZE
    queries: bool = False
    passages: int = 0
    engine: Engine = "local"
    workers: int | None = None
    fields: Fields = Fields()  # noqa: RUF009 - frozen
    file_filter: FileFilter = FileFilter()  # noqa: RUF009 - frozen
    on_bad: OnBad = "auto"
    described: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse values that cannot be, before anything is read.

        Raises:
            UsageError: a value is unknown, out of bounds, or has no effect.
            MissingExtraError: the format or the engine is not installed.
        """
        for name, known in (("format", Format), ("dtype", Precision), ("engine", Engine)):
            if (value := getattr(self, name)) not in get_args(known):
                raise UsageError(f"unknown {name} {value!r}.{suggest(value, get_args(known))}")
        check_bounds(self, 1, _LARGEST_SHARD, "shard_size")
        check_bounds(self, 1, _MOST, "workers")
        if self.queries and self.passages:
            raise UsageError("--passages cuts documents, and --queries reads queries: leave one of them out.")
        if self.engine == "local" and self.workers is not None:
            raise UsageError("workers are of --engine ray: add it, or start a process for each --shard i/n.")
        if self.engine == "ray" and self.part != (0, 1):
            raise UsageError("--engine ray divides the shards among its workers: leave --shard out.")
        if self.format == "parquet":
            require("parquet", "--format parquet")
        if self.format == "safetensors":
            require("train", "--format safetensors")
        if self.engine == "ray":
            require("ray", "--engine ray")

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is read: the sources; of a BEIR folder of queries, its queries.

        Raises:
            UsageError: a folder has no queries.
        """
        if not self.queries:
            return self.sources
        return tuple(str(beir_file(Path(name), "queries")) if Path(name).is_dir() else name for name in self.sources)

    def index_words(self, index: str) -> list[str]:
        """The command that indexes the documents with their vectors.

        Args:
            index: name of the index.
        """
        words = ["pretrieve", "index", *self.sources, "--model", self.model, "--vectors", str(self.output), "-o", index]
        words += [*source_words(self), *passage_options(self.passages)]
        for name, value in self.described.items():
            words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
        return words


def part_of(text: str) -> tuple[int, int]:
    """Read ``i/n``, i from 0 to n - 1.

    Raises:
        UsageError: it is something else.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 <= number < count <= _MOST:
        raise UsageError(f"--shard {text}: give i/n with i from 0 to n - 1: the first of eight processes is 0/8.")
    return number, count
