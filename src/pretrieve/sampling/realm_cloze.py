"""Masked sentences as queries, and the rows that a reader gets of each: the sentence beside a block that may help.

Guu et al., *REALM*, ICML 2020; ``language/realm/example_generator.py`` for what is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Array, Batch, BoolArray, IntArray, Rows, SpecialTokens
from pretrieve.sampling.batches import Address, mixture
from pretrieve.sampling.masked_passages import token_weight
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.sampling.pairs import traces
from pretrieve.sampling.salient_spans import salient_spans
from pretrieve.sampling.search_blocks import SearchBlocks
from pretrieve.sampling.spans import CLS, SEP, lay_out, offsets_of, read, surround
from pretrieve.text.store import Store

_RATE = 0.15  # of the tokens, for mask="token": BERT's
_PIECES = 5  # of the longest row: [CLS] title [SEP] body [SEP]
_GEOMETRIC = 0.2  # of a span's length, for mask="span": SpanBERT's


class Cloze:
    """The sampler of REALM: a sentence an example, with one salient span masked, every piece of it.

    Sentences without a span that fits are left out: it has at most ``max_masks`` tokens, ends within ``length`` and is
    not the whole sentence. A batch has ``labels`` of each token; of each example the ``sentence`` and the ``weight``
    that its summed loss is multiplied with.

    Attributes:
        mixture: the sentences and the shares of their groups.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        mask: "salient", or as ablations "span" (a random one) and "token" (15 % of them) in sentences of any kind.
        tagger: see ``salient_spans``.
        length: maximum length of a row in tokens, special tokens included.
        max_masks: most tokens masked.
        weighted: weigh examples by their masked tokens (``passages.token_weight``), or all alike.
        coefficient: exponent of group sizes (``batches.mixture``).
        provenance: whether batches record where each token comes from (for ``explain``).

    Raises:
        UsageError: the vocabulary has no [CLS], [SEP] or [MASK].
    """

    def __init__(
        self,
        store: Store,
        specials: SpecialTokens,
        *,
        mask: Literal["salient", "span", "token"] = "salient",
        tagger: str = "rules",
        length: int = 96,
        max_masks: int = 10,
        weighted: bool = True,
        coefficient: float = 1.0,
        provenance: bool = False,
    ) -> None:
        if specials.cls is None or specials.sep is None or specials.mask is None:
            raise UsageError("the vocabulary has no [CLS], [SEP] or [MASK], which REALM needs: use another base.")
        self._tokens, self._specials, self._mask_id = np.asarray(store.tokens), specials, specials.mask
        self._mask, self._room, self._most = mask, length - specials.around(), max_masks
        self._weighted, self._provenance = weighted, provenance
        self._begins = np.asarray(store.sentences)
        self._owners = np.repeat(np.arange(len(store)), np.diff(store.document_sentences))
        self._stops = np.minimum(self._begins[1:], np.asarray(store.ends)[self._owners])
        if mask == "salient":
            self._spans = self._fitting(*salient_spans(store, tagger)[:3])
        else:
            usable = np.flatnonzero(self._stops - self._begins[:-1] >= 2)
            self._spans = _Spans(usable, self._begins[usable], self._begins[usable])
        self._sentences, self._first, self._count = np.unique(
            self._spans.sentences, return_index=True, return_counts=True
        )
        groups = None if coefficient == 1.0 else np.asarray(store.groups)[self._owners[self._sentences]]
        self.mixture = mixture(groups, len(self._sentences), coefficient)

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one masked row of each sentence (B,)."""
        rng = address.generator("cloze")
        sentences, size = self._sentences[items], len(items)
        starts = self._begins[sentences]
        lengths = np.minimum(self._stops[sentences] - starts, self._room)
        pieces = surround(starts[:, None], lengths[:, None], self._specials)
        positions = lay_out(*pieces)
        rows = read(self._tokens, positions, self._specials)
        if self._mask == "token":
            hidden = self._random_tokens(positions.values >= 0, lengths, rng)
        else:
            first, last = self._span(items, starts, lengths, rng)
            repeats = positions.lengths
            hidden = (positions.values >= np.repeat(first, repeats)) & (positions.values < np.repeat(last, repeats))
        extra, spans = traces(positions, *pieces) if self._provenance else ({}, {})
        return Batch(
            rows=Rows(np.where(hidden, self._mask_id, rows.tokens), rows.offsets),
            shape=(size, 1),
            documents=self._owners[sentences],
            per_token={"labels": np.where(hidden, rows.tokens, UNLABELLED), **extra},
            per_row=spans,
            per_example={
                "sentence": sentences,
                "weight": token_weight(size, hidden) if self._weighted else np.ones(size),
            },
        )

    def _fitting(self, sentences: IntArray, starts: IntArray, stops: IntArray) -> _Spans:
        begins = self._begins[sentences]
        fits = (stops - starts <= self._most) & (stops <= begins + self._room)
        fits &= stops - starts < self._stops[sentences] - begins
        return _Spans(sentences[fits], starts[fits], stops[fits])

    def _span(
        self, items: IntArray, starts: IntArray, lengths: IntArray, rng: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """The span to mask in each sentence: one of its salient spans, or any."""
        if self._mask == "salient":
            chosen = self._first[items] + (rng.random(len(items)) * self._count[items]).astype(np.int64)
            return self._spans.starts[chosen], self._spans.stops[chosen]
        sizes = np.minimum(rng.geometric(_GEOMETRIC, len(items)), np.minimum(self._most, lengths - 1))
        first = starts + (rng.random(len(items)) * (lengths - sizes + 1)).astype(np.int64)
        return first, first + sizes

    def _random_tokens(self, ordinary: BoolArray, lengths: IntArray, rng: np.random.Generator) -> BoolArray:
        """Some of the ordinary tokens of each row, all equally likely."""
        number = np.clip(np.round(_RATE * lengths).astype(np.int64), 1, self._most)
        owners = np.repeat(np.arange(len(lengths)), lengths)
        order = np.argsort(owners + rng.random(len(owners)), kind="stable")
        place = np.arange(len(owners)) - np.repeat(offsets_of(lengths)[:-1], lengths)
        picked = np.zeros(len(owners), np.bool_)
        picked[order] = place < np.repeat(number, lengths)
        hidden = np.zeros(len(ordinary), np.bool_)
        hidden[ordinary] = picked
        return hidden


class _Spans(NamedTuple):
    sentences: IntArray
    starts: IntArray
    stops: IntArray


class Unmasked(NamedTuple):
    """``sentences``: B rows without special tokens; ``answers``: of each the pieces of text that are masked in it."""

    sentences: Rows
    answers: list[list[IntArray]]


def unmasked(batch: Batch) -> Unmasked:
    """What the sentences of a batch of ``Cloze`` say, and what is hidden of them."""
    labels, offsets = batch.per_token["labels"], batch.rows.offsets
    hidden = labels != UNLABELLED
    ids = np.where(hidden, labels, batch.rows.tokens)
    answers = []
    for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        edges = np.flatnonzero(np.diff(hidden[first:last], prepend=False, append=False)) + first
        answers.append([ids[start:stop] for start, stop in edges.reshape(-1, 2).tolist()])
    inner = np.ones(len(ids), np.bool_)
    inner[offsets[:-1]] = inner[offsets[1:] - 1] = False
    return Unmasked(Rows(ids[inner], offsets - 2 * np.arange(len(offsets))), answers)


def with_blocks(
    batch: Batch, blocks: IntArray, search_blocks: SearchBlocks, joint: int, facts: Mapping[str, Array]
) -> Batch:
    """Add to each masked sentence its blocks, and itself beside the body of each.

    Row 0 is the sentence; rows 1 to K are [CLS] title [SEP] body [SEP], of which the first is the null document
    [CLS] [SEP] [SEP]; rows K+1 to 2K are [CLS] sentence [SEP] body [SEP] in the same order.

    Args:
        batch: of ``Cloze``, B examples of one row.
        blocks: (B, K-1); -1 for no block, whose rows are then empty.
        search_blocks: the blocks.
        joint: tokens of the longest row of sentence and body; bodies are cut.
        facts: per example, to add.

    Returns:
        B examples of 1 + 2 K rows, with ``labels`` and ``segments`` of each token.
    """
    count = blocks.shape[1] + 1
    chosen = np.concatenate([np.zeros((len(batch), 1), np.int64), blocks], axis=1)
    starts, lengths = _pieces(batch.rows.lengths, chosen, search_blocks, joint)
    positions = lay_out(starts.reshape(-1, _PIECES), lengths.reshape(-1, _PIECES))
    rows = read(search_blocks.tokens, positions, search_blocks.specials)
    has_sentence = np.concatenate([[True], np.zeros(count, np.bool_), np.ones(count, np.bool_)])
    copies = lengths[:, :, 0] * has_sentence
    target = lay_out(positions.offsets[:-1, None], copies.reshape(-1, 1)).values
    source = lay_out(np.repeat(batch.rows.offsets[:-1], 1 + 2 * count)[:, None], copies.reshape(-1, 1)).values
    joined = np.tile(np.arange(1 + 2 * count) > count, len(batch))
    facts_of_tokens = {
        "labels": np.full(len(rows.tokens), UNLABELLED, np.int64),
        "segments": np.repeat(joined, positions.lengths).astype(np.int64),
        "position": positions.values,
    }
    rows.tokens[target], facts_of_tokens["segments"][target] = batch.rows.tokens[source], 0
    facts_of_rows: dict[str, Array] = {}
    if "position" in batch.per_token:
        facts_of_rows["spans"] = _provenance(batch, starts, lengths)
    else:
        del facts_of_tokens["position"]
    for name, values in batch.per_token.items():
        facts_of_tokens[name][target] = values[source]
    return replace(
        batch,
        rows=rows,
        shape=(len(batch), 1 + 2 * count),
        per_token=facts_of_tokens,
        per_row=facts_of_rows,
        per_example={**batch.per_example, **facts},
    )


def _pieces(
    sentences: IntArray, chosen: IntArray, search_blocks: SearchBlocks, joint: int
) -> tuple[IntArray, IntArray]:
    """Starts and lengths (B, 1 + 2 K, 5); what belongs to the sentence is filled in later, so it starts anywhere."""
    present = chosen >= 0
    null = np.arange(chosen.shape[1]) == 0  # the null document is there, and has neither title nor body
    titles = np.where(present & ~null, search_blocks.title_lengths[chosen], 0)
    bodies = np.where(present & ~null, search_blocks.body_lengths[chosen], 0)
    beside = np.where(present, sentences[:, None], 0)
    title_starts, body_starts = search_blocks.title_starts[chosen], search_blocks.body_starts[chosen]
    query = _row((0, sentences[:, None]))
    retriever = _row(
        (CLS, present), (title_starts, titles), (SEP, present & ((titles > 0) | null)), (body_starts, bodies),
        (SEP, present),
    )  # fmt: skip
    reader = _row((0, beside), (body_starts, np.minimum(bodies, joint - 1 - beside)), (SEP, present))
    starts, lengths = (np.concatenate(parts, axis=1) for parts in zip(query, retriever, reader, strict=True))
    return starts, lengths


def _row(*pieces: tuple[IntArray | int, IntArray | BoolArray]) -> tuple[IntArray, IntArray]:
    """Starts and lengths (B, K, 5) of a row of each block: its pieces from the left, then empty ones.

    Args:
        pieces: start (B, K) and length (B, K) of each; a special token is there or not.
    """
    starts, lengths = np.zeros((2, *pieces[0][1].shape, _PIECES), np.int64)
    for number, (start, length) in enumerate(pieces):
        starts[..., number], lengths[..., number] = start, length
    return starts, lengths


def _provenance(batch: Batch, starts: IntArray, lengths: IntArray) -> IntArray:
    """The stretches (B * (1 + 2 K), 5, 2) that rows were cut from; of joint rows those of the body alone."""
    spans = np.stack([starts, starts + lengths], axis=3)
    count = starts.shape[1] // 2
    spans[:, 0], spans[:, 1 + count :, 0] = 0, 0
    spans[:, 0, :3] = batch.per_row["spans"]
    return spans.reshape(-1, _PIECES, 2)
