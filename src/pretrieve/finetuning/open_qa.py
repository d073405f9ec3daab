"""Open-domain question answering: train the question encoder and a reader jointly; the vectors of blocks are fixed.

Lee, Chang, Toutanova, *Latent retrieval for weakly supervised open domain question answering*, ACL 2019, and
``orqa/models/orqa_model.py``: ``L = L_retrieval + L_reading``. REALM (Guu et al., ICML 2020) fine-tunes by
the same code from its own weights: the index is built once, the encoder of blocks is frozen, 5 blocks are read.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, BoolArray, FloatArray, IntArray, Rows
from pretrieve.finetuning.qa_blocks import Occurrences, QABlocks
from pretrieve.models import devices
from pretrieve.models.candidates import Together
from pretrieve.models.devices import autocast
from pretrieve.models.encoder import Encoder
from pretrieve.models.objective import Encoded, Objective
from pretrieve.models.reading import SpanScorer, best_of, reading_loss, retrieval_loss, spans_within
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.questions import Question, QuestionRows
from pretrieve.sampling.spans import offsets_of
from pretrieve.text.tokenizer import Tokenizer

_ENCODED = 1 << 15  # tokens of blocks per batch


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Options.

    Attributes:
        block: tokens of the longest block for the retriever, title and special tokens included.
        beam: number of blocks in the retrieval loss, at most all.
        read: number of blocks that the reader reads.
        joint: maximum length of question and block in tokens; by default block + 32, within the model's limit.
        width: maximum length of an answer in tokens.
        hidden: width of the span scorer.
    """

    block: int = 288
    beam: int = 5000
    read: int = 5
    joint: int | None = None
    width: int = 10
    hidden: int = 256

    def __post_init__(self) -> None:
        if self.block < 8 or min(self.beam, self.read, self.hidden) < 1 or not 1 <= self.width <= 62:
            raise UsageError("block is at least 8, beam, read and hidden at least 1, width between 1 and 62.")
        if self.joint is not None and self.joint < 16:
            raise UsageError(f"joint={self.joint}: set it to at least 16 tokens.")


class Answers:
    """Occurrences of the answers of each question in a store.

    Args:
        questions: questions with their answers.
        tokenizer: tokenizer of the store.
        store: the documents.
    """

    def __init__(self, questions: list[Question], tokenizer: Tokenizer, store: TokenStore) -> None:
        occurrences = Occurrences(store)
        rows = tokenizer.encode([answer for question in questions for answer in question.answers])
        starts: list[IntArray] = []
        lengths: list[IntArray] = []
        counts: list[int] = []
        row = 0
        for question in questions:
            before = len(starts)
            for _ in question.answers:
                found = occurrences.of(rows.row(row))
                starts.append(found)
                lengths.append(np.full(len(found), rows.lengths[row]))
                row += 1
            counts.append(sum(map(len, starts[before:])))
        self._starts, self._lengths = np.concatenate(starts), np.concatenate(lengths)
        self._offsets = offsets_of(np.array(counts))

    def of(self, question: int) -> tuple[IntArray, IntArray]:
        """First token and number of tokens of each occurrence of an answer, (A,)."""
        here = slice(self._offsets[question], self._offsets[question + 1])
        return self._starts[here], self._lengths[here]

    def held(self, question: int, search_blocks: QABlocks) -> IntArray:
        """The blocks that hold an answer, ascending."""
        starts, lengths = self.of(question)
        blocks = np.searchsorted(search_blocks.starts, starts, side="right") - 1
        inside = (blocks >= 0) & (starts + lengths <= search_blocks.stops[blocks])
        return np.unique(blocks[inside])


class OpenQuestionAnswering(Objective):
    """``L_retrieval + L_reading`` of questions over the blocks of a corpus.

    Attributes:
        encoder: encoder of blocks; frozen.
        query_encoder: encoder of questions; trained.
        reader: transformer that reads question and block jointly; trained.
        spans: scorer of answer spans; trained.
        search_blocks: the blocks.
        vectors: vectors of the blocks by ``encoder``, (R, D); computed at the start, not saved in checkpoints.

    Args:
        encoders: encoders of queries and of blocks; the same object twice if tied.
        reader: a transformer with the tokenizer of the encoders.
        store: the documents.
        questions: the sampler of the questions.
        answers: occurrences of their answers; None for inference.
        options: options of the loss.
        seed: seed of the run.
        vectors: vectors of the blocks, if already computed.
        together: the processes that train together: each encodes a share of the blocks, and all have all vectors.

    Raises:
        UsageError: rows do not fit the encoders, or the documents have no blocks.
    """

    def __init__(
        self,
        encoders: tuple[Encoder, Encoder],
        reader: TransformerEncoder,
        store: TokenStore,
        questions: QuestionRows,
        answers: Answers | None,
        options: ReadingOptions,
        seed: int = 0,
        vectors: FloatArray | None = None,
        together: Together | None = None,
    ) -> None:
        super().__init__()
        queries, blocks = encoders
        self._check(queries, blocks, reader, options)
        self.encoder = blocks.requires_grad_(False)
        self.query_encoder = deepcopy(queries).requires_grad_(True)
        self.query_encoder.similarity = blocks.similarity
        _rest_poolers(self.query_encoder)
        self.reader, self.spans = reader, SpanScorer(reader.dimensions, options.hidden, seed=seed)
        self.questions, self.answers, self.options = questions, answers, options
        self.joint = options.joint or min(options.block + 32, reader.max_length)
        self.search_blocks = QABlocks(store, blocks.specials, options.block)
        if not len(self.search_blocks):
            raise UsageError("the documents have no sentences to answer from: add documents.")
        self.vectors = torch.from_numpy(vectors) if vectors is not None else self.block_vectors(together)

    @staticmethod
    def _check(queries: Encoder, blocks: Encoder, reader: TransformerEncoder, options: ReadingOptions) -> None:
        if max(queries.vectors_per_document, blocks.vectors_per_document) != 1:
            raise UsageError("the retriever has several vectors per document: reading supports one.")
        if options.block > blocks.max_length:
            raise UsageError(
                f"blocks of {options.block} tokens do not fit a retriever of {blocks.max_length}: lower block."
            )
        if (options.joint or 0) > reader.max_length:
            raise UsageError(f"rows of {options.joint} tokens do not fit a reader of {reader.max_length}: lower joint.")
        if reader.specials.cls is None or reader.specials.sep is None:
            raise UsageError("the reader's tokenizer has no [CLS] and [SEP]: choose another reader.")

    @torch.no_grad()
    def block_vectors(self, together: Together | None = None) -> Tensor:
        """Encode every block with its title, (R, D), without dropout.

        Args:
            together: the processes that encode a share each; None: all are encoded here.
        """
        was = self.encoder.training
        self.encoder.eval()
        device = next(self.reader.parameters()).device
        found = torch.zeros(len(self.search_blocks), self.encoder.dimensions, device=device)
        step = max(1, _ENCODED // self.options.block)
        rank, world = (0, 1) if together is None else (together.rank, together.world)
        for first in range(rank * step, len(found), world * step):
            blocks = np.arange(first, min(first + step, len(found)))
            with autocast(device):
                vectors = self.encoder(self.search_blocks.rows(blocks))[:, 0]
            found[first : first + step] = vectors.to(found)
        if together is not None:
            together.add_up(found)
        self.encoder.train(was)
        return found

    def logits(self, questions: Rows) -> Tensor:
        """Score every block for B questions by the encoder as it is now, (B, R)."""
        vectors = self.query_encoder(questions)[:, 0]
        self.vectors = self.vectors.to(vectors.device)  # they follow the encoder, once
        blocks = self.vectors.to(vectors)
        if self.encoder.similarity == "cosine":
            vectors, blocks = (torch.nn.functional.normalize(part, dim=-1) for part in (vectors, blocks))
        scores: Tensor = vectors @ blocks.T
        return scores

    def retrieve(self, questions: Rows, count: int) -> IntArray:
        """The best blocks of B questions, (B, min(count, R)), best first, ties by number; without dropout."""
        was = self.query_encoder.training
        self.query_encoder.eval()
        with torch.no_grad():
            scores = self.logits(questions)
        self.query_encoder.train(was)
        order = scores.sort(dim=1, descending=True, stable=True).indices
        found: IntArray = order[:, :count].cpu().numpy()
        return found

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Retrieve blocks and append the reader's rows to each question: (B, 1 + read) rows."""
        blocks = self.retrieve(batch.rows, max(self.options.beam, self.options.read))
        read = blocks[:, : self.options.read]
        joint, places = self.search_blocks.beside(self.questions.without_specials(batch.documents), read, self.joint)
        rows, index = _interleaved(batch.rows, joint, read.shape[1])
        places = np.concatenate([np.full(len(batch.rows.tokens), -1), places])[index]
        per_example: dict[str, IntArray | BoolArray] = {"blocks": blocks}
        per_token = {"position": places}
        if self.answers is not None:
            per_example["holds"] = self._holds(batch.documents, blocks)
            per_token["correct"] = self._correct(batch.documents, rows, places, 1 + read.shape[1])
        return replace(
            batch,
            rows=rows,
            shape=(len(batch), 1 + read.shape[1]),
            per_token={**batch.per_token, **per_token},
            per_example={**batch.per_example, **per_example},
        )

    def _holds(self, questions: IntArray, blocks: IntArray) -> BoolArray:
        assert self.answers is not None
        held = [
            np.isin(row, self.answers.held(int(q), self.search_blocks))
            for q, row in zip(questions, blocks, strict=True)
        ]
        return np.stack(held)

    def _correct(self, questions: IntArray, rows: Rows, places: IntArray, width: int) -> IntArray:
        """Of each token (S,), the lengths of the answers that begin there, as bits: bit w - 1 for w tokens."""
        assert self.answers is not None
        correct = np.zeros(len(places), np.int64)
        edges = rows.offsets[::width]
        for question, first, last in zip(questions, edges[:-1], edges[1:], strict=True):
            starts, lengths = self.answers.of(int(question))
            short = lengths <= self.options.width
            for length in np.unique(lengths[short]):
                here = np.isin(places[first:last], starts[lengths == length])
                correct[first:last][here] |= 1 << (int(length) - 1)
        return correct

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Compute both losses of each question; this method has no loss between examples."""
        logits = self.logits(batch.column(0).rows)
        blocks = devices.put(batch.per_example["blocks"].astype(np.int64), logits.device)
        holds = devices.put(batch.per_example["holds"], logits.device)
        chosen = logits.gather(1, blocks)
        scores, owners, firsts, lasts = self._scored(batch, chosen)
        correct = _is_correct(_numbers(batch, "correct"), firsts, lasts)
        retrieval, reading = retrieval_loss(chosen, holds), reading_loss(scores, owners, correct, len(batch))
        best = best_of(scores.detach(), owners, len(batch))
        return Encoded(
            vectors={},
            example_loss=retrieval + reading,
            statistics={
                "retrieval": retrieval.detach(),
                "reading": reading.detach(),
                "answer_recall": holds[:, : batch.shape[1] - 1].any(dim=1).to(scores),
                "exact_span": correct[best].to(scores),
            },
        )

    def _scored(self, batch: Batch, logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score of every span, its question, and its first and last token among those of the batch, (M,) each."""
        width = batch.shape[1]
        (rows, index), places = _without_first(batch.rows, width), _numbers(batch, "position")
        bodies = np.flatnonzero(places[index] >= 0)
        owners = np.repeat(np.arange(len(rows)), rows.lengths)[bodies]
        device = logits.device
        (states,) = self.reader.states(rows, segments=_segments(rows, places[index]))
        texts = devices.put(owners, device)
        firsts, lasts = spans_within(texts, self.options.width)
        scores = self.spans(states[devices.put(bodies, device)], firsts, lasts)
        scores = scores + logits[:, : width - 1].reshape(-1)[texts[firsts]]
        where = devices.put(index[bodies], device)
        return scores, texts[firsts] // (width - 1), where[firsts], where[lasts]

    @torch.no_grad()
    def read(self, batch: Batch) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
        """Answer B questions; call it in evaluation mode.

        Args:
            batch: rows of questions.

        Returns:
            First place in the store of each answer and one past its last, (B,) each; the blocks that were retrieved,
            best first; and the score of each answer, (B,).
        """
        prepared = self.prepare(batch, 0)
        logits = self.logits(prepared.column(0).rows)
        logits = logits.gather(1, devices.put(prepared.per_example["blocks"].astype(np.int64), logits.device))
        scores, owners, firsts, lasts = self._scored(prepared, logits)
        best = best_of(scores, owners, len(batch))
        places = prepared.per_token["position"]
        first, last = places[firsts[best].cpu().numpy()], places[lasts[best].cpu().numpy()]
        return first, last + 1, np.asarray(prepared.per_example["blocks"]), scores[best].cpu().numpy()


def _rest_poolers(encoder: Encoder) -> None:
    """A pooler that the pooling does not use gets no gradient (``TransformerEncoder`` says the same of a new one)."""
    for module in encoder.modules():
        if isinstance(module, TransformerEncoder) and module.pooling != "bert":
            pooler = getattr(module.model, "pooler", None)
            if isinstance(pooler, torch.nn.Module):
                pooler.requires_grad_(False)


def _numbers(batch: Batch, name: str) -> IntArray:
    return np.asarray(batch.per_token[name], np.int64)


def _is_correct(bits: IntArray, firsts: Tensor, lasts: Tensor) -> Tensor:
    values = devices.put(bits, firsts.device)
    found: Tensor = (values[firsts] >> (lasts - firsts)) & 1 > 0
    return found


def _segments(rows: Rows, places: IntArray) -> IntArray:
    """Token types: 0 for the question with its special tokens, 1 for the body and the [SEP] after it."""
    body = places >= 0
    starts = np.zeros(len(rows.tokens), bool)
    starts[rows.offsets[1:] - 1] = True
    return (body | starts).astype(np.int64)


def _interleaved(first: Rows, others: Rows, count: int) -> tuple[Rows, IntArray]:
    """Put ``count`` rows of ``others`` after each row of ``first``; also the index into their joined tokens."""
    size = len(first)
    order = np.concatenate([np.arange(size)[:, None], size + np.arange(size * count).reshape(size, count)], axis=1)
    joined = np.concatenate([first.tokens, others.tokens])
    starts = np.concatenate([first.offsets[:-1], len(first.tokens) + others.offsets[:-1]])
    lengths = np.concatenate([first.lengths, others.lengths])[order.reshape(-1)]
    offsets = offsets_of(lengths)
    index = np.repeat(starts[order.reshape(-1)] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Rows(joined[index], offsets), index


def _without_first(rows: Rows, width: int) -> tuple[Rows, IntArray]:
    """All rows but the first of each ``width``, and the index of their tokens."""
    chosen = np.flatnonzero(np.arange(len(rows)) % width)
    return rows.take(chosen), rows.places(chosen)
