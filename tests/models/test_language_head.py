"""The language head: the stock models' own logits, new heads, heads kept by an earlier run, and its losses."""

import numpy as np
import pytest
import safetensors.torch
import torch

import numpy_bert
import stock
import tiny
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.core.types import Batch, Rows
from pretrieve.models.heads import HEADS
from pretrieve.models.language import LanguageHead, per_example
from pretrieve.models.restore import load_encoder
from pretrieve.sampling.masking import UNLABELLED


def rows(count: int, vocabulary: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    return Rows.of([rng.integers(5, vocabulary, size) for size in rng.integers(3, 20, count)])


@torch.no_grad()
@pytest.mark.parametrize("family", stock.FAMILIES)
def test_a_checkpoint_s_own_head_gives_the_stock_model_s_logits(family, tmp_path) -> None:
    model = stock.checkpoint(family, tmp_path)
    encoder = load_encoder(tmp_path).eval()
    head = LanguageHead(encoder, seed=0)
    some = rows(5, model.config.vocab_size)
    (states,) = encoder.states(some)
    scores = head(states, encoder.words)
    for row in range(len(some)):
        expected = model(input_ids=torch.from_numpy(some.row(row))[None]).logits[0]
        mine = scores[some.offsets[row] : some.offsets[row + 1]]
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-5)
        assert float((mine - expected).norm() / expected.norm()) < 1e-6
    assert head.bias.abs().max() > 0.01, "a bias that was lost would show"


@pytest.mark.parametrize("family", stock.FAMILIES)
def test_without_a_head_a_new_one_starts_from_the_seed(family, tmp_path) -> None:
    model = stock.checkpoint(family, tmp_path)
    base = model.bert if family == "bert" else model.roberta if family == "roberta" else model.model
    base.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    one, same, other = (LanguageHead(encoder, seed) for seed in (1, 1, 2))
    assert torch.equal(one.dense.weight, same.dense.weight)
    assert not torch.equal(one.dense.weight, other.dense.weight)
    assert float(one.dense.weight.detach().std()) == pytest.approx(0.2, rel=0.2)
    assert not one.bias.any()
    assert not {id(p) for p in one.parameters()} & {id(p) for p in encoder.parameters()}


def test_the_head_of_an_earlier_run_goes_before_the_checkpoint_s_own(tmp_path) -> None:
    stock.checkpoint("bert", tmp_path)
    encoder = load_encoder(tmp_path)
    left = LanguageHead(encoder, 0)
    with torch.no_grad():
        for parameter in left.parameters():
            parameter.normal_()
    kept = {f"language.{name}": values.detach() for name, values in left.named_parameters()}
    safetensors.torch.save_file(kept, tmp_path / HEADS)
    found = LanguageHead(encoder, 0)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), left.parameters(), strict=True))
    safetensors.torch.save_file({**kept, "language.bias": torch.zeros(3)}, tmp_path / HEADS)
    with pytest.raises(UsageError, match="do not fit"):
        LanguageHead(encoder, 0)
    (tmp_path / HEADS).write_bytes(b"\xff" * 20)
    with pytest.raises(CorruptError, match="restore the model"):
        LanguageHead(encoder, 0)


def test_losses_and_hits_against_numpy() -> None:
    encoder = tiny.encoder("new", tiny.store(), dropout=0.0).double().eval()
    head = LanguageHead(encoder, 3).double()
    with torch.no_grad():
        head.bias.normal_()
    some = rows(6, tiny.VOCABULARY)
    (states,) = encoder.states(some)
    labels = np.full(len(some.tokens), UNLABELLED)
    where = np.sort(np.random.default_rng(0).choice(len(labels), 9, replace=False))
    labels[where] = some.tokens[where]
    losses, hits = head.scored(states, labels, encoder.words)
    w = {f"language.{name}": value for name, value in numpy_bert.weights(head).items()}
    words = encoder.words.detach().numpy()
    expected = np.zeros(len(labels))
    x = states.detach().numpy()[where]
    expected[where] = numpy_bert.word_losses(w, "language", words, x, labels[where])
    np.testing.assert_allclose(losses.detach().numpy(), expected, rtol=0, atol=1e-10)
    assert torch.equal(losses, head.losses(states, labels, encoder.words))
    best = [
        min(
            range(tiny.VOCABULARY),
            key=lambda v, i=i: numpy_bert.word_losses(w, "language", words, x[i : i + 1], [v])[0],
        )
        for i in range(9)
    ]
    assert np.array_equal(hits.numpy()[where], best == labels[where])
    assert hits.sum() == (best == labels[where]).sum()


def test_a_chunk_without_labels_has_no_loss() -> None:
    encoder = tiny.encoder("new", tiny.store())
    (states,) = encoder.states(rows(2, tiny.VOCABULARY))
    losses, hits = LanguageHead(encoder, 0).scored(states, np.full(len(states), UNLABELLED), encoder.words)
    assert not losses.any()
    assert not hits.any()


def test_per_example_sums_the_tokens_of_all_rows() -> None:
    batch = Batch(rows=Rows.of([[5], [5, 6], [7, 8, 9], [5]]), shape=(2, 2), documents=np.arange(2))
    values = torch.tensor([1.0, 2, 4, 8, 16, 32, 64])
    assert per_example(values, batch).tolist() == [7.0, 120.0]
    assert per_example(values[3:], batch.slice(1, 2)).tolist() == [120.0]
