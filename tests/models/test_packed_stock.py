"""Stock models without padding: the vectors are those of their own ``encode``, whatever pools and follows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel

import stock
from pretrieve.core import files
from pretrieve.models import packed_stock as module
from pretrieve.models.export import save_model
from pretrieve.models.packed_stock import PackedStock, packed_stock
from pretrieve.models.restore import load_encoder
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.text import tokenizer as tokenizers

TEXTS = [
    *stock.texts(12, seed=3),
    "",
    " ",
    "aword1",
    "eword2 iword3.",
    "",
    *(text[:40] for text in stock.texts(8, seed=4)),
]
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    made = {family: tmp_path_factory.mktemp(family) / "model" for family in stock.FAMILIES}
    for family, folder in made.items():
        stock.checkpoint(family, folder, layers=2)
    return made


def both(folder: Path, *after, **changes) -> list[SentenceTransformer]:
    """The same model twice: to encode by itself, and to be packed."""
    found = []
    for _ in range(2):
        first = modules.Transformer(str(folder), **changes)
        backend = first.tokenizer.backend_tokenizer
        if first.tokenizer.num_special_tokens_to_add() == 0:  # that of the tiny ModernBERT; the published one adds them
            special = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
            backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
        found.append(SentenceTransformer(modules=[first, *after], device="cpu"))
    return found


def check(plain: SentenceTransformer, model: SentenceTransformer, prompt: str = "", batch_size: int = 4) -> None:
    packed = packed_stock(model, "document")
    assert packed is not None
    expected = plain.encode(TEXTS, prompt=prompt, task="document", batch_size=3)
    found = packed.encode(TEXTS, prompt, batch_size)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-6 * max(1, np.abs(expected).max())
    assert np.abs(expected[0] - expected[1]).max() > 1e-3


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("mode", [*MODES, ("cls", "mean")])
def test_equal_for_every_pooling_with_and_without_prompt(folders, mode, include_prompt: bool) -> None:
    plain, model = both(folders["bert"], modules.Pooling(16, mode, include_prompt=include_prompt), max_seq_length=24)
    check(plain, model)
    check(plain, model, "aword1 eword2: ")


@pytest.mark.parametrize("family", stock.FAMILIES)
@pytest.mark.parametrize("longest", [5, 32, 64])
def test_equal_for_every_family_and_length(folders, family: str, longest: int) -> None:
    check(*both(folders[family], modules.Pooling(16, "mean"), modules.Normalize(), max_seq_length=longest))


def test_equal_with_dense_layers_fewer_dimensions_and_groups(folders, monkeypatch) -> None:
    torch.manual_seed(0)
    plain, model = both(folders["bert"], modules.Pooling(16, "mean"), modules.Dense(16, 12), modules.Normalize())
    for one in (plain, model):
        one.truncate_dim = 7
    monkeypatch.setattr(module, "_GROUP", 7)
    monkeypatch.setattr(module, "_TOKENIZED", 3)
    monkeypatch.setattr(module, "_PER_TEXT", 16)
    check(plain, model, batch_size=1)


def test_others_stay_stock(folders, tmp_path) -> None:
    config = AutoConfig.for_model("mpnet", vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    other = tmp_path / "mpnet"
    AutoModel.from_config(config).save_pretrained(other)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (other / name).write_bytes((folders["roberta"] / name).read_bytes())
    assert packed_stock(both(other, modules.Pooling(16))[0], "query") is None
    before = modules.Dense(16, 16, module_input_name="token_embeddings", module_output_name="token_embeddings")
    assert packed_stock(both(folders["bert"], before, modules.Pooling(16))[0], "query") is None
    after = modules.Dense(16, 16, module_input_name="sentence_embedding", module_output_name="another")
    assert packed_stock(both(folders["bert"], modules.Pooling(16), after)[0], "query") is None
    no_specials, _ = both(folders["bert"], modules.Pooling(16))
    no_specials[0].tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    assert packed_stock(no_specials, "query") is None


@pytest.mark.parametrize("untied", [False, True])
def test_encoders_of_texts_use_it(folders, tmp_path, untied: bool, monkeypatch) -> None:
    folder = folders["bert"]
    encoder, other = load_encoder(folder), None
    if untied:
        other = load_encoder(folder)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.mul_(1.1)
    with files.create(tmp_path / "model", "model") as artefact:
        save_model(artefact, encoder, tokenizers.load(folder), documents=other, query_length=8)
    opened = open_encoder(str(tmp_path / "model"), ModelOptions(device="cpu", document_prompt="aword1: "))
    calls = []
    encode = PackedStock.encode
    monkeypatch.setattr(PackedStock, "encode", lambda self, *rest: calls.append(self.task) or encode(self, *rest))
    queries, documents = opened.encode_queries(TEXTS), opened.encode_documents(TEXTS)
    assert calls == ["query", "document"]
    plain = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    for found, task, prompt in ((queries, "query", ""), (documents, "document", "aword1: ")):
        expected = plain.encode(TEXTS, task=task, prompt=prompt)
        assert np.abs(found - expected).max() < 1e-6 * max(1, np.abs(expected).max())
    assert opened.encode_queries([]).size == 0


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_budget_of_tokens_where_rows_are_padded(folders, tmp_path, batch_size: int, monkeypatch) -> None:
    """Many short texts go through a model at once, long ones a few at a time; order and vectors are kept."""
    config = AutoConfig.for_model("mpnet", vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    other = tmp_path / "mpnet"
    AutoModel.from_config(config).save_pretrained(other)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (other / name).write_bytes((folders["roberta"] / name).read_bytes())
    plain, _ = both(other, modules.Pooling(16, "mean"), max_seq_length=64)
    plain.save(str(tmp_path / "model"))
    opened = open_encoder(str(tmp_path / "model"), ModelOptions(device="cpu", batch_size=batch_size))
    sizes: list[tuple[int, int]] = []
    forward = type(opened.document_model[0]).forward
    monkeypatch.setattr(
        type(opened.document_model[0]), "forward",
        lambda self, features, **also: sizes.append(tuple(features["input_ids"].shape))
        or forward(self, features, **also),
    )  # fmt: skip
    found = opened._encode_padded(opened.document_model, TEXTS, "", "document", 64)
    assert max(rows * longest for rows, longest in sizes) <= batch_size * 256
    assert len(sizes) < len(TEXTS) / batch_size
    for expected in (plain.encode(TEXTS, batch_size=2), opened.encode_documents(TEXTS)):
        assert np.abs(found - expected).max() < 1e-6 * max(1, np.abs(expected).max())
    assert opened.encode_documents([]).size == 0
