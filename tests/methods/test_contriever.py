"""Contriever: statistics of its pairs, MoCo against a NumPy twin, and its options."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.methods import contriever
from pretrieve.sampling.batches import Address, Batches
from pretrieve.sampling.items import Concatenated, Windows
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer

LONG = tiny.store(60, sentences=(30, 60))


def batch_of(documents=LONG, size: int = 2000, specials=tiny.SPECIALS, step: int = 0, **changes):
    sampler = contriever.sampler(
        documents, specials, contriever.Options(**{"window": 64, "delete": 0.0, **changes}), True
    )
    return Batches(sampler=sampler, batch_size=size, seed=0)(step)


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


def test_moco_gives_no_gradient_to_keys() -> None:
    objective, batches = tiny.run("contriever")
    batch = batches(0)
    encoded = objective.encode(batch, 0).vectors
    assert not encoded["key"].requires_grad
    objective.compare(encoded, encoded, batch, 0, 0).value.backward()
    assert objective.encoder.embedding.weight.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in objective.slow_encoder.parameters())
    with_grad = {"query": encoded["query"].detach(), "key": encoded["key"].clone().requires_grad_()}
    loss = objective.compare(with_grad, with_grad, batch, 0, 0).value
    assert not loss.requires_grad, "a key has no gradient even where its vector could have one"


@pytest.mark.parametrize("step", [0, 1, 5])
def test_moco_batch_is_not_in_its_own_negatives(step: int) -> None:
    """The loss of an example does not change with the other keys of its batch, but with those that were enqueued."""
    objective, batches = tiny.run("contriever", mask_same_document=False)
    for past in range(step):
        vectors = objective.encode(batches(past), past).vectors
        objective.after_step(vectors, batches(past), past)
    batch = batches(step)
    vectors = {name: values.detach() for name, values in objective.encode(batch, step).vectors.items()}

    def loss(keys) -> float:
        local_vectors = {name: values[:1] for name, values in (vectors | {"key": keys}).items()}
        return float(objective.compare(local_vectors, vectors | {"key": keys}, batch, 0, step).value)

    others = torch.cat([vectors["key"][:1], -vectors["key"][1:].roll(1, 0)])
    before = loss(vectors["key"])
    assert loss(others) == before
    objective.after_step(vectors, batch, step)
    assert loss(vectors["key"]) != before


def test_other_groups_are_no_negatives() -> None:
    documents = tiny.store(12, groups=2)
    groups = np.asarray(documents.groups).astype(int)
    for name in ("contriever-inbatch", "contriever"):
        objective, batches = tiny.run(name, documents=documents, mask_other_groups=True, mask_same_document=False)
        owners = np.full(32, -1)
        for step in range(3):
            batch = batches(step)
            vectors = objective.encode(batch, step).vectors
            query, key = (vectors[part].detach().double().numpy()[:, 0, 0] for part in ("query", "key"))
            bank, banked = (
                (objective.queue.keys.double().numpy(), owners) if name == "contriever" else (key, batch.documents)
            )
            expected = []
            for row, owner in enumerate(batch.documents):
                allowed = (banked < 0) | (groups[banked] == groups[owner])
                if name != "contriever":
                    allowed[row] = False  # its own key, which is the first
                expected.append(softmax_loss(np.array([key[row], *bank[allowed]]) @ query[row] / 0.05, 0))
            value = float(objective.compare(vectors, vectors, batch, 0, step).value.detach())
            assert value == pytest.approx(np.mean(expected), rel=1e-5)
            objective.after_step(vectors, batch, step)
            first = step * 8 % 32
            owners[first : first + 8] = batch.documents


def test_accuracy_by_language() -> None:
    documents = replace(tiny.store(40, groups=4), group_names=("de", "fr", "ja", ""))
    groups = np.asarray(documents.groups)
    objective, batches = tiny.run("contriever-inbatch", documents=documents, mask_same_document=False)
    batch = batches(0)
    vectors = objective.encode(batch, 0).vectors
    found = {name: float(value) for name, value in objective.compare(vectors, vectors, batch, 0, 0).statistics.items()}
    query, key = (vectors[name].detach().numpy()[:, 0, 0] for name in ("query", "key"))
    hits = (query @ key.T).argmax(axis=1) == np.arange(8)
    assert list(found) == ["accuracy", "accuracy/de", "accuracy/fr", "accuracy/ja", "accuracy/none"]
    for number, name in enumerate(("de", "fr", "ja", "none")):
        mine = hits[groups[batch.documents] == number]
        assert np.isnan(found[f"accuracy/{name}"]) if len(mine) == 0 else found[f"accuracy/{name}"] == mine.mean()
    local_vectors = {name: values[:2] for name, values in vectors.items()}
    half = objective.compare(local_vectors, vectors, batch, 0, 0).statistics
    assert sum(bool(torch.isnan(value)) for value in half.values()) >= 2, "NaN where a group has no example"
    alone, batches = tiny.run("contriever-inbatch")
    vectors = alone.encode(batches(0), 0).vectors
    assert list(alone.compare(vectors, vectors, batches(0), 0, 0).statistics) == ["accuracy"]


def test_many_groups_have_no_figure_of_their_own() -> None:
    documents = replace(tiny.store(200), groups=np.arange(200) % 80, group_names=tuple(f"g{n}" for n in range(80)))
    objective, _ = tiny.run("contriever-inbatch", documents=documents)
    assert len(objective.groups.names) == 50


def test_languages_choose_the_groups() -> None:
    documents = replace(tiny.store(80, groups=4), group_names=("de", "pt-BR", "tlh", "zh"))
    groups = np.asarray(documents.groups)
    for changes in ({}, {"coefficient": 1.0}, {"concat": True}):
        objective, batches = tiny.run("mcontriever", documents=documents, languages=("pt", "zh-cn", "fr"), **changes)
        seen = groups[np.concatenate([batches(step).documents for step in range(40)])]
        assert set(seen) == {1, 3}
        assert objective.notes == ("40 documents are left out, of the groups de, tlh.",)
        assert objective.groups.names == ("pt-BR", "zh")
    objective, batches = tiny.run("mcontriever", documents=documents)
    assert objective.notes == ()
    assert set(groups[batches(0).documents]) | set(groups[batches(1).documents]) == {0, 1, 2, 3}
    with pytest.raises(UsageError, match="none of the documents is in sw, th; the corpus holds de, pt-BR, tlh, zh"):
        tiny.run("mcontriever", documents=documents, languages=("sw", "th"))


def test_mcontriever_29_takes_its_languages_alone() -> None:
    (codes,) = {contriever.PRESETS["mcontriever-29"].options["languages"].value}
    assert len(codes) == len(set(codes)) == 29
    documents = replace(tiny.store(80, groups=4), group_names=("nb", "en", "tlh", "zh_TW"))
    objective, _ = tiny.run("mcontriever-29", documents=documents, languages=codes)
    assert objective.notes == ("20 documents are left out, of the groups tlh.",)
    others = {key: value for key, value in contriever.PRESETS["mcontriever-29"].options.items() if key != "languages"}
    assert others == contriever.PRESETS["mcontriever"].options


def test_small_groups_repeat_and_that_is_said() -> None:
    groups = np.zeros(83, int)
    groups[:3] = 1
    documents = replace(tiny.store(83, sentences=(2, 3), titles=False), groups=groups, group_names=("en", "he"))
    objective, batches = tiny.run("mcontriever", documents=documents, window=64, concat=False)
    (note,) = objective.notes
    assert note.startswith("groups of fewer than 20 documents are repeated many times at coefficient=0: he.")
    seen = np.concatenate([batches(step).documents for step in range(64)])
    counts = np.bincount(seen, minlength=83)
    assert abs(counts[:3].sum() - counts[3:].sum()) < 3 * np.sqrt(len(seen)) / 2
    assert np.ptp(counts[:3]) <= 2, "each of a small group once before any of them twice"
    assert tiny.run("mcontriever", documents=documents, coefficient=1.0)[0].notes == ()


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("concat", [False, True])
def test_sampling_coefficient_frequencies(coefficient: float, concat: bool) -> None:
    """Windows of a group are drawn as often as its share of the windows, to the power of the coefficient."""
    groups = np.repeat([0, 1, 2], [140, 40, 20])
    documents = replace(tiny.store(200, sentences=(4, 9)), groups=groups, group_names=("en", "de", "fr"))
    source = (Concatenated if concat else Windows)(documents, 32)
    address = Address(seed=0, step=0, epochs=np.zeros(source.mixture.items, np.int64))
    windows = groups[source.spans(np.arange(source.mixture.items), address).documents]
    expected = (np.bincount(windows) / len(windows)) ** coefficient
    expected /= expected.sum()
    _, batches = tiny.run("mcontriever", documents=documents, coefficient=coefficient, concat=concat, size=64)
    seen = groups[np.concatenate([batches(step).documents for step in range(128)])]
    bound = 3 * np.sqrt(expected * (1 - expected) / len(seen)) + 0.02
    assert (abs(np.bincount(seen) / len(seen) - expected) < bound).all()


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
    with pytest.raises(UsageError, match="queue=36 is not a multiple of batch_size=8: set queue=32"):
        objective.compare(vectors, vectors, batches(0), 0, 0)
    with pytest.raises(UsageError, match="lower window"):
        tiny.run("contriever", window=4000, concat=False)
    for wrong in ({"ratio_min": 0.0}, {"ratio_min": 0.6}, {"max_tokens": 3}, {"temperature": 0.0}, {"momentum": 2.0},
                  {"coefficient": 1.5}):  # fmt: skip
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
