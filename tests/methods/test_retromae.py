"""RetroMAE and DupMAE: what the decoder may see, the losses against slow plain twins, what a run leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, Rows
from pretrieve.methods import retromae
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.decoder import MASKS
from pretrieve.models.heads import HEADS, kept_heads
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.sampling.batches import Batches
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.text import tokenizer
from pretrieve.training.step import StepContext, cached_step, full_step

STARTS = np.arange(tiny.VOCABULARY) % 3 != 0  # of the tiny store's words


def drawn(size: int = 200, seed: int = 0, **changes: Any) -> Batch:
    sampler = retromae.sampler(tiny.store(200), tiny.SPECIALS, tiny.options("retromae", length=40, **changes))
    return Batches(sampler=sampler, batch_size=size, seed=seed)(0)


def bits(batch: Batch) -> np.ndarray:
    """Whether token s is seen under mask k: (S, 64)."""
    masks = batch.per_token["masks"]
    return np.array([[(int(mask) >> k) & 1 for k in range(MASKS)] for mask in masks])


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_mask_statistics(rate: float) -> None:
    batch = drawn(decoder_rate=rate)
    ordinary = batch.per_token["targets"] != UNLABELLED
    seen = bits(batch)
    assert seen[~ordinary].all(), "special tokens are always seen"
    words = ordinary & np.append(True, STARTS[clean(batch)[1:]] | ~ordinary[:-1])
    count = words.sum() * MASKS
    spread = np.sqrt(rate * (1 - rate) / count)
    assert abs(seen[words].mean() - (1 - rate)) < 4 * spread
    each = seen[words].mean(axis=0)
    assert np.abs(each - (1 - rate)).max() < 5 * np.sqrt(rate * (1 - rate) / words.sum()), "so is every one of the 64"
    correlation = np.corrcoef(seen[words].T)
    assert np.abs(correlation - np.eye(MASKS)).max() < 6 / np.sqrt(words.sum()), "masks are independent"
    chosen = np.bincount(batch.per_token["choices"], minlength=MASKS)
    expected = len(ordinary) / MASKS
    assert len(chosen) == MASKS
    assert ((chosen - expected) ** 2 / expected).sum() < MASKS + 5 * np.sqrt(2 * MASKS)


def clean(batch: Batch) -> np.ndarray:
    labels = batch.per_token["labels"]
    return np.where(labels != UNLABELLED, labels, batch.rows.tokens)


def test_words_are_hidden_whole() -> None:
    batch = drawn(60)
    tokens, masks = clean(batch), batch.per_token["masks"]
    ordinary = batch.per_token["targets"] != UNLABELLED
    inside = broken = 0
    for r in range(len(batch.rows)):
        for place in range(batch.rows.offsets[r] + 1, batch.rows.offsets[r + 1]):
            if ordinary[place] and ordinary[place - 1]:
                same = masks[place] == masks[place - 1]
                assert same == (not STARTS[tokens[place]])
                inside, broken = inside + same, broken + (not same)
    assert inside > 50
    assert broken > 50


def test_targets_are_all_tokens_but_the_special_ones_and_rates_are_met() -> None:
    batch = drawn()
    targets, labels = batch.per_token["targets"], batch.per_token["labels"]
    for r in range(len(batch.rows)):
        part = slice(batch.rows.offsets[r], batch.rows.offsets[r + 1])
        assert targets[part][0] == targets[part][-1] == UNLABELLED
        assert np.array_equal(targets[part][1:-1], clean(batch)[part][1:-1])
    hidden, count = int((labels != UNLABELLED).sum()), int((targets != UNLABELLED).sum())
    assert hidden / count == pytest.approx(0.3, abs=0.03)
    assert batch.per_example["weight"][0] == pytest.approx(len(batch) / hidden)
    assert batch.per_example["decoder_weight"][0] == pytest.approx(len(batch) / count)


def test_masks_have_an_address() -> None:
    first, again, other = drawn(), drawn(), drawn(seed=1)
    for name in ("masks", "choices"):
        assert np.array_equal(first.per_token[name], again.per_token[name])
        assert not np.array_equal(first.per_token[name][:100], other.per_token[name][:100])
    assert len({int(mask) for mask in first.per_token["masks"]}) > 1000


def cross_entropy(scores: np.ndarray, word: int) -> float:
    return float(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[word])


@pytest.mark.parametrize("preset", ["retromae", "dupmae"])
def test_losses_agree_with_a_slow_twin(preset: str) -> None:
    """Row by row and token by token: no blocks, no weights, sums of losses over their numbers."""
    objective, batches = tiny.run(preset, "new", size=9, layers=2)
    objective.double().eval()
    batch = batches(0)
    encoder, facts = objective.encoder, batch.per_token

    def scores(states: torch.Tensor) -> np.ndarray:
        return objective.language(states, encoder.words).detach().numpy()

    masked, rebuilt, bags = [], [], []
    for r in range(9):
        part = slice(batch.rows.offsets[r], batch.rows.offsets[r + 1])
        (states,) = encoder.states(Rows.of([batch.rows.row(r)]))
        row = Rows.of([clean(batch)[part]])
        out = objective.enhanced_decoder(encoder, states[:1], row, facts["masks"][part], facts["choices"][part])
        guessed, decoded = scores(states), scores(out)
        for place in range(len(states)):
            if facts["labels"][part][place] != UNLABELLED:
                masked.append(cross_entropy(guessed[place], facts["labels"][part][place]))
            if facts["targets"][part][place] != UNLABELLED:
                rebuilt.append(cross_entropy(decoded[place], facts["targets"][part][place]))
        words = [int(word) for word in row.tokens[1:-1]]
        highest = guessed[1:].max(axis=0)
        bags.append(sum(cross_entropy(highest, word) / len(words) for word in set(words)))
    expected = np.mean(masked) + np.mean(rebuilt) + (0.1 * np.mean(bags) if preset == "dupmae" else 0.0)
    found = objective.encode(batch, 0)
    assert found.example_loss is not None
    assert float(found.example_loss.detach().mean()) == pytest.approx(float(expected), rel=1e-10)
    assert float(found.statistics["mlm"].mean()) == pytest.approx(float(np.mean(masked)), rel=1e-10)
    assert float(found.statistics["decoder"].mean()) == pytest.approx(float(np.mean(rebuilt)), rel=1e-10)
    if preset == "dupmae":
        np.testing.assert_allclose(found.statistics["bag"].numpy(), bags, rtol=1e-10)


def bag_inputs() -> tuple[Any, torch.Tensor, Rows]:
    objective, _ = tiny.run("dupmae", "new")
    objective.double().eval()
    targets = Rows.of([[-100, 7, 7, 9, -100], [-100, 5, -100], [-100, 11, 12, 7, -100]])
    with torch.no_grad():  # scores far apart, so that no maximum is near a corner
        objective.encoder.words.normal_(generator=torch.Generator().manual_seed(0))
    states = torch.randn(13, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return objective, states, targets


def test_bag_of_words_counts_a_repeated_word_once_and_has_the_right_gradient() -> None:
    objective, states, targets = bag_inputs()
    scores = objective.language(states, objective.encoder.words).detach().numpy()
    highest = scores[1:5].max(axis=0)
    expected = (cross_entropy(highest, 7) + cross_entropy(highest, 9)) / 3
    assert float(objective.bag_of_words(states, targets).detach()[0]) == pytest.approx(expected, rel=1e-10)
    states.requires_grad_()
    (gradient,) = torch.autograd.grad(objective.bag_of_words(states, targets).sum(), states)
    direction = torch.randn(states.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        above = float(objective.bag_of_words(states + 1e-7 * direction, targets).sum())
        below = float(objective.bag_of_words(states - 1e-7 * direction, targets).sum())
    assert float((gradient * direction).sum()) == pytest.approx((above - below) / 2e-7, rel=1e-6)
    assert not gradient[[0, 5, 8]].any(), "the vector takes no part"


def test_bag_of_words_in_bounded_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, states, targets = bag_inputs()
    whole = objective.bag_of_words(states, targets)
    monkeypatch.setattr(retromae, "_BLOCK", 1)
    torch.testing.assert_close(objective.bag_of_words(states, targets), whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("preset", ["retromae", "dupmae"])
def test_cached_equals_full_with_dropout_and_the_gradient_reaches_everything(preset: str) -> None:
    found = []
    for take in (full_step, cached_step):
        objective, batches = tiny.run(preset, "new", size=12, dropout=0.3)
        take(objective.double(), batches(1), 1, StepContext(chunk=5))
        without = {name for name, p in objective.named_parameters() if p.requires_grad and p.grad is None}
        assert not without
        found.append(torch.cat([p.grad.reshape(-1) for p in objective.parameters() if p.grad is not None]))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-12


def test_the_decoder_teaches_the_vector() -> None:
    """The decoder's loss alone has a gradient in the encoder's layers, through [CLS] alone."""
    objective, batches = tiny.run("retromae", "new", dropout=0.0)
    batch = batches(0)
    (states,) = objective.encoder.states(batch.rows)
    rows = Rows(clean(batch), batch.rows.offsets)
    first = torch.from_numpy(rows.offsets[:-1])
    facts = batch.per_token
    out = objective.enhanced_decoder(objective.encoder, states[first], rows, facts["masks"], facts["choices"])
    loss = objective.language.losses(out, facts["targets"], objective.encoder.words).sum()
    (gradient,) = torch.autograd.grad(loss, states)
    reached = gradient.abs().sum(dim=1) > 0
    assert np.array_equal(np.flatnonzero(reached.numpy()), rows.offsets[:-1])


def test_explain_shows_what_is_hidden() -> None:
    documents = tiny.store()
    sampler = retromae.sampler(documents, tiny.SPECIALS, tiny.options("retromae"), provenance=True)
    batch = Batches(sampler=sampler, batch_size=30, seed=0)(0)
    shares = []
    for b, pair in enumerate(retromae.explain(batch, documents, tiny.SPECIALS)):
        part = slice(batch.rows.offsets[b], batch.rows.offsets[b + 1])
        hidden = int((batch.per_token["labels"][part] != UNLABELLED).sum())
        assert pair.note.startswith(f"{hidden} of {len(pair.rows[0].kept)} tokens hidden from the encoder;")
        assert len(pair.rows[0].masked) + len(pair.rows[0].replaced) <= hidden
        shares.append(int(pair.note.split(" % ")[0].split("%")[0].split()[-1]))
    assert np.mean(shares) == pytest.approx(50, abs=8)
    assert any(pair.rows[0].masked for pair in retromae.explain(batch, documents, tiny.SPECIALS))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="decoder_rate"):
        tiny.options("retromae", decoder_rate=1.5)
    with pytest.raises(UsageError, match="rate lies"):
        tiny.options("retromae", rate=0.0)
    with pytest.raises(UsageError, match="lower length"):
        tiny.run("retromae", "new", length=65)
    with pytest.raises(UsageError, match="retromae needs hidden states"):
        tiny.run("retromae", "static")


def test_a_dupmae_run_goes_on_from_what_a_retromae_run_left(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{word}" for word in rng.integers(0, 99, 60)) + "." for _ in range(40)]
    source = tmp_path / "documents.jsonl"
    source.write_bytes(b"\n".join(orjson.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)))
    settings = {"batch_size": 8, "vocabulary_size": 200, "length": 24, "max_length": 64}
    base = "new:layers=1,hidden=32,heads=2,intermediate=64"
    output = tmp_path / "model"
    train(
        TrainRequest(sources=(str(source),), output=output, base=base, method="retromae", steps=3, settings=settings)
    )  # fmt: skip
    assert (output / HEADS).is_file()
    vocabulary: Any = tokenizer.load(output)
    encoder = build_encoder(str(output), store=vocabulary, options=EncoderOptions(max_length=64))
    made = retromae.objective(encoder, tiny.options("dupmae"), 77, tiny.store())
    kept, mine = kept_heads(encoder), made.state_dict()
    assert {name.split(".")[0] for name in kept} == {"language", "enhanced_decoder"}
    for name, values in kept.items():
        assert torch.equal(mine[name], values), name
