"""Writing the vectors of a part in their dtype, with approximate neighbours where there are many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.arrays import load_array
from pretrieve.core.extras import install_command
from pretrieve.core.files import Folder
from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray, TextEncoder
from pretrieve.index.approximate import build
from pretrieve.index.compressed import open_vectors
from pretrieve.index.dense import Dense
from pretrieve.index.pseudo import Records, full_text, pseudo_queries
from pretrieve.index.recall import QUERIES, Loss, noisy_queries
from pretrieve.index.scoring import ready
from pretrieve.index.snippets import sentence_spans
from pretrieve.index.texts import batches, texts_for
from pretrieve.index.vector_options import VectorOptions
from pretrieve.text.documents import Documents

_FEW = 20  # pseudo-queries below which documents' own texts are taken
_WORDS = 6  # of a pseudo-query at most
HELD_OUT = ".queries"  # ending of the array of held-out queries of an array of vectors
PSEUDO, NOISY = "pseudo-queries", "vectors of documents, with noise"


def store_vectors(
    folder: Folder,
    name: str,
    encoder: TextEncoder,
    documents: Documents,
    options: VectorOptions,
    *,
    given: Iterable[FloatArray] | None = None,
    stored: Iterable[FloatArray] | None = None,
) -> dict[str, Any]:
    """Write the vectors of documents.

    Args:
        folder: of the artefact.
        name: of the array.
        encoder: the model.
        documents: R documents.
        options: how vectors are stored and searched.
        given: their vectors as the model gives them; default: they are encoded here.
        stored: their vectors as they are stored, in place of ``given``.

    Returns:
        What was measured: ``loss`` of the dtype, ``approximate`` how neighbours are searched.

    Raises:
        DataError: the model gives values that are not finite.
        StorageError: writing to disk failed.
    """
    size, queries = len(documents), cache(lambda: held_out_queries(documents, encoder))
    loss = Loss(queries()) if options.dtype != "float32" and stored is None else None
    if stored is not None:
        Dense.store(folder, name, encoder, stored, size, stored=True, dtype=options.dtype)
    elif given is not None:
        Dense.store(folder, name, encoder, given, size, dtype=options.dtype, loss=loss)
    else:
        texts = batches(texts_for(documents, encoder))
        Dense.write(folder, name, encoder, texts, size, dtype=options.dtype, loss=loss)
    found = {} if loss is None else {"loss": loss.facts()}
    return found | _approximate(folder, name, options, queries)


def approximate_merged(folder: Folder, name: str, options: VectorOptions, merged: Sequence[Path]) -> dict[str, Any]:
    """Write approximate neighbours of vectors that were merged; their held-out queries are those of what was merged.

    Args:
        folder: of the artefact.
        name: of the array.
        options: how vectors are searched.
        merged: the arrays that it is merged of.

    Returns:
        As ``store_vectors``.

    Raises:
        StorageError: writing to disk failed.
    """
    places = [path.with_name(path.name + HELD_OUT) for path in merged]
    kept = [np.asarray(load_array(place)) for place in places if place.is_file()]
    return _approximate(folder, name, options, (lambda: np.concatenate(kept)[:QUERIES]) if kept else None)


def _approximate(
    folder: Folder, name: str, options: VectorOptions, queries: Callable[[], FloatArray] | None
) -> dict[str, Any]:
    vectors = open_vectors(folder.path / name)
    count = int(np.prod(vectors.shape[:-1]))
    if not options.approximates(count):
        slow = options.recall is None and count > options.exact_up_to
        return {"without_faiss": count} if slow else {}
    if queries is None:
        asked, kind = noisy_queries(vectors), NOISY
    else:
        asked, kind = queries(), PSEUDO
        folder.array(f"{name}{HELD_OUT}", asked)
    facts = build(folder, name, vectors, asked, options.target, kind)
    return {"approximate": facts} if facts else {"missed": options.target}


def held_out_queries(documents: Records, encoder: TextEncoder) -> FloatArray:
    """Vectors (Q, D) of pseudo-queries, or of documents' own texts where none can be taken out of them.

    Of a longer one some words in a row are taken: people's queries are short, and their neighbours are harder to find.
    """
    sets = pseudo_queries(documents, QUERIES // 2, 0, sentence_spans)
    texts = [query for found in sets for query in found.queries][:QUERIES]
    if len(texts) < _FEW:
        chosen = generator(0, "recall/documents").permutation(len(documents))[:QUERIES]
        texts = [full_text(documents[int(place)]) for place in chosen]
    short = [_some_words(text, place) for place, text in enumerate(texts)]
    return ready(encoder.encode_queries(short), encoder.similarity)


def _some_words(text: str, place: int) -> str:
    words = text.split()
    first = int(generator(0, "recall/words", place).integers(max(1, len(words) - _WORDS + 1)))
    return " ".join(words[first : first + _WORDS])


def told(name: str, found: dict[str, Any], options: VectorOptions) -> list[str]:
    """What is to be said of an array of vectors, for people, one line each.

    Args:
        name: of the vectors, as people call them.
        found: what ``store_vectors`` measured.
        options: how vectors are stored and searched.
    """
    lines = []
    if loss := found.get("loss"):
        lines.append(
            f"{name} are stored as {options.dtype}: recall@10 {loss['recall']:.3f} of float32, mean difference of "
            f"scores {loss['difference']:.2g} ({loss['queries']} queries)."
        )
    if near := found.get("approximate"):
        lines.append(
            f"{name} are searched approximately: recall@10 {near['recall']:.3f} of exact search, of {options.target:g} "
            f"wanted ({near['queries']} {near['kind']}; {near['probes']:,} of {near['lists']:,} lists, "
            f"{near['rescored']:,} candidates scored exactly)."
        )
    if "without_faiss" in found:
        lines.append(
            f"{name} are searched exactly, which is slow for {found['without_faiss']:,}: for approximate search "
            f"install an extra ({install_command('faiss')}), and index again."
        )
    if "missed" in found:
        lines.append(f"{name} are searched exactly: no approximate search reached recall@10 {found['missed']:g}.")
    return lines
