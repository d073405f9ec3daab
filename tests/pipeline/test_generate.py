"""The road of ``generate``: what is kept, resuming anywhere gives the same bytes, and the scores reach the loss."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

import searching
import writers
from pretrieve import Retriever
from pretrieve.core.errors import DataError, FingerprintError, LockedError, UsageError
from pretrieve.core.types import Document
from pretrieve.generation.filters import COPIED, DUPLICATE, EMPTY, NOT_FOUND, REASONS, TITLE
from pretrieve.index.index import Index, IndexOptions
from pretrieve.models.bag import Bag
from pretrieve.pipeline.finetune.read_labels import read_labels
from pretrieve.pipeline.generate import scored
from pretrieve.pipeline.generate.generate import generate
from pretrieve.pipeline.generate.request import GenerateRequest
from pretrieve.pipeline.generate.round_trip import round_trip
from pretrieve.pipeline.run.progress import Silent


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scored, "_BLOCK", 16)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generate")
    documents = writers.collection(folder / "documents.jsonl")
    writers.generator(folder / "t5", documents, "t5")
    writers.encoder(folder / "teacher", documents)
    searching.static_model(folder / "model", documents)
    return folder


def request_of(made: Path, output: Path, **more) -> GenerateRequest:
    """A run on this machine that keeps most of what a random generator writes."""
    usual = {
        "sources": (str(made / "documents.jsonl"),), "output": output, "generator": str(made / "t5"),
        "max_new_tokens": 5, "keep_within": 15, "negatives": 4, "depth": 12, "batch_size": 6,
    }  # fmt: skip
    return GenerateRequest(**{**usual, **more})


def lines(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_the_filter_counts_by_hand() -> None:
    """Each query by what becomes of it; the round trip is BM25's, and the same query may find two documents."""
    texts = {
        "a": ("Honey", "honey keeps for years in a closed jar because it holds little water"),
        "b": ("Trains", "the night train leaves vienna in the evening and reaches venice in the morning"),
        "c": ("More honey", "bees make honey from nectar and carry it to a closed hive"),
    }
    documents = [Document(id=name, title=title, text=text) for name, (title, text) in texts.items()]
    queries: list[list[str] | None] = [
        ["how long does honey keep", "How long does honey keep?!", "", "honey", "venice by night", "closed honey"],
        ["night train", "keeps for years in a closed jar because it holds", "closed nectar"],
        ["Closed  honey?", "the morning", "zzz"],
    ]
    index = Index.of(documents, None, IndexOptions(languages=("en",)))
    found = round_trip(zip(range(3), documents, queries, strict=True), index, Silent(), keep_within=2, copied_words=8)
    assert dict(found.queries.values()) == {
        "how long does honey keep": [0], "closed honey": [0, 2], "night train": [1],
    }  # fmt: skip
    expected = {DUPLICATE: 1, EMPTY: 1, TITLE: 1, NOT_FOUND: 5}
    assert found.to_json() == {
        "generated": 12, "kept": 4, "dropped": {reason: expected.get(reason, 0) for reason in REASONS},
    }  # fmt: skip
    narrow = round_trip([(0, documents[0], ["bees"])], index, Silent(), keep_within=3, copied_words=8)
    assert narrow.to_json()["dropped"][NOT_FOUND] == 1, "what shares no word is no hit"
    refused = round_trip([(0, documents[0], None)], index, Silent(), keep_within=3, copied_words=8)
    assert (refused.refused, refused.counts["generated"]) == (1, 0)
    own = ["honey keeps for years in a closed jar because"]
    copied = round_trip([(0, documents[0], own)], index, Silent(), keep_within=3, copied_words=8)
    assert copied.to_json()["dropped"][COPIED] == 1


def test_the_model_ranks_in_the_round_trip(made) -> None:
    """A query without a word of any document is found by vectors alone, or by nothing."""
    documents = searching.documents(40, sentences=2)
    model = Bag.load(made / "model")
    apart = documents[3].text.split()[2]
    pairs = [(3, documents[3], [apart])]
    words, both = Index.of(documents), Index.of(documents, model, IndexOptions(dense=8.0))
    rank = next(iter(both.rank([apart], 40, "hybrid")))[0].tolist().index(3) + 1
    for within in (rank, rank - 1):
        if within:
            found = round_trip(pairs, both, Silent(), keep_within=within, copied_words=8)
            assert bool(found.queries) == (within == rank)
    nothing = [(3, documents[3], ["zzzz"])]
    assert not round_trip(nothing, words, Silent(), keep_within=40, copied_words=8).queries
    assert round_trip(nothing, both, Silent(), keep_within=40, copied_words=8).queries


def test_lines_hold_all_that_learning_needs(made, tmp_path) -> None:
    request = request_of(
        made, tmp_path / "labels.jsonl", model=str(made / "model"), cross_encoder=str(made / "teacher")
    )
    report = generate(request)
    records, documents = lines(request.output), {d.id: d for d in searching.documents(40, sentences=2)}
    assert len(records) == report.queries > 20
    assert report.counts["generated"] == 120 == report.counts["kept"] + sum(report.counts["dropped"].values())
    assert report.counts["dropped"][NOT_FOUND] > 0
    assert len(report.examples) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "labels.jsonl.report.json"]
    assert orjson.loads(request.report.read_bytes()) == report.to_json()
    from pretrieve.generation.teacher import Teacher

    teacher = Teacher(str(made / "teacher"))
    for record in records:
        assert len(record["negatives"]) == len(record["negative_scores"]) == 4
        for item in (*record["positives"], *record["negatives"]):
            assert (documents[item["id"]].title, documents[item["id"]].text) == (item["title"], item["text"])
        mine = {item["id"] for item in record["positives"]}
        assert not mine & {item["id"] for item in record["negatives"]}
        assert record["id"].rsplit("/", 1)[0] in mine
    record = records[len(records) // 2]
    pairs = [(record["query"], f"{d['title']} {d['text']}") for d in (*record["positives"], *record["negatives"])]
    given = record["positive_scores"] + record["negative_scores"]
    np.testing.assert_allclose(given, teacher.scores(pairs), atol=2e-4)
    labels = read_labels(request.output, tmp_path / "records")
    assert len(labels) == len(records)
    assert np.isfinite(labels.teacher[0]).all()
    assert np.isfinite(labels.teacher[1]).all()


def test_the_loss_is_the_mean_squared_difference_of_margins(made, tmp_path) -> None:
    """From the file to the loss that ``finetune`` computes, against loops over the file's own lines."""
    from pretrieve.finetuning.contrastive import Contrastive, Options
    from pretrieve.finetuning.labelled import Draw
    from pretrieve.models.text_encoder import ModelOptions
    from pretrieve.pipeline.finetune.base_model import open_start
    from pretrieve.pipeline.finetune.sampler import sampler_of
    from pretrieve.sampling.batches import Batches
    from pretrieve.training.step import full_step

    request = request_of(made, tmp_path / "labels.jsonl", cross_encoder=str(made / "teacher"))
    generate(request)
    labels = read_labels(request.output, tmp_path / "records")
    start = open_start(str(made / "model"), ModelOptions(), seed=0)
    sampler = sampler_of(labels, start, Draw(negatives=4), tmp_path / "store", Silent())
    objective = Contrastive(start.documents, Options(loss="margin-mse"), sampler.positive).double().eval()
    batch = Batches(sampler=sampler, batch_size=16, seed=0)(0)
    by_query = {record["query"]: record for record in lines(request.output)}
    texts, losses = labels.texts(), []
    model = Bag.load(made / "model")
    for query in batch.documents.tolist():
        record = by_query[texts[query]]
        good, bad = record["positives"], record["negatives"]
        (vector,) = model.encode_queries([texts[query]])
        vectors = model.encode_documents([f"{d['title']} {d['text']}" for d in (*good, *bad)])
        cosines = vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector) / objective.temperature
        assert len(good) == 1, "one positive each, so that it is known which was drawn"
        theirs = record["positive_scores"][0] - np.array(record["negative_scores"])
        losses.append(np.mean((cosines[0] - cosines[1:] - theirs) ** 2))
    assert float(full_step(objective, batch, 0).loss) == pytest.approx(np.mean(losses), rel=1e-4)


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
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory) -> bytes:
    """The file of a run that nobody stopped."""
    request = request_of(made, tmp_path_factory.mktemp("whole") / "labels.jsonl", **both_models(made))
    generate(request)
    return request.output.read_bytes()


def both_models(made: Path) -> dict[str, str]:
    return {"model": str(made / "model"), "cross_encoder": str(made / "teacher")}


@pytest.mark.parametrize(
    ("stage", "after"), [("generate", 1), ("generate", 20), ("index", 0), ("filter", 0), ("filter", 9), ("mine", 0),
                         ("mine", 1), ("score", 0), ("score", 17)],
)  # fmt: skip
def test_a_stopped_run_goes_on_to_the_same_bytes(made, whole, tmp_path, stage, after, monkeypatch) -> None:
    request = request_of(made, tmp_path / "labels.jsonl", **both_models(made))
    with pytest.raises(KeyboardInterrupt):
        generate(request, _Stop(stage, after))
    assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl.parts"]
    with pytest.raises(UsageError, match="--resume"):
        generate(request)
    from pretrieve.generation.local import LocalGenerator

    texts: list[int] = []
    complete = LocalGenerator.complete
    monkeypatch.setattr(
        LocalGenerator, "complete", lambda self, prompt, asks: texts.append(len(asks)) or complete(self, prompt, asks)
    )
    generate(replace(request, resume=True))
    assert request.output.read_bytes() == whole
    assert sum(texts) == {("generate", 1): 120 - 18, ("generate", 20): 120 - 72}.get((stage, after), 0)
    assert not request.parts.exists()
    generate(replace(request, resume=True))
    with pytest.raises(FingerprintError, match="cannot resume: seed was 0 and is 1"):
        generate(replace(request, resume=True, seed=1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"seed": 1}, "seed"), ({"keep_within": 3}, "keep_within"), ({"prompt": "x {document}"}, "prompt"),
     ({"model": None}, "model"), ({"cross_encoder": None}, "cross_encoder")],
)  # fmt: skip
def test_another_run_is_not_gone_on_with(made, tmp_path, changes, words) -> None:
    request = request_of(made, tmp_path / "labels.jsonl", **both_models(made))
    with pytest.raises(KeyboardInterrupt):
        generate(request, _Stop("filter"))
    with pytest.raises(FingerprintError, match=f"cannot resume: {words} was"):
        generate(replace(request, resume=True, **changes))
    generate(replace(request, overwrite=True, **changes))
    assert not request.parts.exists()


def test_the_documents_are_indexed_once(made, tmp_path) -> None:
    """The negatives are mined in the index that the round trip searched."""

    class Stages(Silent):
        names: list[str] = []  # noqa: RUF012

        def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
            self.names.append(name)

    for more, last in (({}, "write"), (both_models(made), "score")):
        listener = Stages()
        listener.names.clear()
        generate(request_of(made, tmp_path / f"{last}.jsonl", **more), listener)
        assert listener.names == ["read", "generate", "index", "filter", "mine", last]


def test_what_stops_before_anything_was_made_leaves_nothing(made, tmp_path) -> None:
    for output in (tmp_path / "labels.jsonl", tmp_path / "other" / "labels.jsonl"):
        with pytest.raises(KeyboardInterrupt):
            generate(request_of(made, output), _Stop("generate"))
        assert not output.parent.exists() or not list(output.parent.glob("labels*"))


def test_one_run_at_a_time(made, tmp_path) -> None:
    from pretrieve.core import files

    request = request_of(made, tmp_path / "labels.jsonl", resume=True)
    with files.lock(request.parts), pytest.raises(LockedError):
        generate(request)


def test_fewer_documents_are_drawn_by_the_seed(made, tmp_path) -> None:
    found = []
    for seed in (0, 0, 1):
        request = request_of(made, tmp_path / f"{len(found)}.jsonl", max_documents=10, seed=seed, negatives=0)
        report = generate(request)
        assert report.documents["prompted"] == 10
        assert report.counts["generated"] == 30
        found.append(request.output.read_bytes())
    assert found[0] == found[1] != found[2]
    first, other = (
        {item["id"] for record in lines(tmp_path / f"{n}.jsonl") for item in record["positives"]} for n in (0, 2)
    )
    assert len(first - other) >= 3, "not the same documents with other queries"
    assert {"id", "query", "positives"} == set(lines(tmp_path / "0.jsonl")[0])
    same = request_of(made, tmp_path / "all.jsonl", negatives=0)
    generate(same)
    few = {record["query"] for record in lines(tmp_path / "0.jsonl")}
    assert few <= {record["query"] for record in lines(same.output)}, "a document's queries are its own"


def test_copies_of_a_document_are_no_negatives(made, tmp_path) -> None:
    """Of documents that are given as objects some may be copies."""
    documents = searching.documents(20, sentences=2)
    twins = [replace(d, id=f"{d.id}-twin") for d in documents]
    request = request_of(made, tmp_path / "labels.jsonl", sources=())
    assert generate(request, documents=[*documents, *twins]).negatives > 20
    for record in lines(request.output):
        positives = {item["text"] for item in record["positives"]}
        assert not positives & {item["text"] for item in record.get("negatives", ())}


def test_nothing_kept_is_an_error_that_says_why(made, tmp_path) -> None:
    with writers.serving(replies=[writers.completion("zzz\nzzz\nqqq")] * 99) as server:
        request = request_of(made, tmp_path / "labels.jsonl", generator="m", endpoint=server.url)
        with pytest.raises(DataError, match=r"no query was kept of 120 .*40 duplicate, 80 not retrieved.*--prompt"):
            generate(request)


def test_refused_documents_are_counted(made, tmp_path) -> None:
    word = searching.documents(40, sentences=2)[3].title
    with writers.serving(refused=word) as server:
        report = generate(request_of(made, tmp_path / "a.jsonl", generator="m", endpoint=server.url, skip_refused=True))
    assert report.documents["refused"] == 1
    assert report.counts["generated"] == 39 * 3


def test_from_python(made, tmp_path) -> None:
    retriever = Retriever(Bag.load(made / "model"), str(made / "model"), searching.documents(40, sentences=2))
    options = {"generator": str(made / "t5"), "max_new_tokens": 5, "keep_within": 15, "negatives": 2, "progress": False}
    count = retriever.generate(tmp_path / "own.jsonl", cross_encoder=str(made / "teacher"), **options)
    assert count == len(lines(tmp_path / "own.jsonl"))
    assert retriever.generate(tmp_path / "given.jsonl", made / "documents.jsonl", **options) == count
    tuned = retriever.finetune(
        tmp_path / "own.jsonl", tmp_path / "tuned", settings={"loss": "margin-mse"}, steps=2, progress=False
    )
    assert tuned.documents is retriever.documents
    with pytest.raises(UsageError, match="Did you mean 'queries'"):
        retriever.generate(tmp_path / "x.jsonl", querys=2, **options)
    with pytest.raises(UsageError, match="no documents"):
        Retriever(retriever.model, retriever.location).generate(tmp_path / "x.jsonl", **options)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"queries": 0}, "--queries 0: 1 is the minimum"),
        ({"keep_within": 0}, "--keep-within 0"),
        ({"max_documents": 0}, "--max-documents 0"),
        ({"negatives": 30}, "--depth 12"),
        ({"negatives": 0, "cross_encoder": "c"}, "--negatives 1 or more"),
        ({"allow_remote": True}, "--allow-remote is for --endpoint"),
        ({"api_key_env": "KEY"}, "--api-key-env is for --endpoint"),
        ({"temperature": 0.0}, "the same query 3 times"),
        ({"prompt": "no field"}, "{document}"),
        ({"prompt": "@/nowhere/prompt.txt"}, "cannot be read"),
        ({"top_p": 0.0}, "--top-p"),
    ],
)
def test_options_that_cannot_work(made, tmp_path, changes, words) -> None:
    with pytest.raises(UsageError) as error:
        generate(request_of(made, tmp_path / "labels.jsonl", **changes))
    assert words in str(error.value)
    assert not list(tmp_path.iterdir())


def test_no_file_of_others_is_replaced(made, tmp_path) -> None:
    mine = tmp_path / "labels.jsonl"
    mine.write_text('{"id": "precious"}\n')
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="was not written by `pretrieve generate`"):
            generate(request_of(made, mine, overwrite=overwrite))
    with pytest.raises(UsageError, match="would be overwritten"):
        generate(request_of(made, mine, sources=(str(mine),)))
    with pytest.raises(UsageError, match="is a folder"):
        generate(request_of(made, tmp_path))
    shutil.rmtree(tmp_path)


def test_a_teachers_margins_are_learnt(tmp_path) -> None:
    """The toy whose queries are in another language: scores in the form of ``generate`` teach what is relevant."""
    import labelling
    from pretrieve.pipeline.finetune.finetune import finetune
    from pretrieve.pipeline.finetune.request import FinetuneRequest

    documents, queries = labelling.toy(260)
    rng = np.random.default_rng(0)
    shown = [{"id": d["_id"], "title": d["title"], "text": d["text"]} for d in documents]
    records = []
    for number, query in enumerate(queries):
        others = [n for n in rng.choice(260, 11, replace=False).tolist() if n != number][:10]
        records.append(
            {
                "id": query["_id"], "query": query["text"], "positives": [shown[number]], "positive_scores": [6.0],
                "negatives": [shown[n] for n in others], "negative_scores": [-4.0] * 10,
            }
        )  # fmt: skip
    source = labelling.lines(tmp_path / "labels.jsonl", records)
    labelling.static_model(tmp_path / "model")
    report = finetune(
        FinetuneRequest(
            model=str(tmp_path / "model"), labels=source, output=tmp_path / "tuned", epochs=40,
            settings={"loss": "margin-mse", "batch_size": 32},
        )
    )  # fmt: skip
    rows = {row["system"]: row["metrics"]["nDCG@10"] for row in report.evaluation["rows"] if row["mode"] == "dense"}
    assert rows["model"] > rows["start"] + 0.1, rows
