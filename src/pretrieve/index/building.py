"""Building an index: how its text is analysed, BM25, vectors, and the weights of fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.types import Document, FloatArray, TextEncoder
from pretrieve.index.analysis import Analysis, Analyzer, languages_of
from pretrieve.index.dense import Dense
from pretrieve.index.exhaustive import SMALL
from pretrieve.index.fuse import FOREIGN_SHORT_WEIGHT, OWN_WEIGHT, Fusion, choose
from pretrieve.index.hits import sentence_spans
from pretrieve.index.ids import Ids, Members
from pretrieve.index.lexical import BM25, Lexical, Titles
from pretrieve.index.lexical import choose as choose_bm25
from pretrieve.index.options import IndexOptions
from pretrieve.index.parts import PartWriter, name_of
from pretrieve.index.passages import PassagePostings
from pretrieve.index.postings import Postings
from pretrieve.index.pseudo import Records, full_text, pseudo_queries
from pretrieve.index.stored_model import keep_model
from pretrieve.index.texts import batches, texts_for
from pretrieve.index.ties import Ties
from pretrieve.index.weighing import choose_on_candidates
from pretrieve.index.writing import writing
from pretrieve.models.bag import Bag, third_ranker
from pretrieve.text.documents import Documents
from pretrieve.text.language import detect

VERSION = 2  # of an index on disk
_SHORT = 20  # words of a document below which no pseudo-query can be taken from it
BLOCK = 1 << 24  # maximum number of scores in memory
Vectors = Callable[[Documents], Iterable[FloatArray]]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What an index is made of; see ``index.Index``."""

    lexical: Lexical
    dense: Dense | None
    fusion: Fusion
    members: Members
    third: Dense | None


def in_memory(
    documents: Records, encoder: TextEncoder | None, options: IndexOptions, lexical: Lexical | None = None
) -> Made:
    """Index documents in memory; see ``Index.of``."""
    members = Members((Ids.of([document.id for document in documents]),))
    fits = lexical is not None and (lexical.passages is not None or not passages_weight(encoder, options))
    if lexical is None or not fits:
        lexical = _lexical(documents, encoder, options)
    lexical = lexical.with_ties(ties_of(members))
    dense = None if encoder is None else Dense.build(encoder, batches(texts_for(documents, encoder)), members)
    static = static_beside(encoder)
    third = None if static is None else Dense.build(static[0], batches(texts_for(documents, static[0])), members)
    fusion = _fusion(documents, lexical, dense, options, static)
    return Made(lexical=lexical, dense=dense, fusion=fusion, members=members, third=third)


def on_disk(
    target: Path,
    documents: Iterable[Document],
    encoder: TextEncoder,
    options: IndexOptions,
    *,
    replace: bool = False,
    vectors: Vectors | None = None,
    link_model: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Index documents on disk; see ``Index.build``."""
    options.vectors.check()
    meta: dict[str, Any] = dict(facts or {})
    number, name = 1, name_of(1)
    with writing(target), files.create(target, "index", replace=replace, meta=meta) as folder:
        stored = Documents.write(folder.path / name / "documents", documents, meta=_kept_facts(documents))
        static, titles = static_beside(encoder), Titles()
        passages = passages_weight(encoder, options) > 0
        analyzer = _analyzer(stored, options)
        writer = PartWriter(
            folder=folder,
            encoder=encoder,
            third=None if static is None else static[0],
            passages=passages,
            options=options.vectors,
        )
        given = None if vectors is None else vectors(stored)
        measured = writer.write(number, stored, analyzer, watch=titles.watch, vectors=given)
        members = Members((Ids.open(folder.path / name),))
        postings = Postings.open(folder.path / name / "words")
        lexical = Lexical.over(
            analyzer,
            [postings],
            options.bm25 or choose_bm25(postings.lengths, titles),
            passages=[PassagePostings.open(folder.path / name / "words/passages")] if passages else None,
            ties=ties_of(members),
        )
        near = measured.get("vectors", {}).get("approximate")
        dense = Dense.open([folder.path / name / "vectors"], encoder, members, facts=[near])
        fusion = _fusion(stored, lexical, dense, options, static)
        model = keep_model(folder, encoder.location, target, link=link_model)
        folder.adopt()
        meta |= _facts(stored, lexical, dense, fusion, static, model)
        meta["vectors"] = options.vectors.facts()
        if measured:
            meta["parts"][0]["measured"] = measured


def ties_of(members: Members) -> Ties:
    """What decides between equal scores of BM25."""
    return Ties(ranks=[part.ranks for part in members.parts], ids=members.names)


def static_beside(encoder: TextEncoder | None) -> tuple[Bag, float] | None:
    """The static model that was trained beside the encoder, and its weight."""
    return None if encoder is None else third_ranker(Path(encoder.location))


def passages_weight(encoder: TextEncoder | None, options: IndexOptions) -> float:
    """Weight of the best passage: as given, or as the model was trained for."""
    return options.passages if options.passages is not None else float(getattr(encoder, "passages", 0.0))


def _lexical(documents: Records, encoder: TextEncoder | None, options: IndexOptions) -> Lexical:
    titles = Titles()
    texts = map(full_text, titles.watch(documents))
    bm25: BM25 | Callable[[Any], BM25] = options.bm25 or partial(choose_bm25, titles=titles)
    return Lexical.build(_analyzer(documents, options), texts, bm25, passages=passages_weight(encoder, options) > 0)


def _analyzer(documents: Records, options: IndexOptions) -> Analyzer:
    languages = options.languages
    if languages is None:
        languages = languages_of((full_text(documents[index]) for index in _sample(documents)), detect)
    return Analyzer(Analysis(languages=languages, stop_words=options.stop_words, stemmer=options.stemmer), detect)


def _sample(documents: Records) -> range:
    """Numbers of some two hundred documents, evenly spaced."""
    return range(0, len(documents), max(1, len(documents) // 200))


def _fusion(
    documents: Records, lexical: Lexical, dense: Dense | None, options: IndexOptions, static: tuple[Bag, float] | None
) -> Fusion:
    if dense is None:
        return Fusion(dense=0.0, reason="there are no vectors")
    passages = passages_weight(dense.encoder, options)
    weight = 0.0 if static is None else static[1]
    return replace(_vector_weight(documents, lexical, dense, options), passages=passages, third=weight)


def _vector_weight(documents: Records, lexical: Lexical, dense: Dense, options: IndexOptions) -> Fusion:
    """Weight of the vectors: as given, as chosen in training, or by pseudo-queries."""
    if options.dense is not None:
        return Fusion(dense=options.dense, reason="given")
    own = isinstance(dense.encoder, Bag)
    if isinstance(dense.encoder, Bag) and dense.encoder.weight is not None:
        # Pseudo-queries from its training documents would favour the model.
        return Fusion(dense=dense.encoder.weight, reason="saved by the model's training")
    lengths = [len(full_text(documents[index]).split()) for index in _sample(documents)]
    if np.median(lengths) < _SHORT:
        return Fusion(
            dense=OWN_WEIGHT if own else FOREIGN_SHORT_WEIGHT,
            reason="the default for documents too short to take queries out of",
        )
    sets = pseudo_queries(documents, options.pseudo_queries, options.seed, sentence_spans)
    block = max(1, min(64, BLOCK // (len(documents) * dense.views)))
    if dense.members is not None and len(documents) > SMALL:
        return choose_on_candidates(lexical, dense, sets, dense.members, own=own, block=block)
    return choose(lexical, dense, sets, own=own, block=block)


def _facts(
    documents: Documents,
    lexical: Lexical,
    dense: Dense,
    fusion: Fusion,
    static: tuple[Bag, float] | None,
    model: Mapping[str, str],
) -> dict[str, Any]:
    assert isinstance(lexical.analyzer, Analyzer)
    encoder = dense.encoder
    return {
        "version": VERSION,
        "parts": [{"number": 1, "documents": len(documents), "deleted": 0, "deletes": 0}],
        "next_part": 2,
        "analysis": asdict(lexical.analyzer.analysis),
        "stop_words": {language: found.facts() for language, found in lexical.analyzer.lists.items()},
        "lexical": lexical.facts(),
        "fusion": fusion.facts(),
        "model": {
            "fingerprint": encoder.fingerprint,
            **model,
            "similarity": encoder.similarity,
            "described": dict(getattr(encoder, "described", {})),
            **({"configuration": found} if (found := getattr(encoder, "configuration", "")) else {}),
            **({} if static is None else {"third": static[0].fingerprint}),
            **({"views": dense.views} if dense.views > 1 else {}),
        },
    }


def _kept_facts(documents: Iterable[Document]) -> dict[str, Any]:
    """What is known of how documents were read."""
    own = ("documents", "fingerprint")
    return (
        {name: v for name, v in documents.meta.items() if name not in own} if isinstance(documents, Documents) else {}
    )
