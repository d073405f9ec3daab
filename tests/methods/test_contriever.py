"""Contriever: statistics of its pairs, MoCo against a NumPy twin, and its options."""

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.methods import contriever
from pretrieve.text.batches import Batches
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer

LONG = tiny.store(60, sentences=(30, 60))


def batch_of(documents=LONG, size: int = 2000, specials=tiny.SPECIALS, step: int = 0, **changes):
    view = contriever.view(documents, specials, contriever.Options(**{"window": 64, "delete": 0.0, **changes}), True)
    return Batches(view=view, batch_size=size, seed=0)(step)


def test_crop_lengths_are_uniform_between_the_ratios() -> None:
    for concat in (True, False):
        batch = batch_of(concat=concat)
        spans = batch.per_row["spans"][:, 1]
        lengths = spans[:, 1] - spans[:, 0]
        if concat:
            assert lengths.min() == int(0.05 * 64)
            assert lengths.max() == int(0.5 * 64) - 1  # floor of a ratio below 0.5
            ratios = (lengths + 0.5) / 64
            expected, deviation = (0.05 + 0.5) / 2, 0.45 / np.sqrt(12)
            assert abs(ratios.mean() - expected) < 3 * deviation / np.sqrt(len(lengths)) + 0.5 / 64
        assert (batch.rows.lengths == lengths + 2).all()
        assert (lengths[0::2] != lengths[1::2]).mean() > 0.9  # the two crops are independent


def test_crops_stay_inside_their_document_and_move_over_it() -> None:
    batch = batch_of()
    spans = batch.per_row["spans"][:, 1]
    owners = np.repeat(batch.documents, 2)
    assert (spans[:, 0] >= LONG.bodies[owners]).all()
    assert (spans[:, 1] <= LONG.ends[owners]).all()
    straddling = batch_of(concat=True)
    assert (straddling.per_row["spans"][:, 1, 1] > LONG.ends[np.repeat(straddling.documents, 2)]).any()


def test_token_range_mode() -> None:
    lengths = batch_of(min_tokens=5, max_tokens=9).rows.lengths - 2
    assert sorted(set(lengths)) == [5, 6, 7, 8, 9]
    short = batch_of(tiny.store(20, sentences=(1, 1), words=(3, 3)), min_tokens=5, max_tokens=9, size=50)
    assert set(short.rows.lengths - 2) == {3}


def test_deletion_rate_and_no_empty_crop() -> None:
    plain, edited = batch_of(), batch_of(delete=0.1)
    before, after = plain.rows.lengths.sum() - 2 * 4000, edited.rows.lengths.sum() - 2 * 4000
    assert abs(1 - after / before - 0.1) < 3 * np.sqrt(0.09 / before)
    assert batch_of(delete=1.0).rows.lengths.tolist() == [3] * 4000


def test_special_tokens_only_where_the_encoder_has_them() -> None:
    batch = batch_of()
    assert (batch.rows.tokens[batch.rows.offsets[:-1]] == tiny.SPECIALS.cls).all()
    assert (batch.rows.tokens[batch.rows.offsets[1:] - 1] == tiny.SPECIALS.sep).all()
    assert batch_of(specials=tiny.BARE).rows.tokens.min() >= 5


def test_explain_tells_what_was_done() -> None:
    batch = batch_of(size=50, delete=0.2, mask=0.1, replace=0.1)
    for number, pair in enumerate(contriever.explain(batch, LONG, tiny.SPECIALS)):
        assert [row.role for row in pair.rows] == ["query", "key"]
        for side, row in enumerate(pair.rows):
            tokens = batch.rows.row(2 * number + side)[1:-1]
            ((start, stop),) = row.spans
            assert sorted([*row.kept, *row.deleted]) == list(range(start, stop))
            for position, token in zip(row.kept, tokens, strict=True):
                said = (
                    tiny.SPECIALS.mask if position in row.masked else row.replaced.get(position, LONG.tokens[position])
                )
                assert token == said


def softmax_loss(scores: np.ndarray, label: int) -> float:
    return float(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label])


@pytest.mark.parametrize("masked", [False, True])
def test_moco_is_the_published_loss(masked: bool) -> None:
    documents = tiny.store(6)
    objective, batches = tiny.run("contriever", documents=documents, mask_same_document=masked, label_smoothing=0.1)
    objective.double()
    queue = objective.queue.keys.clone().numpy()
    owners = np.full(32, -1)
    assert np.allclose(np.linalg.norm(queue, axis=1), 1)
    for step in range(6):
        batch = batches(step)
        encoded = objective.encode(batch, step).vectors
        loss = objective.compare(encoded, encoded, batch, 0, step)
        query, key = (encoded[name].detach().numpy()[:, 0, 0] for name in ("query", "key"))
        expected = []
        for row in range(8):
            allowed = ~(masked & (owners == batch.documents[row]))
            scores = np.concatenate([[query[row] @ key[row]], queue[allowed] @ query[row]]) / 0.05
            losses = [softmax_loss(scores, label) for label in range(len(scores))]
            expected.append(0.9 * losses[0] + 0.1 * np.mean(losses))
        assert float(loss.value.detach()) == pytest.approx(np.mean(expected), rel=1e-9)
        objective.after_step(encoded, batch, step)
        first = step * 8 % 32
        queue[first : first + 8], owners[first : first + 8] = key, batch.documents
        assert np.array_equal(objective.queue.keys.numpy(), queue)  # wraps around after four batches
        assert np.array_equal(objective.queue.documents.numpy(), owners)


def test_slow_encoder_moves_before_the_next_keys_and_learns_nothing() -> None:
    objective, batches = tiny.run("contriever", momentum=0.9)
    trainer = Trainer(objective=objective, batches=batches, options=TrainingOptions(steps=3, batch_size=8, warmup=0.0))
    slow = objective.slow_encoder.embedding.weight
    for step in range(3):
        before, batch = slow.clone(), batches(step)
        with torch.no_grad():
            keys = torch.nn.functional.normalize(objective.slow_encoder(batch.column(1).rows), dim=-1)
        trainer.take(batch)
        assert slow.grad is None
        fast = objective.encoder.embedding.weight.detach()
        assert not torch.equal(fast, before)
        assert torch.allclose(slow, 0.9 * before + 0.1 * fast, atol=1e-6)
        assert torch.equal(objective.queue.keys[step * 8 : step * 8 + 8], keys[:, 0])  # made before it moved


def test_key_dropout_is_an_option() -> None:
    for on in (False, True):
        objective, batches = tiny.run("contriever", "new", key_dropout=on)
        objective.train()
        first, second = (objective.encode(batches(0), 0).vectors for _ in range(2))
        assert torch.equal(first["key"], second["key"]) is not on
        assert not torch.equal(first["query"], second["query"])


def test_vectors_are_normalised_where_the_encoder_is_a_cosine_one() -> None:
    for kind, unit in (("static", True), ("new", False)):
        objective, batches = tiny.run("contriever-inbatch", kind)
        norms = objective.encode(batches(0), 0).vectors["query"].norm(dim=-1)
        assert bool(torch.allclose(norms, torch.ones_like(norms))) is unit
    objective, batches = tiny.run("contriever-inbatch", normalise_query=False, normalise_key=True)
    norms = [objective.encode(batches(0), 0).vectors[name].norm(dim=-1) for name in ("query", "key")]
    assert not torch.allclose(norms[0], torch.ones_like(norms[0]))
    assert torch.allclose(norms[1], torch.ones_like(norms[1]))


def test_in_batch_masks_the_same_document() -> None:
    documents = tiny.store(3)
    objective, batches = tiny.run("contriever-inbatch", documents=documents)
    batch = batches(0)
    vectors = objective.encode(batch, 0).vectors
    query, key = (vectors[name].detach().numpy()[:, 0, 0].astype(np.float64) for name in ("query", "key"))
    expected = []
    for row in range(8):
        others = [key[j] for j in range(8) if batch.documents[j] != batch.documents[row]]
        expected.append(softmax_loss(np.array([key[row], *others]) @ query[row] / 0.05, 0))
    value = float(objective.compare(vectors, vectors, batch, 0, 0).value.detach())
    assert value == pytest.approx(np.mean(expected), rel=1e-5)


def test_what_does_not_fit_is_said() -> None:
    objective, batches = tiny.run("contriever", queue=36)
    vectors = objective.encode(batches(0), 0).vectors
    with pytest.raises(UsageError, match="queue=36 is no multiple of batch_size=8: set queue=32"):
        objective.compare(vectors, vectors, batches(0), 0, 0)
    with pytest.raises(UsageError, match="lower window"):
        tiny.run("contriever", window=4000, concat=False)
    for wrong in ({"ratio_min": 0.0}, {"ratio_min": 0.6}, {"max_tokens": 3}, {"temperature": 0.0}, {"momentum": 2.0}):
        with pytest.raises(UsageError):
            contriever.Options(**wrong)


@pytest.mark.parametrize("name", ["contriever", "contriever-inbatch", "mcontriever"])
def test_presets_hold_the_published_values(name: str) -> None:
    preset = contriever.PRESETS[name]
    values = {key: value.value for key, value in {**preset.options, **preset.training}.items()}
    assert values["temperature"] == 0.05
    assert values["window"] == 256
    assert values["ratio_min"] == (0.1 if name == "mcontriever" else 0.05)
    assert (values["concat"], values["mask_same_document"]) == ((True, False) if "-" not in name else (False, True))
    if name == "contriever":
        assert (values["queue"], values["momentum"], values["batch_size"], values["steps"]) == (
            131072, 0.9995, 2048, 500_000,
        )  # fmt: skip
