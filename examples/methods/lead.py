"""Lead: the first words of a document find another window of it. A method is one file: docs/add-a-method.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pretrieve.core.errors import UsageError
from pretrieve.methods import Card, Preset, Value
from pretrieve.models.losses import in_batch_softmax
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.sampling.batches import mixture
from pretrieve.sampling.pairs import PairDescription, describe, span_batch

CARD = Card(
    title="Lead: first words find the rest",
    paper="an example of pretrieve",
    idea="A document says early what it is about: its first words are a query, a random window after them the answer.",
    good_for="Showing how a method is added.",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be set.

    Attributes:
        lead: tokens of the query.
        window: most tokens of the answer.
        temperature: divides the similarities.
    """

    lead: int = 16
    window: int = 64
    temperature: float = 0.05

    def __post_init__(self):
        if self.lead < 2 or self.window < 2 or self.temperature <= 0:
            raise UsageError("lead and window are at least 2 tokens, and temperature above 0.")


PRESETS = {
    "lead": Preset(
        summary="the first words of a document find a window of the rest",
        options={"lead": Value(16, "ours", "as long as a long question")},
        training={
            "batch_size": Value(256, "ours", "more negatives are better"),
            "steps": Value(2000, "ours", "a guess"),
        },
        static={"learning_rate": Value(0.01, "ours", "word vectors move freely")},
    )
}


class Leads:
    """The sampler: an item is a document that is long enough."""

    def __init__(self, store, specials, options, provenance):
        self.store, self.specials, self.options, self.provenance = store, specials, options, provenance
        self.starts, self.ends = np.asarray(store.starts), np.asarray(store.ends)
        self.long = np.flatnonzero(self.ends - self.starts > 2 * options.lead)
        self.mixture = mixture(None, len(self.long), 1.0)

    def draw(self, items, address):
        """Two rows an example; all randomness comes from the address."""
        documents, lead = self.long[items], self.options.lead
        first, end = self.starts[documents] + lead, self.ends[documents]
        length = np.minimum(self.options.window, end - first)
        start = address.generator("window").integers(first, end - length + 1)
        starts = np.stack([self.starts[documents], start], axis=1)
        ends = np.stack([first, start + length], axis=1)
        return span_batch(self.store, documents, starts, ends, self.specials, provenance=self.provenance)


def sampler(store, specials, options, provenance=False):
    """How documents become pairs."""
    return Leads(store, specials, options, provenance)


def explain(batch, store, specials):
    """What ``pretrieve inspect`` shows."""
    return [PairDescription(rows=rows) for rows in describe(batch, np.asarray(store.tokens), specials)]


def objective(encoder, options, seed, store):
    """The loss over an encoder."""
    return LeadFindsRest(encoder, options)


class LeadFindsRest(Objective):
    """Softmax of each lead over the windows of the batch."""

    def __init__(self, encoder, options):
        super().__init__()
        self.encoder, self.options = encoder, options

    def encode(self, batch, step):
        """Vectors of queries and keys."""
        queries, keys = self.encoder(batch.column(0).rows), self.encoder(batch.column(1).rows)
        return Encoded(vectors={"query": queries[:, None], "key": keys[:, None]})

    def compare(self, local_vectors, global_vectors, batch, first, step):
        """The loss between examples."""
        losses, hits = in_batch_softmax(
            local_vectors["query"][:, 0, 0],
            global_vectors["key"][:, 0, 0],
            similarity=self.encoder.similarity,
            temperature=self.options.temperature,
            first=first,
        )
        return Loss(value=losses.mean(), statistics={"accuracy": hits.mean()})
