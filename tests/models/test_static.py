"""The static encoder: means and their gradient, idf, and the random start."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pretrieve.core.types import Rows
from pretrieve.models.static import StaticEncoder, inverse_document_frequencies, random_vectors
from tiny import BARE, SPECIALS, VOCABULARY
from tiny import store as tiny_store


def ragged(seed: int, lengths: list[int], dtype: type = np.int64) -> Rows:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Rows(rng.integers(0, VOCABULARY, offsets[-1]).astype(dtype), offsets)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.uint32])
def test_means_and_their_gradient_are_those_of_torch(dtype: type) -> None:
    rows = ragged(0, [3, 0, 1, 40, 7, 0], dtype)
    encoder = StaticEncoder(np.random.default_rng(1).standard_normal((VOCABULARY, 8)), BARE)
    vectors = encoder(rows)
    assert vectors.shape == (6, 1, 8)
    direction = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    (vectors[:, 0] * direction).sum().backward()
    mine = encoder.embedding.weight.grad

    weight = encoder.embedding.weight.detach().clone().requires_grad_()
    expected = F.embedding_bag(
        torch.from_numpy(rows.tokens.astype(np.int64)), weight, torch.from_numpy(rows.offsets[:-1]), mode="mean"
    )
    (expected * direction).sum().backward()
    torch.testing.assert_close(vectors[:, 0], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(mine, weight.grad, rtol=0, atol=1e-6)
    assert vectors[1].abs().sum() == 0, "an empty row is zero"


def test_a_slice_of_a_batch_encodes_as_in_the_batch() -> None:
    rows = ragged(3, [4, 9, 2, 5])
    encoder = StaticEncoder(np.random.default_rng(1).standard_normal((VOCABULARY, 8)), BARE)
    whole = encoder(rows)
    part = Rows(rows.tokens[rows.offsets[1] : rows.offsets[3]], rows.offsets[1:4] - rows.offsets[1])
    assert torch.equal(encoder(part), whole[1:3])


def slow_idf(tokens: np.ndarray, documents: np.ndarray, vocabulary: int) -> list[float]:
    sets = [set(tokens[a:b].tolist()) for a, b in itertools.pairwise(documents)]
    counts = [sum(token in document for document in sets) for token in range(vocabulary)]
    return [np.log(1 + (len(sets) - df + 0.5) / (df + 0.5)) for df in counts]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 22])
def test_idf_equals_counting_sets(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrieve.models.static._CHUNK", chunk)
    rng = np.random.default_rng(5)
    documents = np.concatenate([[0], np.cumsum(rng.integers(0, 12, 60))])
    tokens = rng.integers(0, 30, documents[-1]).astype(np.uint16)
    found = inverse_document_frequencies(tokens, documents, 40)
    np.testing.assert_allclose(found, slow_idf(tokens, documents, 40), rtol=1e-6)
    assert found.dtype == np.float32


def test_the_start_is_random_by_address_and_scaled() -> None:
    scale = np.linspace(0.5, 3, 2000).astype(np.float32)
    vectors = random_vectors(scale, 64, seed=7)
    assert np.array_equal(vectors, random_vectors(scale, 64, seed=7))
    assert not np.array_equal(vectors, random_vectors(scale, 64, seed=8))
    ratio = (vectors**2).sum(axis=1) / scale**2
    assert abs(ratio.mean() - 1) < 4 * np.sqrt(2 / 64 / 2000), "squared lengths are scale**2 on average"


def test_from_store_has_no_tokens_around_rows_and_estimates_tf_idf() -> None:
    documents = tiny_store(60)
    encoder = StaticEncoder.from_store(documents, 4096, seed=0)
    assert encoder.specials.around() == 0
    assert documents.specials == SPECIALS
    assert encoder.similarity == "cosine"
    vectors = F.normalize(encoder(Rows(documents.tokens, documents.documents))[:, 0]).detach().numpy()
    idf = inverse_document_frequencies(documents.tokens, documents.documents, VOCABULARY)
    bags = np.array([np.bincount(documents.tokens[a:b], minlength=VOCABULARY) * idf
                     for a, b in zip(documents.starts, documents.ends, strict=True)])  # fmt: skip
    bags /= np.linalg.norm(bags, axis=1, keepdims=True)
    error = np.abs(vectors @ vectors.T - bags @ bags.T).max()
    assert error < 6 / np.sqrt(4096), "a random projection keeps cosines"


def test_training_changes_only_tokens_that_occur() -> None:
    rows = Rows.of([[5, 6], [7]])
    encoder = StaticEncoder(np.ones((VOCABULARY, 4)), BARE)
    encoder(rows).sum().backward()
    grad = encoder.embedding.weight.grad
    assert grad is not None
    assert grad.abs().sum(dim=1).nonzero().flatten().tolist() == [5, 6, 7]
    assert grad[5].tolist() == [0.5] * 4
    assert grad[7].tolist() == [1.0] * 4


def test_scale_changes_the_vectors_of_some_tokens_and_no_gradient() -> None:
    before = np.random.default_rng(2).standard_normal((VOCABULARY, 8)).astype(np.float32)
    encoder = StaticEncoder(before, BARE)
    encoder.scale(np.array([7, 90], np.uint16), 0.25)
    after = encoder.embedding.weight
    expected = before.copy()
    expected[[7, 90]] *= 0.25
    assert np.array_equal(after.detach().numpy(), expected)
    assert after.requires_grad
    assert after.grad is None
    encoder.scale(np.zeros(0, np.int64), 0.5)
    assert np.array_equal(after.detach().numpy(), expected)
