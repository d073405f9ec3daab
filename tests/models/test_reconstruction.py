"""TSDAE's decoder: against NumPy, against transformers' own decoder with one key, and what each position can see."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_transformer import model, ragged
from transformers import AutoModel

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Rows
from pretrieve.models.heads import HEADS
from pretrieve.models.reconstruction import TiedDecoder
from pretrieve.models.transformer import TransformerEncoder
from tiny import SPECIALS

KINDS = ["bert", "roberta", "xlm-roberta", "modernbert"]
ROWS = ragged([7, 12, 1, 12, 20])


def decoder(kind: str, **changes: Any) -> tuple[TransformerEncoder, TiedDecoder]:
    encoder = TransformerEncoder(model(kind, **changes), SPECIALS, max_length=70, pooling="cls").eval()
    made = TiedDecoder(encoder, seed=3).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)  # also biases and norms, which start at 0 and 1
    return encoder, made


def vectors(rows: Rows = ROWS) -> torch.Tensor:
    return torch.randn(len(rows), 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_numpy_makes_of_the_paper(kind: str) -> None:
    encoder, made = decoder(kind)
    found, sources = made(vectors(), ROWS).detach().numpy(), vectors().numpy()
    weights = {name: value.detach().numpy() for name, value in encoder.model.named_parameters()}
    weights |= {name: value.detach().numpy() for name, value in made.named_parameters()}
    run = _modern_bert if kind == "modernbert" else _bert
    for r in range(len(ROWS)):
        expected = run(weights, ROWS.row(r), sources[r], encoder.first_position)
        mine = found[ROWS.offsets[r] : ROWS.offsets[r + 1]]
        np.testing.assert_allclose(
            mine, expected, rtol=0, atol=1e-6 if kind == "modernbert" else 1e-10
        )  # its angles are float32


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_it_is_transformers_own_decoder_with_one_key(kind: str) -> None:
    """Attention over a single key is its value and output projection: queries and keys make no difference."""
    encoder, made = decoder(kind)
    changes = {**encoder.model.config.to_dict(), "is_decoder": True, "add_cross_attention": True}  # type: ignore
    config = type(encoder.model.config)(**changes)  # type: ignore[operator]
    stock: Any = AutoModel.from_config(config, attn_implementation="sdpa").double().eval()
    own = encoder.model.state_dict()
    for layer, cross in enumerate(made.cross):
        at = f"encoder.layer.{layer}.crossattention"
        for name, module in (("self.value", "value"), ("output.dense", "output"), ("output.LayerNorm", "norm")):
            for key, value in cross.get_submodule(module).state_dict().items():
                own[f"{at}.{name}.{key}"] = value
    missing, unexpected = stock.load_state_dict(own, strict=False)
    assert not unexpected
    assert all("crossattention.self.query" in name or "crossattention.self.key" in name for name in missing)
    found = made(vectors(), ROWS)
    for r in range(len(ROWS)):
        ids = torch.from_numpy(ROWS.row(r)).unsqueeze(0)
        places = torch.arange(ids.shape[1]).unsqueeze(0) + encoder.first_position
        expected = stock(
            input_ids=ids, position_ids=places, encoder_hidden_states=vectors()[r][None, None], use_cache=False
        ).last_hidden_state[0]
        mine = found[ROWS.offsets[r] : ROWS.offsets[r + 1]]
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_position_sees_the_tokens_up_to_it_and_the_vector(kind: str) -> None:
    _, made = decoder(kind)
    before = made(vectors(), ROWS)
    owners = np.repeat(np.arange(len(ROWS)), ROWS.lengths)
    for place in (ROWS.offsets[1] + 5, ROWS.offsets[4] + 11):
        tokens = ROWS.tokens.copy()
        tokens[place] = 5 + (tokens[place] - 4) % 100
        changed = (made(vectors(), Rows(tokens, ROWS.offsets)) - before).detach().abs().amax(dim=1).numpy() > 1e-9
        later = (owners == owners[place]) & (np.arange(len(tokens)) >= place)
        # a layer of ModernBERT's sees 4 tokens back, but the third sees all
        assert np.array_equal(changed, later)
    other = vectors()
    other[3] += 0.1
    changed = (made(other, ROWS) - before).detach().abs().amax(dim=1).numpy() > 1e-9
    assert np.array_equal(changed, owners == 3)


@pytest.mark.parametrize("kind", KINDS)
def test_its_layers_are_the_encoder_s_and_learn_from_both_sides(kind: str) -> None:
    encoder, made = decoder(kind)
    assert all(name.startswith("cross.") for name, _ in made.named_parameters())
    assert not {id(p) for p in made.parameters()} & {id(p) for p in encoder.parameters()}
    target = torch.randn(len(ROWS.tokens), 32, dtype=torch.float64)
    found = {}
    for side in ("both", "encoder", "decoder"):
        encoder.zero_grad()
        source = encoder(ROWS)[:, 0]
        states = made(source.detach() if side == "decoder" else source, ROWS)
        if side == "encoder":  # only what comes through the vectors
            gradient = torch.autograd.grad((states * target).sum(), source)[0]
            (encoder(ROWS)[:, 0] * gradient).sum().backward()
        else:
            (states * target).sum().backward()
        pairs = encoder.named_parameters()
        found[side] = {name: p.grad.clone() for name, p in pairs if p.grad is not None and p.requires_grad}
    for name, whole in found["both"].items():
        parts = [found[side].get(name, torch.zeros_like(whole)) for side in ("encoder", "decoder")]
        torch.testing.assert_close(whole, parts[0] + parts[1], rtol=1e-8, atol=1e-10, msg=name)
        if "layer" in name and name.endswith("weight"):
            assert all(float(part.abs().max()) > 0 for part in parts), name


def test_dropout_and_half_precision_run() -> None:
    encoder, made = decoder("bert", dropout=0.3)
    encoder.train()
    made.train()
    torch.manual_seed(0)
    first = made(vectors(), ROWS)
    assert not torch.allclose(first, made(vectors(), ROWS))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(made.float()(encoder.float()(ROWS)[:, 0], ROWS)).all()


def test_it_starts_from_what_was_kept(tmp_path) -> None:
    encoder, made = decoder("bert")
    save_file({f"reconstruction.{name}": value for name, value in made.state_dict().items()}, tmp_path / HEADS)
    encoder.source = tmp_path
    again = TiedDecoder(encoder, seed=9)
    for name, value in made.state_dict().items():
        assert torch.equal(again.state_dict()[name].double(), value.float().double())


@pytest.mark.parametrize("kind", ["distilbert", "albert", "electra", "mpnet", "eurobert"])
def test_other_families_are_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="BERT, RoBERTa and ModernBERT"):
        TiedDecoder(TransformerEncoder(model(kind), SPECIALS, max_length=70), seed=0)


def _normed(x: np.ndarray, weights: dict[str, np.ndarray], name: str, epsilon: float) -> np.ndarray:
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + epsilon)
    return x * weights[f"{name}.weight"] + weights.get(f"{name}.bias", 0)


def _linear(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2


def _attended(q: np.ndarray, k: np.ndarray, v: np.ndarray, reach: int) -> np.ndarray:
    """Heads (T, 4, 8): each token over itself and those before it, at most ``reach`` back."""
    back = np.arange(len(q))[:, None] - np.arange(len(q))
    scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(scores) * ((back >= 0) & (back <= reach))
    return np.einsum("hij,jhd->ihd", weights / weights.sum(axis=-1, keepdims=True), v).reshape(len(q), -1)


def _seen(w: dict[str, np.ndarray], layer: int, source: np.ndarray) -> np.ndarray:
    return _linear(_linear(source, w, f"cross.{layer}.value"), w, f"cross.{layer}.output")


def _bert(w: dict[str, np.ndarray], ids: np.ndarray, source: np.ndarray, first: int) -> np.ndarray:
    at = "embeddings"
    x = w[f"{at}.word_embeddings.weight"][ids] + w[f"{at}.token_type_embeddings.weight"][0]
    x = x + w[f"{at}.position_embeddings.weight"][first + np.arange(len(ids))]
    x = _normed(x, w, f"{at}.LayerNorm", 1e-12)
    for layer in range(3):
        at = f"encoder.layer.{layer}"
        heads = [_linear(x, w, f"{at}.attention.self.{n}").reshape(len(ids), 4, 8) for n in ("query", "key", "value")]
        mixed = _linear(_attended(*heads, len(ids)), w, f"{at}.attention.output.dense")
        x = _normed(x + mixed, w, f"{at}.attention.output.LayerNorm", 1e-12)
        x = _normed(x + _seen(w, layer, source), w, f"cross.{layer}.norm", 1e-12)
        inner = _linear(_gelu(_linear(x, w, f"{at}.intermediate.dense")), w, f"{at}.output.dense")
        x = _normed(x + inner, w, f"{at}.output.LayerNorm", 1e-12)
    return x


def _modern_bert(w: dict[str, np.ndarray], ids: np.ndarray, source: np.ndarray, first: int) -> np.ndarray:
    x = _normed(w["embeddings.tok_embeddings.weight"][ids], w, "embeddings.norm", 1e-5)
    for layer in range(3):
        at, whole = f"layers.{layer}", layer % 2 == 0
        inner = x if layer == 0 else _normed(x, w, f"{at}.attn_norm", 1e-5)
        q, k, v = np.moveaxis(_linear(inner, w, f"{at}.attn.Wqkv").reshape(len(ids), 3, 4, 8), 1, 0)
        angles = np.arange(len(ids))[:, None] / (160_000.0 if whole else 10_000.0) ** (np.arange(0, 8, 2) / 8)
        q, k = (_turned(heads, np.concatenate([angles, angles], axis=1)[:, None]) for heads in (q, k))
        x = x + _linear(_attended(q, k, v, len(ids) if whole else 4), w, f"{at}.attn.Wo")
        x = x + _seen(w, layer, source)
        values, gates = np.split(_linear(_normed(x, w, f"{at}.mlp_norm", 1e-5), w, f"{at}.mlp.Wi"), 2, axis=1)
        x = x + _linear(_gelu(values) * gates, w, f"{at}.mlp.Wo")
    return _normed(x, w, "final_norm", 1e-5)


def _turned(heads: np.ndarray, angles: np.ndarray) -> np.ndarray:
    low, high = np.split(heads, 2, axis=-1)
    return heads * np.cos(angles) + np.concatenate([-high, low], axis=-1) * np.sin(angles)
