"""Every format that ``docs/labels.md`` shows is read as it says; what is not used is named, what is bad is counted."""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path

import orjson
import pytest
import zstandard

import labelling
from pretrieve.core.errors import DataError
from pretrieve.pipeline.finetune.label_report import LabelReport
from pretrieve.pipeline.finetune.read_labels import LabelSource, read_source
from pretrieve.sampling.labels import Labels

A, B, C, QUERY = "alpha river", "beta stone", "gamma light", "what is a"
PAGE = Path(__file__).parent.parent.parent / "docs" / "labels.md"
Told = list[tuple[str, dict[str, float], dict[str, float]]]


def read(path: Path, **arguments) -> tuple[Told, LabelReport]:
    """Each query with its positives and negatives, and a teacher's scores of them."""
    report = LabelReport()
    source = LabelSource(path=path, quarantine=path.with_name("bad.jsonl"), **arguments)
    return told(read_source(source, path.parent / "records", report)), report


def told(labels: Labels) -> Told:
    sides = (labels.positives, labels.negatives)
    teacher = labels.teacher or tuple([math.nan] * len(side.tokens) for side in sides)
    found = []
    for row, text in enumerate(labels.texts()):
        cells = []
        for side, scores in zip(sides, teacher, strict=True):
            places = range(int(side.offsets[row]), int(side.offsets[row + 1]))
            cells.append({labels.records[int(side.tokens[n])].text: round(float(scores[n]), 5) for n in places})
        found.append((text, *cells))
    return found


def texts(found: Told) -> list[tuple[str, set[str], set[str]]]:
    return [(query, set(positives), set(negatives)) for query, positives, negatives in found]


def lines(path: Path, *records) -> Path:
    return labelling.lines(path, list(records))


def examples() -> list[tuple[str, str, str]]:
    """Format, file and content of each row of the table of formats."""
    rows = re.findall(r"^\| ([^|]+) \| `(labels[^|]+)` \| (`.+`) \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE)
    return [(name, file, "\n".join(re.findall(r"`([^`]+)`", cell)).replace("\\t", "\t")) for name, file, cell in rows]


def written(folder: Path, file: str, content: str) -> Path:
    path = folder / file
    if file.endswith(".parquet"):
        parquet(path, [orjson.loads(line) for line in content.splitlines()])
    else:
        path.write_text(content + "\n")
    return path


def parquet(path: Path, rows: list[dict[str, object]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def documents(folder: Path) -> tuple[str, ...]:
    return (str(lines(folder / "docs.jsonl", {"id": "d1", "text": A}, {"id": "d2", "text": B})),)


def test_the_page_shows_every_format() -> None:
    assert len(examples()) == 16


@pytest.mark.parametrize(("name", "file", "content"), examples(), ids=[name for name, _, _ in examples()])
def test_an_example_of_the_page_says_what_the_page_says(tmp_path, name, file, content) -> None:
    path = written(tmp_path, file, content)
    found, report = read(path, documents=documents(tmp_path) if name == "ids" else ())
    assert [row[0] for row in found] == [QUERY]
    assert set(found[0][1]) == {A}
    assert set(found[0][2]) == ({B} if (B in content and name != "LlamaIndex") or name == "ids" else set())
    assert not report.unused
    assert not report.faults
    scored = [*found[0][1].values(), *found[0][2].values()]
    assert any(map(math.isnan, scored)) != ("scores" in content)


@pytest.mark.parametrize(("name", "file", "content"), examples(), ids=[name for name, _, _ in examples()])
def test_compressed_with_a_mark_and_upper_case(tmp_path, name, file, content) -> None:
    """The same labels in a packed file that begins with a byte order mark."""
    path = written(tmp_path, file, content)
    data = path.read_bytes()
    if not file.endswith(".parquet"):
        data = b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")
    packed = {".gz": gzip.compress(data), ".zst": zstandard.ZstdCompressor().compress(data)}
    expected, _ = read(path, documents=documents(tmp_path))
    for suffix, bytes_ in packed.items():
        (tmp_path / f"{file}{suffix}").write_bytes(bytes_)
        found, _ = read(tmp_path / f"{file}{suffix}", documents=documents(tmp_path))
        assert texts(found) == texts(expected)


def test_names_in_any_case(tmp_path) -> None:
    (tmp_path / "labels.csv").write_text(f"Query , POSITIVE,Negative\n{QUERY},{A},{B}\nwhat is c,{C},\n")
    found, report = read(tmp_path / "labels.csv")
    assert texts(found) == [(QUERY, {A}, {B}), ("what is c", {C}, set())]
    assert (report.queries, report.with_negatives) == (2, 1)
    found, _ = read(lines(tmp_path / "labels.jsonl", {"Query": QUERY, "Pos": [A], "NEG": [B]}))
    assert texts(found) == [(QUERY, {A}, {B})]


@pytest.mark.parametrize("suffix", [".json", ".txt", ".jl", ".ndjson", ""])
def test_lines_of_json_by_another_name(tmp_path, suffix) -> None:
    path = lines(tmp_path / f"labels{suffix}", {"query": QUERY, "positive": A}, {"query": "b", "positive": B})
    assert texts(read(path)[0]) == [(QUERY, {A}, set()), ("b", {B}, set())]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".txt"])
@pytest.mark.parametrize("indent", [0, orjson.OPT_INDENT_2])
def test_an_array_by_another_name(tmp_path, suffix, indent) -> None:
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(orjson.dumps([{"query": QUERY, "positive": A}, {"query": "b", "positive": B}], option=indent))
    assert texts(read(path)[0]) == [(QUERY, {A}, set()), ("b", {B}, set())]


def test_negatives_of_an_n_tuple_go_by_their_numbers(tmp_path) -> None:
    """As their scores do; the order of the fields says nothing."""
    names = [f"negative_{n}" for n in (10, 2, 1, 9, 3, 8, 4, 7, 5, 6)]
    record = {"query": QUERY, **{name: f"text {name}" for name in names}, "positive": A}
    found, _ = read(lines(tmp_path / "labels.jsonl", {**record, "scores": [0.9, *(n / 10 for n in range(10))]}))
    assert found[0][1] == {A: 0.9}
    assert found[0][2] == {f"text negative_{n + 1}": n / 10 for n in range(10)}
    record["negative_3"] = None
    found, report = read(lines(tmp_path / "labels.jsonl", record))
    assert len(found[0][2]) == 9
    assert report.counts["empty_negatives"] == 1
    with pytest.raises(DataError, match=r"labels.jsonl:1: wrong number of scores \(2 scores for 11 documents"):
        read(lines(tmp_path / "labels.jsonl", {**record, "scores": [1, 2]}))


@pytest.mark.parametrize(
    ("record", "positives", "negatives"),
    [
        ({"positive": A, "score": 0.8}, {A: 0.8}, {}),
        ({"documents": [A, B, C], "scores": [0.9, 0, 0.3]}, {A: 0.9}, {B: 0}),
        ({"docs": [A, B, C], "labels": [1, 0, 1], "scores": [7.5, -2, 3]}, {A: 7.5, C: 3}, {B: -2}),
        ({"document_1": A, "document_2": B, "labels": [True, False]}, {A: None}, {B: None}),
        ({"answer": A, "label": 0.5}, {A: None}, {}),
        ({"text": A, "label": "1"}, {A: None}, {}),
        ({"positive": A, "negative": B, "scores": [3, 1]}, {A: 3}, {B: 1}),
        ({"pos": [A, C], "neg": {"bm25": [B], "model": [B]}, "scores": [3, 1, 2, 2]}, {A: 3, C: 1}, {B: 2}),
    ],
)
def test_labels_and_scores(tmp_path, record, positives, negatives) -> None:
    found, report = read(lines(tmp_path / "labels.jsonl", {"query": QUERY, **record}))
    assert not report.unused
    for side, expected in zip(found[0][1:], (positives, negatives), strict=True):
        assert set(side) == set(expected)
        for text, score in expected.items():
            assert math.isnan(side[text]) if score is None else side[text] == score


def test_what_labels_decide_is_counted(tmp_path) -> None:
    rows = [("a", "x y", 1), ("a", "x z", 0), ("a", "x w", 0.49), ("b", "x z", 0.5), ("c", "x w", 0), ("b", "x z", 0)]
    found, report = read(lines(tmp_path / "l.jsonl", *({"query": q, "passage": p, "label": n} for q, p, n in rows)))
    assert texts(found) == [("a", {"x y"}, {"x z"}), ("b", {"x z"}, set())]
    said = " ".join(report.lines("l.jsonl"))
    assert "positives (a label of at least 0.5): 2; negatives (0): 3; between, not used: 1." in said
    assert "negatives that are positives of the same query, dropped: 1." in said
    assert "queries without a positive document, left out: 1." in said
    assert report.to_json()["without_positive"] == 1


def test_fields_that_are_not_used_are_named_once(tmp_path) -> None:
    context = {"title": "t", "text": B, "passage_id": "7", "score": 3.5}
    rows = [{"query": f"q {n}", "pos": A, "hard_negative_ctxs": [context], "Source": "web", "n": 0} for n in range(3)]
    rows.append({"query": "other", "pos": A, "text": "never", "prompt": "find: ", "type": "", "answer": None})
    rows.append({"query": "scalar", "positive": A, "negative": B, "score": 0.7})
    _, report = read(lines(tmp_path / "labels.jsonl", *rows))
    assert report.unused == {"hard_negative_ctxs.score": 3, "Source": 3, "n": 3, "text": 1, "prompt": 1, "score": 1}
    said = report.lines("labels.jsonl")
    assert "labels.jsonl: the field 'Source' is not used (records: 3)." in said
    assert [line for line in said if "--query-prompt" in line]
    many = [{"query": f"q {n}", "pos": A, f"key {n}": 1} for n in range(1500)]
    _, report = read(lines(tmp_path / "labels.jsonl", *many))
    assert len(report.unused) <= 1001
    assert report.unused.total() == 1500
    assert len([line for line in report.lines("x") if "not used" in line]) == 21


def test_ids_are_texts_of_the_documents(tmp_path) -> None:
    more = lines(tmp_path / "docs.jsonl", *({"id": n, "text": f"text of {n}"} for n in (1, "d2", 3)))
    rows = [
        {"query": "a", "positive": 1, "negatives": ["d2", 3]},
        {"query": "b", "pos": [{"docid": 3}], "neg": {"bm25": [1, 99]}},
        {"query": "c", "positive_document_ids": ["d2"]},
        {"query": "d", "pos_id": 3},
    ]
    found, report = read(lines(tmp_path / "labels.jsonl", *rows), documents=(str(more),))
    one, two, three = "text of 1", "text of d2", "text of 3"
    assert texts(found) == [
        ("a", {one}, {two, three}), ("b", {three}, {one}), ("c", {two}, set()), ("d", {three}, set()),
    ]  # fmt: skip
    assert (report.counts["by_id"], report.counts["missing"]) == (7, 1)
    assert not report.unused
    for row, words in (
        ({"query": "a", "positive": 99}, "unknown document id ('99' is not among --documents)"),
        ({"query": "a", "positive_document_ids": ["99"]}, "'99' is not among --documents"),
    ):
        with pytest.raises(DataError) as failed:
            read(lines(tmp_path / "labels.jsonl", row), documents=(str(more),))
        assert words in str(failed.value)
    for row in ({"query": "a", "positive": 99}, {"query": "a", "pos": A, "neg": [4]}, {"query": "a", "pos": {"id": 7}}):
        with pytest.raises(DataError, match="give the documents with these ids as --documents SOURCE"):
            read(lines(tmp_path / "labels.jsonl", row))
    unnamed = lines(tmp_path / "unnamed.jsonl", {"text": "no id"})
    with pytest.raises(DataError, match="have no ids; name them _id or id"):
        read(lines(tmp_path / "labels.jsonl", {"query": "a", "positive": 99}), documents=(str(unnamed),))


def test_texts_that_look_like_ids(tmp_path) -> None:
    rows = [{"query": f"q {n}", "positive": f"d{n}_7"} for n in range(3)]
    with pytest.raises(DataError, match=r"documents look like ids, such as 'd0_7': give the documents as --documents"):
        read(lines(tmp_path / "labels.jsonl", *rows))
    more = lines(tmp_path / "docs.jsonl", {"id": "other", "text": "x"})
    with pytest.raises(DataError, match="such as 'd0_7': they are not among --documents"):
        read(lines(tmp_path / "labels.jsonl", *rows), documents=(str(more),))
    _, report = read(lines(tmp_path / "labels.jsonl", *rows, {"query": "c", "positive": A}))
    assert [note for note in report.notes if note.startswith("3 documents are one word with a digit, such as 'd0_7'")]


def test_a_table_without_a_header_keeps_its_first_row(tmp_path) -> None:
    path = tmp_path / "triples.tsv"
    path.write_text(f"is a river long\t{A}\t{B}\nwhat fruit is native\t{C}\t{A}\n")
    found, report = read(path)
    assert texts(found) == [("is a river long", {A}, {B}), ("what fruit is native", {C}, {A})]
    assert report.notes == ["no header: 3 columns are read as query, positive, negative, the first row too."]
    for name, content in (
        ("ids.tsv", "12\t34\t56\n"),  # MS MARCO's qidpidtriples
        ("other.tsv", "frage\tantwort\nwas ist das\tein Fluss\n"),
        ("wide.tsv", "what is this\ta\tb\tc\n"),
        ("other.csv", f"what is the river,{A}\nb,{B}\n"),
        ("semicolons.csv", f"query;positive\na;{A}\n"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=f"{name}:1: no column is named query, question or anchor"):
            read(tmp_path / name)
    (tmp_path / "twice.csv").write_text(f"query,positive,negative,negative\na,{A},{B},{C}\n")
    with pytest.raises(DataError, match="two columns are named 'negative'"):
        read(tmp_path / "twice.csv")


def test_lists_and_objects_of_parquet(tmp_path) -> None:
    rows = [
        {"query": QUERY, "positive_passages": [{"docid": "1", "title": "t", "text": A}], "negatives": [B, C], "n": 1},
        {"query": "c", "positive_passages": [{"docid": "2", "title": "", "text": C}], "negatives": [], "n": 2},
    ]
    found, report = read(parquet(tmp_path / "labels.parquet", rows))
    assert texts(found) == [(QUERY, {A}, {B, C}), ("c", {C}, set())]
    assert report.unused == {"n": 2}
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="damaged Parquet"):
        read(tmp_path / "labels.parquet")


def test_llamaindex_lacks_are_counted(tmp_path) -> None:
    value = {
        "queries": {"q1": QUERY, "q2": "what is c", "q3": ""},
        "corpus": {"d1": A, "d2": B},
        "relevant_docs": {"q1": ["d1", "gone"], "q2": ["gone"], "q4": ["d1"]},
        "mode": "image",
        "extra": 1,
    }
    (tmp_path / "labels.json").write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    with pytest.raises(DataError, match=r"relevant_docs 'q4': no query \(its id is not in queries\)"):
        read(tmp_path / "labels.json")
    found, report = read(tmp_path / "labels.json", on_bad="skip")
    assert texts(found) == [(QUERY, {A}, set())]
    assert report.faults == {"no query": 2}
    assert (report.counts["missing"], report.counts["without_positive"]) == (2, 1)
    assert set(report.unused) == {"mode", "extra"}


BAD = [
    ({"positive": A}, "no query"),
    ({"query": 7, "positive": A}, "no query"),
    ({"query": " ", "positive": A}, "no query"),
    ({"query": "a"}, "no positive document"),
    ({"query": "a", "positive": ""}, "no positive document"),
    ({"query": "a", "pos": [A, None]}, "no positive document"),
    ({"query": "a", "pos": [1.5]}, "not a document"),
    ({"query": "a", "pos": [[A]]}, "not a document"),
    ({"query": "a", "pos": {"title": "x"}}, "not a document"),
    ({"query": "a", "pos": A, "label": 2}, "wrong label"),
    ({"query": "a", "pos": A, "label": "entailment"}, "wrong label"),
    ({"query": "a", "pos": A, "score": -0.1}, "wrong label"),
    ({"query": "a", "docs": [A, B], "labels": [1]}, "wrong number of labels"),
    ({"query": "a", "pos": A, "neg": B, "pos_scores": [1, 2]}, "wrong number of scores"),
    ({"query": "a", "pos": A, "neg": B, "scores": [1, "x"]}, "wrong score"),
    ({"query": "a", "pos": A, "neg": B, "scores": [1, 1e9]}, "wrong score"),
    ({"query": "a", "pos": A, "id": [1]}, "id is not a text"),
    ({"query": "a", "pos": A, "answers": [{}, {"x": 1}]}, "answers are not texts"),
    ({"query": "other", "pos": A, "id": "taken"}, "query id taken"),
    ([A], "not a record"),
    ("text", "not a record"),
]


@pytest.mark.parametrize(("record", "reason"), BAD)
def test_a_bad_record_fails_or_is_counted(tmp_path, record, reason) -> None:
    path = lines(tmp_path / "labels.jsonl", {"id": "taken", "query": QUERY, "positive": A}, record)
    with pytest.raises(DataError) as failed:
        read(path)
    assert f"labels.jsonl:2: {reason}" in str(failed.value)
    assert "--on-bad skip" in str(failed.value)
    assert not (tmp_path / "records").exists()
    found, report = read(path, on_bad="skip")
    assert texts(found) == [(QUERY, {A}, set())]
    assert (report.records, report.faults) == (2, {reason: 1})
    assert not (tmp_path / "bad.jsonl").exists()
    read(path, on_bad="quarantine")
    put = orjson.loads((tmp_path / "bad.jsonl").read_bytes())
    assert (put["where"], put["reason"]) == (f"{path}:2", reason)
    assert orjson.loads(put["record"]) == record


def test_all_bad_is_one_line(tmp_path) -> None:
    with pytest.raises(DataError, match=r"no query with a positive document; bad records: 2 \(no query: 2\), such as"):
        read(lines(tmp_path / "labels.jsonl", {"x": 1}, {"x": 2}), on_bad="skip")


def test_merged_and_repeated_and_conflicting(tmp_path) -> None:
    rows = [
        {"query": "a", "pos": [A, A], "neg": [B], "pos_scores": [1, 1], "neg_scores": [0.5]},
        {"query": "a ", "pos": [A], "neg": [C, B], "pos_scores": [2], "neg_scores": [0.1, 0.5]},
        {"query": "b", "pos": [B], "neg": [B, "", None, C]},
    ]
    found, report = read(lines(tmp_path / "labels.jsonl", *rows))
    assert found[0] == ("a", {A: 1}, {B: 0.5, C: pytest.approx(0.1)})
    assert texts(found[1:]) == [("b", {B}, {C})]
    counts = {name: count for name, count in report.counts.items() if count}
    assert counts == {"merged": 1, "repeated": 3, "conflicting_scores": 1, "contradicted": 1, "empty_negatives": 2}


def test_a_folder_reports_what_its_corpus_lacks(tmp_path) -> None:
    folder = labelling.beir(tmp_path / "beir", 30, 10)
    (folder / "qrels" / "train.tsv").write_text(
        "q\td\ts\nq1\td1\t1\nq1\tgone\t1\nq2\tgone\t1\nq3\td3\t0\nnobody\td1\t1\n"
    )
    with pytest.raises(DataError, match="'nobody' is not among the queries"):
        read(folder)
    found, report = read(folder, on_bad="skip")
    assert len(found) == 1
    assert (report.counts["missing"], report.counts["without_positive"], report.faults) == (2, 2, {"no query": 1})


def test_other_files_and_encodings(tmp_path) -> None:
    for name, data in (("labels.pdf", b"%PDF-1.4"), ("labels.txt", b"a text\tand another\n"), ("labels", b"\0\1\2")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=rf"{name}: no labels: JSONL, JSON, CSV, TSV, Parquet"):
            read(tmp_path / name)
    (tmp_path / "labels.csv").write_bytes("query,positive\nwas ist das größte,der große Fluß\n".encode("latin-1"))
    found, report = read(tmp_path / "labels.csv")
    assert texts(found) == [("was ist das größte", {"der große Fluß"}, set())]
    assert [line for line in report.lines("labels.csv") if "read as windows-1252" in line]
    (tmp_path / "labels.jsonl").write_bytes('{"query": "größte", "positive": "Fluß"}\n'.encode("utf-16"))
    assert texts(read(tmp_path / "labels.jsonl")[0]) == [("größte", {"Fluß"}, set())]
    (tmp_path / "labels.jsonl").write_bytes('{"query": "größte", "positive": "Fluß"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match=r"labels.jsonl:1: not UTF-8"):
        read(tmp_path / "labels.jsonl")
