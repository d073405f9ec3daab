"""Pairs from the structure of documents, which suit the static encoder; crops can be mixed in.

Ours. Ingredients: title to body (as in the weak pairs of E5, Wang et al. 2022, arXiv 2212.03533), a short span or
sentence to the rest of its document (ICT, Lee et al. 2019; Spider, Ram et al. 2022), independent crops (Contriever,
Izacard et al. 2022), and a bag of keywords to its document.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from pretrieve.core.bounds import TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, BoolArray, IntArray, SpecialTokens
from pretrieve.methods import Card, Preset, Value
from pretrieve.methods._bibliography import CONTRIEVER, E5, ICT, SPIDER
from pretrieve.models.encoder import Encoder
from pretrieve.models.losses import in_batch_softmax, same_document
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.models.static import StaticEncoder
from pretrieve.sampling.batches import Address
from pretrieve.sampling.edits import Edits, drop_shared
from pretrieve.sampling.items import TokenStore, Whole
from pretrieve.sampling.pairs import PairDescription, describe, lengths_by_ratio, lengths_by_tokens, pair_batch, place
from pretrieve.sampling.spans import CLS, SEP, Positions, lay_out

FEWEST_IN_KEY = 4  # minimum tokens of a key after those of its query are removed
KINDS = ("title", "title_span", "opening", "lead", "sentence", "span", "keywords", "crop")
TITLE, TITLE_SPAN, OPENING, LEAD, SENTENCE, SPAN, KEYWORDS, CROP = range(8)

CARD = Card(
    title="Pairs from structure",
    paper="ours; ingredients from Wang et al. 2022 (arXiv 2212.03533), Lee et al. 2019, Ram et al. 2022, Izacard et "
    "al. 2022",
    papers=(E5, ICT, SPIDER, CONTRIEVER),
    idea="Titles, headings and first sentences are queries; their documents are positives. A title, the title with a "
    "few words, the first words of a document, or a crop is the query; the document, or another crop of it, is the "
    "key.",
    differs="A mixture of these pairs at a high temperature for a few hundred steps: longer training at a low "
    "temperature overfits a small collection. Keys of the same document are excluded from the negatives, and for a "
    "static encoder near-duplicates of the positive. The loss is one-sided: queries retrieve documents. A static "
    "encoder is trained with each variant, and the label-free selection saves the one that adds most to BM25. Beside "
    "BM25 (1) its vectors weigh 0.8 (0.25 where titles repeat), and BM25's best passage 0.4 (0 for short documents).",
    good_for="The static encoder; running text and code, with titles or without.",
    negatives=("document",),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options. The first eight are weights of the kinds of pairs.

    Attributes:
        title: the title or heading to its body.
        title_span: the title with a short span, to the document with its title.
        opening: the first words to the document.
        lead: the first sentence to the document.
        sentence: any sentence to the document.
        span: a few consecutive tokens to the document.
        keywords: a few scattered tokens to the document.
        crop: one crop to another.
        titled_share: minimum fraction of documents with a title for the two kinds with a title; documents without a
            title use the other kinds, or their first words if those have no weight.
        window: maximum length of a key in tokens.
        span_min: minimum length of a span in tokens.
        span_max: maximum length of a span in tokens.
        opening_min: minimum length of first words in tokens.
        opening_max: maximum length of first words in tokens.
        query: maximum length of a sentence or title in tokens.
        keywords_min: minimum number of keywords.
        keywords_max: maximum number of keywords.
        crop_min: minimum length of a crop, as a fraction of the document.
        crop_max: maximum length of a crop, as a fraction of the document.
        remove: probability that a span or sentence is removed from its document.
        title_in_key: probability that the key contains the title, if the query does not.
        drop_shared: probability that the tokens of a query are removed from its key, so that other words connect the
            two.
        delete: rate of deleted tokens.
        temperature: divisor of cosine similarities.
        symmetric: add the loss from keys to queries.
        near_duplicate: exclude keys with a cosine above this to the positive from the negatives; 0 to disable; by
            default 0.9 for a static encoder, otherwise 0.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    title: float = 1.0
    title_span: float = 1.0
    opening: float = 1.0
    lead: float = 0.0
    sentence: float = 0.0
    span: float = 0.0
    keywords: float = 0.0
    crop: float = 0.5
    titled_share: float = 0.5
    window: int = 160
    span_min: int = 4
    span_max: int = 16
    opening_min: int = 4
    opening_max: int = 24
    query: int = 40
    keywords_min: int = 2
    keywords_max: int = 8
    crop_min: float = 0.1
    crop_max: float = 0.5
    remove: float = 0.7
    title_in_key: float = 0.5
    drop_shared: float = 0.0
    delete: float = 0.0
    temperature: float = 0.2
    symmetric: bool = False
    near_duplicate: float | None = None
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 4, TOKENS, "window")
        check_bounds(self, 1, TOKENS, "query", "span_max", "opening_max", "keywords_max")
        check_bounds(self, 0, 1, "titled_share", "remove", "title_in_key", "drop_shared", "delete", "coefficient")
        check_bounds(self, 0, 1, "near_duplicate")
        if min(self.weights) < 0 or sum(self.weights) <= 0:
            raise UsageError(f"weights are not below 0, and one of {', '.join(KINDS)} is above 0.")
        for name in ("span", "opening", "keywords"):
            if not 1 <= getattr(self, f"{name}_min") <= getattr(self, f"{name}_max"):
                raise UsageError(f"set 1 <= {name}_min <= {name}_max.")
        if not 0.0 < self.crop_min <= self.crop_max <= 1.0 or self.window < 4 or self.query < 1:
            raise UsageError("set 0 < crop_min <= crop_max <= 1, window to at least 4 and query to at least 1.")
        if self.temperature <= 0:
            raise UsageError(f"temperature={self.temperature}: it is above 0.")

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights in the order of ``KINDS``."""
        return tuple(getattr(self, name) for name in KINDS)


PRESETS: dict[str, Preset] = {
    "structure": Preset(
        summary="titles, first words, spans and crops to their documents",
        options={
            "title": Value(1.0, "ours", "a title is the most like a query"),
            "title_span": Value(1.0, "ours", "a title that many documents share needs more words to distinguish them"),
            "opening": Value(1.0, "ours", "first words say what the rest is about; every document has them"),
            "crop": Value(0.5, "ours", "two crops of one document: topics beside known items"),
            "remove": Value(0.7, "ours", "kept words teach exact matching, removed ones meaning"),
            "temperature": Value(0.2, "ours", "of .05 to .3 the best beside BM25 on topical collections"),
            "symmetric": Value(False, "ours", "one direction was better with titles and first sentences"),
        },
        training={
            "batch_size": Value(512, "ours", "enough negatives, many updates"),
            "steps": Value(10_000, "ours", "where no minutes are given"),
            "learning_rate": Value(5e-5, "paper", "Contriever, appendix A.1"),
            "schedule": Value("linear", "code", "Contriever, contriever.sh"),
            "warmup": Value(0.04, "code", "Contriever, contriever.sh: 20,000 of 500,000 steps"),
        },
        static={
            "steps": Value(200, "ours", "100 give most of the gain; 1,200 overfit small collections"),
            "learning_rate": Value(0.02, "ours", "large, because word vectors start with norms of 5 to 8"),
            "warmup": Value(0.05, "ours", "ten steps"),
            "floor": Value(0.05, "ours", "the rate ends at a twentieth"),
            "beta2": Value(0.99, "ours", "a short memory suits a short run"),
            "epsilon": Value(1e-8, "ours", "Adam's own"),
            "weight_decay": Value(0.0, "ours", "decay would shrink the vectors of rare words"),
        },
        encoder={
            "dimensions": Value(256, "ours", "as good as 512 beside BM25, at half the time and size"),
            "stop_word_scale": Value(0.3, "ours", "question words are rare in documents: long vectors, no meaning"),
        },
    ),
}


VARIANTS: dict[str, dict[str, dict[str, Value]]] = {
    "structure": {
        "mix": {},
        "spans": {
            "title": Value(0.0, "ours", "known items only"),
            "title_span": Value(0.0, "ours", "known items only"),
            "crop": Value(0.0, "ours", "known items only"),
            "lead": Value(0.0, "ours", "known items only"),
            "span": Value(1.0, "ours", "a few words of anywhere: questions ask for details"),
            "drop_shared": Value(0.5, "ours", "words that query and document do not share have to connect them"),
            "temperature": Value(0.1, "ours", "a low one distinguishes details"),
        },
        "exact": {
            "title": Value(0.0, "ours", "titles that many documents share do not distinguish them"),
            "opening": Value(0.0, "ours", "documents without a title still give their first words"),
            "crop": Value(0.0, "ours", "near-equal passages have the same topics"),
            "temperature": Value(0.05, "paper", "Contriever, appendix A.1; distinguishes near-equal passages"),
        },
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one batch does with each document, all (B,): spans as first token and length; lengths of 0 are left out."""

    kinds: IntArray
    title: tuple[IntArray, IntArray]
    query: tuple[IntArray, IntArray]
    key: tuple[IntArray, IntArray]
    removed: BoolArray
    title_in_query: BoolArray
    title_in_key: BoolArray


class Sampler:
    """A query from the structure of a document, and the document.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        options: options of the method.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        self._options, self._specials, self._provenance = options, specials, provenance
        self._tokens, self._starts = np.asarray(store.tokens), np.asarray(store.starts)
        self._sentences = np.append(np.asarray(store.sentences)[:-1], len(self._tokens))
        self._edits = Edits(delete=options.delete)
        self._edits.check(specials)
        titled = np.asarray(store.bodies) > self._starts
        self._use_titles = bool(titled.mean() > options.titled_share) if len(titled) else False
        self._source = Whole(store, minimum=4, coefficient=options.coefficient)
        self.mixture = self._source.mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one pair of each document (B,)."""
        rng = address.generator("structure")
        documents, bodies, ends = self._source.spans(items, address)
        plan = self._plan(self._starts[documents], bodies, ends - bodies, rng)
        starts, lengths = self._pieces(plan)
        positions = _with_keywords(lay_out(starts, lengths), plan.kinds == KEYWORDS, self._options, rng)
        if self._options.drop_shared:
            chosen = rng.random(len(documents)) < self._options.drop_shared
            positions = drop_shared(self._tokens, positions, chosen, self._specials.vocabulary, FEWEST_IN_KEY)
        rows, positions = self._edits.apply(self._tokens, positions, self._specials, rng)
        provenance = (positions, starts, lengths) if self._provenance else None
        return pair_batch(rows, documents, provenance=provenance, per_example={"kind": plan.kinds})

    def _plan(self, starts: IntArray, bodies: IntArray, sizes: IntArray, rng: np.random.Generator) -> _Plan:
        options, count = self._options, len(starts)
        titles = np.minimum(bodies - starts, options.query)
        kinds = self._kinds(titles > 0, rng)
        query = self._queries(kinds, bodies, sizes, rng)
        length = np.minimum(sizes, options.window)
        length = np.where(kinds == CROP, np.minimum(self._crops(sizes, rng), options.window), length)
        from_span = ~np.isin(kinds, (TITLE, KEYWORDS, CROP))
        low = np.where(from_span, np.maximum(bodies, query[0] + query[1] - length), bodies)
        high = np.where(from_span, np.minimum(query[0], bodies + sizes - length), bodies + sizes - length)
        low = np.minimum(low, high)
        first = place(low, high - low + 1, np.ones(count, np.int64), rng)
        query = (np.where(kinds == KEYWORDS, first, query[0]), np.where(kinds == KEYWORDS, length, query[1]))
        with_title = (titles > 0) & ((rng.random(count) < options.title_in_key) | (kinds == TITLE_SPAN))
        return _Plan(
            kinds=kinds,
            title=(starts, titles),
            query=(query[0], np.where(kinds == TITLE, 0, query[1])),
            key=(first, length),
            removed=from_span & (length >= query[1] + 3) & (rng.random(count) < options.remove),
            title_in_query=np.isin(kinds, (TITLE, TITLE_SPAN)),
            title_in_key=with_title & (kinds != TITLE),
        )

    def _kinds(self, titled: BoolArray, rng: np.random.Generator) -> IntArray:
        """A kind for each document by weight; those with a title only where the document has one."""
        weights = np.array(self._options.weights)
        untitled = weights.copy()
        untitled[[TITLE, TITLE_SPAN]] = 0.0
        untitled[OPENING] += untitled.sum() == 0
        draws = rng.random(len(titled))
        with_title, without = (
            np.searchsorted(np.cumsum(table)[:-1] / table.sum(), draws, side="right") for table in (weights, untitled)
        )
        return np.where(titled & self._use_titles, with_title, without)

    def _queries(
        self, kinds: IntArray, bodies: IntArray, sizes: IntArray, rng: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """Query spans: a few tokens, a crop, or a sentence where it is neither too short nor most of the document."""
        options, most = self._options, np.maximum(2, sizes // 2)
        lengths = lengths_by_tokens(most, options.span_min, options.span_max, rng)
        first_words = lengths_by_tokens(most, options.opening_min, options.opening_max, rng)
        lengths = np.where(kinds == OPENING, first_words, lengths)
        lengths = np.where(kinds == CROP, np.minimum(self._crops(sizes, rng), options.window), lengths)
        starts = np.where(kinds == OPENING, bodies, place(bodies, sizes, lengths, rng))
        inside = np.where(kinds == LEAD, bodies, place(bodies, sizes, np.ones_like(sizes), rng))
        index = np.searchsorted(self._sentences, inside, side="right") - 1
        first, after = self._sentences[index], self._sentences[np.minimum(index + 1, len(self._sentences) - 1)]
        size = np.minimum(after, bodies + sizes) - first
        whole = np.isin(kinds, (LEAD, SENTENCE)) & (size >= 3) & (size <= sizes * 2 // 3) & (first >= bodies)
        return np.where(whole, first, starts), np.where(whole, np.minimum(size, options.query), lengths)

    def _crops(self, sizes: IntArray, rng: np.random.Generator) -> IntArray:
        return lengths_by_ratio(sizes, self._options.crop_min, self._options.crop_max, rng)

    def _pieces(self, plan: _Plan) -> tuple[IntArray, IntArray]:
        """Starts and lengths (2 B, 5) of [CLS] title before after [SEP]; a query has its span as "before"."""
        count = len(plan.kinds)
        starts, lengths = np.zeros((2, count, 2, 5), np.int64)
        starts[..., 0], starts[..., 4] = CLS, SEP
        lengths[..., 0], lengths[..., 4] = self._specials.cls is not None, self._specials.sep is not None
        starts[..., 1] = plan.title[0][:, None]
        lengths[:, 0, 1] = plan.title[1] * plan.title_in_query
        lengths[:, 1, 1] = plan.title[1] * plan.title_in_key
        starts[:, 0, 2], lengths[:, 0, 2] = plan.query
        (first, length), (cut, size) = plan.key, plan.query
        starts[:, 1, 2] = first
        lengths[:, 1, 2] = np.where(plan.removed, cut - first, length)
        starts[:, 1, 3] = cut + size
        lengths[:, 1, 3] = np.where(plan.removed, first + length - cut - size, 0)
        return starts.reshape(-1, 5), lengths.reshape(-1, 5)


def _with_keywords(positions: Positions, keywords: BoolArray, options: Options, rng: np.random.Generator) -> Positions:
    """Thin the queries of the kind "keywords" to a few random tokens."""
    if not keywords.any():
        return positions
    values, offsets = positions
    rows = np.repeat(np.arange(len(offsets) - 1), positions.lengths)
    thinned = (rows % 2 == 0) & keywords[rows // 2] & (values >= 0)
    draws = np.where(thinned, rng.random(len(values)), -1.0)
    ranks = np.empty(len(values), np.int64)
    ranks[np.lexsort((draws, rows))] = np.arange(len(values)) - np.repeat(offsets[:-1], positions.lengths)
    special = np.bincount(rows[values < 0], minlength=len(offsets) - 1)
    limits = special + rng.integers(options.keywords_min, options.keywords_max + 1, size=len(special))
    keep = ~thinned | (ranks < limits[rows])
    return Positions(values[keep], offsets - np.searchsorted(np.flatnonzero(~keep), offsets))


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Sampler:
    """Return how documents become pairs."""
    return Sampler(store, specials, options, provenance)


def task(options: Options) -> str:
    """Describe the task of an example in a sentence."""
    return "Find the document of each query among those of the batch; others of the same document are no negatives."


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe each query, its document and the kind of the pair (for a batch with ``provenance``)."""
    rows = describe(batch, np.asarray(store.tokens), specials, ("query", "document"))
    kinds = [KINDS[kind].replace("_", " and ") for kind in batch.per_example["kind"]]
    return [PairDescription(rows=pair, note=kind) for pair, kind in zip(rows, kinds, strict=True)]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the longest row does not fit the encoder.
    """
    longest = options.query + max(options.window, options.span_max, options.opening_max) + encoder.specials.around()
    if longest > encoder.max_length:
        raise UsageError(f"rows of {longest} tokens do not fit an encoder of {encoder.max_length}: lower window.")
    return StructurePairs(encoder, options)


class StructurePairs(Objective):
    """Softmax over cosines to the keys of the whole batch, without those that may be right answers too."""

    def __init__(self, encoder: Encoder, options: Options) -> None:
        super().__init__()
        self.encoder, self.options = encoder, options
        default = 0.9 if isinstance(encoder, StaticEncoder) else 0.0
        self.near_duplicate = default if options.near_duplicate is None else options.near_duplicate

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode "query" and "key", (B, 1, V, D) each, of norm 1."""
        query, key = (self.encoder(batch.column(row).rows).unsqueeze(1) for row in (0, 1))
        normalize = nn.functional.normalize
        return Encoded(vectors={"query": normalize(query, dim=-1), "key": normalize(key, dim=-1)})

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each query's positive; with ``symmetric``, also from keys to queries."""
        query, key = local_vectors["query"][:, 0, 0], local_vectors["key"][:, 0, 0]
        keys = global_vectors["key"][:, 0, 0]
        exclude = self._excluded(key.detach(), keys.detach(), batch, first)
        temperature = self.options.temperature
        losses, hits = in_batch_softmax(query, keys, temperature=temperature, first=first, exclude=exclude)
        if self.options.symmetric:
            queries = global_vectors["query"][:, 0, 0]
            other, _ = in_batch_softmax(key, queries, temperature=temperature, first=first, exclude=exclude)
            losses = (losses + other) / 2
        return Loss(value=losses.mean(), statistics={"accuracy": hits.mean(), "masked": exclude.float().mean()})

    def _excluded(self, queries: Tensor, keys: Tensor, batch: Batch, first: int) -> Tensor:
        """Mask (B, B_global) of keys of the same document and near-duplicates of the positive."""
        exclude = same_document(batch, first, len(queries), queries.device)
        return exclude | (queries @ keys.T > self.near_duplicate) if self.near_duplicate else exclude
