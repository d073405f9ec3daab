"""coCondenser: spans, the contrast against NumPy, weights under cache and ranks, and where its head comes from."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from safetensors.torch import load_file
from test_condenser import in_numpy

import differences
import numpy_bert
import stock
import tiny
from pretrieve.core import files
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch
from pretrieve.methods import cocondenser, condenser
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.heads import HEADS
from pretrieve.models.restore import load_encoder
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.workspace import CHECKPOINTS, workspace_of
from pretrieve.sampling.batches import Address, Batches
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.text import tokenizer
from pretrieve.training.checkpoint import KIND, Checkpoints
from pretrieve.training.options import TrainingOptions
from pretrieve.training.step import StepContext, cached_step, full_step
from pretrieve.training.trainer import build_optimizer


def made(layers: int = 2, size: int = 6, **changes: Any) -> tuple[Any, Batch]:
    documents = tiny.store()
    base = f"new:layers={layers},hidden=16,heads=2,intermediate=24,dropout=0"
    encoder = build_encoder(base, store=documents, options=EncoderOptions(max_length=64, pooling="cls"))
    options = tiny.options("cocondenser", **changes)
    objective = cocondenser.objective(encoder, options, 0, documents).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, dtype=torch.float64)
    return objective, Batches(sampler=cocondenser.sampler(documents, tiny.SPECIALS, options), batch_size=size, seed=0)(
        0
    )


def contrast_in_numpy(spans: np.ndarray, documents: np.ndarray | None = None) -> np.ndarray:
    """Loss of each span of (2 B, D): its partner among all but itself and, where told, others of its document."""
    losses = []
    for i in range(len(spans)):
        partner = i + 1 if i % 2 == 0 else i - 1
        others = [
            j for j in range(len(spans))
            if j != i and (j == partner or documents is None or documents[j // 2] != documents[i // 2])
        ]  # fmt: skip
        products = {j: float(spans[i] @ spans[j]) for j in others}
        top = max(products.values())
        losses.append(top + np.log(sum(np.exp(value - top) for value in products.values())) - products[partner])
    return np.array(losses)


@pytest.mark.parametrize("same", [True, False])
def test_targets_are_i_xor_1_and_the_diagonal_is_excluded(same: bool) -> None:
    """On random vectors, whole and in shares; a document that is there twice is masked only where it is asked for."""
    objective, batch = made(mask_same_document=same)
    vectors = torch.randn(6, 2, 1, 16, dtype=torch.float64)
    documents = np.array([4, 1, 4, 2, 3, 1])
    batch = Batch(rows=batch.rows, shape=batch.shape, documents=documents)
    expected = contrast_in_numpy(vectors.reshape(12, 16).numpy(), documents if same else None)
    for first, last in ((0, 6), (0, 2), (2, 6), (5, 6)):
        found = objective.compare({"cls": vectors[first:last]}, {"cls": vectors}, batch, first, 0)
        assert float(found.value) == pytest.approx(expected[2 * first : 2 * last].mean(), rel=1e-12)


def test_accuracy_counts_partners_found() -> None:
    objective, batch = made(size=3)
    pairs = torch.eye(16)[[0, 0, 1, 1, 2, 3]].reshape(3, 2, 1, 16)  # the last two do not find each other
    batch = Batch(rows=batch.rows, shape=(3, 2), documents=np.arange(3))
    found = objective.compare({"cls": 5 * pairs}, {"cls": 5 * pairs}, batch, 0, 0)
    assert float(found.statistics["accuracy"]) == pytest.approx(4 / 6)


def test_one_document_alone_has_nothing_to_lose() -> None:
    objective, batch = made(size=1)
    vectors = objective.encode(batch, 0).vectors
    assert float(objective.compare(vectors, vectors, batch, 0, 0).value.detach()) == 0.0


def test_the_whole_loss_against_numpy() -> None:
    """Raw [CLS] of the last layer: no projection, norm or temperature; masked words of both spans count once."""
    objective, batch = made(layers=4)
    head, late = in_numpy(objective, batch, 4, 2)
    w = numpy_bert.weights(objective)
    cls = [numpy_bert.states(w, batch.rows.row(row), 4, 2, "encoder.model.")[-1][0] for row in range(12)]
    contrast = contrast_in_numpy(np.array(cls)).mean()
    for take in (full_step, cached_step):
        found = take(objective, batch, 0, StepContext(chunk=2))
        assert float(found.loss) == pytest.approx(np.mean(head) + np.mean(late) + contrast, abs=1e-9)
        assert float(found.statistics["contrast"]) == pytest.approx(contrast, abs=1e-9)
        assert float(found.statistics["head_mlm"]) == pytest.approx(np.mean(head), abs=1e-9)
        np.testing.assert_allclose(found.global_vectors["cls"].reshape(12, 16).numpy(), np.array(cls), atol=1e-9)


def test_the_vector_is_the_encoder_s_own() -> None:
    objective, batch = made()
    assert torch.equal(objective.encode(batch, 0).vectors["cls"].reshape(12, 1, 16), objective.encoder(batch.rows))


def test_the_gradient_by_finite_differences_on_two_layers() -> None:
    objective, batch = made(size=4)
    assert differences.check(objective, batch) > 35


def test_masked_words_count_once_through_the_cache() -> None:
    """The released code's cached path counts them twice: with the contrast taken out, gradients show the weight."""
    gradients = []
    for take, chunk in ((full_step, 0), (cached_step, 1), (cached_step, 4)):
        objective, batch = made()
        objective.compare = lambda local_vectors, *_: condenser.Condenser.compare(objective, local_vectors, *_)  # noqa: B023
        objective.zero_grad()
        take(objective, batch, 0, StepContext(chunk=chunk))
        gradients.append(torch.cat([p.grad.flatten() for p in objective.parameters() if p.grad is not None]))
    assert gradients[0].norm() > 0
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-9, atol=1e-12)


# --- spans


def test_spans_of_a_document_do_not_overlap_and_all_pairs_are_drawn() -> None:
    documents = tiny.store()
    options = tiny.options("cocondenser")
    spans = cocondenser.Spans(documents, tiny.SPECIALS, options)
    assert 5 < len(spans.documents) < len(documents.starts), "some documents are too short"
    items, seen = np.arange(len(spans.documents)), {}
    starts_of, ends_of = np.asarray(documents.starts)[spans.documents], np.asarray(documents.ends)[spans.documents]
    for step in range(300):
        starts, lengths = spans.pairs(items, Address(seed=0, step=step, epochs=items).generator("spans"))
        assert (lengths >= options.shortest).all()
        assert (lengths <= options.length - 2).all()
        assert (starts >= starts_of[:, None]).all()
        assert (starts + lengths <= ends_of[:, None]).all()
        low, high = starts.min(axis=1), starts.max(axis=1)
        assert (low + np.where(starts[:, 0] == low, lengths[:, 0], lengths[:, 1]) <= high).all()
        for item in items:
            seen.setdefault(int(item), []).append(tuple(starts[item].tolist()))
    for pairs in seen.values():
        places = {start for pair in pairs for start in pair}
        assert len(set(pairs)) == len(places) * (len(places) - 1), "every pair, in both orders"
        counts = np.array([pairs.count(pair) for pair in set(pairs)])
        assert np.abs(counts - 300 / len(counts)).max() < 5 * np.sqrt(300 / len(counts))


def plain_spans(documents: Any, length: int, shortest: int) -> dict[int, list[tuple[int, int]]]:
    """Sentences packed greedily, one after the other; what is too long is cut into equal parts."""
    found: dict[int, list[tuple[int, int]]] = {}
    sentences, owners = np.asarray(documents.sentences), np.asarray(documents.document_sentences)
    for document in range(len(documents.starts)):
        edges = [*sentences[owners[document] : owners[document + 1]].tolist(), int(documents.ends[document])]
        room = max(length - 2 - int(documents.bodies[document] - documents.starts[document]), 1)
        blocks: list[list[int]] = []
        for low, high in itertools.pairwise(edges):
            if blocks and high - blocks[-1][0] <= room:
                blocks[-1][1] = high
            else:
                blocks.append([low, high])
        if blocks:
            blocks[0][0] = int(documents.starts[document])
        for low, high in blocks:
            parts = -(-(high - low) // (length - 2))
            cuts = [low + (high - low) * part // parts for part in range(parts + 1)]
            found.setdefault(document, []).extend((a, b) for a, b in itertools.pairwise(cuts) if b - a >= shortest)
    return {document: spans for document, spans in found.items() if len(spans) > 1}


@pytest.mark.parametrize("words", [(3, 9), (1, 70)])
def test_spans_equal_a_plain_twin(words: tuple[int, int]) -> None:
    documents = tiny.store(80, words=words)
    options = cocondenser.Options(length=20, shortest=4)
    spans = cocondenser.Spans(documents, tiny.SPECIALS, options)
    expected = plain_spans(documents, 20, 4)
    assert spans.documents.tolist() == sorted(expected)
    for item, document in enumerate(spans.documents):
        drawn = set()
        for step in range(60):
            rng = Address(seed=1, step=step, epochs=np.zeros(1, np.int64)).generator("spans")
            starts, lengths = spans.pairs(np.full(8, item), rng)
            drawn |= {(int(a), int(a + b)) for a, b in zip(starts.flat, lengths.flat, strict=True)}
        assert drawn == set(expected[int(document)])


def test_both_spans_are_masked_in_whole_words_where_they_were_cut() -> None:
    documents = tiny.store(60, words=(5, 50))
    sampler = cocondenser.sampler(documents, tiny.SPECIALS, tiny.options("cocondenser"), provenance=True)
    batch = Batches(sampler=sampler, batch_size=30, seed=0)(0)
    assert batch.shape == (30, 2)
    place, labels = batch.per_token["position"], batch.per_token["labels"]
    hidden = labels != UNLABELLED
    assert np.array_equal(labels[hidden], np.asarray(documents.tokens)[place[hidden]])
    for row in range(60):
        here = slice(batch.rows.offsets[row], batch.rows.offsets[row + 1])
        assert hidden[here].any()
        inside = place[here][place[here] >= 0]
        assert np.array_equal(np.diff(inside), np.ones(len(inside) - 1))
        document = batch.documents[row // 2]
        assert documents.starts[document] <= inside[0] <= inside[-1] < documents.ends[document]


# --- stage two


def test_missing_head_is_refused_and_forced_is_warned_of(tmp_path: Path) -> None:
    stock.checkpoint("bert", tmp_path)  # it has a language head, which is not enough
    documents, encoder = tiny.store(), load_encoder(tmp_path, pooling="cls")
    with pytest.raises(UsageError, match=r"train --method condenser first.*force_new_head"):
        cocondenser.objective(encoder, cocondenser.Options(length=24), 0, documents)
    forced = cocondenser.objective(encoder, cocondenser.Options(length=24, force_new_head=True), 0, documents)
    assert "WARNING" in forced.notes[0]
    assert "random" in forced.notes[0]


def test_documents_left_out_are_told_of() -> None:
    documents = tiny.store()
    encoder = tiny.encoder("new", documents, pooling="cls")
    options = cocondenser.Options(length=60, force_new_head=True)
    notes = cocondenser.objective(encoder, options, 0, documents).notes
    assert any("of 40 documents have fewer than two spans" in note for note in notes)


def test_what_does_not_fit_is_refused() -> None:
    for wrong in ({"length": 7}, {"shortest": 0}, {"shortest": 127}, {"rate": 1.0}, {"head_layers": 0}):
        with pytest.raises(UsageError):
            cocondenser.Options(**wrong)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "documents.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps({"id": str(n), "text": text}) for n, text in enumerate(stock.texts())))
    return path


class Heard(Silent):
    """What a run said."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.losses: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, count: int, detail: str = "") -> None:
        self.losses += [detail.split()[1].rstrip(",")] if detail.startswith("loss") else []


def run(source: Path, output: Path, method: str, base: str, steps: int, **settings: Any) -> Heard:
    heard = Heard()
    settings = {"batch_size": 8, "length": 24, **settings}
    train(
        TrainRequest(
            sources=(str(source),), output=output, base=base, method=method, steps=steps, settings=settings,
            tracker="none", keep_workspace=True,
        ),
        heard,
    )  # fmt: skip
    return heard


@pytest.mark.parametrize("family", stock.FAMILIES)
def test_head_weights_are_saved_for_stage_two_and_reloaded(family: str, source: Path, tmp_path: Path) -> None:
    """Train condenser, then cocondenser from its folder: it begins with exactly what condenser ended with."""
    base, first, second = tmp_path / "base", tmp_path / "first", tmp_path / "second"
    stock.checkpoint(family, base)
    run(source, first, "condenser", str(base), 3, learning_rate=0.01, warmup=0.0)
    left = load_file(first / HEADS)
    assert {name.split(".")[0] for name in left} == {"head", "language"}
    store = tiny.store(sentences=(7, 7))  # of no importance: it only has documents of several spans

    fresh = condenser.objective(load_encoder(base, pooling="cls"), condenser.Options(length=24), 9, store)
    assert any(not torch.equal(values, left[name]) for name, values in fresh.named_parameters() if name in left)
    folder = workspace_of(first) / CHECKPOINTS
    manifest = files.read_manifest(folder / "step-000003", KIND)
    checkpoints = Checkpoints(folder=folder, fingerprints=manifest["fingerprints"])
    checkpoints.load(3, fresh, build_optimizer(fresh, TrainingOptions(steps=3, batch_size=8)))
    encoder = load_encoder(first, pooling="cls")
    again = cocondenser.objective(encoder, cocondenser.Options(length=24), 5, store)
    assert again.notes == ()
    for name, values in again.named_parameters():
        assert torch.equal(values, fresh.get_parameter(name)), name

    heard = run(source, second, "cocondenser", str(first), 1)
    assert not [note for note in heard.notes if not note.startswith("device: ")]
    batch = first_batch(source, first)
    found = full_step(again.eval(), batch, 0)
    with torch.no_grad():
        live = fresh.eval().guessed(batch)[0].statistics
    for name in ("head_mlm", "late_mlm"):
        assert float(found.statistics[name]) == pytest.approx(float(live[name].mean()), abs=1e-6)
    assert float(heard.losses[0]) == pytest.approx(float(found.loss), abs=6e-4)
    third = cocondenser.objective(load_encoder(second, pooling="cls"), cocondenser.Options(length=24), 5, store)
    assert third.notes == (), "a cocondenser run can be gone on with"
    going_on = condenser.objective(load_encoder(first, pooling="cls"), condenser.Options(length=24), 7, store)
    assert all(torch.equal(values, left[name]) for name, values in going_on.named_parameters() if name in left)
    with pytest.raises(UsageError, match="do not fit"):
        condenser.objective(load_encoder(first, pooling="cls"), condenser.Options(length=24, head_layers=1), 7, store)


def first_batch(source: Path, folder: Path) -> Batch:
    """The batch of the second run's first step, from its own store."""
    from pretrieve.text.store import Store

    store = Store.open(workspace_of(folder.parent / "second") / "store")
    sampler = cocondenser.sampler(store, tokenizer.load(folder).specials, cocondenser.Options(length=24))
    return Batches(sampler=sampler, batch_size=8, seed=0)(0)


def test_a_forced_new_head_is_told_of_by_the_run(source: Path, tmp_path: Path) -> None:
    base = "new:layers=1,hidden=16,heads=2"
    with pytest.raises(UsageError, match="cocondenser starts from a Condenser run"):
        run(source, tmp_path / "refused", "cocondenser", base, 1, vocabulary_size=200)
    heard = run(source, tmp_path / "forced", "cocondenser", base, 1, vocabulary_size=200, force_new_head=True)
    assert any("WARNING" in note and "damage the model" in note for note in heard.notes)
