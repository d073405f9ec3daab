"""Decoders as encoders: packed equals padded, and the stock folder gives the vectors of training."""

import copy
import json
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from test_transformer import assert_same_gradients, model, padded_states, ragged

import decoders
import searching
from pretrieve.core import files
from pretrieve.core.errors import ModelError
from pretrieve.core.types import Rows
from pretrieve.models.encoder import Pooling
from pretrieve.models.export import save_model
from pretrieve.models.inference import encode
from pretrieve.models.restore import load_encoder
from pretrieve.models.text_encoder import open_encoder
from pretrieve.models.transformer import DECODERS, TransformerEncoder
from pretrieve.text import tokenizer as tokenizers
from tiny import SPECIALS

TEXTS = [f"{document.title}. {document.text}" for document in searching.documents(30, sentences=2)]
EXTRA = {"num_key_value_heads": 2, "head_dim": 8}
CASES = {
    **{kind: (kind, EXTRA) for kind in sorted(DECODERS)},
    "mistral, window": ("mistral", {**EXTRA, "sliding_window": 9}),
    "qwen2, window": ("qwen2", {**EXTRA, "use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
    "qwen3, both ways": ("qwen3", {**EXTRA, "is_causal": False}),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 80}),
    "gemma3_text": ("gemma3_text", {**EXTRA, "sliding_window": 9}),
}


def pooled(reference: object, rows: Rows, pooling: Pooling) -> torch.Tensor:
    """The stock model's states over padded rows, by transformers' own attention, pooled."""
    states, mask = padded_states(reference, rows)
    if pooling == "mean":
        return (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    return states[torch.arange(len(rows)), mask.sum(dim=1) - 1]


@pytest.mark.parametrize("pooling", ["lasttoken", "mean"])
@pytest.mark.parametrize("name", CASES)
def test_packed_equals_padded_forward_and_gradient(name: str, pooling: Pooling) -> None:
    kind, changes = CASES[name]
    mine = model(kind, 0.0, **changes)
    reference = copy.deepcopy(mine)
    encoder = TransformerEncoder(mine, SPECIALS, max_length=70, pooling=pooling).eval()
    assert encoder.packed == (kind in DECODERS)
    vectors = encoder(ragged())[:, 0]
    expected = pooled(reference, ragged(), pooling)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-12)
    if not encoder.packed:  # both are padded
        return
    direction = torch.randn_like(expected)
    (vectors * direction).sum().backward()
    (expected * direction).sum().backward()
    assert_same_gradients(mine, reference)


def test_a_token_sees_those_before_it_alone() -> None:
    """Packed rows that begin alike have the same states up to where they differ."""
    encoder = TransformerEncoder(model("qwen3", 0.0, **EXTRA), SPECIALS, max_length=70, pooling="lasttoken").eval()
    one = ragged([40]).tokens
    (states,) = encoder.states(Rows.of([one, one[:25]]))
    torch.testing.assert_close(states[:25], states[40:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("begin", "ends"), [(False, False), (False, True), (True, False), (True, True)])
def test_the_tokenizer_of_a_language_model_ends_texts(tmp_path: Path, begin: bool, ends: bool) -> None:
    decoders.tokenizer(tmp_path, TEXTS, begin=begin, ends=ends)
    found = tokenizers.load(tmp_path)
    end = found.backend.token_to_id(decoders.END)
    assert found.specials.cls == (0 if begin else None)
    assert found.specials.sep == end == found.specials.pad
    assert found.backend.encode("the river").ids == [*([0] if begin else []), *found.encode(["the river"]).tokens, end]


def test_the_tokenizer_of_an_embedding_model_is_left_as_its_authors_use_it(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    decoders.tokenizer(tmp_path, TEXTS, begin=True)
    assert tokenizers.load(tmp_path).specials.sep is None
    decoders.tokenizer(tmp_path, TEXTS, begin=True, add_eos_token=True)
    assert tokenizers.load(tmp_path).specials.sep == 2
    decoders.tokenizer(tmp_path, TEXTS, bos_token="<s>", add_bos_token=True)
    assert (tokenizers.load(tmp_path).specials.cls, tokenizers.load(tmp_path).specials.sep) == (0, None)


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt2"])
def test_a_folder_gives_the_same_vectors_everywhere(tmp_path: Path, kind: str) -> None:
    """Base, exported folder opened again, sentence-transformers, and ``open_encoder``."""
    folder = decoders.decoder(tmp_path / "base", TEXTS, kind, begin=kind == "llama")
    words = tokenizers.load(folder)
    encoder = load_encoder(folder)
    assert isinstance(encoder, TransformerEncoder)
    assert encoder.pooling == "lasttoken"
    encoder.similarity = "cosine"
    expected = encode(encoder, words, TEXTS)
    with files.create(tmp_path / "out", "model") as out:
        save_model(out, encoder, words)
    assert json.loads((tmp_path / "out/1_Pooling/config.json").read_text())["pooling_mode"] == "lasttoken"
    again = encode(load_encoder(tmp_path / "out"), tokenizers.load(tmp_path / "out"), TEXTS)
    assert tokenizers.load(tmp_path / "out").specials == encoder.specials
    stock = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS, convert_to_numpy=True)
    searched = open_encoder(str(tmp_path / "out")).encode_documents(TEXTS)
    for found in (again, stock, searched):
        assert abs(found - expected).max() < 1e-6


def test_what_is_no_model_of_texts_is_refused(tmp_path: Path) -> None:
    folder = decoders.decoder(tmp_path, TEXTS)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "is_decoder": True}))
    with pytest.raises(ModelError, match="decoder-only language models"):
        load_encoder(folder)
