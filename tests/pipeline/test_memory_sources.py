"""What a Python program gives to ``Retriever``: documents, labels and collections in memory, and odd arguments."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import hypothesis
import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import labelling
import searching
import teachers
import writers
from pretrieve import Retriever
from pretrieve.core.errors import DataError, FingerprintError, PretrieveError, PretrieveWarning, UsageError
from pretrieve.models.bag import Bag
from pretrieve.pipeline.run.memory_sources import sources_of
from pretrieve.pipeline.run.progress import Silent
from pretrieve.text import corpus

MADE = searching.documents(60)
TEXTS = [document.text for document in MADE]
SMALL = {"batch_size": 32, "dimensions": 32, "vocabulary_size": 400}
TRAIN = {"steps": 2, "settings": SMALL, "progress": False}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    searching.static_model(folder / "model", MADE)
    lines = [{"id": one.id, "title": one.title, "text": one.text} for one in MADE]
    (folder / "docs.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return folder


@pytest.fixture(scope="module")
def retriever(place) -> Retriever:
    return Retriever(Bag.load(place / "model"), str(place / "model"), MADE)


def test_train_on_texts_says_so_and_resumes(tmp_path):
    retriever = Retriever.train(TEXTS, tmp_path / "m", **TRAIN)
    assert retriever.search(TEXTS[7], mode="lexical")[0].id == "7"
    recipe = json.loads((tmp_path / "m" / "recipe.json").read_bytes())
    (source,) = recipe["sources"]
    assert source.startswith("memory:")
    assert f"pretrieve train {source} " in recipe["command"]
    assert source in (tmp_path / "m" / "README.md").read_text()
    Retriever.train((text for text in TEXTS), tmp_path / "m", resume=True, **TRAIN)
    with pytest.raises(FingerprintError, match="documents"):
        Retriever.train(TEXTS[1:], tmp_path / "m", resume=True, **TRAIN)


def test_texts_of_a_file_and_in_memory_make_the_same_model(tmp_path, place):
    records = [orjson.loads(line) for line in (place / "docs.jsonl").read_bytes().splitlines()]
    models = [
        Retriever.train(source, tmp_path / name, **TRAIN).model.fingerprint
        for name, source in {
            "file": place / "docs.jsonl",
            "list": records,
            "table": pa.Table.from_pylist(records),
        }.items()
    ]
    assert len(set(models)) == 1


def test_bad_records_follow_the_policy(tmp_path):
    bad = [*TEXTS[:3], None, *TEXTS[3:], ""]
    with pytest.raises(DataError, match=r"^texts\[3\]: no text"):
        Retriever.train(bad, tmp_path / "a", **TRAIN)
    assert not (tmp_path / "a").exists()
    assert len(Retriever.train(bad, tmp_path / "b", on_bad="skip", **TRAIN).documents) == 60
    assert len(Retriever.train(bad, tmp_path / "c", on_bad="quarantine", **TRAIN).documents) == 60
    lines = (tmp_path / "c.quarantine.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["where"] for line in lines] == ["texts[3]", "texts[61]"]


def listed(given, place, **options):
    with sources_of(given, Silent(), output=place / "out", on_bad="fail", **options) as named:
        return named, [document.text for document in corpus.read(named)]


def test_paths_stay_sources(place, monkeypatch):
    monkeypatch.chdir(place)
    files = ["docs.jsonl"]
    for given in ("docs.jsonl", place / "docs.jsonl", files, tuple(files), place.glob("*.jsonl"), iter(files)):
        named, texts = listed(given, place)
        assert texts == TEXTS
        assert Path(named[0]).name == "docs.jsonl"
    assert listed(["a text", "docs of another kind"], place)[1] == ["a text", "docs of another kind"]
    assert listed(["and/or either", "https://example.org/a"], place)[0][0].startswith("memory:")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere", "no such file"),
        (["nowhere/"], "no such file"),
        (["docs.jsnl"], "no such file|unknown suffix"),
        ("One text.\nAnd more.", "is one text"),
        ("", "sources=''"),
        (["docs.jsonl", "a text about it"], r"texts\[0\] is a source .* texts\[1\] is none"),
        (["a text about it", "docs.jsonl"], r"texts\[1\] is a source .* texts\[0\] is none"),
        ([], "no documents"),
        (iter([]), "no documents"),
        ({"a", "b"}, "no order"),
    ],
)
def test_what_is_neither_source_nor_text_is_refused(given, said, place, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(PretrieveError, match=said):
        listed(given, place)


def test_memory_is_given_back(place):
    named, _ = listed(TEXTS, place)
    with pytest.raises(UsageError, match="that a Python program gave"):
        list(corpus.read(named))


def test_distill_and_generate_take_texts(tmp_path):
    texts = writers.collection(tmp_path / "docs.jsonl", 40)
    teachers.teacher(tmp_path / "teacher", texts)
    writers.generator(tmp_path / "t5", texts)
    few = [{"id": one.id, "text": one.text} for one in texts]
    made = Retriever.distill(
        few, tmp_path / "teacher", tmp_path / "m", steps=2, contrast_steps=2, teacher_tokens=2000, progress=False
    )
    assert made.documents[0].id == texts[0].id
    assert "pretrieve distill memory:" in json.loads((tmp_path / "m" / "recipe.json").read_bytes())["command"]
    options = {"generator": str(tmp_path / "t5"), "queries": 1, "max_new_tokens": 8, "negatives": 0, "keep_within": 40}
    made.generate(tmp_path / "labels.jsonl", few[:10], progress=False, **options)
    report = json.loads((tmp_path / "labels.jsonl.report.json").read_bytes())
    assert report["documents"]["collection"] == 10


def test_compare_takes_texts_and_resumes(tmp_path):
    labelling.beir(tmp_path / "beir", 40, 20)
    records = [orjson.loads(line) for line in (tmp_path / "beir" / "corpus.jsonl").read_bytes().splitlines()]
    options = {"methods": ("none",), "base": "static", "finetune": "", "labels": (), "steps": 2, "seeds": 1,
               "split": "test", "settings": {"dimensions": "16"}, "progress": False}  # fmt: skip
    table = Retriever.compare(records, tmp_path / "beir", tmp_path / "out", **options)
    again = Retriever.compare(iter(records), tmp_path / "beir", tmp_path / "out", **options)
    assert table.to_json() == again.to_json()
    with pytest.raises(UsageError, match="another comparison"):
        Retriever.compare(records[1:], tmp_path / "beir", tmp_path / "out", **options)


def test_finetune_and_mine_take_records(tmp_path, retriever):
    labels = [{"query": one.title, "positive": one.text, "negatives": np.array([TEXTS[0]])} for one in MADE[1:]]
    columns = {"query": [one.title for one in MADE], "positive": TEXTS}
    for number, given in enumerate((labels, pa.table(columns), iter(labels))):
        tuned = retriever.finetune(given, tmp_path / f"m{number}", steps=2, negatives="none", progress=False)
        assert (tmp_path / f"m{number}" / "report.json").is_file()
        assert tuned.documents is retriever.documents
    assert retriever.mine(labels, tmp_path / "mined.jsonl", by="bm25", number=2, depth=10, progress=False)
    bad = [*labels[:2], {"query": "", "positive": "x"}]
    with pytest.raises(DataError, match=r"labels\[2\]: no query"):
        retriever.finetune(bad, tmp_path / "no", steps=2, progress=False)
    for given in ([1, 2], {"query": "a", "positive": "b"}, 3, None):
        with pytest.raises(UsageError, match="labels"):
            retriever.finetune(given, tmp_path / "no", steps=2, progress=False)


def test_evaluate_in_memory_as_in_a_folder(tmp_path, retriever):
    folder = searching.beir(tmp_path / "beir")
    texts, qrels = searching.queries(searching.documents(60), 30)
    wanted = retriever.evaluate(folder, progress=False).to_json()
    for corpus_, queries, grades in (
        (MADE, texts, qrels),
        (None, [{"id": key, "text": text} for key, text in texts.items()], qrels),
        ({one.id: {"title": one.title, "text": one.text} for one in MADE}, texts, qrels),
    ):
        found = retriever.evaluate(corpus=corpus_, queries=queries, qrels=grades, progress=False).to_json()
        assert {**found, "collection": ""} == {**wanted, "collection": ""}
    relevant = {query: [key for key, grade in grades.items() if grade] for query, grades in qrels.items()}
    assert retriever.evaluate(queries=texts, qrels=relevant, progress=False).rows
    for wrong, said in (
        ({"queries": texts}, "qrels is missing"),
        ({"queries": texts, "qrels": [1]}, "qrels is no dict"),
        ({"queries": texts, "qrels": {"q0": "d1"}}, "no dict of grades"),
        ({"queries": texts, "qrels": {"q0": {"d001": 0.5}}}, "whole number"),
        ({"queries": texts, "qrels": {"nobody": {"d001": 1}}}, "nobody"),
        ({"folder": folder, "queries": texts}, "not both"),
    ):
        with pytest.raises(PretrieveError, match=said):
            retriever.evaluate(**wrong, progress=False)


def test_search_takes_one_query_or_many(retriever):
    queries = [text[:40] for text in TEXTS[:3]]
    wanted = [retriever.search(query) for query in queries]
    for given in (queries, tuple(queries), iter(queries), np.array(queries), (query for query in queries)):
        for hits, others in zip(retriever.search(given), wanted, strict=True):
            assert [hit.id for hit in hits] == [hit.id for hit in others]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], rel=1e-5, abs=1e-5)
            assert hits[0].sentence == others[0].sentence
    assert retriever.search([]) == []
    assert [[hit.id for hit in hits] for hits in retriever.search(queries, TEXTS, top_k=1)] == [["0"], ["1"], ["2"]]
    assert len(retriever.search(queries[0], top_k=1000)) == 60
    assert retriever.search(queries[0], top_k=np.int64(2)) == wanted[0][:2]


def test_search_says_what_it_leaves_out(retriever):
    with pytest.warns(PretrieveWarning, match=r"3 of 4 in corpus are left out, first corpus\[0\]: empty") as caught:
        (hit,) = retriever.search("violin", ["", "violin", None, "  "])
    assert (hit.id, hit.text) == ("1", "violin")
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"query": None}, "the query is not a text"),
        ({"query": " \n"}, "the query is empty"),
        ({"query": b"x"}, "not a text but bytes"),
        ({"query": "x" * 10_000_000}, "100,000 is the maximum"),
        ({"query": "half \ud800"}, "surrogate"),
        ({"query": ["a", None]}, r"queries\[1\] is not a text"),
        ({"query": ["a", ""]}, r"queries\[1\] is empty"),
        ({"query": {"a": "b"}}, "not a text but dict"),
        ({"query": np.array([["a"]])}, "a list of texts"),
        ({"top_k": 0}, "minimum is 1"),
        ({"top_k": -1}, "minimum is 1"),
        ({"top_k": 2.5}, "whole number"),
        ({"top_k": True}, "whole number"),
        ({"top_k": None}, "whole number"),
        ({"top_k": "3"}, "whole number"),
        ({"mode": "hybird"}, "Did you mean 'hybrid'"),
        ({"mode": None}, "unknown mode"),
        ({"mode": ["dense"]}, "unknown mode"),
        ({"corpus": "a text"}, "one text: give a list"),
        ({"corpus": Path("docs")}, "one text: give a list"),
        ({"corpus": []}, "corpus is empty"),
        ({"corpus": ["", None]}, "no text"),
        ({"corpus": 3}, "corpus is of type int"),
    ],
)
def test_odd_searches_are_one_clear_line(arguments, said, retriever):
    with pytest.raises(UsageError, match=said) as caught:
        retriever.search(**{"query": "violin", **arguments})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=8), st.text(max_size=12),
    st.lists(st.none() | st.integers() | st.text(max_size=4), max_size=3), st.tuples(st.floats()),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2), st.sets(st.integers(), max_size=2),
)  # fmt: skip
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@hypothesis.given(query=odd, corpus=odd, top_k=st.integers(1, 5) | odd, mode=st.sampled_from(["hybrid", "dense"]) | odd)
def test_search_of_anything_works_or_says_why_not(retriever, query, corpus, top_k, mode):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PretrieveWarning)
        try:
            retriever.search(query, corpus, top_k=top_k, mode=mode)
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - it may work as well


@few
@hypothesis.given(name=odd)
def test_load_of_anything_says_why_not(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError) as caught:
        Retriever.load(name)
    assert "\n" not in str(caught.value)


@few
@hypothesis.given(sources=odd)
def test_sources_of_anything_are_documents_or_say_why_not(sources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        named, texts = listed(sources, tmp_path)  # what is trained on
    except PretrieveError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it may work as well
    else:
        assert named[0].startswith("memory:")
        assert texts


@pytest.mark.parametrize(
    "call",
    [
        lambda r, p: Retriever.load(p / "model", poling="mean"),
        lambda r, p: Retriever.load(p / "model", pooling=3),
        lambda r, p: Retriever.load(p / "model", max_length="many"),
        lambda r, p: Retriever.train(TEXTS, 3, **TRAIN),
        lambda r, p: Retriever.train(TEXTS, settings=[1], steps=2),
        lambda r, p: Retriever.train(TEXTS, minutes=float("nan")),
        lambda r, p: Retriever.train(TEXTS, method=3),
        lambda r, p: Retriever.train(TEXTS, on_bad="drop"),
        lambda r, p: Retriever.train(TEXTS, base=None),
        lambda r, p: Retriever.distill(TEXTS, 3),
        lambda r, p: Retriever.distill(TEXTS, "x", setings={}),
        lambda r, p: Retriever.compare(TEXTS, 3, p / "x"),
        lambda r, p: r.save(None),
        lambda r, p: r.evaluate(3),
        lambda r, p: r.evaluate(b"x"),
        lambda r, p: r.generate(None, TEXTS, generator="x"),
        lambda r, p: r.mine("nowhere", 3),
        lambda r, p: r.finetune("nowhere", negatives_file=3),
        lambda r, p: r.finetune("nowhere", settings=[3]),
        lambda r, p: r.finetune("nowhere", epochs=b"1"),
        lambda r, p: r.finetune("nowhere", documents=3),
        lambda r, p: r.mine("nowhere", p / "x.jsonl", number=None),
        lambda r, p: r.generate(p / "x.jsonl", generator="x", temperature=[1]),
        lambda r, p: Retriever.distill(TEXTS, "x", stages=[1]),
        lambda r, p: Retriever.compare(TEXTS, p, p / "x", labels=3),
        lambda r, p: Retriever.compare(TEXTS, p, p / "x", methods=3),
        lambda r, p: Retriever.compare(TEXTS, p, p / "x", tuning=None),
        lambda r, p: r.evaluate(p, metrics=[]),
        lambda r, p: r.evaluate(p, modes=3),
        lambda r, p: r.evaluate(p, drop_same_id=None),
    ],
)
def test_wrong_types_are_one_clear_line(call, retriever, place):
    with pytest.raises(UsageError) as caught:
        call(retriever, place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"seed": "x"}, {"method": "mlmm"}, {"minutes": 1, "steps": 1}])
def test_a_mistake_leaves_no_folder_of_documents(tmp_path, monkeypatch, options) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UsageError):
        Retriever.train(["one text", "and another"], tmp_path / "model", progress=False, **options)
    assert not list(tmp_path.iterdir())
