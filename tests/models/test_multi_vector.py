"""Several vectors per document, compared with the stock model run with explicit positions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Rows, SpecialTokens
from pretrieve.models.multi_vector import MultiVectorEncoder, add_viewers, moved_positions, with_viewers
from pretrieve.models.transformer import TransformerEncoder

SPECIALS = SpecialTokens(cls=2, sep=3, mask=4, pad=0, unknown=1, vocabulary=60, first_ordinary=5)
IDS = {f"{name}_token_id": index for name, index in (("pad", 0), ("bos", 2), ("cls", 2), ("eos", 3), ("sep", 3))}
KINDS = ["bert", "roberta", "electra", "modernbert"]


def model(kind: str, seed: int = 0) -> TransformerEncoder:
    config = AutoConfig.for_model(
        kind, vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40, local_attention=8, **IDS,
    )  # fmt: skip
    torch.manual_seed(seed)
    return TransformerEncoder(AutoModel.from_config(config), SPECIALS, max_length=30)


def rows(count: int = 7, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    return Rows.of([[2, *rng.integers(5, 60, rng.integers(0, 20)).tolist(), 3] for _ in range(count)])


def stock_states(encoder: MultiVectorEncoder, batch: Rows, viewers: list[int], first: int) -> Tensor:
    """The stock model on rows padded by hand, positions given one by one; states at the viewers, (R, V, D)."""
    kind: Any = AutoModel.from_config(encoder.encoder.model.config, attn_implementation="eager")
    kind.load_state_dict(encoder.encoder.model.state_dict())
    kind.double().eval()
    texts = [[*viewers, *batch.row(index)[1:].tolist()] for index in range(len(batch))]
    places = [[0] * len(viewers) + list(range(1, len(text) - len(viewers) + 1)) for text in texts]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    positions = torch.tensor([place + [0] * (longest - len(place)) for place in places]) + first
    with torch.no_grad():
        states: Tensor = kind(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state
    return states[:, : len(viewers)]


def test_position_ids_are_zero_for_viewers_and_then_count() -> None:
    shown, positions = with_viewers(Rows.of([[2, 10, 11, 3], [2, 3]]), np.array([60, 61, 62]))
    assert [shown.row(index).tolist() for index in range(2)] == [[60, 61, 62, 10, 11, 3], [60, 61, 62, 3]]
    assert positions.tolist() == [0, 0, 0, 1, 2, 3, 0, 0, 0, 1]
    one, positions = with_viewers(Rows.of([[2, 10, 3]]), np.array([60]))
    assert (one.tokens.tolist(), positions.tolist()) == ([60, 10, 3], [0, 1, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_views_are_the_stock_models_states_at_position_zero(kind: str) -> None:
    encoder = add_viewers(model(kind), 4, seed=1).double().eval()
    batch, first = rows(), 1 if kind == "roberta" else 0
    with torch.no_grad():
        documents, queries = encoder(batch), encoder.queries(batch)
    assert (documents.shape, queries.shape) == ((7, 4, 32), (7, 1, 32))
    torch.testing.assert_close(documents, stock_states(encoder, batch, [61, 62, 63, 64], first), rtol=0, atol=1e-6)
    torch.testing.assert_close(queries, stock_states(encoder, batch, [60], first), rtol=0, atol=1e-6)


def test_viewers_that_are_equal_see_the_same_and_others_do_not() -> None:
    """Position 0 for all: a viewer's place in front says nothing, its embedding alone does."""
    encoder = add_viewers(model("bert"), 3, seed=1).eval()
    with torch.no_grad():
        views = encoder(rows())
        assert (views[:, 0] - views[:, 1]).abs().max() > 1e-3
        encoder.encoder.words[62] = encoder.encoder.words[61]
        views = encoder(rows())
    torch.testing.assert_close(views[:, 0], views[:, 1], rtol=0, atol=1e-6)
    assert (views[:, 0] - views[:, 2]).abs().max() > 1e-3


def test_viewers_are_new_random_words_and_the_rest_stays() -> None:
    base = model("bert")
    before = {name: values.clone() for name, values in base.model.state_dict().items()}
    encoder = add_viewers(base, 8, seed=1)
    again = add_viewers(model("bert"), 8, seed=1)
    other = add_viewers(model("bert"), 8, seed=2)
    words = encoder.encoder.words.detach()
    assert len(words) == 60 + 9
    assert torch.equal(words[60:], again.encoder.words[60:])
    assert not torch.equal(words[60:], other.encoder.words[60:])
    assert words[60:].std() == pytest.approx(0.02, rel=0.15)
    assert torch.unique(words[60:], dim=0).shape[0] == 9
    after = encoder.encoder.model.state_dict()
    assert torch.equal(words[:60], before["embeddings.word_embeddings.weight"])
    for name in before.keys() - {"embeddings.word_embeddings.weight"}:
        assert torch.equal(after[name], before[name])


def test_spare_rows_of_the_vocabulary_are_used() -> None:
    base = model("bert")
    base._model.resize_token_embeddings(128, mean_resizing=False)
    encoder = add_viewers(base, 3, seed=1)
    assert len(encoder.encoder.words) == 128
    assert encoder.viewers.tolist() == [61, 62, 63]


def test_the_longest_document_has_room_for_all_viewers() -> None:
    base = model("bert")
    base.max_length = 40  # as many as there are positions
    encoder = add_viewers(base, 6, seed=1).eval()
    longest = Rows.of([[2, *range(5, 43), 3]])
    assert encoder.max_length == len(longest.tokens) == 40
    with torch.no_grad():
        assert encoder(longest).shape == (1, 6, 32)


def test_the_moved_table_has_position_zero_for_every_viewer() -> None:
    table = torch.arange(5.0).unsqueeze(1)
    assert moved_positions(table, 3, 0).flatten().tolist() == [0, 0, 0, 1, 2, 3, 4]
    assert moved_positions(table, 3, 2).flatten().tolist() == [0, 1, 2, 2, 2, 3, 4]


def test_a_model_that_has_to_be_padded_is_refused() -> None:
    with pytest.raises(UsageError, match="mpnet: several vectors per document need"):
        add_viewers(model("mpnet"), 2, seed=0)
