"""Masked language modelling: the loss against NumPy, its gradient by finite differences, and all three families."""

import numpy as np
import pytest
import torch

import differences
import numpy_bert
import stock
import tiny
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch
from pretrieve.methods import mlm
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.restore import load_encoder
from pretrieve.sampling.batches import Address, Batches
from pretrieve.sampling.masked_passages import MaskedRows
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.training.options import TrainingOptions
from pretrieve.training.step import full_step
from pretrieve.training.trainer import Trainer


def two_layers(documents) -> object:
    base = "new:layers=2,hidden=16,heads=2,intermediate=24,dropout=0"
    return build_encoder(base, store=documents, options=EncoderOptions(max_length=64, pooling="cls")).double()


def test_the_loss_is_the_mean_over_hidden_words_against_numpy() -> None:
    documents = tiny.store()
    encoder = two_layers(documents)
    objective = mlm.objective(encoder, tiny.options("mlm"), 0, documents).double()
    batch = Batches(sampler=mlm.sampler(documents, tiny.SPECIALS, tiny.options("mlm")), batch_size=8, seed=0)(0)
    w, wanted = numpy_bert.weights(objective), []
    for row in range(8):
        labels = batch.per_token["labels"][batch.rows.offsets[row] : batch.rows.offsets[row + 1]]
        hidden = labels != UNLABELLED
        last = numpy_bert.states(w, batch.rows.row(row), 2, 2, "encoder.model.")[-1]
        words = w["encoder.model.embeddings.word_embeddings.weight"]
        wanted += numpy_bert.word_losses(w, "language", words, last[hidden], labels[hidden]).tolist()
    found = full_step(objective, batch, 0)
    assert float(found.loss) == pytest.approx(np.mean(wanted), abs=1e-10)
    assert float(found.statistics["mlm"]) == pytest.approx(np.mean(wanted), abs=1e-10)


def test_the_gradient_by_finite_differences() -> None:
    documents = tiny.store()
    objective = mlm.objective(two_layers(documents), tiny.options("mlm"), 0, documents).double()
    batch = Batches(sampler=mlm.sampler(documents, tiny.SPECIALS, tiny.options("mlm")), batch_size=4, seed=0)(0)
    assert differences.check(objective, batch) > 18


@pytest.mark.parametrize("family", stock.FAMILIES)
def test_every_family_goes_on_learning_from_its_own_head(family, tmp_path) -> None:
    """The first loss is the stock model's own, and it falls."""
    model = stock.checkpoint(family, tmp_path)
    encoder = load_encoder(tmp_path)
    rng = np.random.default_rng(0)
    tokens = rng.integers(encoder.specials.first_ordinary, 150, 400)
    starts = np.arange(0, 400, 20)
    documents = type("Tokens", (), {"tokens": tokens, "word_starts": np.ones(encoder.specials.vocabulary, bool)})()
    rows = MaskedRows(documents, encoder.specials, 0.15)

    def batch(step: int) -> Batch:
        address = Address(seed=0, step=step, epochs=np.zeros(20, np.int64))
        return rows.rows(np.arange(20), starts[:, None], np.full((20, 1), 20), address)

    objective = mlm.objective(encoder, mlm.Options(length=30), 0, documents)
    first = batch(0)
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(first.rows.tokens.reshape(20, 22))).logits
    truth = torch.from_numpy(first.per_token["labels"].reshape(20, 22))
    wanted = float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), ignore_index=-100))
    losses: list[float] = []
    trainer = Trainer(
        objective=objective, batches=batch, options=TrainingOptions(steps=25, batch_size=20, learning_rate=0.01)
    )
    trainer.on_step = lambda progress: losses.append(progress.loss)
    trainer.run()
    assert losses[0] == pytest.approx(wanted, abs=1e-5)
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


def test_what_does_not_fit_is_refused() -> None:
    documents = tiny.store()
    with pytest.raises(UsageError, match="lower length"):
        mlm.objective(tiny.encoder("new", documents), mlm.Options(length=65), 0, documents)
    with pytest.raises(UsageError, match="static encoder"):
        mlm.objective(tiny.encoder("static", documents), mlm.Options(length=24), 0, documents)
    for wrong in ({"length": 7}, {"rate": 0.0}, {"rate": 1.0}, {"short": 1.5}):
        with pytest.raises(UsageError):
            mlm.Options(**wrong)
