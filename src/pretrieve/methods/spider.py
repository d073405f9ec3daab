"""Spider: a span that recurs in a document connects two of its passages; a window around it is the query of the other.

Ram, Shachaf, Levy, Berant, Globerson, *Learning to retrieve passages without supervision*, NAACL 2022,
arXiv 2112.07708.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.bounds import COUNT, TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, BoolArray, IntArray, SpecialTokens
from pretrieve.methods import Card, Preset, Value
from pretrieve.methods._bibliography import SPIDER
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.losses import in_batch_softmax, mean_where, same_document
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.sampling.batches import Address, mixture
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.pairs import PairDescription, RowDescription, describe, place
from pretrieve.sampling.recurring_spans import Rule, find
from pretrieve.sampling.spans import CLS, SEP, lay_out, read

CARD = Card(
    title="Spider: recurring spans",
    paper="Ram, Shachaf, Levy, Berant, Globerson: Learning to Retrieve Passages without Supervision, NAACL 2022, "
    "arXiv 2112.07708",
    papers=(SPIDER,),
    idea="A span of words that occurs in two passages of a document indicates a shared topic. A window around it in "
    "one passage, half of the time without the span, is the query of the other; a third passage of the document, "
    "without the span, is the hard negative.",
    released="One encoder, first token, dot product, DPR's trainer: AdamW without weight decay. Words are spaCy's, "
    "stop words a list, both English. The upper bound of a span's length is excluded: 9 words at most. A span that "
    "occurs in every passage is left out. The window counts its tokens without the deleted span; where the span stays, "
    "the window may cut it or miss it. The README's command leaves the shortest window at 5 tokens, the program's "
    "default. A document's last passage is dropped, and three others must remain.",
    differs="Words are those of the vocabulary, and frequent words replace the list of stop words, in any language. "
    "Spans have up to 10 words. A span that stays is whole in its window, at its first occurrence in a passage. "
    "Documents are sampled uniformly, then one of their spans, instead of all spans uniformly. Passages of other "
    "examples from the same document are excluded from the negatives. A static encoder uses cosine with a temperature.",
    good_for="Long documents about named entities; published for questions over Wikipedia. Not for documents of "
    "fewer than three passages.",
    negatives=("positive", "negative"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        passage: length of a passage in words.
        length: maximum length of a passage in tokens, title and special tokens included.
        words_min: minimum length of a span in words.
        words_max: maximum length of a span in words.
        stop_words: number of most frequent words that do not begin or end a span (at most 1 % of all words).
        query_min: minimum length of a query in tokens, without special tokens.
        query_max: maximum length of a query and of a span in tokens, without special tokens.
        delete: probability that the span is deleted from its query.
        temperature: divisor of similarities; by default 1, or 0.05 for an encoder with cosine similarity.
        mask_same_document: exclude passages of the query's document in other examples from the negatives.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    passage: int = 100
    length: int = 240
    words_min: int = 2
    words_max: int = 10
    stop_words: int = 100
    query_min: int = 10
    query_max: int = 30
    delete: float = 0.5
    temperature: float | None = None
    mask_same_document: bool = True
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 1, TOKENS, "passage", "length", "words_max", "query_max")
        check_bounds(self, 0, COUNT, "stop_words")
        check_bounds(self, 0, 1, "coefficient")
        if not 1 <= self.words_min <= self.words_max < self.passage:
            raise UsageError(
                f"words_min={self.words_min}, words_max={self.words_max}, passage={self.passage}: "
                "set 1 <= words_min <= words_max < passage."
            )
        if not 1 <= self.query_min <= self.query_max or self.length < 2 * self.query_max + 8:
            raise UsageError("set 1 <= query_min <= query_max, and length to at least twice query_max and 8.")
        if not 0.0 <= self.delete <= 1.0 or self.stop_words < 0:
            raise UsageError("delete lies between 0 and 1, and stop_words is not below 0.")
        if self.temperature is not None and self.temperature <= 0:
            raise UsageError(f"temperature={self.temperature}: it is above 0.")


PRESETS: dict[str, Preset] = {
    "spider": Preset(
        summary="recurring spans of 2 to 10 words in passages of 100, half of them deleted, hard negatives",
        options={
            "passage": Value(100, "paper", "passages of 100 words, as DPR's"),
            "length": Value(240, "code", "README: --sequence_length 240; a longer passage is cut"),
            "words_min": Value(2, "paper", "n-grams of 2 to 10 words"),
            "words_max": Value(10, "paper", "n-grams of 2 to 10 words; the code stops at 9"),
            "stop_words": Value(100, "ours", "no list of words of one language"),
            "query_min": Value(10, "paper", "windows of 10 to 30 tokens; the README's command gives 5"),
            "query_max": Value(30, "paper", "windows of 10 to 30 tokens"),
            "delete": Value(0.5, "paper", "and README: --keep_answer_prob 0.5"),
            "temperature": Value(None, "code", "none, so 1; ours is 0.05 where the encoder is compared by cosine"),
            "mask_same_document": Value(True, "ours", "another passage of the document may hold the span too"),
        },
        training={
            "batch_size": Value(1024, "code", "README: --batch_size 1024"),
            "steps": Value(200_000, "code", "README: --update_steps 200000"),
            "learning_rate": Value(2e-5, "code", "README: --learning_rate 2e-5"),
            "warmup": Value(0.01, "code", "README: 2,000 of 200,000 steps"),
            "schedule": Value("linear", "code", "train_dense_encoder.py: DPR's trainer"),
            "beta1": Value(0.9, "code", "dpr/options.py"),
            "beta2": Value(0.999, "code", "dpr/options.py"),
            "epsilon": Value(1e-8, "code", "dpr/options.py"),
            "weight_decay": Value(0.0, "code", "dpr/options.py"),
            "clip": Value(2.0, "code", "README: --max_grad_norm 2.0"),
        },
        static={"learning_rate": Value(0.01, "ours", "word vectors move freely")},
        encoder={"pooling": Value("cls", "paper", "the first token's vector")},
    ),
}


class _Draw(NamedTuple):
    """What one batch uses, all (B,): document, span (first token, tokens) in the query's and the positive's passage."""

    documents: IntArray
    size: IntArray  # tokens of the span
    query: IntArray  # first token of the span in the query's passage
    positive: IntArray  # first token of the span in the positive
    passages: IntArray  # (B, 3) of query, positive and negative


class Sampler:
    """A window around a recurring span, another passage with the span, and one without.

    Attributes:
        mixture: the documents with a recurring span, and the shares of their groups.

    Args:
        store: the documents, with ``word_starts`` and ``lettered``.
        specials: special tokens of the encoder.
        options: options of the method.
        provenance: whether batches record where each token comes from (for ``explain``).

    Raises:
        UsageError: no document has a recurring span.
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        self._tokens, self._specials = np.asarray(store.tokens), specials
        self._options, self._provenance = options, provenance
        self._starts, self._bodies = np.asarray(store.starts), np.asarray(store.bodies)
        rule = Rule(
            passage=options.passage,
            shortest=options.words_min,
            longest=options.words_max,
            tokens=options.query_max,
            stop_words=options.stop_words,
        )
        self._found = found = find(store, rule)
        self._documents = np.flatnonzero(np.diff(found.document_spans))
        if not len(self._documents):
            raise UsageError(
                f"documents are too short for spider: none has 3 passages of {options.passage} words, of which two "
                "share a span and one lacks it; lower passage, or take another --method."
            )
        self._gaps, self._width = self._passages_without(store)
        groups = np.asarray(store.groups)[self._documents]
        self.mixture = mixture(groups, len(self._documents), options.coefficient)

    def _passages_without(self, store: TokenStore) -> tuple[IntArray, int]:
        """For each place (K,): how many passages of its document before it lack its span, with the span's number.

        Ascending, so that the n-th passage without a span is found by bisection.
        """
        found = self._found
        counts = np.diff(found.span_places)
        spans = np.repeat(np.arange(len(counts)), counts)
        owners = np.repeat(np.arange(len(store.starts)), np.diff(found.document_spans))
        rank = np.arange(len(spans)) - found.span_places[spans]
        width = int(np.diff(found.document_passages).max()) + 1
        return spans * width + found.passages - found.document_passages[owners[spans]] - rank, width

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one example of each document (B,): query, positive, negative."""
        rng = address.generator("spider")
        drawn = self._drawn(self._documents[items], rng)
        deleted = rng.random(len(items)) < self._options.delete
        window = self._window(drawn, deleted, rng)
        starts, lengths = self._pieces(drawn, window, deleted)
        positions = lay_out(starts, lengths)
        per_token, per_row, per_example = {}, {}, {"deleted": deleted}
        if self._provenance:
            starts[0::3, 3], lengths[0::3, 3] = window  # the whole window, so that what was deleted is shown
            lengths[0::3, 4] = 0
            per_token["position"] = positions.values
            per_row["spans"] = np.stack([starts, starts + lengths], axis=2)
            per_example["span"] = np.stack([drawn.query, drawn.query + drawn.size], axis=1)
        return Batch(
            rows=read(self._tokens, positions, self._specials),
            shape=(len(items), 3),
            documents=drawn.documents,
            per_token=per_token,
            per_row=per_row,
            per_example=per_example,
        )

    def _drawn(self, documents: IntArray, rng: np.random.Generator) -> _Draw:
        """A span of each document, two passages with it, and one without, each uniformly."""
        found, count = self._found, len(documents)

        def below(limits: IntArray) -> IntArray:
            return (rng.random(count) * limits).astype(np.int64)

        spans = found.document_spans[documents] + below(np.diff(found.document_spans)[documents])
        first, places = found.span_places[spans], np.diff(found.span_places)[spans]
        query, positive = below(places), below(places - 1)
        positive += positive >= query
        all_passages = np.diff(found.document_passages)[documents]
        nth = below(all_passages - places)
        before = np.searchsorted(self._gaps, spans * self._width + nth, side="right") - first
        negative = found.document_passages[documents] + nth + before
        query, positive = first + query, first + positive
        passages = np.stack([found.passages[query], found.passages[positive], negative], axis=1)
        return _Draw(documents, found.lengths[spans], found.places[query], found.places[positive], passages)

    def _window(self, drawn: _Draw, deleted: BoolArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Start and length of the window around each span, inside its passage; a deleted span does not count."""
        options = self._options
        begin, end = self._found.starts[drawn.passages[:, 0]], self._found.stops[drawn.passages[:, 0]]
        lengths = rng.integers(options.query_min, options.query_max + 1, size=len(begin))
        lengths = np.where(deleted, lengths + drawn.size, np.maximum(lengths, drawn.size))
        lengths = np.minimum(lengths, end - begin)
        low = np.maximum(begin, drawn.query + drawn.size - lengths)
        high = np.minimum(drawn.query, end - lengths)
        return place(low, high - low, np.zeros_like(low), rng), lengths

    def _pieces(self, drawn: _Draw, window: tuple[IntArray, IntArray], deleted: BoolArray) -> tuple[IntArray, IntArray]:
        """Starts and lengths (3 B, 6) of [CLS] title [SEP] text rest [SEP]; only a query has a rest, and no title."""
        count, has_sep = len(deleted), self._specials.sep is not None
        starts, lengths = np.zeros((2, count, 3, 6), np.int64)
        starts[..., 0], starts[..., 2], starts[..., 5] = CLS, SEP, SEP
        lengths[..., 0], lengths[..., 5] = self._specials.cls is not None, has_sep
        before = drawn.query - window[0]
        starts[:, 0, 3], lengths[:, 0, 3] = window[0], np.where(deleted, before, window[1])
        starts[:, 0, 4] = drawn.query + drawn.size
        lengths[:, 0, 4] = np.where(deleted, window[1] - before - drawn.size, 0)
        room = self._options.length - self._specials.around() - has_sep
        titles = np.minimum(self._bodies - self._starts, room // 2)[drawn.documents][:, None]
        starts[:, 1:, 1], lengths[:, 1:, 1] = self._starts[drawn.documents][:, None], titles
        lengths[:, 1:, 2] = has_sep & (titles > 0)
        begin, end = self._found.starts[drawn.passages[:, 1:]], self._found.stops[drawn.passages[:, 1:]]
        sizes = np.minimum(end - begin, room - titles)
        # a passage that is too long is cut so that the span stays
        starts[:, 1, 3] = np.maximum(begin[:, 0], drawn.positive + drawn.size - sizes[:, 0])
        starts[:, 2, 3] = begin[:, 1]
        lengths[:, 1:, 3] = sizes
        return starts.reshape(-1, 6), lengths.reshape(-1, 6)


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Sampler:
    """Return how documents become a query, a positive and a hard negative."""
    return Sampler(store, specials, options, provenance)


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Say which span it is, whether it was deleted, and where the rows lie (for a batch with ``provenance``)."""
    rows = describe(batch, np.asarray(store.tokens), specials, ("query", "positive", "negative"))
    pairs = []
    for three, (start, stop), gone in zip(rows, batch.per_example["span"], batch.per_example["deleted"], strict=True):
        kept = list(range(int(start), int(stop)))
        span = RowDescription(role="span", document=three[0].document, spans=[(int(start), int(stop))], kept=kept)
        note = "the span was deleted from the query" if gone else "the span was kept in the query"
        pairs.append(PairDescription(rows=[span, *three], note=note))
    return pairs


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: passages do not fit the encoder.
    """
    if options.length > encoder.max_length:
        raise UsageError(
            f"passages of {options.length} tokens do not fit an encoder of {encoder.max_length}: lower length."
        )
    return RecurringSpans(encoder, options)


class RecurringSpans(Objective):
    """Softmax of each query over the positives and the hard negatives of the whole batch.

    Attributes:
        encoder: of queries and passages.
        temperature: divisor of similarities.
    """

    def __init__(self, encoder: Encoder, options: Options) -> None:
        super().__init__()
        self.encoder, self.options = encoder, options
        self.temperature = options.temperature or (0.05 if encoder.similarity == "cosine" else 1.0)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode "query", "positive" and "negative", (B, 1, V, D) each."""
        names = ("query", "positive", "negative")
        return Encoded(
            vectors={name: self.encoder(batch.column(row).rows).unsqueeze(1) for row, name in enumerate(names)}
        )

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each query's own passage; accuracy, also of deleted spans, and their part."""
        queries = local_vectors["query"][:, 0, 0]
        exclude = self._excluded(batch, first, len(queries), queries.device)
        losses, hits = in_batch_softmax(
            queries,
            torch.cat([global_vectors["positive"][:, 0, 0], global_vectors["negative"][:, 0, 0]]),
            similarity=self.encoder.similarity,
            temperature=self.temperature,
            first=first,
            exclude=exclude,
        )
        deleted = devices.put(batch.per_example["deleted"][first : first + len(queries)], hits.device)
        statistics = {
            "accuracy": hits.mean(),
            "deleted_accuracy": mean_where(hits, deleted),
            "deleted": deleted.float().mean(),
        }
        return Loss(value=losses.mean(), statistics=statistics)

    def _excluded(self, batch: Batch, first: int, count: int, device: torch.device) -> Tensor | None:
        """(B, 2 B_global): passages of other examples from the query's own document."""
        if not self.options.mask_same_document:
            return None
        same = same_document(batch, first, count, device)
        own = torch.arange(first, first + count, device=device).unsqueeze(1)
        same = same.scatter(1, own, False)
        return torch.cat([same, same], dim=1)
