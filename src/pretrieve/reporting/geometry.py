"""The start and the trained model on held-out documents: alignment, uniformity, and neighbours before and after.

Alignment and uniformity are those of Wang and Isola (2020): the mean squared distance of the two vectors of a pair, and
the logarithm of the mean of exp(-2 d^2) over the distances d of vectors of different documents; vectors have length 1.
A sample is encoded whose size is found from the time that a few texts take.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrieve.core.errors import PretrieveError
from pretrieve.core.model_files import START
from pretrieve.core.types import Document, FloatArray, IntArray, TextEncoder
from pretrieve.models.text_encoder import open_encoder
from pretrieve.reporting.page import Section, Table
from pretrieve.text.documents import Documents

SECONDS = 10.0  # about what one model may take
_MOST, _FEWEST, _TRIED = 512, 16, 4  # pairs
_CHARACTERS = 2_000  # of a text
_SHOWN, _NEAREST = 4, 3  # documents, and neighbours of each
_WORDS = 12  # of a document without a title that stand for it
_TITLE = 90  # characters
_TRAINED = "trained"


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """One model on the sample: its vectors (Q, D) of queries and (Q, D) of documents, of length 1."""

    queries: FloatArray
    documents: FloatArray

    @property
    def alignment(self) -> float:
        """Mean squared distance within pairs."""
        return float(np.square(self.queries - self.documents).sum(axis=1).mean())

    @property
    def uniformity(self) -> float:
        """Logarithm of the mean Gaussian potential of pairs of different documents."""
        squares = 2.0 - 2.0 * (self.documents @ self.documents.T)
        different = squares[~np.eye(len(squares), dtype=bool)]
        return float(np.log(np.exp(-2.0 * np.maximum(different, 0.0)).mean()))

    def nearest(self, place: int, count: int) -> list[tuple[int, float]]:
        """The documents nearest to one of them, itself left out, with their cosines."""
        scores = self.documents @ self.documents[place]
        order = [int(other) for other in np.argsort(-scores, kind="stable") if other != place]
        return [(other, float(scores[other])) for other in order[:count]]


def geometry_sections(folder: Path, documents: Documents, held_out: IntArray) -> list[Section]:
    """Alignment, uniformity and neighbours of a model and its start, or why they are not shown.

    Args:
        folder: of the model, with its start inside.
        documents: all documents of the run.
        held_out: indices of those that were not trained on.
    """
    title = "Alignment and uniformity"
    pairs = _pairs(documents, held_out)
    if len(pairs) < _FEWEST:
        return [Section(title=title, notes=[f"Not measured: {len(pairs)} held-out pairs, of {_FEWEST} needed."])]
    if not (folder / START).is_dir():
        return [Section(title=title, notes=["Not measured: the folder has no start."])]
    try:
        encoders = {START: open_encoder(str(folder / START)), _TRAINED: open_encoder(str(folder))}
        size = min(_affordable(encoder, pairs) for encoder in encoders.values())
        chosen = [pairs[int(place)] for place in np.linspace(0, len(pairs) - 1, size).round()]
        found = {name: _geometry(encoder, chosen) for name, encoder in encoders.items()}
    except PretrieveError as error:
        return [Section(title=title, notes=[f"Not measured: {error}"])]
    if any(one is None for one in found.values()):
        return [Section(title=title, notes=["Not measured: the model gives a document several vectors."])]
    both = {name: one for name, one in found.items() if one is not None}
    return [_numbers(title, both, size, len(pairs)), _neighbours(both, chosen)]


def _pairs(documents: Documents, held_out: IntArray) -> list[tuple[str, str, str]]:
    """Name, query and text of each document that has both."""
    found = [_pair(documents[int(index)]) for index in held_out[:: max(1, len(held_out) // (2 * _MOST))]]
    return [pair for pair in found if pair[1] and pair[2]]


def _pair(document: Document) -> tuple[str, str, str]:
    title, text = " ".join(document.title.split()), document.text.strip()[:_CHARACTERS]
    if title:
        return title[:_TITLE], title, text
    words = text.split()
    opening = " ".join(words[:_WORDS])
    return opening[:_TITLE], opening, " ".join(words[_WORDS:])


def _affordable(encoder: TextEncoder, pairs: Sequence[tuple[str, str, str]]) -> int:
    """Number of pairs that are encoded in about the time allowed, from the time of a few."""
    texts = [pair[2] for pair in pairs[:_TRIED]]
    encoder.encode_documents(texts)  # the first call sets things up
    began = time.perf_counter()
    encoder.encode_documents(texts)
    each = 1.5 * (time.perf_counter() - began) / len(texts)
    return int(np.clip(SECONDS / max(each, 1e-9), _FEWEST, min(_MOST, len(pairs))))


def _geometry(encoder: TextEncoder, pairs: Sequence[tuple[str, str, str]]) -> Geometry | None:
    documents = encoder.encode_documents([pair[2] for pair in pairs])
    if documents.ndim != 2:
        return None
    return Geometry(queries=_unit(encoder.encode_queries([pair[1] for pair in pairs])), documents=_unit(documents))


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.maximum(lengths, 1e-12)
    return unit


def _numbers(title: str, found: dict[str, Geometry], size: int, every: int) -> Section:
    notes = [
        "Alignment is the mean squared distance between the vectors of a title (or opening words) and of its text; "
        "uniformity is low where documents are spread evenly. Lower is better for both; one alone proves little.",
        f"{size:,} of {every:,} pairs of held-out documents, of at most {_CHARACTERS:,} characters; no intervals.",
    ]
    rows = [[name, f"{one.alignment:.3f}", f"{one.uniformity:.3f}"] for name, one in found.items()]
    return Section(title=title, notes=notes, tables=[
        Table(title="On vectors of length 1", head=["model", "alignment", "uniformity"], rows=rows)])  # fmt: skip


def _neighbours(found: dict[str, Geometry], pairs: Sequence[tuple[str, str, str]]) -> Section:
    tables, kept = [], []
    names = list(found)
    before, after = found[names[0]], found[names[1]]
    count = min(_NEAREST, len(pairs) - 1)
    for place in range(len(pairs)):
        first, second = ({other for other, _ in one.nearest(place, count)} for one in (before, after))
        kept.append(len(first & second) / count)
    for place in np.linspace(0, len(pairs) - 1, min(_SHOWN, len(pairs))).round():
        columns = [one.nearest(int(place), count) for one in found.values()]
        rows = [[str(rank), *(f"{pairs[other][0]} ({score:.2f})" for other, score in line)]
                for rank, line in enumerate(zip(*columns, strict=True), 1)]  # fmt: skip
        tables.append(Table(title=pairs[int(place)][0], head=["nearest", *names], rows=rows))
    notes = [
        f"The nearest of {len(pairs):,} held-out documents, with their cosine, before and after training; "
        f"of {count} neighbours {count * float(np.mean(kept)):.1f} are the same on average."
    ]
    return Section(title="Neighbours before and after", notes=notes, tables=tables)
