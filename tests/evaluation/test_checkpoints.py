"""Every published checkpoint as a tiny folder of the same shape, against plain forward passes; wrong uses of it."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub.constants
import numpy as np
import orjson
import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, BertForMaskedLM, DPRConfig, DPRContextEncoder, DPRQuestionEncoder

import labelling
from pretrieve import Retriever
from pretrieve.core.errors import PretrieveWarning, UsageError
from pretrieve.core.types import Document
from pretrieve.finetuning.labelled import Draw
from pretrieve.index.index import Index, IndexOptions
from pretrieve.models.checkpoints import CHECKPOINTS, find_checkpoint
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.finetune.base_model import open_start
from pretrieve.pipeline.finetune.finetune import finetune
from pretrieve.pipeline.finetune.read_labels import read_labels
from pretrieve.pipeline.finetune.request import FinetuneRequest
from pretrieve.pipeline.finetune.sampler import sampler_of
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.usage_warnings import before_search, before_use, untuned

BGE_PROMPT = "Represent this sentence for searching relevant passages: "


class Use(NamedTuple):
    """What the authors do, typed in once more; ``shape`` is that of their repository."""

    shape: str
    pooling: str
    similarity: str
    unit: bool = False  # vectors have length one
    query: str = ""
    document: str = ""
    between: str = " "
    longest_query: int = 512
    longest: int = 512
    tuned: bool = True
    towers: tuple[str, str] = ()  # of queries and of documents, where it is one of two


SEP = " [SEP] "
CONTRIEVER = Use("bert", "mean", "dot")
CLS = Use("masked", "cls", "dot")
BGE = Use("modules", "cls", "cosine", True, BGE_PROMPT)
E5 = Use("modules", "mean", "cosine", True, "query: ", "passage: ")
NOMIC = Use("nomic", "mean", "cosine", True, "search_query: ", "search_document: ", " ", 2048, 2048)
SIMLM = Use("bert", "cls", "cosine", True, "", "", SEP, 32, 144)
MARCO = Use("masked", "cls", "dot", False, "", "", SEP, 32, 128)
SPIDER = Use("dpr", "cls", "dot", False, "", "", SEP, 240, 240)
DPR = Use("dpr", "cls", "dot", False, "", "", SEP, 256, 256)
EXPECTED = {
    "facebook/contriever": CONTRIEVER,
    "facebook/contriever-msmarco": CONTRIEVER,
    "facebook/mcontriever": CONTRIEVER,
    "facebook/mcontriever-msmarco": CONTRIEVER,
    "BAAI/bge-small-en": BGE,
    "BAAI/bge-base-en": BGE,
    "BAAI/bge-large-en": BGE,
    "BAAI/bge-small-en-v1.5": BGE,
    "BAAI/bge-base-en-v1.5": BGE,
    "BAAI/bge-large-en-v1.5": BGE,
    "intfloat/e5-small": E5,
    "intfloat/e5-base": E5,
    "intfloat/e5-large": E5,
    "intfloat/e5-small-v2": E5,
    "intfloat/e5-base-v2": E5,
    "intfloat/e5-large-v2": E5,
    "intfloat/e5-small-unsupervised": E5,
    "intfloat/e5-base-unsupervised": E5,
    "intfloat/e5-large-unsupervised": E5,
    "intfloat/multilingual-e5-small": E5._replace(shape="xlm-roberta"),
    "intfloat/multilingual-e5-base": E5._replace(shape="xlm-roberta"),
    "intfloat/multilingual-e5-large": E5._replace(shape="xlm-roberta"),
    "nomic-ai/nomic-embed-text-v1": NOMIC,
    "nomic-ai/nomic-embed-text-v1-unsupervised": NOMIC,
    "nomic-ai/nomic-embed-text-v1.5": NOMIC,
    "Luyu/condenser": CLS._replace(tuned=False),
    "Luyu/co-condenser-wiki": MARCO._replace(longest=256, tuned=False),
    "Luyu/co-condenser-marco": MARCO._replace(tuned=False),
    "Luyu/co-condenser-marco-retriever": MARCO,
    "OpenMatch/cocodr-base-msmarco": CLS,
    "intfloat/simlm-base-msmarco": SIMLM._replace(shape="masked", tuned=False),
    "intfloat/simlm-base-wiki100w": SIMLM._replace(shape="masked", longest=192, tuned=False),
    "intfloat/simlm-base-msmarco-finetuned": SIMLM,
    "Shitao/RetroMAE": CLS._replace(tuned=False),
    "Shitao/RetroMAE_MSMARCO": MARCO._replace(longest=140, tuned=False),
    "Shitao/RetroMAE_MSMARCO_finetune": MARCO._replace(longest=140),
    "Shitao/RetroMAE_MSMARCO_distill": MARCO._replace(longest=140),
    "Shitao/RetroMAE_BEIR": CLS,
    "tau/spider": SPIDER,
}
for query, document, use in (
    ("tau/spider-nq-question-encoder", "tau/spider-nq-ctx-encoder", SPIDER),
    ("tau/spider-trivia-question-encoder", "tau/spider-trivia-ctx-encoder", SPIDER),
    ("facebook/dpr-question_encoder-single-nq-base", "facebook/dpr-ctx_encoder-single-nq-base", DPR),
    ("facebook/dpr-question_encoder-multiset-base", "facebook/dpr-ctx_encoder-multiset-base", DPR),
    (
        "facebook/dragon-plus-query-encoder",
        "facebook/dragon-plus-context-encoder",
        Use("masked", "cls", "dot", between=SEP),
    ),
    (
        "facebook/dragon-roberta-query-encoder",
        "facebook/dragon-roberta-context-encoder",
        Use("roberta", "cls", "dot", between=" </s> "),
    ),
):
    EXPECTED |= dict.fromkeys((query, document), use._replace(towers=(query, document)))
EVERY = pytest.mark.parametrize("name", EXPECTED)
KINDS = pytest.mark.parametrize("name", {use: name for name, use in EXPECTED.items() if not use.towers}.values())
TOWERS = pytest.mark.parametrize("name", [name for name, use in EXPECTED.items() if use.towers])


def test_no_entry_is_left_out() -> None:
    assert set(EXPECTED) == set(CHECKPOINTS)
    assert find_checkpoint("nobody/nothing") is None
    assert find_checkpoint("Facebook/Contriever") is CHECKPOINTS["facebook/contriever"]


# Tiny models of each shape.

WORDS = [f"{first}{second}" for first in ("river", "stone", "cello", "harbour") for second in ("", "s", "ly", "ing")]
PROMPT_WORDS = ("query", "passage", "search", "document", "represent", "this", "sentence", "for", "relevant", "title")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789:_.,[]/<>"
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}


@dataclass
class Tiny:
    """A model in memory, beside its folder: the reference runs it, and nothing of ours reads it."""

    folder: Path
    model: Any
    tool: Any  # the tokenizer that the folder's was written by
    cls: int
    sep: int

    def ids(self, text: str, longest: int) -> list[int]:
        found = self.tool.encode(text, add_special_tokens=False).ids
        return [self.cls, *found[: longest - 2], self.sep]

    def vector(self, text: str, longest: int, pooling: str) -> np.ndarray:
        """One row, without padding, pooled by hand."""
        with torch.no_grad():
            out = self.model(torch.tensor([self.ids(text, longest)]))
        if "pooler_output" in out and "last_hidden_state" not in out:  # DPR's own classes
            assert pooling == "cls"
            return out.pooler_output[0].numpy()
        states = out.last_hidden_state[0].numpy()
        return states.mean(axis=0) if pooling == "mean" else states[0]


def bert_tool(folder: Path) -> Any:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
    (folder / "vocab.txt").write_text("\n".join([*pieces, *WORDS, *PROMPT_WORDS]) + "\n")
    return tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)


def roberta_tool() -> Any:
    tool = tokenizers.Tokenizer(models.BPE())
    tool.pre_tokenizer, tool.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tool.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    tool.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tool


def xlm_roberta_tool() -> Any:
    words = [(f"▁{word}", -3.0) for word in (*WORDS, *PROMPT_WORDS)]
    letters = [(letter, -6.0) for letter in LETTERS]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    tool = tokenizers.Tokenizer(models.Unigram([*special, ("▁", -4.0), *words, *letters, ("<mask>", 0.0)], 3, False))
    tool.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tool.decoder = decoders.Metaspace()
    tool.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tool.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tool


def make(folder: Path, shape: str, seed: int) -> Tiny:
    """A model as its authors' repository holds one."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    if shape in ("roberta", "xlm-roberta"):
        tool = roberta_tool() if shape == "roberta" else xlm_roberta_tool()
        tool.save(str(folder / "tokenizer.json"))
        kind = {"roberta": "RobertaTokenizer", "xlm-roberta": "XLMRobertaTokenizer"}[shape]
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, "model_max_length": 512}))
        ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
        size = {"vocab_size": tool.get_vocab_size(), "max_position_embeddings": 514}
        model = AutoModel.from_config(AutoConfig.for_model(shape, **SIZES, **DROPOUT, **ids, **size))
    else:
        tool = bert_tool(folder)
        size = {"vocab_size": tool.get_vocab_size(), "max_position_embeddings": 2048 if shape == "nomic" else 512}
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 512})
        )
        if shape != "masked":  # of those there is nothing but vocab.txt
            tool.save(str(folder / "tokenizer.json"))
        model = bert_like(shape, size, seed)
    model.eval()
    with torch.no_grad():  # what starts as ones and zeros would hide that it was lost
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    if shape == "masked":
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text())
    if shape == "nomic":  # asks for code of its own, which is not needed and not there
        config["auto_map"] = {"AutoModel": "modeling_hf_nomic_bert.NomicBertModel"}
    if shape == "dpr":  # of the time it was published in
        config["gradient_checkpointing"] = False
    (folder / "config.json").write_text(json.dumps(config))
    edge = (0, 2) if shape in ("roberta", "xlm-roberta") else (tool.token_to_id("[CLS]"), tool.token_to_id("[SEP]"))
    return Tiny(folder, model.bert if shape == "masked" else model, tool, *edge)


def bert_like(shape: str, size: dict[str, int], seed: int) -> Any:
    if shape == "dpr":
        return (DPRQuestionEncoder if seed == 0 else DPRContextEncoder)(DPRConfig(**(SIZES | DROPOUT | size)))
    kind = "nomic_bert" if shape == "nomic" else "bert"
    config = AutoConfig.for_model(kind, **(SIZES | DROPOUT | size))
    return BertForMaskedLM(config) if shape == "masked" else AutoModel.from_config(config)


def as_modules(folder: Path, pooling: str) -> None:
    """The files of sentence-transformers, as BGE's and E5's authors wrote them."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    entries = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 512, "do_lower_case": False}))
    for path in ("1_Pooling", "2_Normalize"):
        (folder / path).mkdir()
    modes = {f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))


class Hub:
    """A cache of the hub, with what a test puts into it."""

    def __init__(self, cache: Path, models: Path) -> None:
        self.cache, self._models = cache, models
        self._made: dict[tuple[str, str, int], Tiny] = {}

    def tiny(self, shape: str, pooling: str, seed: int) -> Tiny:
        key = (shape, pooling, seed)
        if key not in self._made:
            self._made[key] = make(self._models / "-".join(map(str, key)), shape, seed)
            if shape in ("modules", "xlm-roberta", "nomic"):
                as_modules(self._made[key].folder, pooling)
        return self._made[key]

    def put(self, name: str, tiny: Tiny) -> None:
        place = self.cache / f"models--{name.replace('/', '--')}"
        if not place.exists():
            (place / "refs").mkdir(parents=True)
            (place / "refs/main").write_text("0")
            (place / "snapshots").mkdir()
            (place / "snapshots/0").symlink_to(tiny.folder, target_is_directory=True)

    def publish(self, name: str) -> tuple[Tiny, Tiny]:
        """Put a checkpoint there, and its other tower, if it has one; returns the models of queries and documents."""
        use = EXPECTED[name]
        first = 0 if use.towers or use.shape != "dpr" else 1  # Spider's one tower is DPR's of passages
        towers = [self.tiny(use.shape, use.pooling, seed) for seed in ((0, 1) if use.towers else (first, first))]
        for each, tiny in zip(use.towers or (name, name), towers, strict=True):
            self.put(each, tiny)
        return towers[0], towers[1]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Hub:
    return Hub(tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("models"))


@pytest.fixture
def hub(shared, monkeypatch) -> Hub:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(shared.cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return shared


def text(count: int, seed: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, count))


def collection(longest: int) -> tuple[list[str], list[Document]]:
    """Queries and documents: short, without a title, and longer than the model reads."""
    queries = [text(3, 1), text(60, 2), text(longest + 40, 3)]
    documents = [
        Document(id="0", title=text(2, 4).title(), text=text(9, 5)),
        Document(id="1", text=text(200, 6)),
        Document(id="2", title=text(4, 7), text=text(longest + 40, 8)),
    ]
    return queries, documents


def joined(document: Document, between: str) -> str:
    return f"{document.title}{between}{document.text}" if document.title else document.text


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@EVERY
def test_searched_as_its_authors_do(hub, name) -> None:
    """Pooling, prompt of each side, normalisation, title, cut of each side, tower and similarity."""
    use = EXPECTED[name]
    asks, reads = hub.publish(name)
    queries, documents = collection(use.longest)
    # texts of a batch are padded, which costs much where one is very long
    encoder = open_encoder(name, ModelOptions(device="cpu", batch_size=32 if use.longest <= 512 else 1))
    assert encoder.similarity == use.similarity
    asked = np.stack([asks.vector(use.query + query, use.longest_query, use.pooling) for query in queries])
    found = encoder.encode_queries(queries)
    np.testing.assert_allclose(found, unit(asked) if use.unit else asked, atol=2e-5)
    made = np.stack([reads.vector(use.document + joined(d, use.between), use.longest, use.pooling) for d in documents])
    index = Index.of(documents, encoder, IndexOptions(dense=1.0))
    np.testing.assert_allclose(index.dense.vectors, unit(made) if use.similarity == "cosine" else made, atol=2e-5)
    assert not before_use(name, ModelOptions())
    assert len(before_search(name, ModelOptions())) == (not use.tuned)


@KINDS
def test_fine_tuning_reads_what_search_reads(hub, name, tmp_path) -> None:
    """Rows token by token, and the vectors that training starts from; once for checkpoints that are used alike."""
    check_rows(hub, name, tmp_path)


@TOWERS
def test_fine_tuning_trains_both_towers(hub, name, tmp_path) -> None:
    """Whichever of them is named."""
    check_rows(hub, name, tmp_path)


def check_rows(hub: Hub, name: str, tmp_path: Path) -> None:
    use = EXPECTED[name]
    asks, reads = hub.publish(name)
    queries, documents = collection(use.longest)
    source = labelling.lines(
        tmp_path / "labels.jsonl",
        [{"query": q, "pos": {"title": d.title, "text": d.text}} for q, d in zip(queries, documents, strict=True)],
    )
    start = open_start(name)
    labels = read_labels(source, tmp_path / "records")
    everything = Draw(query_length=9_999, passage_length=9_999)
    rows = sampler_of(labels, start, everything, tmp_path / "store", Silent()).rows(np.arange(3), np.arange(3)[:, None])
    texts = [use.document + joined(d, use.between) for d in documents]
    assert [rows.row(2 * n).tolist() for n in range(3)] == [
        asks.ids(use.query + q, use.longest_query) for q in queries
    ]  # fmt: skip
    assert [rows.row(2 * n + 1).tolist() for n in range(3)] == [reads.ids(t, use.longest) for t in texts]
    assert start.documents.similarity == use.similarity
    assert (start.query_encoder is not None) == bool(use.towers)
    with torch.no_grad():
        asked = (start.query_encoder or start.documents).queries(rows.take(np.arange(0, 6, 2)))[:, 0].numpy()
        made = start.documents(rows.take(np.arange(1, 6, 2)))[:, 0].numpy()
    expected = [asks.vector(use.query + q, use.longest_query, use.pooling) for q in queries]
    np.testing.assert_allclose(asked, np.stack(expected), atol=2e-5)
    np.testing.assert_allclose(made, np.stack([reads.vector(t, use.longest, use.pooling) for t in texts]), atol=2e-5)


@EVERY
def test_wrong_use_is_said_with_what_to_do(name) -> None:
    use = EXPECTED[name]
    other = {"pooling": {"cls": "mean", "mean": "cls"}, "similarity": {"dot": "cosine", "cosine": "dot"}}
    for key, true in (("pooling", use.pooling), ("similarity", use.similarity)):
        assert before_use(name, ModelOptions(**{key: true})) == []
        (line,) = before_use(name, ModelOptions(**{key: other[key][true]}))
        assert f"{name} was trained with {key} {true!r}" in line
        assert f"leave {key} out" in line
    for key, true in (("query_prompt", use.query), ("document_prompt", use.document)):
        assert before_use(name, ModelOptions(**{key: true})) == []
        (line,) = before_use(name, ModelOptions(**{key: "" if true else "about: "}))
        assert (repr(true) if true else "nothing before") in line
        assert f"leave {key} out" in line
    assert before_use("copy", ModelOptions(like=name, pooling=other["pooling"][use.pooling]))
    lines = untuned(name, ModelOptions())
    assert len(lines) == (not use.tuned)
    assert all(f"pretrieve finetune {name} LABELS" in line for line in lines)
    both = before_search("copy", ModelOptions(like=name, similarity=other["similarity"][use.similarity]))
    assert len(both) == 1 + (not use.tuned)


# What is said is done all the same, and said on every road.


def test_the_user_has_the_last_word(hub) -> None:
    asks, reads = hub.publish("BAAI/bge-base-en-v1.5")
    told = ModelOptions(pooling="mean", similarity="dot", query_prompt="", document_prompt="title: ", device="cpu")
    encoder = open_encoder("BAAI/bge-base-en-v1.5", told)
    assert encoder.similarity == "dot"
    asked, made = asks.vector(text(5, 1), 512, "mean"), reads.vector(f"title: {text(5, 2)}", 512, "mean")
    np.testing.assert_allclose(encoder.encode_queries([text(5, 1)])[0], asked / np.linalg.norm(asked), atol=2e-5)
    np.testing.assert_allclose(encoder.encode_documents([text(5, 2)])[0], made / np.linalg.norm(made), atol=2e-5)
    start = open_start("BAAI/bge-base-en-v1.5", told)
    assert (start.documents.similarity, start.documents.pooling, start.prompts) == ("dot", "mean", ("", "title: "))
    assert len(before_use("BAAI/bge-base-en-v1.5", told)) == 4
    hub.publish("Luyu/co-condenser-marco-retriever")
    start = open_start("Luyu/co-condenser-marco-retriever", ModelOptions(max_length=300))
    assert (start.longest_query, start.documents.max_length) == (300, 300)
    encoder = open_encoder("Luyu/co-condenser-marco-retriever", ModelOptions(max_length=300, device="cpu"))
    assert (encoder.usage.query_length, encoder.query_model.max_seq_length) == (None, 300)


def test_a_saved_copy_pools_as_its_authors_do(hub, tmp_path) -> None:
    """sentence-transformers guesses the mean where bare weights are opened, and saves its guess."""
    from sentence_transformers import SentenceTransformer

    name = "Luyu/co-condenser-marco-retriever"
    _, reads = hub.publish(name)
    SentenceTransformer(str(reads.folder), device="cpu").save(str(tmp_path / "saved"))
    words = [text(4, 3)]
    expected = open_encoder(name, ModelOptions(device="cpu")).encode_documents(words)
    saved = open_encoder(str(tmp_path / "saved"), ModelOptions(like=name, device="cpu"))
    np.testing.assert_allclose(saved.encode_documents(words), expected, atol=1e-6)
    plain = open_encoder(str(tmp_path / "saved"), ModelOptions(device="cpu"))
    assert not np.allclose(plain.encode_documents(words), expected, atol=1e-3)


def test_what_a_model_is_like_is_for_models_that_are_not_known(hub) -> None:
    """With several models ``--like`` is said of all; one that is known is used as its own authors use it."""
    name = "facebook/contriever"
    hub.publish(name)
    told = ModelOptions(like="BAAI/bge-base-en-v1.5", device="cpu")
    own = open_encoder(name, ModelOptions(device="cpu"))
    assert open_encoder(name, told).usage == own.usage
    assert before_use(name, told) == []


def test_more_tokens_than_positions_are_not_asked_for(hub, tmp_path) -> None:
    from sentence_transformers import SentenceTransformer

    tiny = hub.tiny("bert", "mean", 3)
    SentenceTransformer(str(tiny.folder), device="cpu").save(str(tmp_path / "saved"))
    long = [" ".join(text(4, 3) for _ in range(700))]
    encoder = open_encoder(str(tmp_path / "saved"), ModelOptions(max_length=9000, similarity="cosine", device="cpu"))
    assert encoder.encode_documents(long).shape[0] == 1


def test_a_copy_takes_the_side_that_it_is_a_copy_of(hub) -> None:
    """The other tower comes from the hub."""
    query, document = EXPECTED["facebook/dragon-plus-query-encoder"].towers
    hub.publish(query)
    other = hub.tiny("masked", "cls", 7)
    sides = {like: open_encoder(str(other.folder), ModelOptions(like=like, device="cpu")) for like in (query, document)}
    own, hubs = (open_encoder(name, ModelOptions(like="Luyu/co-condenser-marco-retriever", device="cpu"))
                 for name in (str(other.folder), query))  # fmt: skip
    words = [text(4, 3)]
    np.testing.assert_allclose(sides[query].encode_queries(words), own.encode_queries(words), atol=1e-6)
    np.testing.assert_allclose(sides[document].encode_documents(words), own.encode_documents(words), atol=1e-6)
    np.testing.assert_allclose(sides[document].encode_queries(words), hubs.encode_queries(words), atol=1e-6)
    assert len({encoder.fingerprint for encoder in sides.values()}) == 2


@pytest.mark.parametrize("name", ["jxm/cde-small-v1", "JXM/cde-small-v2"])
def test_contextual_embeddings_are_refused(name, tmp_path) -> None:
    for call in (
        lambda: open_encoder(name),
        lambda: open_encoder(str(tmp_path), ModelOptions(like=name)),
        lambda: open_start(name),
        lambda: before_search(name, ModelOptions()),
        lambda: Retriever.load(name),
    ):
        with pytest.raises(UsageError, match=r"512 documents of the corpus.* or use another model") as error:
            call()
        assert "\n" not in str(error.value)


def test_a_tower_with_a_projection_is_refused(tmp_path) -> None:
    """And so is whatever does not fit: nothing is filled with random weights."""
    torch.manual_seed(0)
    size = {"vocab_size": 50, "max_position_embeddings": 32}
    for kind, projection, words in (
        ("DPRContextEncoder", 8, "encode_proj"),
        ("DPRReader", 0, "weights of the encoder"),
    ):
        import transformers

        model = getattr(transformers, kind)(DPRConfig(**SIZES, **size, projection_dim=projection))
        model.save_pretrained(tmp_path / kind)
        bert_tool(tmp_path / kind)
        for call in (open_start, open_encoder):
            with pytest.raises(UsageError, match=words):
                call(str(tmp_path / kind), ModelOptions(like="tau/spider"))


def test_a_fine_tuned_model_keeps_the_mark_between_title_and_text(hub, tmp_path) -> None:
    """Or it would be searched with other rows than it was trained on."""
    name = "facebook/dpr-ctx_encoder-single-nq-base"
    hub.publish(name)
    labels = labelling.beir(tmp_path / "beir", 12, 4)
    request = FinetuneRequest(model=name, labels=labels, output=tmp_path / "out", steps=1, negatives="none")
    finetune(request, evaluate=False)
    tuned, start = open_encoder(str(tmp_path / "out"), ModelOptions(device="cpu")), open_start(str(tmp_path / "out"))
    assert tuned.separator == start.separator == SEP
    assert start.query_encoder is not None
    assert not before_search(str(tmp_path / "out"), ModelOptions())
    config = orjson.loads((tmp_path / "out/config_sentence_transformers.json").read_bytes())
    assert config["separator"] == SEP


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def test_every_road_says_it(hub, tmp_path) -> None:
    """Judging, indexing and fine-tuning, by their listeners; a start for fine-tuning is no wrong use of one."""
    from pretrieve.pipeline.evaluate import EvaluateRequest, run_evaluation
    from pretrieve.pipeline.index import build_index
    from pretrieve.text.corpus import Fields

    name, wrong = "Luyu/co-condenser-marco", {"pooling": "mean", "similarity": "cosine"}
    hub.publish(name)
    folder = labelling.beir(tmp_path / "beir", 12, 4)
    documents = [str(folder / "corpus.jsonl")]
    for described, count in (({}, 0), (wrong, 2)):
        judged, indexed, tuned = Notes(), Notes(), Notes()
        run_evaluation(EvaluateRequest(folder=folder, models=(name,), **described), judged)
        build_index(documents, name, tmp_path / f"index{count}", indexed, fields=Fields(), described=described)
        request = FinetuneRequest(model=name, labels=folder, output=tmp_path / f"out{count}", steps=1, negatives="none",
                         described=ModelOptions(**described))  # fmt: skip
        finetune(request, tuned, evaluate=False)
        for heard in (judged, indexed):
            said = [line for line in heard.lines if name in line]
            assert len(said) == count + 1
            assert sum("fine-tune it first" in line for line in said) == 1
        assert len([line for line in tuned.lines if not line.startswith("device: ")]) == count
        assert not any("fine-tune it first" in line for line in tuned.lines)


def test_python_warns_and_can_be_told_not_to(hub, tmp_path) -> None:
    name = "Luyu/co-condenser-marco"
    hub.publish(name)
    with pytest.warns(PretrieveWarning, match="leave pooling out") as heard:
        Retriever.load(name, pooling="mean")
    assert [Path(warning.filename).name for warning in heard] == ["test_checkpoints.py"]
    retriever = Retriever.load(name)  # that it has to be fine-tuned is said when it is searched with
    with pytest.warns(PretrieveWarning, match="fine-tune it first") as heard:
        retriever.search("rivers", ["stones", "rivers and stones"])
    assert [Path(warning.filename).name for warning in heard] == ["test_checkpoints.py"]
    with pytest.warns(PretrieveWarning, match="fine-tune it first"):
        retriever.evaluate(labelling.beir(tmp_path / "beir", 12, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PretrieveWarning)
        assert retriever.search("rivers", ["stones", "rivers and stones"])
    hub.publish("Luyu/co-condenser-marco-retriever")
    Retriever.load("Luyu/co-condenser-marco-retriever").search("rivers", ["stones"])


@pytest.mark.parametrize(("method", "pretraining_only"), [("mlm", True), ("contriever-inbatch", False)])
def test_a_start_of_our_own_is_known(tmp_path, method, pretraining_only) -> None:
    """By the recipe that its run left; when it is fine-tuned the recipe is another."""
    folder = labelling.transformer_model(tmp_path / "model")
    (folder / "recipe.json").write_bytes(orjson.dumps({"method": method}))
    lines = untuned(str(folder), ModelOptions())
    assert len(lines) == pretraining_only
    assert all("fine-tune it first" in line and str(folder) in line for line in lines)
    (folder / "recipe.json").write_bytes(orjson.dumps({"model": "somewhere", "loss": {}}))
    assert not untuned(str(folder), ModelOptions())
    static = labelling.static_model(tmp_path / "static")
    (static / "recipe.json").write_bytes(orjson.dumps({"method": method}))
    assert not untuned(str(static), ModelOptions())
