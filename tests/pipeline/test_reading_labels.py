"""Every format of labels gives the same labels; what cannot be read is named by file and line."""

from __future__ import annotations

import gzip
import math
import time
from pathlib import Path

import numpy as np
import orjson
import pytest

import labelling
from pretrieve.core.errors import DataError, UsageError
from pretrieve.pipeline.finetune.read_labels import documents_by_id, read_labels
from pretrieve.sampling.labels import Labels

A, B, C = "alpha river", "beta stone", "gamma light"


def read(source: Path, **arguments) -> Labels:
    return read_labels(source, source.parent / "records", **arguments)


def told(labels: Labels) -> list[tuple[str, set[str], set[str]]]:
    """Each query with the texts of its positives and negatives."""
    return [
        (
            text,
            {labels.records[int(d)].text for d in labels.positives.row(row)},
            {labels.records[int(d)].text for d in labels.negatives.row(row)},
        )
        for row, text in enumerate(labels.texts())
    ]


EXPECTED = [("what is a", {A}, {B}), ("what is c", {C}, {A, B})]
RECORDS = {
    "pairs": [{"query": q, "positive": p, "negative": n} for q, (p,), n in ((q, p, sorted(n)) for q, p, n in EXPECTED)],
    "triplets": [
        {"anchor": "what is a", "positive": A, "negative": B},
        {"anchor": "what is c", "positive": C, "negative": A},
        {"anchor": "what is c", "positive": C, "negative": B},
    ],
    "dpr": [
        {
            "question": q,
            "answers": ["x"],
            "positive_ctxs": [{"title": "", "text": t, "score": 3.0, "passage_id": t[0]} for t in p],
            "hard_negative_ctxs": [{"title": "", "text": t, "passage_id": t[0]} for t in sorted(n)],
        }
        for q, p, n in EXPECTED
    ],
    "flag": [
        {"query": q, "pos": [*p], "neg": sorted(n), "pos_scores": [9.0], "neg_scores": [1.0] * len(n)}
        for q, p, n in EXPECTED
    ],
}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json", ".json.gz"])
def test_every_format_of_a_file(tmp_path, name, suffix) -> None:
    path = tmp_path / f"labels{suffix}"
    if ".jsonl" in suffix:
        labelling.lines(path, RECORDS[name])
    else:
        data = orjson.dumps(RECORDS[name], option=orjson.OPT_INDENT_2)
        path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    labels = read(path)
    assert told(labels) == EXPECTED
    assert labels.size == 3
    assert len(labels.records) == 3 + 2
    assert (labels.teacher is not None) == (name == "flag")
    if labels.teacher is not None:
        assert labels.teacher[0].tolist() == [9, 9]
        assert labels.teacher[1].tolist() == [1, 1, 1]


def test_a_beir_folder(tmp_path) -> None:
    folder = labelling.beir(tmp_path / "beir", 30, 10)
    labels = read_labels(folder, tmp_path / "records", split="test")
    assert labels.size == 30
    assert list(labels.ids) == [f"q{n}" for n in range(20, 30)]
    assert labels.positives.tokens.tolist() == [*range(20, 30)]
    assert labels.records[5].title == labelling.toy(30)[0][5]["title"]
    assert documents_by_id(labels) == {f"d{n}": n for n in range(30)}


def test_grades_missing_documents_and_numbers_for_ids(tmp_path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    labelling.lines(folder / "corpus.jsonl", [{"_id": n, "text": t} for n, t in enumerate((A, B, C))])
    labelling.lines(folder / "queries.jsonl", [{"_id": n, "text": f"query {n}"} for n in range(3)])
    (folder / "qrels/train.tsv").write_text("q\td\ts\n0\t0\t2\n0\t1\t0\n1\t2\t1\n1\tgone\t1\n2\tgone\t1\n")
    labels = read(folder)
    assert told(labels) == [("query 0", {A}, {B}), ("query 1", {C}, set())]


def test_copies_of_a_document_are_known(tmp_path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    records = [("a", "T", A), ("b", "", A), ("c", "T", A), ("d", "", B)]
    labelling.lines(folder / "corpus.jsonl", [{"_id": i, "title": t, "text": x} for i, t, x in records])
    labelling.lines(folder / "queries.jsonl", [{"_id": "q", "text": "query"}])
    (folder / "qrels/train.tsv").write_text("q\td\ts\nq\ta\t1\n")
    assert read(folder).canonical.tolist() == [0, 1, 0, 3]


def test_queries_with_one_text_are_one(tmp_path) -> None:
    """Or a positive of one copy would be a negative for the other, and be held out beside it."""
    rows = [
        {"query": "same", "pos": [A], "neg": [C], "pos_scores": [1.0], "neg_scores": [0.5]},
        {"query": "other", "pos": [C]},
        {"query": " same ", "pos": [B, A], "pos_scores": [2.0, 7.0]},
    ]
    labels = read(labelling.lines(tmp_path / "labels.jsonl", rows))
    assert told(labels) == [("same", {A, B}, {C}), ("other", {C}, set())]
    scores = dict(zip(labels.positives.row(0).tolist(), labels.teacher[0][:2].tolist(), strict=True))
    by_id = {labels.records[n].text: score for n, score in scores.items()}
    assert by_id == {A: 1.0, B: 2.0}
    assert math.isnan(labels.teacher[0][2])
    late = [{"query": "a", "pos": [A], "neg": [B]}, {"query": "a", "pos": [A], "neg": [B], "pos_scores": [3.0]}]
    known = read(labelling.lines(tmp_path / "late.jsonl", late)).teacher
    assert known[0].tolist() == [3.0], "a score that comes with a second line"
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    labelling.lines(folder / "corpus.jsonl", [{"_id": t[0], "text": t} for t in (A, B)])
    labelling.lines(folder / "queries.jsonl", [{"_id": n, "text": "same"} for n in range(2)])
    (folder / "qrels/train.tsv").write_text("0\ta\t1\n1\tb\t1\n")
    assert told(read_labels(folder, tmp_path / "again")) == [("same", {A, B}, set())]


def test_a_query_with_many_lines_takes_time_as_many_queries_do(tmp_path) -> None:
    rows = [[{"query": f"q{n * many}", "pos": [f"text {n}"]} for n in range(20_000)] for many in (0, 1)]
    taken = []
    for part in rows:
        path = labelling.lines(tmp_path / "labels.jsonl", part)
        began = time.process_time()
        assert len(read(path).positives.tokens) == 20_000
        taken.append(time.process_time() - began)
    assert taken[0] < 3 * taken[1], taken


def test_answers_are_kept(tmp_path) -> None:
    rows = [
        {"query": "a", "pos": A, "answers": ["x", 7]},
        {"query": "b", "pos": B},
        {"query": "a", "pos": B, "answers": "y"},
    ]
    labels = read(labelling.lines(tmp_path / "labels.jsonl", rows))
    assert labels.answers == [["x", "7", "y"], []]
    assert labels.select(np.array([1, 0])).answers == [[], ["x", "7", "y"]]
    without = read(labelling.lines(tmp_path / "without.jsonl", [{**row, "answers": []} for row in rows]))
    assert without.answers is None
    assert without.fingerprint != labels.fingerprint


def test_more_documents(tmp_path) -> None:
    more = labelling.lines(tmp_path / "more.jsonl", [{"id": "x", "text": B}, {"id": "y", "text": "delta"}])
    path = labelling.lines(tmp_path / "labels.jsonl", [{"query": "a", "positive": A, "negative": B, "id": 0}])
    labels = read(path, documents=(str(more),))
    assert labels.size == 3
    assert list(labels.ids) == ["0"]
    assert labels.negatives.tokens.tolist() == [0], "the document that was there already"


def test_two_documents_with_one_id_stay_two(tmp_path) -> None:
    row = {"query": "a", "pos": [{"id": "1", "text": A}], "neg": [{"id": "1", "text": B}]}
    labels = read(labelling.lines(tmp_path / "labels.jsonl", [row]))
    assert len(documents_by_id(labels)) == labels.size == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"query": "a", "positive": "x"}\n{broken\n', "labels.jsonl:2: malformed JSON"),
        (b'\n{"positive": "x"}\n', "labels.jsonl:2: no query (name it query, question, anchor"),
        (b'{"query": {"text": "a"}, "positive": "x"}\n', "labels.jsonl:1: no query"),
        (b'{"query": "a"}\n', "labels.jsonl:1: no positive document"),
        (b'{"query": "a", "pos": [], "neg": ["b"]}\n', "labels.jsonl:1: no positive document"),
        (b'{"query": "a", "pos": [3]}\n', "labels.jsonl:1: unknown document id ('3'"),
        (b'{"query": "a", "pos": [{"title": "b"}]}\n', "labels.jsonl:1: not a document (an object without text"),
        (
            b'{"query": "a", "pos": ["b"], "pos_scores": [1, 2]}\n',
            "labels.jsonl:1: wrong number of scores (2 pos_scores for 1",
        ),
        (
            b'{"query": "a", "pos": ["b"], "pos_scores": ["x"]}\n',
            "labels.jsonl:1: wrong score (pos_scores: 'x' is not a number)",
        ),
        (
            b'{"query": "a", "pos": ["b"], "pos_scores": ["inf"]}\n',
            "labels.jsonl:1: wrong score (pos_scores: one is beyond 1e+06)",
        ),
        (
            b'{"id": 1, "query": "a", "pos": "b"}\n{"id": 1, "query": "c", "pos": "b"}\n',
            "jsonl:2: query id taken ('1' is",
        ),
        (b"[1, 2]\n", "labels.jsonl:1: not a record (a JSON object"),
        (b"\n \n", "no query with a positive"),
    ],
)
def test_bad_lines(tmp_path, content, words) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as found:
        read(path)
    assert words in str(found.value)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.json", b"{not json", "malformed JSON"),
        ("labels.json", b'{"query": "a"}', "no positive document"),
        ("labels.json", b'[{}, "a"]', "labels.json, entry 0: no query"),
        ("labels.json", b"[]", "labels.json: no query with a positive document"),
        ("labels.json", b'["a", 1]', "labels.json:1: not a record (a JSON object"),
        ("labels.jsonl.gz", gzip.compress(b'{"query": "a", "positive": "x"}\n' * 50, mtime=0)[:-12], "labels.jsonl.gz"),
    ],
)
def test_bad_files(tmp_path, name, content, words) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as found:
        read(tmp_path / name)
    assert words in str(found.value)


def test_what_does_not_go_together(tmp_path) -> None:
    folder = labelling.beir(tmp_path / "beir", 30, 10)
    for source, arguments, words in (
        (folder, {"split": "tset"}, "no split 'tset'. Did you mean 'test'"),
        (folder, {"documents": ("x",)}, "leave --documents out"),
        (tmp_path / "none.jsonl", {}, "no such file"),
    ):
        with pytest.raises(UsageError) as found:
            read_labels(source, tmp_path / "records", **arguments)
        assert words in str(found.value)
    (folder / "qrels/empty.tsv").write_text("q\td\ts\n")
    (folder / "qrels/lost.tsv").write_text("q\td\ts\nq1\tgone\t1\n")
    (folder / "qrels/odd.tsv").write_text("q\td\ts\nnobody\td1\t1\n")
    for split, words in (("empty", "no query of split"), ("lost", "no query of split"), ("odd", "'nobody'")):
        with pytest.raises(DataError) as failed:
            read_labels(folder, tmp_path / "records", split=split)
        assert words in str(failed.value)


def test_scores_are_in_the_order_of_rows(tmp_path) -> None:
    rng = np.random.default_rng(0)
    rows, truth = [], {}
    for number in range(20):
        sides = [[f"{kind} {number} {n}" for n in range(rng.integers(1, 4))] for kind in ("yes", "no")]
        scores = [[float(np.float32(rng.normal())) for _ in side] for side in sides]
        truth |= {t: s for side, kept in zip(sides, scores, strict=True) for t, s in zip(side, kept, strict=True)}
        rows.append(
            dict(
                zip(("query", "pos", "neg", "pos_scores", "neg_scores"), (f"q {number}", *sides, *scores), strict=True)
            )
        )
    labels = read(labelling.lines(tmp_path / "labels.jsonl", rows)).select(rng.permutation(20))
    for side, scores in zip((labels.positives, labels.negatives), labels.teacher, strict=True):
        assert [truth[labels.records[n].text] for n in side.tokens.tolist()] == scores.tolist()
