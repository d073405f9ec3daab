"""The queries that a model was fine-tuned on, as hashes beside it: an evaluation on them is not held out.

``training_queries.json`` lists the runs of fine-tuning: where the labels were, their split, and 8 bytes of a hash of
each query's text, sorted. A text cannot be read from its hash, but who has a text can tell whether it was there.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import CorruptError

TRAINING_QUERIES = "training_queries.json"
_DIGITS = 16  # of a hash: 8 bytes


@dataclass(frozen=True, kw_only=True)
class TrainingQueries:
    """The queries of one run of fine-tuning.

    Attributes:
        labels: where they were, as the command named it.
        split: split of a BEIR folder; empty for a file.
        trained_on: hashes of the queries trained on, sorted, one after the other.
        held_out: hashes of the queries that chose the weight beside BM25, and the step where training stopped.
    """

    labels: str
    split: str
    trained_on: str
    held_out: str

    @staticmethod
    def of(labels: Path, split: str, trained_on: Iterable[str], held_out: Iterable[str]) -> TrainingQueries:
        """Hash the texts of queries."""
        return TrainingQueries(
            labels=str(labels),
            split=split if labels.is_dir() else "",
            trained_on="".join(sorted(set(map(text_hash, trained_on)))),
            held_out="".join(sorted(set(map(text_hash, held_out)))),
        )

    @property
    def name(self) -> str:
        """What messages call the labels."""
        return f"split {self.split} of {self.labels}" if self.split else self.labels


@dataclass(frozen=True, kw_only=True)
class SeenQueries:
    """How many of some queries a model has seen.

    Attributes:
        queries: number of the queries asked about.
        trained_on: number of those that it was trained on.
        held_out: number of those that only chose its weight beside BM25 or its last step.
        labels: names of the labels they were in.
    """

    queries: int
    trained_on: int
    held_out: int
    labels: Sequence[str]

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "labels": list(self.labels)}

    def warning(self, model: str) -> str:
        """One line about a model."""
        where = f"these {self.queries:,} queries ({'; '.join(self.labels)})"
        if not self.trained_on:
            return f"{model} was selected on {self.held_out:,} of {where}: its figures are not held out."
        more = f", and selected on {self.held_out:,} more" if self.held_out else ""
        return f"{model} was fine-tuned on {self.trained_on:,} of {where}{more}: its figures are not held out."


def text_hash(text: str) -> str:
    """Hash of a query's text; case, white space and compatible forms of characters do not count."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.blake2b(plain.encode(errors="surrogatepass"), digest_size=_DIGITS // 2).hexdigest()


def write_training_queries(folder: files.Folder, base: str, own: TrainingQueries | None = None) -> None:
    """Write the queries of a model: those that its base was fine-tuned on, and its own; nothing where there are none.

    Args:
        folder: folder of the model.
        base: folder or hub name of the model that training started from.
        own: queries of the run.

    Raises:
        CorruptError: the base's file cannot be read.
        StorageError: writing to disk failed.
    """
    runs = [*read_training_queries(base), *([own] if own is not None else [])]
    if runs:
        folder.json(TRAINING_QUERIES, {"runs": [asdict(run) for run in runs]})


def read_training_queries(model: str) -> list[TrainingQueries]:
    """The runs of fine-tuning that a model remembers, oldest first; none for a model of others.

    Args:
        model: folder or hub name.

    Raises:
        CorruptError: the file cannot be read.
    """
    path = _path(model)
    if path is None or not path.is_file():
        return []
    try:
        runs = [TrainingQueries(**run) for run in orjson.loads(path.read_bytes())["runs"]]
        if not all(isinstance(value, str) for run in runs for value in asdict(run).values()):
            raise TypeError("a value is not a string")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptError(f"{path} cannot be read ({error}): restore the model from a copy.") from None
    return runs


def seen_queries(model: str, texts: Sequence[str]) -> SeenQueries | None:
    """Count the queries that a model was fine-tuned on; None where it has seen none.

    Args:
        model: folder or hub name.
        texts: texts of queries.

    Raises:
        CorruptError: the model's file cannot be read.
    """
    runs = [(run, set(_parts(run.trained_on)), set(_parts(run.held_out))) for run in read_training_queries(model)]
    hashes = [text_hash(text) for text in texts] if runs else []
    trained = {part for _, parts, _ in runs for part in parts}
    held_out = {part for _, _, parts in runs for part in parts} - trained
    labels = [run.name for run, *sides in runs if any(side.intersection(hashes) for side in sides)]
    if not labels:
        return None
    return SeenQueries(
        queries=len(hashes),
        trained_on=sum(one in trained for one in hashes),
        held_out=sum(one in held_out for one in hashes),
        labels=list(dict.fromkeys(labels)),
    )


def _parts(hashes: str) -> list[str]:
    return [hashes[start : start + _DIGITS] for start in range(0, len(hashes), _DIGITS)]


def _path(model: str) -> Path | None:
    if Path(model).is_dir():
        return Path(model) / TRAINING_QUERIES
    try:
        from huggingface_hub import try_to_load_from_cache  # without the training extra there are only folders
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(model, TRAINING_QUERIES)
    except ValueError:  # not a name of the hub
        return None
    return Path(found) if isinstance(found, str) else None
