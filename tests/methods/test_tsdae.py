"""TSDAE: deletion of words, the loss as NumPy writes it from the paper, its gradient, its mean over tokens."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator
from pretrieve.core.types import Rows
from pretrieve.methods import tsdae
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.sampling.batches import Batches
from pretrieve.sampling.spans import CLS, SEP, Positions

STORE = tiny.store(200)


def batch_of(size: int = 400, documents: Any = STORE, **changes: Any) -> Any:
    options = tsdae.Options(**{"length": 24, **changes})
    return Batches(sampler=tsdae.sampler(documents, tiny.SPECIALS, options, True), batch_size=size, seed=0)(0)


def run(size: int = 6) -> tuple[Any, Any]:
    """The objective over a two-layer model in float64, and a batch."""
    base = "new:layers=2,hidden=16,heads=2,intermediate=24,dropout=0.1"
    encoder = build_encoder(base, store=STORE, options=EncoderOptions(pooling="cls", max_length=64), seed=0)
    options = tsdae.Options(length=24)
    objective = tsdae.objective(encoder, options, 0, STORE).double().eval()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # biases and norms start at 0 and 1
    return objective, batch_of(size)


def words_of(values: list[int], begins: list[bool]) -> list[list[int]]:
    words: list[list[int]] = []
    for i, value in enumerate(values):
        if value < 0:
            continue
        if begins[i] or not words or values[i - 1] < 0:
            words.append([])
        words[-1].append(value)
    return words


def test_words_are_deleted_whole_and_no_row_is_emptied() -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 12, size=3000)
    rows = [[CLS, *range(100 * r, 100 * r + int(n)), SEP][: None if r % 2 else -1] for r, n in enumerate(lengths)]
    found = Rows.of(rows)
    begins = rng.random(len(found.tokens)) < 0.5
    kept = tsdae.delete_words(Positions(found.tokens, found.offsets), begins, 0.6, generator(0, "test"))
    chosen, several = [], []
    for r in range(len(rows)):
        own = kept.values[kept.offsets[r] : kept.offsets[r + 1]].tolist()
        words = words_of(rows[r], begins[found.offsets[r] : found.offsets[r + 1]].tolist())
        stays = [set(word) <= set(own) for word in words]
        assert any(stays)
        assert own == [t for t in rows[r] if t < 0 or any(t in word for word, stay in zip(words, stays) if stay)]  # noqa: B905
        if len(words) == 2:
            several.append(stays)
        chosen += stays if len(words) > 5 else []
    part = np.mean(chosen)
    assert abs(part - 0.4) < 4 * math.sqrt(0.24 / len(chosen)) + 0.6**6 / 6
    # two words: both go with probability 0.36, and then either is kept; so each stays with 0.4 + 0.18
    first, second = np.array(several).mean(axis=0)
    assert abs(first - 0.58) < 4 * math.sqrt(0.25 / len(several))
    assert abs(second - 0.58) < 4 * math.sqrt(0.25 / len(several))


def test_rows_are_a_damaged_text_and_the_text() -> None:
    batch = batch_of()
    for pair in tsdae.explain(batch, STORE, tiny.SPECIALS):
        damaged, original = pair.rows
        assert (damaged.role, original.role) == ("damaged", "original")
        assert original.kept == list(range(original.kept[0], original.kept[-1] + 1))
        assert not original.deleted
        assert sorted(damaged.kept + damaged.deleted) == original.kept
        assert damaged.kept == sorted(damaged.kept)
    for b in range(len(batch)):
        for row in (batch.rows.row(2 * b), batch.rows.row(2 * b + 1)):
            assert row[0] == tiny.SPECIALS.cls
            assert row[-1] == tiny.SPECIALS.sep
            assert len(row) <= 24


def test_no_deletion_leaves_the_text() -> None:
    batch = batch_of(20, delete=0.0)
    for b in range(20):
        assert np.array_equal(batch.rows.row(2 * b), batch.rows.row(2 * b + 1))


def test_the_loss_is_what_numpy_makes_of_the_paper() -> None:
    objective, batch = run()
    w = {name: value.detach().numpy() for name, value in objective.named_parameters()}
    local = objective.encode(batch, 0).example_loss.detach().numpy()
    sums, tokens = [], 0
    for b in range(len(batch)):
        vector = _bert(w, batch.rows.row(2 * b), None)[0]
        original = batch.rows.row(2 * b + 1)
        scores = _scores(w, _bert(w, original[:-1], vector))
        chances = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        sums.append(-chances[np.arange(len(original) - 1), original[1:]].sum())
        tokens += len(original) - 1
    np.testing.assert_allclose(local, np.array(sums) * len(batch) / tokens, rtol=1e-9)
    assert local.mean() == pytest.approx(sum(sums) / tokens), "the mean over examples is the mean over tokens"


def test_gradient_is_that_of_finite_differences() -> None:
    objective, batch = run(3)

    def loss() -> torch.Tensor:
        return objective.encode(batch, 0).example_loss.mean()

    loss().backward()
    parameters = {name: p for name, p in objective.named_parameters() if p.requires_grad and p.grad is not None}
    assert {"reconstruction.cross.1.value.weight", "language.dense.weight"} <= set(parameters)
    assert any("word_embeddings" in name for name in parameters)
    rng = np.random.default_rng(0)
    for name, parameter in parameters.items():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        index = int(gradient.abs().argmax()) if rng.random() < 0.5 else int(rng.integers(len(flat)))
        before, values = float(flat[index]), []
        for step in (1e-5, -1e-5):
            flat[index] = before + step
            with torch.no_grad():
                values.append(float(loss()))
        flat[index] = before
        expected = (values[0] - values[1]) / 2e-5
        assert float(gradient[index]) == pytest.approx(expected, rel=1e-5, abs=1e-8), name


def test_nothing_is_registered_twice() -> None:
    objective, _ = run()
    names = [name for name, _ in objective.named_parameters(remove_duplicate=False)]
    assert len(names) == len({id(p) for p in objective.parameters()}) == len(objective.state_dict())
    own = {name.split(".")[1] for name in names if name.startswith("reconstruction.")}
    assert own == {"cross"}


def test_the_vector_carries_the_text() -> None:
    """Trained on a few texts, the decoder needs the vector: with that of another text it does worse."""
    objective, batches = tiny.run("tsdae", "new", size=12, dropout=0.0)
    batch = batches(0)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        objective.encode(batch, 0).example_loss.mean().backward()
        optimizer.step()
    index = np.arange(24).reshape(12, 2)
    index[:, 0] = np.roll(index[:, 0], 2)
    mixed = type(batch)(
        rows=Rows.of([batch.rows.row(r) for r in index.reshape(-1)]), shape=batch.shape, documents=batch.documents,
        per_example=batch.per_example,
    )  # fmt: skip
    own, other = (float(objective.encode(rows, 0).example_loss.detach().mean()) for rows in (batch, mixed))
    assert own < 0.7 * other


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UsageError, match="needs hidden states"):
        tiny.run("tsdae", "static")
    with pytest.raises(UsageError, match="lower length"):
        tiny.run("tsdae", "new", length=200)
    for wrong in ({"delete": 1.0}, {"length": 4}, {"short": 2.0}):
        with pytest.raises(UsageError):
            tsdae.Options(**wrong)


def _normed(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-12)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def _linear(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def _bert(w: dict[str, np.ndarray], ids: np.ndarray, vector: np.ndarray | None) -> np.ndarray:
    """Two layers: open without a vector, or causal with a look at the vector in each."""
    at, n = "encoder.model.embeddings", len(ids)
    x = w[f"{at}.word_embeddings.weight"][ids] + w[f"{at}.position_embeddings.weight"][:n]
    x = _normed(x + w[f"{at}.token_type_embeddings.weight"][0], w, f"{at}.LayerNorm")
    for layer in range(2):
        at, mixed = f"encoder.model.encoder.layer.{layer}", np.zeros((n, 16))
        q, k, v = (_linear(x, w, f"{at}.attention.self.{name}") for name in ("query", "key", "value"))
        for head in (slice(0, 8), slice(8, 16)):
            scores = np.exp(q[:, head] @ k[:, head].T / math.sqrt(8))
            scores = scores if vector is None else np.tril(scores)
            mixed[:, head] = scores / scores.sum(axis=1, keepdims=True) @ v[:, head]
        x = _normed(x + _linear(mixed, w, f"{at}.attention.output.dense"), w, f"{at}.attention.output.LayerNorm")
        if vector is not None:
            cross = f"reconstruction.cross.{layer}"
            seen = _linear(_linear(vector, w, f"{cross}.value"), w, f"{cross}.output")
            x = _normed(x + seen, w, f"{cross}.norm")
        inner = _linear(_gelu(_linear(x, w, f"{at}.intermediate.dense")), w, f"{at}.output.dense")
        x = _normed(x + inner, w, f"{at}.output.LayerNorm")
    return x


def _scores(w: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    x = _normed(_gelu(_linear(x, w, "language.dense")), w, "language.norm")
    return x @ w["encoder.model.embeddings.word_embeddings.weight"].T + w["language.bias"]
