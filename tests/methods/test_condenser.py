"""Condenser: against NumPy, by finite differences, what its head can see, and all three families."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import differences
import numpy_bert
import stock
import tiny
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, Rows
from pretrieve.methods import condenser
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.packed import Packing
from pretrieve.models.restore import load_encoder
from pretrieve.sampling.batches import Address, Batches
from pretrieve.sampling.masked_passages import MaskedRows
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.training.options import TrainingOptions
from pretrieve.training.step import full_step
from pretrieve.training.trainer import Trainer


def made(layers: int = 4, **changes: Any) -> tuple[Any, Batch]:
    """An objective in float64 over a BERT from nothing whose weights are far from zero, and a batch."""
    documents = tiny.store()
    base = f"new:layers={layers},hidden=16,heads=2,intermediate=24,dropout=0"
    encoder = build_encoder(base, store=documents, options=EncoderOptions(max_length=64, pooling="cls"))
    options = tiny.options("condenser", **changes)
    objective = condenser.objective(encoder, options, 0, documents).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, dtype=torch.float64)
    return objective, Batches(sampler=condenser.sampler(documents, tiny.SPECIALS, options), batch_size=6, seed=0)(0)


def of_family(family: str, folder: Any, **changes: Any) -> tuple[Any, Any]:
    """An objective over a checkpoint of a family in float64, and a function from steps to batches."""
    stock.checkpoint(family, folder)
    encoder = load_encoder(folder, pooling="cls")
    assert encoder.specials.cls is not None
    random = np.random.default_rng(0)
    tokens = random.integers(encoder.specials.first_ordinary, 150, 400)
    sizes = random.integers(4, 20, 20)
    documents: Any = type("Tokens", (), {"tokens": tokens, "word_starts": np.ones(encoder.specials.vocabulary, bool)})()
    rows = MaskedRows(documents, encoder.specials, 0.15)

    def batch(step: int) -> Batch:
        address = Address(seed=0, step=step, epochs=np.zeros(20, np.int64))
        return rows.rows(np.arange(20), np.arange(0, 400, 20)[:, None], sizes[:, None], address)

    return condenser.objective(encoder, condenser.Options(length=30, **changes), 0, documents), batch


def in_numpy(objective: Any, batch: Batch, layers: int, early: int) -> tuple[list[float], list[float]]:
    """Losses of all hidden words: the head's, and those of the last layer."""
    w = numpy_bert.weights(objective)
    words, head, late = w["encoder.model.embeddings.word_embeddings.weight"], [], []
    for row in range(len(batch.rows)):
        labels = batch.per_token["labels"][batch.rows.offsets[row] : batch.rows.offsets[row + 1]]
        hidden = labels != UNLABELLED
        states = numpy_bert.states(w, batch.rows.row(row), layers, 2, "encoder.model.")
        x = np.concatenate([states[-1][:1], states[early][1:]])
        for number in range(2):
            x = numpy_bert.layer(w, f"head.layers.{number}", x, 2)
        head += numpy_bert.word_losses(w, "language", words, x[hidden], labels[hidden]).tolist()
        late += numpy_bert.word_losses(w, "language", words, states[-1][hidden], labels[hidden]).tolist()
    return head, late


@pytest.mark.parametrize(("skip_from", "early"), [(None, 2), (0, 0), (1, 1), (3, 3)])
def test_losses_against_numpy(skip_from: int | None, early: int) -> None:
    objective, batch = made(skip_from=skip_from)
    head, late = in_numpy(objective, batch, 4, early)
    found = full_step(objective, batch, 0)
    assert float(found.loss) == pytest.approx(np.mean(head) + np.mean(late), abs=1e-9), "equal weights, means of words"
    assert float(found.statistics["head_mlm"]) == pytest.approx(np.mean(head), abs=1e-9)
    assert float(found.statistics["late_mlm"]) == pytest.approx(np.mean(late), abs=1e-9)
    for kind in ("head", "late"):
        hits = float(found.statistics[f"{kind}_accuracy"]) * len(head)
        assert hits == pytest.approx(round(hits), abs=1e-6)


def test_without_the_late_guess_the_head_s_alone_counts() -> None:
    objective, batch = made(late_mlm=False)
    found = full_step(objective, batch, 0)
    assert float(found.loss) == pytest.approx(np.mean(in_numpy(objective, batch, 4, 2)[0]), abs=1e-9)
    assert set(found.statistics) == {"head_mlm", "head_accuracy"}


def test_the_gradient_by_finite_differences_on_two_layers() -> None:
    objective, batch = made(layers=2)
    assert differences.check(objective, batch) > 35


def noisy(states: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(states.shape, dtype=states.dtype, generator=torch.Generator().manual_seed(1))
    return states + noise * where[None, :, None]


@pytest.mark.parametrize("family", stock.FAMILIES)
def test_head_receives_late_cls_and_skip_layer_tokens(family: str, tmp_path: Any) -> None:
    """Whatever becomes of the tokens at the top, the head's loss stays, and of [CLS] it does not."""
    objective, batches = of_family(family, tmp_path, late_mlm=False)
    objective.double().eval()
    batch = batches(0)
    packing = Packing.of(batch.rows, torch.device("cpu"))
    is_first = torch.zeros(len(batch.rows.tokens), dtype=torch.float64)
    is_first[packing.offsets[:-1].long()] = 1
    stack: nn.ModuleList = (
        objective.encoder.model.layers if family == "modernbert" else objective.encoder.model.encoder.layer
    )
    changed: dict[str, float] = {"nothing": differences.loss_of(objective, batch)}
    for name, number, where in (
        ("late tokens", 3, 1 - is_first), ("late cls", 3, is_first), ("skip tokens", 1, 1 - is_first),
    ):  # fmt: skip
        hook = stack[number].register_forward_hook(lambda _, __, out, where=where: noisy(out, where))
        changed[name] = differences.loss_of(objective, batch)
        hook.remove()
    assert changed["late tokens"] == changed["nothing"]
    assert abs(changed["late cls"] - changed["nothing"]) > 1e-6
    assert abs(changed["skip tokens"] - changed["nothing"]) > 1e-6


@pytest.mark.parametrize("family", stock.FAMILIES)
@pytest.mark.parametrize("skip_from", [0, 1, 3])
def test_what_the_head_reads_of_each_family(family: str, skip_from: int, tmp_path: Any) -> None:
    """The stock model, run by transformers itself row by row, gives the same loss; its top is after the final norm."""
    objective, batches = of_family(family, tmp_path, skip_from=skip_from, late_mlm=False)
    objective.double().eval()
    from transformers import AutoModel

    reference = AutoModel.from_pretrained(tmp_path, attn_implementation="sdpa").double().eval()
    batch, losses = batches(0), []
    for row in range(len(batch.rows)):
        ids, here = batch.rows.row(row), slice(batch.rows.offsets[row], batch.rows.offsets[row + 1])
        with torch.no_grad():
            output = reference(input_ids=torch.from_numpy(ids)[None], output_hidden_states=True)
            x = torch.cat([output.last_hidden_state[0, :1], output.hidden_states[skip_from][0, 1:]])
            labels = batch.per_token["labels"][here]
            head = objective.language.losses(objective.head(x, Rows.of([ids])), labels, objective.encoder.words)
            losses += head[torch.from_numpy(labels != UNLABELLED)].tolist()
    assert differences.loss_of(objective, batch) == pytest.approx(np.mean(losses), abs=1e-9)


@pytest.mark.parametrize("family", stock.FAMILIES)
def test_every_family_learns(family: str, tmp_path: Any) -> None:
    objective, batches = of_family(family, tmp_path)
    losses: list[float] = []
    options = TrainingOptions(steps=25, batch_size=20, learning_rate=0.01, clip=1.0)
    trainer = Trainer(objective=objective, batches=batches, options=options)
    before = {name: values.clone() for name, values in objective.named_parameters()}
    trainer.on_step = lambda progress: losses.append(progress.loss)
    trainer.run()
    assert np.mean(losses[-5:]) < losses[0] - 1.0
    still = {name for name, values in objective.named_parameters() if torch.equal(values, before[name])}
    assert all("pooler" in name or "token_type" in name for name in still), "everything learns"


def test_shared_and_new_weights() -> None:
    """One language head for both guesses, word vectors of the encoder, a head that is its own."""
    objective, _ = made()
    names = [name for name, _ in objective.named_parameters() if not name.startswith("encoder.")]
    assert {name.split(".")[0] for name in names} == {"head", "language"}
    assert not any("words" in name or "embeddings" in name for name in names)
    shapes = [tuple(values.shape) for name, values in objective.named_parameters() if name.startswith("language.")]
    assert (tiny.VOCABULARY, 16) not in shapes


def test_what_does_not_fit_is_refused() -> None:
    documents = tiny.store()
    encoder = tiny.encoder("new", documents, pooling="cls")

    def refused(match: str, kind: Any = encoder, **changes: Any) -> None:
        with pytest.raises(UsageError, match=match):
            condenser.objective(kind, condenser.Options(**{"length": 24, **changes}), 0, documents)

    refused("skip_from=1: the model has 1 layers; set it to at most 0", skip_from=1)
    refused("lower length", length=65)
    refused("static encoder", tiny.encoder("static", documents))
    refused("set pooling=cls", tiny.encoder("new", documents, pooling="mean"))
    for wrong in ({"length": 7}, {"rate": 0.0}, {"short": 1.5}, {"head_layers": 0}, {"skip_from": -1}):
        with pytest.raises(UsageError):
            condenser.Options(**wrong)
