"""The road of ``distill``: the student nears its teacher, is a stock model, and is the same after any stop."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer

import searching
import teachers
import writers
from pretrieve import Retriever
from pretrieve.core.errors import DataError, FingerprintError, UsageError
from pretrieve.index.index import Index
from pretrieve.models.bag import Bag
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.distill.distill import distill
from pretrieve.pipeline.distill.request import DistillRequest
from pretrieve.pipeline.distill.teacher_vectors import draw_pieces, taught_vectors, texts_of
from pretrieve.pipeline.pretrain.report import open_report
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.sources import DOCUMENTS
from pretrieve.pipeline.run.workspace import workspace_of
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distill")
    documents = writers.collection(folder / "documents.jsonl", 150)
    teachers.teacher(folder / "teacher", documents)
    return folder


def request_of(made: Path, output: Path, **more) -> DistillRequest:
    usual = {
        "sources": (str(made / "documents.jsonl"),), "output": output, "teacher": str(made / "teacher"), "steps": 60,
        "contrast_steps": 10, "teacher_tokens": 30_000, "settings": {"batch_size": 48, "save_every": 20},
    }  # fmt: skip
    return DistillRequest(**{**usual, **more})


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory) -> Path:
    """The folder of a run that nobody stopped."""
    output = tmp_path_factory.mktemp("whole") / "model"
    distill(request_of(made, output, select=True, keep_workspace=True))
    return output


def sha(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_student_nears_its_teacher(whole) -> None:
    signal = open_report(whole).signal
    stages = signal["stages"]
    assert set(stages) == {"tokens", "distil", "contrast"}
    assert stages["distil"] > stages["tokens"] + 0.03
    assert stages["contrast"] > stages["tokens"] + 0.03
    assert signal["before"]["agreement"] == stages["tokens"]
    assert signal["after"]["agreement"] == stages[open_report(whole).saved]


def test_it_ranks_as_the_teacher_does(made, whole, tmp_path) -> None:
    """Asked from outside, on other documents: similarities follow the teacher's, and better than token vectors do."""
    from scipy.stats import spearmanr

    distill(request_of(made, tmp_path / "tokens", stages=("tokens",)))
    texts = [document.text for document in searching.documents(40, seed=9, sentences=2)]
    places = np.triu_indices(len(texts), 1)
    teacher, student, tokens = (
        (vectors @ vectors.T)[places]
        for vectors in (
            open_encoder(str(f)).encode_documents(texts) for f in (made / "teacher", whole, tmp_path / "tokens")
        )
    )
    assert spearmanr(student, teacher).statistic > spearmanr(tokens, teacher).statistic + 0.03


def test_token_vectors_of_the_teacher_are_a_better_start_than_none(made, tmp_path) -> None:
    found = {}
    for stages in (("tokens", "distil"), ("distil",)):
        report = distill(request_of(made, tmp_path / stages[0], stages=stages, steps=1))
        found[stages[0]] = next(iter(report.signal["stages"].values()))
    assert found["tokens"] > found["distil"] + 0.1, "the first stage of the second run is a random start"


def test_it_is_a_stock_model(made, whole) -> None:
    texts = ["kaka lolo", "", *(document.text for document in searching.documents(6))]
    stock = SentenceTransformer(str(whole), device="cpu").encode(texts, show_progress_bar=False)
    bag = Bag.load(whole)
    np.testing.assert_allclose(bag.encode_documents(texts), stock, atol=1e-6)
    assert bag.similarity == "cosine"
    assert bag.weight == open_report(whole).fusion["dense"]
    own = tokenizers.load(made / "teacher")
    assert tokenizers.load(whole).fingerprint == own.fingerprint, "the student reads as its teacher does"


def test_what_is_kept_beside_it(made, whole) -> None:
    report, card = open_report(whole), (whole / "README.md").read_text()
    assert report.recipe["method"] == "distill"
    assert report.recipe["options"]["teacher"] == open_encoder(str(made / "teacher")).fingerprint
    assert report.documents == {"read": 150, "trained_on": 135, "held_out": 15}
    assert set(report.probe["score"]) == {"tokens", "distil", "contrast"}
    for words in ("apache-2.0", report.recipe["options"]["teacher"], "pretrieve distill", "--steps 60", report.saved):
        assert words in card
    assert report.reason in card
    data = ModelCard.load(whole / "README.md").data
    assert data.base_model is data.license is data.eval_results is None, "the teacher is a folder"
    assert data.tags == ["sentence-transformers", "pretrieve", "retrieval", "static", "distillation"]


def test_it_is_searched_as_any_other(made, whole) -> None:
    documents = list(Documents.open(workspace_of(whole) / DOCUMENTS))
    index = Index.of(documents, Bag.load(whole))
    assert index.fusion.dense == Bag.load(whole).weight
    ((found, _),) = index.rank([documents[3].text], 5, "dense")
    assert found[0] == 3


class _Stop(Silent):
    """Raises as a crash would when a stage begins, or after some units of it."""

    def __init__(self, stage: str, after: int = 0) -> None:
        self.at, self.after, self.now = stage, after, ""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.now = name
        self.advance(0)

    def advance(self, count: int, detail: str = "") -> None:
        if self.now == self.at:
            self.after -= count
            if self.after <= 0:
                raise RuntimeError("a crash")


@pytest.mark.parametrize(
    ("stage", "after"),
    [("encode the vocabulary", 300), ("encode documents", 1), ("encode documents", 600), ("distil", 0), ("distil", 30),
     ("contrast", 0), ("contrast", 5), ("select", 0)],
)  # fmt: skip
def test_a_stopped_run_goes_on_to_the_same_bytes(made, whole, tmp_path, stage, after) -> None:
    request = request_of(made, tmp_path / "model", select=True)
    with pytest.raises(RuntimeError):
        distill(request, _Stop(stage, after))
    with pytest.raises(UsageError, match="--resume"):
        distill(request)
    distill(replace(request, resume=True))
    assert sha(tmp_path / "model") == sha(whole)
    distill(replace(request, resume=True))


def test_the_teacher_reads_nothing_twice(made, tmp_path) -> None:
    request = request_of(made, tmp_path / "model")
    with pytest.raises(RuntimeError):
        distill(request, _Stop("distil", 0))
    read: list[str] = []

    class Counting:
        def __init__(self) -> None:
            self.inner = open_encoder(request.teacher)
            self.fingerprint, self.location, self.similarity = self.inner.fingerprint, request.teacher, "cosine"

        def encode_documents(self, texts):
            read.extend(texts)
            return self.inner.encode_documents(texts)

        encode_queries = encode_documents

    distill(replace(request, resume=True), encoder=Counting())
    assert read == ["a text"], "one text tells its dimensions"


def test_another_command_is_not_gone_on_with(made, tmp_path) -> None:
    request = request_of(made, tmp_path / "model")
    with pytest.raises(RuntimeError):
        distill(request, _Stop("distil", 30))
    for change, words in (({"seed": 1}, "seed"), ({"window": 64}, "window"), ({"steps": 50}, "steps")):
        with pytest.raises(FingerprintError, match=words):
            distill(replace(request, resume=True, **change))
    other = tmp_path / "other.jsonl"
    other.write_bytes((made / "documents.jsonl").read_bytes().replace(b"Ka", b"Lo"))
    with pytest.raises(FingerprintError, match="documents are not those of before"):
        distill(replace(request, resume=True, sources=(str(other),)))
    distill(replace(request, resume=True))


def test_words_get_vectors_of_their_own(made, tmp_path) -> None:
    report = distill(request_of(made, tmp_path / "model", words=30, steps=5, stages=("tokens", "distil")))
    found, own = tokenizers.load(tmp_path / "model"), tokenizers.load(made / "teacher")
    assert found.specials.vocabulary == own.specials.vocabulary + 30
    assert len(Bag.load(tmp_path / "model").vectors) == found.specials.vocabulary
    assert report.saved == "distil"
    assert report.documents["held_out"] == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"stages": ("contrast",)}, "nothing of the teacher"), ({"stages": ("distill",)}, "Did you mean 'distil'"),
     ({"words": -1}, "--words -1"), ({"minutes": 0.0, "teacher_tokens": None}, "above 0"),
     ({"anchor": -1.0}, "--anchor"),
     ({"settings": {"temprature": 1}}, "Did you mean 'temperature'"), ({"dimensions": 33}, "32; ask for 1 to 32"),
     ({"sources": ()}, "no documents")],
)  # fmt: skip
def test_bad_values(made, tmp_path, changes, words) -> None:
    with pytest.raises(UsageError, match=words):
        distill(request_of(made, tmp_path / "model", **changes))
    assert not (tmp_path / "model").exists()


def test_minutes_become_tokens_once(made, tmp_path) -> None:
    request = request_of(
        made, tmp_path / "model", minutes=1e-6, teacher_tokens=None, stages=("tokens", "distil"), steps=5
    )
    with pytest.raises(RuntimeError):
        distill(request, _Stop("encode documents", 300))
    recipe = orjson.loads((workspace_of(tmp_path / "model") / "recipe.json").read_bytes())
    before = recipe["options"]["teacher_tokens"]
    assert before == 5_000, "so little time is raised to the least"
    report = distill(replace(request, resume=True))
    assert report.recipe["options"]["teacher_tokens"] == before


def test_pieces_stay_within_the_budget(made, tmp_path) -> None:
    documents = Documents.write(tmp_path / "documents", searching.documents(60))
    words = tokenizers.load(made / "teacher")
    store = Store.build(tmp_path / "store", documents, words)
    small, large = (draw_pieces(store, tokens, window=24, queries=3, seed=0) for tokens in (2_000, 200_000))
    assert 1_500 < small.tokens <= 2_000
    assert set(large.documents.tolist()) == set(range(60)), "a small collection is read whole, and more than once"
    assert max(large.keys.lengths) <= 24 + 40
    again = draw_pieces(store, 2_000, window=24, queries=3, seed=0)
    np.testing.assert_array_equal(small.queries.tokens, again.queries.tokens)
    assert not np.array_equal(small.documents, draw_pieces(store, 2_000, window=24, queries=3, seed=1).documents)
    count = len(small.documents)
    taught = small.taught(np.zeros((count, 4), np.float32), np.ones((3 * count, 4), np.float32))
    for number, document in enumerate(small.documents.tolist()):
        own = set(np.asarray(store.tokens[store.documents[document] : store.documents[document + 1]]).tolist())
        for row in (taught.keys[number], *taught.queries[number]):
            assert set(taught.rows.row(row).tolist()) <= own
    assert not taught.vectors[taught.keys].any()
    assert taught.vectors[taught.queries].all()
    assert not any(text.startswith("##") for text in texts_of(small.queries, words))


def test_vectors_that_are_no_numbers_are_refused(tmp_path) -> None:
    for values in (np.full((2, 3), np.nan), np.zeros((2, 2, 3))):
        with pytest.raises(DataError, match="not finite"):
            taught_vectors(tmp_path / "a.jsonl.parts", lambda texts, v=values: v, ["a", "b"], Silent())
    found = taught_vectors(
        tmp_path / "b.jsonl.parts", lambda texts: np.full((len(texts), 4), 2.0), ["a", "", "b"], Silent()
    )
    np.testing.assert_allclose(found, [[0.5] * 4, [0] * 4, [0.5] * 4], atol=1e-3)


def test_in_python(made, tmp_path) -> None:
    retriever = Retriever.distill(
        made / "documents.jsonl", str(made / "teacher"), tmp_path / "model", progress=False, steps=5, contrast_steps=2,
        teacher_tokens=5_000,
    )  # fmt: skip
    assert retriever.search(retriever.documents[4].text)[0].id == retriever.documents[4].id
    with pytest.raises(UsageError, match="Did you mean 'words'"):
        Retriever.distill(made / "documents.jsonl", str(made / "teacher"), tmp_path / "b", progress=False, wrds=3)
    shutil.rmtree(tmp_path / "model")
