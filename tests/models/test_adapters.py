"""Adapters in every family: zero at first, trained alone, in copies too, and equal to the stock model they become."""

import copy

import pytest
import torch
from test_transformer import model, ragged

from pretrieve.core.errors import UsageError
from pretrieve.models.lora import AdapterOptions, adapt, check_adapted, frozen, merge
from pretrieve.models.momentum import follow
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.training.checkpoint import trained_tensors
from tiny import SPECIALS

KINDS = ("bert", "modernbert", "distilbert", "albert", "qwen3", "gpt2")
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 80}
RANK = AdapterOptions(lora=3)


def encoder_of(kind: str) -> TransformerEncoder:
    extra = {"gpt2": GPT2, "qwen3": {"num_key_value_heads": 2, "head_dim": 8}}.get(kind, {})
    return TransformerEncoder(model(kind, 0.0, **extra), SPECIALS, max_length=70).eval()


def moved(encoder: TransformerEncoder) -> TransformerEncoder:
    """The same with adapters that change something."""
    with torch.no_grad():
        for name, values in encoder.named_parameters():
            if "lora_B" in name:
                values.normal_(std=0.3)
    return encoder


@pytest.mark.parametrize("kind", KINDS)
def test_merged_adapters_give_the_vectors_of_training(kind: str) -> None:
    encoder = encoder_of(kind)
    names = list(encoder.model.state_dict())
    before = encoder(ragged())
    adapt(encoder, RANK, seed=0)
    assert torch.equal(encoder(ragged()), before), "adapters start as zero"
    after = moved(encoder)(ragged())
    assert (after - before).abs().max() > 1e-3
    merge(encoder)
    assert list(encoder.model.state_dict()) == names
    torch.testing.assert_close(encoder(ragged()), after, rtol=0, atol=1e-12)


def test_adapters_alone_have_gradients_and_are_saved() -> None:
    encoder = encoder_of("qwen3")
    adapt(encoder, RANK, seed=0)
    moved(encoder)(ragged()).square().sum().backward()
    for name, values in encoder.named_parameters():
        assert (values.grad is not None) == values.requires_grad == (".lora_" in name), name
    assert len([name for name in trained_tensors(encoder) if "lora_A" in name]) == 3 * 7
    assert all(".lora_" in name for name in trained_tensors(encoder))


def test_the_base_of_a_momentum_copy_stays_what_it_is() -> None:
    encoder = encoder_of("bert")
    adapt(encoder, RANK, seed=0)
    slow = copy.deepcopy(encoder).requires_grad_(False)
    moved(encoder)
    follow(slow, encoder, 0.999)
    kept = frozen(slow)
    own = dict(encoder.named_parameters())
    for name, values in slow.named_parameters():
        assert torch.equal(values, own[name]) == (id(values) in kept or "lora_A" in name), name
    assert trained_tensors(slow).keys() == {name for name in own if ".lora_" in name}


def test_initial_adapters_follow_from_the_seed() -> None:
    first, again, other, named = (encoder_of("bert") for _ in range(4))
    for encoder, seed, name in ((first, 0, "a"), (again, 0, "a"), (other, 1, "a"), (named, 0, "b")):
        adapt(encoder, RANK, seed, name)
    weights = [{k: v for k, v in one.state_dict().items() if "lora_A" in k} for one in (first, again, other, named)]
    key = next(iter(weights[0]))
    assert torch.equal(weights[0][key], weights[1][key])
    assert not torch.equal(weights[0][key], weights[2][key])
    assert not torch.equal(weights[0][key], weights[3][key])


def test_what_thaws_the_base_is_refused() -> None:
    encoder = encoder_of("bert")
    adapt(encoder, RANK, seed=0)
    check_adapted(encoder)
    encoder.requires_grad_(True)
    with pytest.raises(UsageError, match="of the base's own weights"):
        check_adapted(encoder)


def test_rank_zero_changes_nothing() -> None:
    encoder = encoder_of("bert")
    trains = [values.requires_grad for values in encoder.parameters()]
    adapt(encoder, AdapterOptions(), seed=0)
    merge(encoder)
    assert [values.requires_grad for values in encoder.parameters()] == trains
    assert frozen(encoder) == set()
