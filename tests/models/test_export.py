"""What is saved loads as a stock sentence-transformers model, gives the same vectors, and comes back strictly."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from sentence_transformers import MultiVectorEncoder as StockMultiVectorEncoder
from sentence_transformers import SentenceTransformer
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, BertConfig, BertForMaskedLM

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, PretrieveError, UsageError
from pretrieve.core.types import Rows
from pretrieve.models import inference
from pretrieve.models.bag import Bag, map_tensor
from pretrieve.models.build import EncoderOptions, build_encoder, named_base, new_transformer, start_words_from
from pretrieve.models.encoder import Encoder, untied_query_encoder
from pretrieve.models.export import save_model
from pretrieve.models.heads import Projected
from pretrieve.models.multi_vector import MultiVectorEncoder, add_viewers
from pretrieve.models.pretrained import load_pretrained
from pretrieve.models.restore import load_encoder, load_encoders
from pretrieve.models.static import StaticEncoder
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.text import tokenizer as tokenizers

TEXTS = [
    "The quick brown fox jumps over the lazy dog.", "A second text, with a comma", "", "fox fox fox",
    "numbers 1 2 3 and ☃ unknown", "ab", "what is the dog?", "xxxxxxxx",
]  # fmt: skip
TOKENIZER = tokenizers.train(TEXTS * 20, vocabulary_size=200)
ROWS = TOKENIZER.encode(TEXTS)
VOCABULARY = TOKENIZER.specials.vocabulary
STORE: Any = SimpleNamespace(tokens=ROWS.tokens, documents=ROWS.offsets, specials=TOKENIZER.specials)
SMALL = "new:layers=2,hidden=32"


def rows_of(encoder: Encoder, texts: list[str]) -> Rows:
    plain, specials = TOKENIZER.encode(texts), encoder.specials
    before, after = ([] if token is None else [token] for token in (specials.cls, specials.sep))
    return Rows.of([[*before, *plain.row(r).tolist(), *after] for r in range(len(plain))])


def vectors_of(encoder: Encoder, texts: list[str] = TEXTS) -> np.ndarray:
    encoder.eval()
    with torch.no_grad():
        vectors = encoder(rows_of(encoder, texts))[:, 0]
    return (F.normalize(vectors) if encoder.similarity == "cosine" else vectors).numpy()


def save(path: Path, encoder: Encoder, **values: Any) -> Path:
    with files.create(path, "model") as folder:
        save_model(folder, encoder, TOKENIZER, **values)
    return path


def made(kind: str) -> Encoder:
    pooling: Any = {"cls": "cls", "bert": "bert"}.get(kind)
    if kind == "orqa":
        return Projected(build_encoder(SMALL, store=STORE, options=EncoderOptions(pooling="bert", max_length=40)), 16)
    base = "static" if kind == "static" else SMALL
    return build_encoder(
        base, store=STORE, options=EncoderOptions(pooling=pooling, max_length=40, dimensions=64), seed=3
    )


@pytest.mark.parametrize("kind", ["static", "mean", "cls", "bert", "orqa"])
def test_round_trip_through_sentence_transformers(kind: str, tmp_path: Path) -> None:
    encoder = made(kind)
    path = save(tmp_path / "model", encoder, prompts={"query": "fox: "})
    stock = SentenceTransformer(str(path), device="cpu")
    np.testing.assert_allclose(stock.encode(TEXTS), vectors_of(encoder), rtol=0, atol=1e-6)
    assert stock.similarity_fn_name == encoder.similarity == ("cosine" if kind == "static" else "dot")
    assert stock.prompts == {"query": "fox: ", "document": ""}
    asked = vectors_of(encoder, ["fox: " + text for text in TEXTS])
    np.testing.assert_allclose(stock.encode_query(TEXTS), asked, rtol=0, atol=1e-6)
    assert kind == "static" or stock.max_seq_length == 40
    files.verify(path)

    again = load_encoder(path)
    assert type(again) is type(encoder)
    assert again.similarity == encoder.similarity
    assert (kind == "static") or again.max_length == 40
    np.testing.assert_array_equal(vectors_of(again), vectors_of(encoder))
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in encoder.state_dict().items()}


def test_two_towers_are_a_stock_router(tmp_path: Path) -> None:
    query, document = (build_encoder(SMALL, store=STORE, seed=seed) for seed in (1, 2))
    path = save(tmp_path / "model", query, documents=document)
    stock = SentenceTransformer(str(path), device="cpu")
    np.testing.assert_allclose(stock.encode_query(TEXTS), vectors_of(query), rtol=0, atol=1e-6)
    np.testing.assert_allclose(stock.encode_document(TEXTS), vectors_of(document), rtol=0, atol=1e-6)
    encoders = load_encoders(path)
    np.testing.assert_array_equal(vectors_of(encoders[0]), vectors_of(query))
    np.testing.assert_array_equal(vectors_of(encoders[1]), vectors_of(document))
    with pytest.raises(UsageError, match="load_encoders"):
        load_encoder(path)


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "modernbert", "mpnet"])
def test_other_classes_round_trip(kind: str, tmp_path: Path) -> None:
    ids = {f"{name}_token_id": index for name, index in (("pad", 0), ("bos", 2), ("cls", 2), ("eos", 3), ("sep", 3))}
    config = AutoConfig.for_model(
        kind, vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, **ids,
    )  # fmt: skip
    encoder = TransformerEncoder(AutoModel.from_config(config), TOKENIZER.specials, max_length=50)
    path = save(tmp_path / "model", encoder)
    stock = SentenceTransformer(str(path), device="cpu")
    np.testing.assert_allclose(stock.encode(TEXTS), vectors_of(encoder), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(vectors_of(load_encoder(path)), vectors_of(encoder))


def test_the_bag_equals_sentence_transformers(tmp_path: Path) -> None:
    path = save(tmp_path / "model", made("static"), prompts={"query": "fox: "})
    stock, bag = SentenceTransformer(str(path), device="cpu"), Bag.load(path)
    many = TEXTS * 8
    np.testing.assert_allclose(bag.encode(many), stock.encode(many), rtol=0, atol=1e-6)
    np.testing.assert_allclose(bag.encode(TEXTS), stock.encode(TEXTS), rtol=0, atol=1e-6)
    np.testing.assert_allclose(bag.encode_queries(many), stock.encode_query(many), rtol=0, atol=1e-6)
    np.testing.assert_allclose(bag.encode_documents(many), stock.encode_document(many), rtol=0, atol=1e-6)
    assert bag.encode(TEXTS).dtype == np.float32
    assert bag.encode([]).shape == (0, 64)
    assert not bag.encode([""]).any()
    assert (bag.similarity, bag.location, Bag.readable(path)) == ("cosine", str(path), True)
    assert isinstance(bag.vectors, np.memmap)


def test_a_static_model_compared_by_dot_keeps_its_lengths(tmp_path: Path) -> None:
    encoder = StaticEncoder(np.random.default_rng(0).standard_normal((200, 8)), TOKENIZER.bare(), similarity="dot")
    path = save(tmp_path / "model", encoder)
    stock = SentenceTransformer(str(path), device="cpu").encode(TEXTS * 5)
    np.testing.assert_allclose(Bag.load(path).encode(TEXTS * 5), stock, rtol=0, atol=1e-6)
    np.testing.assert_allclose(Bag.load(path).encode(TEXTS), stock[:8], rtol=0, atol=1e-6)
    assert Bag.load(path).similarity == load_encoder(path).similarity == "dot"


def test_fingerprints_follow_the_weights(tmp_path: Path) -> None:
    encoder = made("static")
    one, two = save(tmp_path / "one", encoder), save(tmp_path / "two", encoder, prompts={"query": "other"})
    assert Bag.load(one).fingerprint == Bag.load(two).fingerprint
    known = Bag.load(one).fingerprint
    (one / "MANIFEST.json").unlink()
    assert Bag.load(one).fingerprint == known, "the same, read from the files"
    with torch.no_grad():
        next(encoder.parameters())[0, 0] += 1
    assert Bag.load(save(tmp_path / "three", encoder)).fingerprint != known


def test_damaged_static_models_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "model", made("static"))
    weights = (path / "model.safetensors").read_bytes()
    for damaged in (weights[:-4], weights[:4], b"\xff" * 8 + weights[8:], weights[:8] + b"{" * 40 + weights[48:]):
        (path / "model.safetensors").write_bytes(damaged)
        for load in (Bag.load, load_encoder):
            with pytest.raises(CorruptError, match=r"model\.safetensors"):
                load(path)
    with pytest.raises(CorruptError, match="the tensor"):
        map_tensor(path / "missing.safetensors", "embedding.weight")
    (path / "MANIFEST.json").unlink()  # else the length alone says it
    (path / "model.safetensors").write_bytes(safetensors.torch.save({"embedding.weight": torch.zeros(5, 4)}))
    for load in (Bag.load, load_encoder):
        with pytest.raises(PretrieveError, match="do not match"):
            load(path)
    (path / "modules.json").write_text("{")
    with pytest.raises(CorruptError, match=r"modules\.json"):
        Bag.load(path)
    with pytest.raises(UsageError, match="Transformer"):
        Bag.load(save(tmp_path / "other", made("mean")))


def rewrite(path: Path, change: Any) -> None:
    weights = safetensors.torch.load_file(path)
    path.write_bytes(safetensors.torch.save(change(weights), metadata={"format": "pt"}))


def test_checkpoints_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    """Keys as Contriever's own code renames them, one missing, one left over, one of another shape."""
    cases: list[tuple[Any, str]] = [
        (lambda w: {f"encoder_q.{name}": tensor for name, tensor in w.items()}, "lacks"),
        (lambda w: {name: w[name] for name in w if "layer.1.output.dense.weight" not in name}, "layer.1.output.dense"),
        (lambda w: w | {"encoder.layer.9.output.dense.bias": torch.zeros(32)}, "left over 1 .*encoder.layer.9"),
        (lambda w: w | {"embeddings.word_embeddings.weight": torch.zeros(7, 32)}, "embeddings.word_embeddings"),
    ]
    for number, (change, message) in enumerate(cases):
        path = save(tmp_path / str(number), made("mean"))
        rewrite(path / "model.safetensors", change)
        with pytest.raises(UsageError, match=message):
            load_encoder(path)


def test_heads_and_poolers_that_nobody_uses_may_be_missing_or_left_over(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    trained = BertForMaskedLM(config)
    trained.save_pretrained(tmp_path)
    loaded: Any = load_pretrained(tmp_path, seed=1)
    expected = trained.bert.state_dict()
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in expected.items())
    again: Any = load_pretrained(tmp_path, seed=1)
    assert torch.equal(loaded.pooler.dense.weight, again.pooler.dense.weight), "even what is unused is reproducible"
    with pytest.raises(UsageError, match="pooler"):
        load_pretrained(tmp_path, pooler=True)


def test_a_damaged_projection_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "model", made("orqa"))
    rewrite(path / "3_Dense/model.safetensors", lambda w: {"linear.weight": w["linear.weight"]})
    with pytest.raises(CorruptError, match=r"linear\.bias"):
        load_encoder(path)


def test_models_that_cannot_be_trained_say_so(tmp_path: Path) -> None:
    path = save(tmp_path / "model", made("mean"))
    (path / "1_Pooling/config.json").write_text(json.dumps({"embedding_dimension": 32, "pooling_mode": "max"}))
    with pytest.raises(UsageError, match="'max'"):
        load_encoder(path)
    (path / "1_Pooling/config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    )
    assert load_encoder(path).pooling == "cls", "how older versions wrote it"
    (path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertForCausalLM"]}))
    with pytest.raises(UsageError, match="encoders"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("somebody/model", "neither a folder nor in the local cache"),
        ("sttatic", "neither a folder nor in the local cache"),
        ("/no/such/folder", "not a folder"),
        ("new:layer=3", "Did you mean 'layers'"),
        ("new:hidden=33", "not a multiple"),
        ("new:layers=0", "at least 1"),
        ("new:words=other", "random, static"),
    ],
)
def test_bases_that_are_not_there(base: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=message):
        build_encoder(base, store=STORE)


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no config\.json"):
        build_encoder(str(tmp_path), store=STORE)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CorruptError, match="not a JSON object"):
        build_encoder(str(tmp_path), store=STORE)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="model_type"):
        build_encoder(str(tmp_path), store=STORE)


def test_a_folder_as_base(tmp_path: Path) -> None:
    path = save(tmp_path / "model", made("cls"))
    assert named_base(str(path)) == str(path)
    assert named_base("static") is named_base("new:layers=1") is None
    encoder = build_encoder(str(path), store=STORE, options=EncoderOptions(max_length=20))
    assert isinstance(encoder, TransformerEncoder)
    assert (encoder.pooling, encoder.max_length) == ("cls", 20)
    with pytest.raises(UsageError, match="at most 40"):
        build_encoder(str(path), store=STORE, options=EncoderOptions(max_length=41))
    other: Any = SimpleNamespace(specials=tokenizers.train(["a b"], vocabulary_size=9).specials)
    with pytest.raises(UsageError, match="vocabulary"):
        build_encoder(str(path), store=other)


def test_a_new_transformer_is_what_was_asked_for_and_reproducible() -> None:
    assert new_transformer("static") is None
    base = "new:layers=3,hidden=64,heads=4,intermediate=96,dropout=0.2"
    one, two, other = (build_encoder(base, store=STORE, seed=seed) for seed in (1, 1, 2))
    config: Any = one.model.config  # type: ignore[union-attr]
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 64, 4)
    assert (config.intermediate_size, config.hidden_dropout_prob, config.vocab_size) == (96, 0.2, VOCABULARY)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize("dimensions", [16, 32, 100])
def test_words_start_from_static_vectors(dimensions: int) -> None:
    encoder = build_encoder(SMALL, store=STORE, seed=1)
    assert isinstance(encoder, TransformerEncoder)
    words: Any = encoder.model.get_input_embeddings()  # type: ignore[operator]
    before = words.weight.detach().clone()
    # vectors of rank 10, so that 32 axes hold all of them
    rng = np.random.default_rng(0)
    static = (rng.standard_normal((VOCABULARY, 10)) @ rng.standard_normal((10, dimensions)) + 3).astype(np.float32)
    start_words_from(encoder, static, seed=5)
    first = TOKENIZER.specials.first_ordinary
    after = words.weight.detach()
    assert torch.equal(after[:first], before[:first])
    assert after[first:].std().item() == pytest.approx(before[first:].std().item(), rel=1e-3)
    centred = static[first:] - static[first:].mean(axis=0)
    expected, found = centred @ centred.T, (after[first:] @ after[first:].T).numpy()
    np.testing.assert_allclose(found / np.trace(found), expected / np.trace(expected), atol=1e-5)
    assert encoder.model.get_input_embeddings().weight.requires_grad  # type: ignore[operator]


def test_a_query_on_a_bag_needs_neither_torch_nor_transformers_nor_scipy(tmp_path: Path) -> None:
    path = save(tmp_path / "model", made("static"))
    script = (
        "import sys; from pathlib import Path; from pretrieve.models.bag import Bag\n"
        "Bag.load(Path(sys.argv[1])).encode(['fox'])\n"
        "print(*{'torch', 'transformers', 'scipy', 'sentence_transformers'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert not found.stdout.strip()


def multi_vector(kind: str, views: int) -> MultiVectorEncoder:
    if kind == "bert":
        return add_viewers(made("cls"), views, seed=1).eval()  # type: ignore[arg-type]
    ids = {f"{name}_token_id": index for name, index in (("pad", 0), ("bos", 2), ("cls", 2), ("eos", 3), ("sep", 3))}
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, **ids,
    )  # fmt: skip
    base = TransformerEncoder(AutoModel.from_config(config), TOKENIZER.specials, max_length=40)
    return add_viewers(base, views, seed=1).eval()


LONG = [*TEXTS, "the quick brown fox " * 30]  # longer than a row, so that both sides cut


@pytest.mark.parametrize(("kind", "views"), [("bert", 5), ("bert", 1), ("roberta", 3), ("electra", 4)])
def test_several_vectors_are_a_stock_multi_vector_encoder(kind: str, views: int, tmp_path: Path) -> None:
    encoder = multi_vector(kind, views)
    path = save(tmp_path / "model", encoder, prompts={"query": "fox: "})
    stock = StockMultiVectorEncoder(str(path), device="cpu")
    asked = inference.encode(encoder, TOKENIZER, ["fox: " + text for text in LONG], queries=True)
    documents = inference.encode(encoder, TOKENIZER, LONG).reshape(len(LONG), views, -1)
    queries, keys = stock.encode_query(LONG), stock.encode_document(LONG)
    assert {tuple(query.shape) for query in queries} == {(1, 32)}, "a query has one vector: MaxSim is the best vector"
    assert {tuple(key.shape) for key in keys} == {(views, 32)}
    np.testing.assert_allclose(torch.cat(queries), asked, rtol=0, atol=2e-6)
    np.testing.assert_allclose(torch.stack(keys), documents, rtol=0, atol=2e-6)
    scores = np.einsum("qd,rvd->qrv", asked, documents).max(axis=2)
    np.testing.assert_allclose(stock.similarity(queries, keys), scores, rtol=0, atol=1e-5)
    assert stock.similarity_fn_name == "maxsim"
    files.verify(path)


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_views_come_back_strictly(kind: str, tmp_path: Path) -> None:
    encoder = multi_vector(kind, 3)
    path = save(tmp_path / "model", encoder)
    again = load_encoder(path)
    assert isinstance(again, MultiVectorEncoder)
    assert (again.vectors_per_document, again.max_length, again.similarity) == (3, 40, "dot")
    for queries in (False, True):
        before, after = (inference.encode(each, TOKENIZER, LONG, queries=queries) for each in (encoder, again))
        np.testing.assert_array_equal(after, before)
    assert load_encoders(path)[0] is not None
    assert tokenizers.load(path).fingerprint == TOKENIZER.fingerprint, "training on reads it without viewers"
    further = build_encoder(str(path), store=STORE, options=EncoderOptions(max_length=20))
    assert isinstance(further, MultiVectorEncoder)
    assert further.max_length == 20
    with pytest.raises(UsageError, match="at most"):
        build_encoder(str(path), store=STORE, options=EncoderOptions(max_length=500))
    twice = save(tmp_path / "twice", again)
    assert files.verify(twice)["files"] == files.verify(path)["files"]


def test_views_of_a_rotary_model_are_refused_by_stock_loaders(tmp_path: Path) -> None:
    """They would number the viewers one by one, and give other scores without a word."""
    path = save(tmp_path / "model", multi_vector("modernbert", 3))
    assert not (path / "modules.json").exists()
    for stock in (StockMultiVectorEncoder, SentenceTransformer):
        with pytest.raises(ValueError, match="model_type"):
            stock(str(path), device="cpu")


def test_views_whose_sides_were_trained_apart_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "model", multi_vector("bert", 3))
    weights = path / "document_0_Transformer" / "model.safetensors"
    state = safetensors.torch.load_file(weights)
    state["encoder.layer.0.attention.self.query.weight"][0, 0] += 0.5
    safetensors.torch.save_file(state, weights)
    with pytest.raises(UsageError, match="trained separately"):
        load_encoder(path)


def test_training_goes_on_from_separate_towers(tmp_path: Path) -> None:
    """A base with untied encoders gives both to a method with untied encoders; the tokenizer is found beside one."""
    query, document = (build_encoder(SMALL, store=STORE, seed=seed) for seed in (1, 2))
    path = save(tmp_path / "model", query, documents=document)
    base = build_encoder(str(path), store=STORE)
    np.testing.assert_array_equal(vectors_of(base), vectors_of(document))
    np.testing.assert_array_equal(vectors_of(untied_query_encoder(base)), vectors_of(query))
    assert not any("query_encoder" in name for name, _ in base.named_parameters())
    assert tokenizers.load(path).specials == TOKENIZER.specials
    again = build_encoder(SMALL, store=STORE, seed=1)
    assert untied_query_encoder(again) is not again
