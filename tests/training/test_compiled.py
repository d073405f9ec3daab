"""The compiled forward pass trains as the plain one does; attention weights are dropped only on request."""

import shutil

import pytest
import torch

import tiny
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.compiled import compile_forward
from pretrieve.models.packed import Packing, attention, packed_attention
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer


def losses(*, compiled: bool, steps: int = 3) -> list[float]:
    objective, batches = tiny.run("contriever-inbatch", "new", seed=5, dropout=0.0)
    options = TrainingOptions(steps=steps, batch_size=8, learning_rate=0.01, compile=compiled)
    seen: list[float] = []
    Trainer(
        objective=objective, batches=batches, options=options, seed=5, on_step=lambda one: seen.append(one.loss)
    ).run()
    return seen


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs a C++ compiler on a CPU")
@pytest.mark.filterwarnings("ignore")
def test_compiled_losses_are_the_plain_ones() -> None:
    from transformers import AttentionInterface

    plain = losses(compiled=False)
    try:
        torch._dynamo.utils.counters.clear()
        found = losses(compiled=True)
        assert torch._dynamo.utils.counters["frames"]["ok"], "something is compiled"
    finally:
        AttentionInterface.register(attention(), packed_attention)
        torch._dynamo.reset()
    assert found == pytest.approx(plain, rel=1e-4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs a C++ compiler on a CPU")
@pytest.mark.filterwarnings("ignore")
def test_batches_of_other_shapes_are_not_compiled_anew() -> None:
    """Nor are deeper models; and both passes of the gradient cache drop the same, compiled for each as they are."""
    from transformers import AttentionInterface

    objective, batches = tiny.run("contriever-inbatch", "new", seed=5, dropout=0.1, layers=3)
    shapes, graphs = set(), []
    try:
        torch._dynamo.utils.counters.clear()
        assert compile_forward(objective.train()) == 1
        for step in range(4):
            batch = batches(step)
            shapes.add((len(batch.rows.tokens), len(Packing.of(batch.rows, torch.device("cpu")).blocks)))
            passes = []
            for learns in (False, True):
                torch.manual_seed(step)
                with torch.set_grad_enabled(learns):
                    passes.append(objective.encode(batch, step).vectors["query"])
            assert torch.equal(*passes)
            passes[1].sum().backward()
            graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    finally:
        AttentionInterface.register(attention(), packed_attention)
        torch._dynamo.reset()
    assert len(shapes) > 2
    assert graphs[0] == graphs[-1] <= 12, graphs


@pytest.mark.parametrize("drop", [False, True])
def test_attention_dropout_is_off_unless_it_is_asked_for(drop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden dropout stays: it is the model's."""
    from torch.nn import functional as F

    asked: list[float] = []
    attend = F.scaled_dot_product_attention

    def watched(*arguments, dropout_p=0.0, **also):
        asked.append(dropout_p)
        return attend(*arguments, dropout_p=dropout_p, **also)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    store = tiny.store()
    options = EncoderOptions(max_length=64, **({"attention_dropout": True} if drop else {}))
    encoder = build_encoder("new:layers=1,hidden=16,heads=2", store=store, options=options).train()
    rows = store.specials and tiny.run("mlm", "new")[1](0).rows
    first, second = encoder(rows), encoder(rows)
    assert set(asked) == ({0.1} if drop else {0.0})
    assert not torch.equal(first, second)
