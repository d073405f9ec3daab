"""Mining: which documents are taken, and what is left of a run that is killed."""

from __future__ import annotations

import os
import resource
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import orjson
import pytest

import labelling
import looking
from forks import start
from pretrieve.core.errors import DataError, FingerprintError, UsageError
from pretrieve.index.index import Index
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.finetune import mine as mining
from pretrieve.pipeline.finetune.mine import MineOptions, load_negatives, mine, mine_source
from pretrieve.pipeline.finetune.read_labels import read_labels
from pretrieve.pipeline.run.progress import Silent


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return labelling.static_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Queries in the words of documents, so that BM25 finds something; document 0 has a copy, in no qrels."""
    folder = labelling.beir(tmp_path_factory.mktemp("beir") / "beir", 120, 20)
    documents, _ = labelling.toy(120)
    queries = [{"_id": f"q{n}", "text": " ".join(d["text"].rstrip(".").split()[:3])} for n, d in enumerate(documents)]
    labelling.lines(folder / "queries.jsonl", queries)
    labelling.lines(folder / "corpus.jsonl", [*documents, {**documents[0], "_id": "copy"}])
    return read_labels(folder, folder.parent / "records")


def found_in(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def run(labels, path: Path, model: Path | None = None, **options) -> list[dict]:
    encoder = None if model is None else open_encoder(str(model))
    count = mine(labels, encoder, path, MineOptions(**options), Silent())
    found = found_in(path)
    assert count == sum(len(record["negatives"]) for record in found)
    assert [path.name] == [p.name for p in path.parent.iterdir()], "the parts are gone"
    return found


def order(labels, by: str, model: Path | None = None) -> list[list[tuple[str, float]]]:
    """All documents of each query with their scores, best first, by search itself."""
    documents = [labels.records[n] for n in range(labels.size)]
    index = Index.of(documents, None if model is None else open_encoder(str(model)))
    mode = "lexical" if by == "bm25" else "dense"
    return [
        [(documents[n].id, float(s)) for n, s in zip(numbers, scores, strict=True)]
        for numbers, scores in index.rank(labels.texts(), labels.size, mode)
    ]


@pytest.mark.parametrize("by", ["bm25", "model"])
def test_the_best_that_are_no_positives_nor_copies(labels, model, tmp_path, by) -> None:
    found = run(labels, tmp_path / "out.jsonl", model if by == "model" else None, by=by, number=5, depth=5)
    for row, (record, ranked) in enumerate(
        zip(found, order(labels, by, model if by == "model" else None), strict=True)
    ):
        own = {f"d{row}", *(["copy"] if row == 0 else [])}
        expected = [(n, pytest.approx(s, abs=1e-3)) for n, s in ranked if n not in own and n != "copy"]
        assert [(n["id"], n["score"]) for n in record["negatives"]] == expected[:5]
        assert record["id"] == f"q{row}"
        assert record["query"] == labels.texts()[row]
        assert [p["id"] for p in record["positives"]] == [f"d{row}"]
        assert all(n["by"] == by and n["text"] for n in record["negatives"])


def test_words_in_common_are_asked_for(tmp_path) -> None:
    """A document that shares no word with a query is no hard negative by words."""
    folder = labelling.beir(tmp_path / "beir", 30, 5)  # queries are in another language
    labels = read_labels(folder, tmp_path / "records")
    (tmp_path / "out").mkdir()
    assert all(record["negatives"] == [] for record in run(labels, tmp_path / "out/x.jsonl"))


def test_skip_depth_and_margin(labels, model, tmp_path) -> None:
    plain = run(labels, tmp_path / "out.jsonl", model, by="model", number=20, depth=20)
    skipped = run(labels, tmp_path / "out.jsonl", model, by="model", number=15, depth=20, skip=5)
    assert [r["negatives"][5:] for r in plain] == [r["negatives"] for r in skipped]
    positive = [dict(row) for row in order(labels, "model", model)]
    below = run(labels, tmp_path / "out.jsonl", model, by="model", number=20, depth=20, relative_margin=0.4)
    dropped = 0
    for row, (record, before) in enumerate(zip(below, plain, strict=True)):
        limit = 0.6 * positive[row][f"d{row}"]
        assert all(n["score"] <= limit + 1e-4 for n in record["negatives"])
        kept = [n for n in before["negatives"] if n["score"] < limit - 1e-4]
        assert [n for n in record["negatives"] if n["score"] < limit - 1e-4] == kept, (
            "those above are left out, not replaced by easier ones"
        )
        dropped += len(before["negatives"]) - len(kept)
    assert dropped > 20


def test_drawn_from_the_depth_by_seed(labels, model, tmp_path) -> None:
    whole = run(labels, tmp_path / "out.jsonl", model, by="model", number=40, depth=40)
    some = [run(labels, tmp_path / "out.jsonl", model, by="model", number=10, depth=40, seed=s) for s in (0, 1)]
    for record, one, two in zip(whole, *some, strict=True):
        best = [n["id"] for n in record["negatives"]]
        places = [best.index(n["id"]) for n in one["negatives"]]
        assert len(places) == 10
        assert places == sorted(set(places))
        assert [n["id"] for n in two["negatives"]] != [n["id"] for n in one["negatives"]]
    assert some[0] == run(labels, tmp_path / "out.jsonl", model, by="model", number=10, depth=40)


def test_half_by_each(labels, model, tmp_path) -> None:
    found = run(labels, tmp_path / "out.jsonl", model, by="both", number=8)
    for record in found:
        ids = [n["id"] for n in record["negatives"]]
        assert len(set(ids)) == len(ids) == 8
        words = sum(n["by"] == "bm25" for n in record["negatives"])
        assert words == min(4, words)
        assert words >= 1
    assert sum(sum(n["by"] == "bm25" for n in r["negatives"]) == 4 for r in found) > 60


def test_what_is_read_back(labels, tmp_path) -> None:
    found = run(labels, tmp_path / "out.jsonl", number=5)
    order_of = np.arange(len(labels))[::-1]
    rows = load_negatives(labels.select(order_of), tmp_path / "out.jsonl")
    for row, number in enumerate(order_of.tolist()):
        names = [n["id"] for n in found[number]["negatives"]]
        assert [labels.records[d].id for d in rows.row(row).tolist()] == names


def test_negatives_of_labels_without_ids_are_found_by_text(tmp_path) -> None:
    """Ids are then places, and the lines may have been put into another order since."""
    words = [labelling.word(n) for n in range(40)]
    rows = [{"query": f"{words[n]} x{n}", "positive": f"{words[n]} {words[n + 1]}"} for n in range(30)]
    path = labelling.lines(tmp_path / "labels.jsonl", rows)
    (tmp_path / "out").mkdir()
    found = run(read_labels(path, tmp_path / "records"), tmp_path / "out/x.jsonl", number=1)
    turned = read_labels(labelling.lines(path, rows[::-1]), tmp_path / "again")
    read = load_negatives(turned, tmp_path / "out/x.jsonl")
    for row, record in enumerate(found[::-1]):
        assert [turned.records[d].id for d in read.row(row).tolist()] == [n["id"] for n in record["negatives"]]
    assert len(read.tokens) > 20


def test_a_document_with_an_answer_is_no_negative(tmp_path) -> None:
    """As DPR chooses them; the others of the depth stand in."""
    texts = [
        f"the capital of land{n} is a city called {name}" for n, name in enumerate(["Paris", "Rome", "paris", "Bern"])
    ]
    more = labelling.lines(tmp_path / "more.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    row = {"question": "capital city of land0", "positive": texts[0], "answers": ["Paris"]}
    read = {}
    (tmp_path / "out").mkdir()
    for name in ("with", "without"):
        path = labelling.lines(tmp_path / f"{name}.jsonl", [row])
        labels = read_labels(path, tmp_path / "records", documents=(str(more),))
        read[name] = {n["text"] for n in run(labels, tmp_path / "out/x.jsonl", number=3)[0]["negatives"]}
        row.pop("answers", None)
    assert read == {"with": {texts[1], texts[3]}, "without": set(texts[1:])}


def test_a_file_that_is_not_to_be_written_over(labels, tmp_path) -> None:
    pairs = labelling.lines(tmp_path / "pairs.jsonl", [{"query": "a b", "positive": "b c"}] * 3)
    before = pairs.read_bytes()
    other = labelling.lines(tmp_path / "notes.jsonl", [{"id": "mine"}])
    for output, words in (
        (pairs, "would be overwritten"),
        (other, "was not written by"),
        (tmp_path, "is a folder"),
        (Path(), "is a folder"),
    ):
        with pytest.raises(UsageError, match=words):
            mine_source(pairs, None, output, MineOptions(number=1, depth=1), Silent())
    assert pairs.read_bytes() == before
    assert not list(tmp_path.glob("*.parts"))
    for _ in range(2):
        mine_source(pairs, None, tmp_path / "out.jsonl", MineOptions(number=1, depth=1), Silent())


def test_a_broken_file_of_negatives(labels, tmp_path) -> None:
    path = tmp_path / "x.jsonl"
    for content, words in (
        (b'{"id": "q0", "negatives": []}\n{broken\n', "x.jsonl:2: not a line"),
        (b"[]\n", "x.jsonl:1: not a line"),
        (b'{"id": "q0", "negatives": [{"id": "nobody"}]}\n', "x.jsonl:1: 'nobody' is not known"),
        (b'{"id": "other", "negatives": []}\n', "no query of these labels"),
        (b'{"id": "q0", "query": "another", "negatives": []}\n', "no query of these labels"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError) as found:
            load_negatives(labels, path)
        assert words in str(found.value)
    with pytest.raises(UsageError, match="no such file"):
        load_negatives(labels, tmp_path / "none")


class _StoppedError(Exception):
    pass


class _StopAfter(Silent):
    """Stops a run after some blocks."""

    def __init__(self, blocks: int) -> None:
        self.blocks, self.mining = blocks, False

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.mining = name == "mine"

    def advance(self, count: int, detail: str = "") -> None:
        self.blocks -= self.mining
        if self.mining and self.blocks == 0:
            raise _StoppedError


def test_parts_of_another_run_are_refused_by_name(labels, model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mining, "_BLOCK", 16)
    output, encoder = tmp_path / "out.jsonl", open_encoder(str(model))
    with pytest.raises(_StoppedError):
        mine(labels, encoder, output, MineOptions(by="model"), _StopAfter(2))
    other = open_encoder(str(labelling.static_model(tmp_path / "other", dimensions=12)))
    for changed, words in (
        ((labels.select(np.arange(50)), encoder, output, MineOptions(by="model")), "labels"),
        ((labels, other, output, MineOptions(by="model")), "model"),
        ((labels, encoder, output, MineOptions(by="model", number=3)), "options.number was 30 and is 3"),
        ((labels, encoder, output, MineOptions(by="both")), "options.by was model and is both"),
    ):
        with pytest.raises(FingerprintError, match=f"cannot resume: {words}"):
            mine(*changed, Silent())
    with pytest.raises(UsageError, match="needs one"):
        mine(labels, None, output, MineOptions(by="both"), Silent())
    mine(labels, encoder, output, MineOptions(by="model"), Silent())
    done = output.read_bytes()
    output.unlink()
    mine(labels, encoder, output, MineOptions(by="model"), Silent())
    assert output.read_bytes() == done
    assert not list(tmp_path.glob("*.parts"))


NONSENSE: list[dict] = [
    {"number": 0}, {"number": 5, "depth": 4}, {"skip": -1}, {"relative_margin": -0.1}, {"relative_margin": 1.1},
    {"number": 5, "depth": 9, "skip": 5},
]  # fmt: skip


@pytest.mark.parametrize("values", NONSENSE)
def test_nonsense_is_refused(values) -> None:
    with pytest.raises(UsageError):
        MineOptions(**values)


class _Telling(Silent):
    def __init__(self, report: Connection) -> None:
        self.report = report

    def advance(self, count: int, detail: str = "") -> None:
        self.report.send(count)
        time.sleep(0.05)


def mine_slowly(report: Connection, folder: Path, model: Path, output: Path) -> None:
    """In a process of its own: mine small blocks, telling of each."""
    mining._BLOCK = 8
    labels = read_labels(folder, output.with_name("records-slow"))
    mine(labels, open_encoder(str(model)), output, MineOptions(by="both", number=6), _Telling(report))


def test_killed_and_gone_on_gives_the_same_file(labels, model, tmp_path, monkeypatch) -> None:
    folder = labels.records.path.parent / "beir"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.setattr(mining, "_BLOCK", 8)
    encoder, options = open_encoder(str(model)), MineOptions(by="both", number=6)
    mine(labels, encoder, tmp_path / "a/out.jsonl", options, Silent())
    output = tmp_path / "b/out.jsonl"
    process, _report = start(mine_slowly, folder, model, output)
    parts = output.with_name("out.jsonl.parts")
    deadline = time.monotonic() + 60
    while len(looking.seen(parts, "0*.jsonl")) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("0*.jsonl")}
    assert 4 <= len(kept) < 13
    assert not output.exists()
    seen: list[int] = []

    class Watching(Silent):
        def advance(self, count: int, detail: str = "") -> None:
            seen.extend(path.stat().st_mtime_ns == kept[path] for path in kept if path.is_file())

    mine(labels, encoder, output, options, Watching())
    assert set(seen) == {True}, "what was done is not done again"
    assert output.read_bytes() == (tmp_path / "a/out.jsonl").read_bytes()


def mine_many(report: Connection, folder: Path, copies: int) -> None:
    """In a process of its own: mine the same queries many times over; sends the growth of its peak memory, in MB."""
    _, queries = labelling.toy(1000)
    more = [{"_id": f"q{n}-{c}", "text": f"{q['text']} {c}"} for c in range(copies) for n, q in enumerate(queries)]
    labelling.lines(folder / "queries.jsonl", more)
    (folder / "qrels/many.tsv").write_text("".join(f"{q['_id']}\td{q['_id'].split('-')[0][1:]}\t1\n" for q in more))
    labels = read_labels(folder, folder / "records", split="many")
    encoder = open_encoder(str(folder / "model"))
    mine(labels.select(np.arange(300)), encoder, folder / "first.jsonl", MineOptions(by="both"), Silent())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mine(labels, encoder, folder / "out.jsonl", MineOptions(by="both"), Silent())
    report.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    report.send(len(labels))


def test_memory_does_not_grow_with_queries(tmp_path) -> None:
    folder = labelling.beir(tmp_path / "beir", 1000, 100)
    labelling.static_model(folder / "model")
    process, report = start(mine_many, folder, 2)
    growth, queries = report.recv(), report.recv()
    process.join()
    assert queries == 2000
    assert growth < 6, f"{growth} MB; the scores of all queries would be 16 MB, the records 8 MB"
