"""Packed equals padded: the same stock model run by transformers' own attention over padded rows is the reference."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Rows
from pretrieve.models.encoder import Pooling
from pretrieve.models.packed import Packing, packed_attention
from pretrieve.models.transformer import PACKED, TransformerEncoder
from tiny import SPECIALS, VOCABULARY

WINDOW = 8  # of ModernBERT's local layers: most rows below are longer
EXTRA: dict[str, dict[str, Any]] = {
    "modernbert": {
        "local_attention": WINDOW, "global_attn_every_n_layers": 2,
        "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3,
    },
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
    "eurobert": {"bos_token_id": 2, "eos_token_id": 3, "mask_token_id": 4, "num_key_value_heads": 2},
    "camembert": {"bos_token_id": 2, "eos_token_id": 3},
    "roberta": {"bos_token_id": 2, "eos_token_id": 3},
    "xlm-roberta": {"bos_token_id": 2, "eos_token_id": 3},
    "mpnet": {"bos_token_id": 2, "eos_token_id": 3},
}  # fmt: skip
LENGTHS = [7, 30, 1, 30, 64, 12, 50]


def model(kind: str, dropout: float = 0.1, **changes: Any) -> Any:
    values = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 80, "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout, "attention_dropout": dropout,
        "pad_token_id": 1, "initializer_range": 0.3,
        **EXTRA.get(kind, {}), **changes,
    }  # fmt: skip
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(kind, **values)).double().eval()


def ragged(lengths: list[int] = LENGTHS, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    return Rows.of([rng.integers(5, VOCABULARY, length) for length in lengths])


def padded_states(reference: Any, rows: Rows, types: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """The stock model over padded rows: states (R, longest, D) and the mask (R, longest)."""
    longest = int(rows.lengths.max())
    ids = torch.ones(len(rows), longest, dtype=torch.long)
    mask, kinds = torch.zeros_like(ids), torch.zeros_like(ids)
    for r in range(len(rows)):
        ids[r, : rows.lengths[r]] = torch.from_numpy(rows.row(r))
        mask[r, : rows.lengths[r]] = 1
        if types is not None:
            kinds[r, : rows.lengths[r]] = torch.from_numpy(types[rows.offsets[r] : rows.offsets[r + 1]])
    inputs = {"token_type_ids": kinds} if types is not None else {}
    return reference(input_ids=ids, attention_mask=mask, **inputs).last_hidden_state, mask


def pooled(reference: Any, rows: Rows, pooling: Pooling, types: np.ndarray | None = None) -> Tensor:
    states, mask = padded_states(reference, rows, types)
    if pooling == "mean":
        return (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    return states[:, 0] if pooling == "cls" else reference.pooler(states)


def assert_same_gradients(mine: Any, reference: Any) -> None:
    compared = 0
    for (name, parameter), other in zip(mine.named_parameters(), reference.parameters(), strict=True):
        if parameter.requires_grad and other.grad is not None:
            assert parameter.grad is not None, name
            torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-9, atol=1e-11, msg=name)
            compared += 1
    assert compared > 15


@pytest.mark.parametrize("kind", [*sorted(PACKED), "mpnet"])
def test_packed_equals_padded_forward_and_gradient(kind: str) -> None:
    """In float64, so that a leak between rows or a shifted position cannot hide in rounding."""
    mine = model(kind)
    reference = copy.deepcopy(mine)
    rows = ragged()
    encoder = TransformerEncoder(mine, SPECIALS, max_length=70).eval()
    assert encoder.packed == (kind != "mpnet")
    vectors = encoder(rows)
    expected = pooled(reference, rows, "mean")
    assert vectors.shape == (7, 1, 32)
    torch.testing.assert_close(vectors[:, 0], expected, rtol=0, atol=1e-12)
    direction = torch.randn_like(expected)
    (vectors[:, 0] * direction).sum().backward()
    (expected * direction).sum().backward()
    assert_same_gradients(mine, reference)


@pytest.mark.parametrize("pooling", ["cls", "bert"])
@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_poolings(kind: str, pooling: Pooling) -> None:
    mine = model(kind)
    reference = copy.deepcopy(mine)
    encoder = TransformerEncoder(mine, SPECIALS, max_length=70, pooling=pooling).eval()
    vectors = encoder(ragged())[:, 0]
    expected = pooled(reference, ragged(), pooling)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-12)
    (vectors**2).sum().backward()
    (expected**2).sum().backward()
    assert_same_gradients(mine, reference)
    assert all(p.requires_grad == (pooling == "bert") for p in mine.pooler.parameters())


def test_float32_is_exact_to_rounding() -> None:
    mine = model("bert").float()
    reference = copy.deepcopy(mine)
    vectors = TransformerEncoder(mine, SPECIALS, max_length=70).eval()(ragged())[:, 0]
    torch.testing.assert_close(vectors, pooled(reference, ragged(), "mean"), rtol=1e-5, atol=2e-6)


def test_local_attention_is_seen_by_the_test() -> None:
    """The window matters for these rows: without it ModernBERT gives something else."""
    local, everywhere = model("modernbert"), model("modernbert", local_attention=10_000)
    vectors = [TransformerEncoder(m, SPECIALS, max_length=70)(ragged())[:, 0] for m in (local, everywhere)]
    differences = (vectors[0] - vectors[1]).abs().amax(dim=1)
    long = torch.tensor(LENGTHS) > WINDOW // 2 + 1
    assert (differences[long] > 1e-4).all()
    assert (differences[~long] < 1e-12).all()


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet"])
def test_segments_are_token_types_where_the_model_has_them(kind: str) -> None:
    mine = model(kind, type_vocab_size=2 if kind == "bert" else 1)
    reference = copy.deepcopy(mine)
    rows = ragged()
    types = (np.arange(len(rows.tokens)) % 3 == 0).astype(np.int64)
    vectors = TransformerEncoder(mine, SPECIALS, max_length=70)(rows, types)[:, 0]
    expected = pooled(reference, rows, "mean", types if kind == "bert" else None)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["bert", "modernbert", "mpnet"])
def test_states_come_in_the_order_of_the_rows(kind: str) -> None:
    mine = model(kind)
    reference = copy.deepcopy(mine)
    rows = ragged()
    early, last = TransformerEncoder(mine, SPECIALS, max_length=70).states(rows, layers=(1, -1))
    states, mask = padded_states(reference, rows)
    torch.testing.assert_close(last, states[mask.bool()], rtol=0, atol=1e-12)
    assert early.shape == last.shape == (len(rows.tokens), 32)
    assert not torch.allclose(early, last)


def test_dropout_follows_torch_s_generator_and_the_mode() -> None:
    encoder = TransformerEncoder(model("bert", dropout=0.3), SPECIALS, max_length=70)
    rows = ragged()

    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return encoder(rows)

    encoder.train()
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    encoder.eval()
    assert torch.equal(draw(1), draw(2))


def test_attention_dropout_is_honoured_and_unbiased() -> None:
    """With dropout on attention alone, one linear layer's output averages to the output without it."""
    mine = model("bert", dropout=0.0, attention_probs_dropout_prob=0.5, num_hidden_layers=1)
    encoder = TransformerEncoder(mine, SPECIALS, max_length=70)
    rows, attention = ragged([5, 9, 5]), mine.encoder.layer[0].attention.self
    packing = Packing.of(rows, torch.device("cpu"))
    hidden = torch.randn(1, len(rows.tokens), 32, dtype=torch.float64)
    exact = attention.eval()(hidden, packing=packing)[0]
    torch.manual_seed(0)
    draws = torch.stack([attention.train()(hidden, packing=packing)[0] for _ in range(1500)])
    error = (draws.mean(dim=0) - exact) / (draws.std(dim=0) / 1500**0.5)
    assert draws.std(dim=0).min() > 0
    assert error.abs().max() < 5
    assert encoder.packed


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="no BERT pooler"):
        TransformerEncoder(model("distilbert"), SPECIALS, max_length=70, pooling="bert")
    encoder = TransformerEncoder(model("bert"), SPECIALS, max_length=20)
    with pytest.raises(AssertionError, match="max_length"):
        encoder(ragged())


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_the_kernel_equals_blocks_on_a_gpu(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TransformerEncoder(model(kind).to("cuda", torch.bfloat16), SPECIALS, max_length=70)
    fast = encoder(ragged()).float()
    monkeypatch.setattr("pretrieve.models.packed._has_kernel", lambda query, dropout: False)
    torch.testing.assert_close(fast, encoder(ragged()).float(), rtol=0.05, atol=0.05)


def test_attention_scales_by_what_it_is_told() -> None:
    rows = ragged([3, 5, 3])
    packing = Packing.of(rows, torch.device("cpu"))
    query, key, value = torch.randn(3, 1, 2, 11, 4, dtype=torch.float64)
    mine, _ = packed_attention(torch.nn.Identity(), query, key, value, packing=packing, scaling=0.3)
    starts = packing.offsets.tolist()
    for first, last in itertools.pairwise(starts):
        q, k, v = (tensor[0, :, first:last] for tensor in (query, key, value))
        expected = torch.softmax(0.3 * q @ k.transpose(1, 2), dim=-1) @ v
        torch.testing.assert_close(mine[0, first:last], expected.transpose(0, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("groups", [2, 1])
def test_causal_attention_sees_no_token_after_its_own(window: int | None, groups: int) -> None:
    """Against softmax by hand, row by row, with a window and with fewer keys' heads."""
    rows = ragged([3, 9, 1, 9])
    packing = Packing.of(rows, torch.device("cpu"))
    query = torch.randn(1, 2, 22, 4, dtype=torch.float64)
    key, value = torch.randn(2, 1, groups, 22, 4, dtype=torch.float64)
    mine, _ = packed_attention(
        torch.nn.Identity(), query, key, value, packing=packing, sliding_window=window, causal=True
    )
    for first, last in itertools.pairwise(packing.offsets.tolist()):
        q, k, v = (tensor[0, :, first:last] for tensor in (query, key, value))
        place = torch.arange(last - first)
        back = place[:, None] - place
        hidden = (back < 0) | (back >= (window or 99))
        scores = (q @ k.transpose(1, 2) / 2).masked_fill(hidden, -torch.inf)
        expected = (torch.softmax(scores, dim=-1) @ v).transpose(0, 1)
        torch.testing.assert_close(mine[0, first:last], expected, rtol=0, atol=1e-12)


def test_causal_and_open_windows_of_one_layout_are_two_masks() -> None:
    packing = Packing.of(ragged([9, 9]), torch.device("cpu"))
    masks = [packing.band(9, 3, causal, torch.device("cpu")) for causal in (False, True, False)]
    assert masks[0] is not None
    assert torch.equal(masks[1], masks[0].tril())
    assert masks[2] is masks[0]


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 8])
def test_the_causal_kernel_equals_blocks_on_a_gpu(window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ragged()
    packing = Packing.of(rows, torch.device("cuda"))
    parts = torch.randn(3, 1, 4, len(rows.tokens), 16, device="cuda", dtype=torch.bfloat16)

    def attend() -> Tensor:
        return packed_attention(torch.nn.Identity(), *parts, packing=packing, sliding_window=window, causal=True)[0]

    fast = attend()
    monkeypatch.setattr("pretrieve.models.packed._has_kernel", lambda query, dropout: False)
    torch.testing.assert_close(fast, attend(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_is_in_float32_under_autocast_on_a_cpu(dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backward pass is slow in bfloat16; the result is that of float32, rounded. With dropout there is no loss."""
    packing = Packing.of(ragged(), torch.device("cpu"))
    torch.manual_seed(0)
    parts = torch.randn(3, 1, 4, sum(LENGTHS), 16).bfloat16()
    kinds = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(query: Tensor, *rest: Any, **named: Any) -> Tensor:
        kinds.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return attend(query, *rest, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)

    def run(exact: bool) -> list[Tensor]:
        inputs = [part.clone().requires_grad_() for part in parts]
        given = [part.float() for part in inputs] if exact else inputs
        kinds.clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            found, _ = packed_attention(torch.nn.Module(), *given, packing=packing, dropout=dropout)
        (found.float() ** 2).sum().backward()
        return [found, *(part.grad for part in inputs)]

    found = run(exact=False)
    assert set(kinds) == ({(torch.float32, False)} if dropout == 0 else {(torch.bfloat16, True)})
    assert all(values.dtype == torch.bfloat16 for values in found)
    if dropout == 0:
        plain = run(exact=True)
        assert torch.equal(found[0], plain[0].bfloat16())
        for one, two in zip(found[1:], plain[1:], strict=True):
            assert torch.allclose(one.float(), two.float(), rtol=0.02, atol=0.02)
