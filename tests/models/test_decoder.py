"""The enhanced decoder, against a reference in NumPy that goes through one place at a time."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from test_transformer import model, ragged

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Rows
from pretrieve.models.decoder import MASKS, EnhancedDecoder, QueryStream, seen, sinusoids
from pretrieve.models.heads import HEADS
from pretrieve.models.transformer import TransformerEncoder
from tiny import SPECIALS

KINDS = ["bert", "roberta", "xlm-roberta", "modernbert"]
LENGTHS = [7, 30, 3, 30, 64, 12]
Floats = NDArray[np.float64]


def made(
    kind: str, stream: QueryStream = "positions", dropout: float = 0.0
) -> tuple[TransformerEncoder, EnhancedDecoder]:
    encoder = TransformerEncoder(model(kind, dropout), SPECIALS, max_length=70).eval()
    decoder = EnhancedDecoder(encoder, 3, stream).double().eval()
    with torch.no_grad():  # no part of the layer may be left at a value that hides it
        generator = torch.Generator().manual_seed(5)
        for parameter in decoder.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return encoder, decoder


def inputs(lengths: list[int] = LENGTHS) -> tuple[Rows, torch.Tensor, np.ndarray, np.ndarray]:
    rows, rng = ragged(lengths), np.random.default_rng(2)
    vectors = torch.from_numpy(rng.standard_normal((len(rows), 32)))
    masks = rng.integers(-(2**63), 2**63 - 1, size=len(rows.tokens))
    return rows, vectors, masks, rng.integers(0, MASKS, size=len(rows.tokens))


def norm(values: Floats, layer: Any, epsilon: float) -> Floats:
    centred = values - values.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    bias = 0.0 if layer.bias is None else layer.bias.detach().numpy()
    return scaled * layer.weight.detach().numpy() + bias


def linear(values: Floats, layer: Any) -> Floats:
    return values @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def waves(length: int, width: int) -> Floats:
    found = np.zeros((length, width))
    for place in range(length):
        for k in range(width // 2):
            angle = place / 10_000 ** (k / (width // 2))
            found[place, k], found[place, width // 2 + k] = math.sin(angle), math.cos(angle)
    return found


def embedded(kind: str, stock: Any, given: Floats) -> tuple[Floats, Floats]:
    """Embeddings of word vectors (or other vectors) of one row, and the vectors of its positions."""
    part = stock.embeddings
    if kind == "modernbert":
        places = waves(len(given), given.shape[1])
        return norm(given, part.norm, stock.config.norm_eps), places
    first = stock.config.pad_token_id + 1 if kind != "bert" else 0
    places = part.position_embeddings.weight.detach().numpy()[first : first + len(given)]
    types = part.token_type_embeddings.weight.detach().numpy()[0]
    return norm(given + types + places, part.LayerNorm, stock.config.layer_norm_eps), places


def reference(
    kind: str, encoder: TransformerEncoder, decoder: EnhancedDecoder, row: np.ndarray, vector: Floats,
    masks: np.ndarray, choices: np.ndarray,
) -> Floats:  # fmt: skip
    """One row, place by place, head by head; written from the specification."""
    stock: Any = encoder.model
    epsilon = stock.config.norm_eps if kind == "modernbert" else stock.config.layer_norm_eps
    words = encoder.words.detach().numpy()[row]
    clean, places = embedded(kind, stock, words)
    if kind == "modernbert":
        clean = clean + places
    context = np.concatenate([vector[None], clean[1:]])
    spread = np.repeat(vector[None], len(row), axis=0)
    queries = spread + places
    if decoder.query_stream == "embeddings":
        queries = embedded(kind, stock, spread + places if kind == "modernbert" else spread)[0]
    query, key, value = linear(queries, decoder.query), linear(context, decoder.key), linear(context, decoder.value)
    size = query.shape[1] // 4
    attended = np.zeros_like(query)
    for i in range(len(row)):
        visible = [j for j in range(len(row)) if j == 0 or (j != i and (int(masks[j]) >> int(choices[i])) & 1)]
        for head in range(4):
            part = slice(head * size, (head + 1) * size)
            scores = key[visible][:, part] @ query[i, part] / math.sqrt(size)
            weights = np.exp(scores - scores.max())
            attended[i, part] = weights / weights.sum() @ value[visible][:, part]
    hidden = norm(queries + linear(attended, decoder.attention_output), decoder.attention_norm, epsilon)
    inner = linear(hidden, decoder.intermediate)
    inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    return norm(hidden + linear(inner, decoder.output), decoder.output_norm, epsilon)


@pytest.mark.parametrize("stream", ["positions", "embeddings"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_agrees_with_numpy(kind: str, stream: QueryStream) -> None:
    encoder, decoder = made(kind, stream)
    rows, vectors, masks, choices = inputs()
    found = decoder(encoder, vectors, rows, masks, choices).detach().numpy()
    for r in range(len(rows)):
        part = slice(rows.offsets[r], rows.offsets[r + 1])
        expected = reference(kind, encoder, decoder, rows.row(r), vectors[r].numpy(), masks[part], choices[part])
        np.testing.assert_allclose(found[part], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("stream", ["positions", "embeddings"])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_gradients_by_finite_differences(kind: str, stream: QueryStream) -> None:
    encoder, decoder = made(kind, stream)
    rows, vectors, masks, choices = inputs([5, 9, 5])
    vectors.requires_grad_()
    probe = torch.randn(len(rows.tokens), 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    learned = [vectors, *decoder.parameters(), *encoder.model.embeddings.parameters()]

    def loss() -> torch.Tensor:
        return (decoder(encoder, vectors, rows, masks, choices) * probe).sum()

    gradients = torch.autograd.grad(loss(), learned)
    for parameter, gradient in zip(learned, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        with torch.no_grad():
            parameter += 1e-6 * direction
            above = float(loss())
            parameter -= 2e-6 * direction
            below = float(loss())
            parameter += 1e-6 * direction
        assert float((gradient * direction).sum()) == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-6)


def test_the_masks_of_attention() -> None:
    """Never itself, always the first place, and otherwise what the bit says; all 64 bits are used."""
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.integers(-(2**63), 2**63 - 1, size=(3, MASKS)))
    choices = torch.arange(MASKS).repeat(3, 1)
    found = seen(masks, choices)
    for r in range(3):
        for i in range(MASKS):
            for j in range(MASKS):
                bit = (int(masks[r, j]) >> i) & 1
                assert bool(found[r, i, j]) == (j == 0 or (j != i and bit == 1))


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_a_place_depends_on_what_it_sees_alone(kind: str) -> None:
    """Another token changes exactly the places that see it: never its own."""
    encoder, decoder = made(kind)
    rows, vectors, masks, choices = inputs([12, 12])
    before = decoder(encoder, vectors, rows, masks, choices)
    tokens = rows.tokens.copy()
    tokens[5] = tokens[5] + 1
    after = decoder(encoder, vectors, Rows(tokens, rows.offsets), masks, choices)
    changed = (before != after).any(dim=1).numpy()
    sees = ((masks[5] >> choices[:12]) & 1).astype(bool)
    sees[5] = False
    assert np.array_equal(changed[:12], sees)
    assert 0 < sees.sum() < 11
    assert not changed[12:].any()


def test_sinusoids_of_places() -> None:
    np.testing.assert_allclose(sinusoids(9, 12, torch.device("cpu")).numpy(), waves(9, 12), rtol=0, atol=1e-14)


def test_weights_have_an_address_and_dropout_the_model_s_rate() -> None:
    encoder, _ = made("bert")
    first, again, other = (EnhancedDecoder(encoder, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.query.weight, other.query.weight)
    assert float(first.query.weight.detach().std()) == pytest.approx(0.3, rel=0.1)
    encoder, decoder = made("bert", dropout=0.5)
    rows, vectors, masks, choices = inputs()
    calm = decoder(encoder, vectors, rows, masks, choices)
    loud = decoder.train()(encoder, vectors, rows, masks, choices)
    assert (decoder.dropout.p, decoder.attention_dropout) == (0.5, 0.5)
    assert not torch.allclose(calm, loud)


def test_a_run_goes_on_with_the_kept_layer(tmp_path: Path) -> None:
    encoder, decoder = made("bert")
    kept = {f"enhanced_decoder.{name}": values for name, values in decoder.state_dict().items()}
    safetensors.torch.save_file(kept, tmp_path / HEADS)
    encoder.source = tmp_path
    again = EnhancedDecoder(encoder, 9).double()
    assert all(torch.equal(again.state_dict()[name].float(), v.float()) for name, v in decoder.state_dict().items())


def test_other_families_are_refused() -> None:
    for name, stock in (("mpnet", model("mpnet")), ("electra", model("electra", embedding_size=16))):
        encoder = TransformerEncoder(stock, SPECIALS, max_length=70)
        with pytest.raises(UsageError, match=name):
            EnhancedDecoder(encoder, 0)
