"""Static folders as sentence-transformers and model2vec write them: the vectors are those of these libraries."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

import labelling
from pretrieve.core.errors import CorruptError, PretrieveWarning, UsageError
from pretrieve.core.types import Rows
from pretrieve.models.bag import Bag
from pretrieve.models.restore import load_encoder
from pretrieve.models.text_encoder import ModelOptions, TorchTextEncoder, open_encoder
from pretrieve.pipeline.finetune.base_model import open_start

WORDS = ["[PAD]", "[UNK]", "river", "stone", "bridge", "music", "garden", "light"]
TEXTS = ["river stone bridge", "nobody knows the garden light", "", "unseen words alone", "Music music river"] * 5
CONFIG = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": 12, "seq_length": 1_000_000,
          "apply_pca": 12, "apply_zipf": True}  # fmt: skip
TYPES = {
    "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64,
    "int8": torch.int8,
}  # fmt: skip


def tokenizer() -> Tokenizer:
    found = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    found.normalizer, found.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    found.add_special_tokens(["[PAD]", "[UNK]"])
    return found


def table(rows: int = len(WORDS), dtype: torch.dtype = torch.float32) -> torch.Tensor:
    found = torch.randn(rows, 12, generator=torch.Generator().manual_seed(1))
    return (found * 40).to(dtype) if dtype == torch.int8 else found.to(dtype)


def folder_of(
    folder: Path, tensors: dict[str, torch.Tensor], *, inner: str = ".", normalise: bool = False,
    stock: bool = True, config: dict[str, Any] | None = None, settings: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Write a static model; without ``stock`` there is no modules.json, as older model2vec wrote it."""
    place = folder / inner
    place.mkdir(parents=True, exist_ok=True)
    save_file(tensors, place / "model.safetensors")
    tokenizer().save(str(place / "tokenizer.json"))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    if settings is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    if stock:
        kinds = [("StaticEmbedding", inner), *([("Normalize", "1_Normalize")] if normalise else [])]
        entries = [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (kind, path) in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(entries))
    return folder


QUANTISED = {
    "embeddings": table(3), "mapping": torch.tensor([0, 1, 2, 2, 1, 0, 1, 2]), "weights": torch.linspace(0.1, 2, 8),
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "sentence-transformers": {"tensors": {"embedding.weight": table()}},
    "nested": {"tensors": {"embedding.weight": table()}, "inner": "0_StaticEmbedding", "normalise": True},
    "model2vec": {"tensors": {"embeddings": table()}, "config": CONFIG | {"normalize": True}, "normalise": True},
    "weighted": {"tensors": {"embeddings": table(), "weights": QUANTISED["weights"]}, "config": CONFIG},
    "mapped": {"tensors": {name: QUANTISED[name] for name in ("embeddings", "mapping")}, "config": CONFIG},
    "quantised": {"tensors": QUANTISED, "config": CONFIG, "normalise": True},
    "quantised in half": {"tensors": QUANTISED | {"embeddings": table(3, torch.float16)}, "config": CONFIG},
    "quantised in bytes": {"tensors": QUANTISED | {"embeddings": table(3, torch.int8)}, "config": CONFIG},
    "truncated": {"tensors": {"embedding.weight": table()}, "settings": {"truncate_dim": 5}, "normalise": True},
    "prompted": {
        "tensors": {"embedding.weight": table()}, "settings": {"prompts": {"query": "stone ", "document": "light "}},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_vectors_are_those_of_sentence_transformers(name: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", **VARIANTS[name])
    opened, stock = open_encoder(str(folder)), SentenceTransformer(str(folder), device="cpu")
    assert isinstance(opened, Bag)
    for texts in (TEXTS, TEXTS[:3]):  # many and few are summed in two ways
        np.testing.assert_allclose(opened.encode_queries(texts), stock.encode_query(texts), atol=1e-5)
        np.testing.assert_allclose(opened.encode_documents(texts), stock.encode_document(texts), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions_are_those_of_sentence_transformers_in_float32(dtype: str, tmp_path: Path) -> None:
    """Stock rounds the mean to the weights' precision; here it stays float32."""
    folder = folder_of(tmp_path / "model", {"embeddings": table(dtype=TYPES[dtype])}, normalise=True, config=CONFIG)
    stock = SentenceTransformer(str(folder), device="cpu").float()
    np.testing.assert_allclose(open_encoder(str(folder)).encode_queries(TEXTS), stock.encode_query(TEXTS), atol=1e-5)


def of_model2vec(tensors: dict[str, torch.Tensor], *, normalise: bool) -> np.ndarray:
    """The rules of model2vec in plain words: no unknown token, a weighted mean, normalised if its config says so."""
    vectors, rows = tensors["embeddings"].double().numpy(), tensors.get("mapping")
    weights = tensors.get("weights", torch.ones(len(WORDS))).double().numpy()
    found = []
    for encoding in tokenizer().encode_batch(TEXTS, add_special_tokens=False):
        ids = [token for token in encoding.ids if token != WORDS.index("[UNK]")]
        picked = [vectors[token if rows is None else rows[token]] * weights[token] for token in ids]
        found.append(np.mean(picked, axis=0) if picked else np.zeros(12))
    made = np.stack(found)
    return made / (np.linalg.norm(made, axis=1, keepdims=True) + 1e-32) if normalise else made


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64", "int8", "quantised"])
def test_without_modules_the_rules_of_model2vec_hold(name: str, normalise: bool, tmp_path: Path) -> None:
    tensors = QUANTISED if name == "quantised" else {"embeddings": table(dtype=TYPES[name])}
    config = CONFIG | {"normalize": normalise}
    folder = folder_of(tmp_path / "model", tensors, stock=False, config=config)
    opened = open_encoder(str(folder))
    assert (opened.similarity, isinstance(opened, Bag)) == ("cosine", True)
    expected = of_model2vec(tensors, normalise=normalise)
    np.testing.assert_allclose(opened.encode_documents(TEXTS), expected, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(opened.encode_documents(TEXTS[:5]), expected[:5], atol=1e-5, rtol=1e-5)


def test_nested_without_modules_is_read(tmp_path: Path) -> None:
    tensors = {"embedding.weight": table()}
    folder = folder_of(tmp_path / "model", tensors, inner="0_StaticEmbedding", stock=False, settings={})
    expected = of_model2vec({"embeddings": table()}, normalise=False)
    np.testing.assert_allclose(open_encoder(str(folder)).encode_documents(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["static", "transformer"])
@pytest.mark.parametrize("given", [None, 4])
def test_dimensions_are_cut_as_stock_cuts_them(kind: str, given: int | None, tmp_path: Path) -> None:
    folder = getattr(labelling, f"{kind}_model")(tmp_path / "model")
    path = folder / "config_sentence_transformers.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"truncate_dim": 6}))
    (folder / "MANIFEST.json").unlink()
    opened = open_encoder(str(folder), ModelOptions(truncate_dim=given, device="cpu"))
    expected = SentenceTransformer(str(folder), device="cpu", truncate_dim=given).encode_query(["ba do", "ki"])
    assert expected.shape == (2, given or 6)
    np.testing.assert_allclose(opened.encode_queries(["ba do", "ki"]), expected, atol=1e-5)
    assert (opened.fingerprint != open_encoder(str(folder), ModelOptions(device="cpu")).fingerprint) == bool(given)
    with pytest.raises(UsageError, match="truncate_dim=0"):
        ModelOptions(truncate_dim=0)
    with pytest.warns(PretrieveWarning, match="keeps 6 dimensions of its vectors: it is fine-tuned"):
        open_start(str(folder))


@pytest.mark.parametrize("name", ["nested", "model2vec", "quantised", "quantised in half"])
def test_what_is_searched_can_be_trained(name: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", **VARIANTS[name])
    start, opened = open_start(str(folder)), open_encoder(str(folder))
    ids = [start.tokenizer.backend.encode(text, add_special_tokens=False).ids for text in TEXTS[:2]]
    with torch.no_grad():
        made = start.documents(Rows.of(ids))[:, 0].numpy()
    expected = opened.encode_documents(TEXTS[:2])
    made, expected = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (made, expected))
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert load_encoder(folder).similarity == "cosine"


def damaged(tensors: dict[str, torch.Tensor], **changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return tensors | changes


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"vectors": table()}, "expected the tensor embedding.weight or embeddings, found vectors"),
        ({"embeddings": table(), "other": table()}, "found embeddings, other"),
        (damaged(QUANTISED, mapping=torch.arange(8)), "do not match"),
        (damaged(QUANTISED, mapping=torch.tensor([0, -1] * 4)), "do not match"),
        (damaged(QUANTISED, weights=torch.ones(5)), "do not match"),
        (damaged(QUANTISED, mapping=torch.zeros(4, dtype=torch.int64), weights=torch.ones(4)), "do not match"),
        ({"embeddings": table(3)}, "do not match"),
        ({"embeddings": torch.ones(8)}, "do not match"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tensors: dict[str, torch.Tensor], words: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", tensors, config=CONFIG)
    for attempt in (open_encoder, open_start):
        with pytest.raises((CorruptError, UsageError), match=words):
            attempt(str(folder))


def stock_chain(folder: Path, *parts: Any) -> Path:
    SentenceTransformer(modules=list(parts), device="cpu").save(str(folder), create_model_card=False)
    return folder


def embedded() -> Any:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    return StaticEmbedding(tokenizer(), embedding_weights=table())


def words_of() -> list[Any]:
    from sentence_transformers.sentence_transformer.modules import WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    return [WordEmbeddings(WhitespaceTokenizer(WORDS), table().numpy())]


@pytest.mark.parametrize("name", ["dense", "norm", "dropout", "weights", "cnn", "lstm", "bow"])
def test_other_modules_are_used_as_stock_uses_them(name: str, tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer import modules as stock

    torch.manual_seed(0)
    weighted = stock.WordWeights(WORDS, {"river": 3.0, "stone": 0.5}, unknown_word_weight=0.7)
    chains = {
        "dense": lambda: [embedded(), stock.Dense(12, 6)],
        "norm": lambda: [embedded(), stock.LayerNorm(12), stock.Normalize()],
        "dropout": lambda: [embedded(), stock.Dropout(0.5)],
        "weights": lambda: [*words_of(), weighted, stock.Pooling(12, "mean")],
        "cnn": lambda: [*words_of(), stock.CNN(12, 4, [1, 3]), stock.Pooling(8, "max")],
        "lstm": lambda: [*words_of(), stock.LSTM(12, 5), stock.Pooling(10, "max")],
        "bow": lambda: [stock.BoW(WORDS, {"river": 2.0})],
    }
    folder = stock_chain(tmp_path / "model", *chains[name]())
    opened = open_encoder(str(folder), ModelOptions(similarity="cosine", device="cpu"))
    assert isinstance(opened, TorchTextEncoder)
    texts = ["river stone", "garden light music river", "bridge"]
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts)
    np.testing.assert_allclose(opened.encode_documents(texts), expected, atol=1e-5)


def test_a_static_model_has_no_pooling_to_choose(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", **VARIANTS["model2vec"])
    for given, words in (({"pooling": "mean"}, "pooling out"), ({"like": "intfloat/e5-base"}, "like out")):
        with pytest.raises(UsageError, match=words):
            open_encoder(str(folder), ModelOptions(**given))
    settings = {"similarity_fn_name": "euclidean"}
    other = folder_of(tmp_path / "other", {"embedding.weight": table()}, settings=settings)
    with pytest.raises(UsageError, match="compares by euclidean: give similarity"):
        open_encoder(str(other))
    assert open_encoder(str(other), ModelOptions(similarity="dot")).similarity == "dot"


def test_a_length_cuts_a_static_model_too(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", **VARIANTS["model2vec"])
    cut, whole = open_encoder(str(folder), ModelOptions(max_length=2)), open_encoder(str(folder))
    np.testing.assert_allclose(cut.encode_documents(["river stone light"]), whole.encode_documents(["river stone"]))
    assert cut.fingerprint != whole.fingerprint


def test_to_open_a_model_does_not_take_its_weights_into_memory(tmp_path: Path) -> None:
    """The fingerprint reads them piece by piece: a cold search would wait for the memory."""
    folder = folder_of(tmp_path / "model", {"embedding.weight": table(1 << 18)})
    tracemalloc.start()
    try:
        bag = Bag.load(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < bag.vectors.nbytes / 4
