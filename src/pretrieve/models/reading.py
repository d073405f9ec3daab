"""Reading answers out of blocks: scores of spans, and the two marginal losses of open-domain question answering.

Lee, Chang, Toutanova, *Latent retrieval for weakly supervised open domain question answering*, ACL 2019, and the
released ``orqa/models/orqa_model.py``. REALM (Guu et al., ICML 2020) reads by the same formulas: its MLP
over ``[h_start; h_end]`` is the sum of two projections.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretrieve.models.heads import seeded


class SpanScorer(nn.Module):
    """Score of a span by its first and last token: ``w . LayerNorm(ReLU(W_s h_s + W_e h_e))``.

    Attributes:
        start: W_s.
        end: W_e.
        norm: LayerNorm.
        score: w.

    Args:
        width: D of the hidden states.
        hidden: width of the hidden layer; 256 in the released code.
        seed: seed of the run, for the initial weights (normal with deviation 0.02, as BERT's).
    """

    def __init__(self, width: int, hidden: int = 256, *, seed: int = 0) -> None:
        super().__init__()
        with seeded(seed, "span-scorer"):
            self.start, self.end = nn.Linear(width, hidden), nn.Linear(width, hidden, bias=False)
            self.score = nn.Linear(hidden, 1, bias=False)
            for layer in (self.start, self.end, self.score):
                nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.start.bias)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, states: Tensor, firsts: Tensor, lasts: Tensor) -> Tensor:
        """Score M spans.

        Args:
            states: hidden states (S, D).
            firsts: index of each span's first token, (M,).
            lasts: index of each span's last token, (M,).

        Returns:
            Scores (M,).
        """
        hidden = torch.relu(self.start(states)[firsts] + self.end(states)[lasts])
        scores: Tensor = self.score(self.norm(hidden))[:, 0]
        return scores


def spans_within(owners: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """List every span of at most ``width`` tokens that stays inside one text.

    Args:
        owners: (T,) number of the text that each token belongs to; the tokens of a text stand together.
        width: most tokens of a span.

    Returns:
        First and last token of each span, (M,) each, shorter spans first.
    """
    places = torch.arange(len(owners), device=owners.device)
    firsts = [places[: len(places) - more][owners[more:] == owners[: len(places) - more]] for more in range(width)]
    more = torch.cat([torch.full_like(part, number) for number, part in enumerate(firsts)])
    return torch.cat(firsts), torch.cat(firsts) + more


def retrieval_loss(logits: Tensor, holds: Tensor) -> Tensor:
    """Negative log-likelihood that a block holds an answer, among the blocks that were retrieved.

    ``logsumexp(all) - logsumexp(those that hold an answer)``; zero, with no gradient, where none does.

    Args:
        logits: retriever scores (B, K).
        holds: whether each block holds an answer, (B, K).

    Returns:
        The loss of each question, (B,).
    """
    possible = holds.any(dim=1)
    safe = holds | ~possible.unsqueeze(1)  # a row without answers is all "right": its loss and gradient are zero
    return logits.logsumexp(dim=1) - logits.masked_fill(~safe, -torch.inf).logsumexp(dim=1)


def reading_loss(scores: Tensor, owners: Tensor, correct: Tensor, questions: int) -> Tensor:
    """Negative log-likelihood that a span is an answer, among all spans of all blocks of its question.

    ``logsumexp(all) - logsumexp(correct)``; zero, with no gradient, where no span is correct.

    Args:
        scores: of M spans.
        owners: question of each span, (M,).
        correct: whether each span is an answer, (M,).
        questions: B.

    Returns:
        The loss of each question, (B,).
    """
    possible = torch.zeros(questions, dtype=torch.bool, device=scores.device)
    possible[owners[correct]] = True
    whole = _logsumexp_by(scores, owners, questions)
    return torch.where(possible, whole - _logsumexp_by(scores[correct], owners[correct], questions), 0.0)


def best_of(scores: Tensor, owners: Tensor, questions: int) -> Tensor:
    """Index of the best span of each question, (B,): the first of equals; M where a question has none.

    Args:
        scores: of M spans.
        owners: question of each span, (M,).
        questions: B.
    """
    highest = _largest_by(scores, owners, questions)
    places = torch.arange(len(scores), device=scores.device)
    is_best = scores == highest[owners]
    best = torch.full((questions,), len(scores), device=scores.device)
    return best.scatter_reduce(0, owners[is_best], places[is_best], "amin")


def _logsumexp_by(scores: Tensor, owners: Tensor, questions: int) -> Tensor:
    highest = _largest_by(scores.detach(), owners, questions)
    summed = scores.new_zeros(questions).index_add(0, owners, (scores - highest[owners]).exp())
    return summed.clamp_min(torch.finfo(scores.dtype).tiny).log() + highest.clamp_min(torch.finfo(scores.dtype).min)


def _largest_by(scores: Tensor, owners: Tensor, questions: int) -> Tensor:
    lowest = scores.new_full((questions,), -torch.inf)
    return lowest.scatter_reduce(0, owners, scores, "amax")
