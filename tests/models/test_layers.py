"""Extra layers of a model's own kind, against the model's own stack and against rows run alone."""

import pytest
import torch
from test_transformer import model, ragged

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Rows
from pretrieve.models.layers import Layers
from pretrieve.models.transformer import TransformerEncoder
from tiny import SPECIALS


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "modernbert"])
def test_extra_layers_attend_within_rows(kind: str) -> None:
    encoder = TransformerEncoder(model(kind), SPECIALS, max_length=70).eval()
    layers, again = Layers(encoder, 2, seed=3).double().eval(), Layers(encoder, 2, seed=3).double()
    assert all(torch.equal(a, b) for a, b in zip(layers.parameters(), again.parameters(), strict=True))
    assert not {id(p) for p in layers.parameters()} & {id(p) for p in encoder.parameters()}
    rows = ragged()
    (states,) = encoder.states(rows)
    together = layers(states, rows)
    for r in range(len(rows)):
        first, last = rows.offsets[r], rows.offsets[r + 1]
        alone = layers(states[first:last], Rows.of([rows.row(r)]))
        torch.testing.assert_close(together[first:last], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_with_the_model_s_own_weights_they_are_its_last_layer(kind: str) -> None:
    encoder = TransformerEncoder(model(kind), SPECIALS, max_length=70).eval()
    rows = ragged()
    before, last = encoder.states(rows, layers=(2, -1))
    layers = Layers(encoder, 1, seed=0).double().eval()
    own = encoder.model.layers[2] if kind == "modernbert" else encoder.model.encoder.layer[2]  # type: ignore
    layers.layers[0].load_state_dict(own.state_dict())
    if kind == "modernbert":
        layers.norm.load_state_dict(encoder.model.final_norm.state_dict())  # type: ignore[union-attr]
    torch.testing.assert_close(layers(before, rows), last, rtol=0, atol=1e-12)


def test_other_families_are_refused() -> None:
    with pytest.raises(UsageError, match="mpnet"):
        Layers(TransformerEncoder(model("mpnet"), SPECIALS, max_length=70), 1, seed=0)
