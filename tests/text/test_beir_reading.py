"""A BEIR folder as people have it: encodings, packing, other qrels; what cannot be used is named by its line."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from pathlib import Path

import pytest
import zstandard

from pretrieve.core.errors import DataError, UsageError
from pretrieve.text.beir import load_collection, read_qrels, read_queries
from pretrieve.text.beir_files import split_files

CORPUS = b'{"_id": "d1", "title": "A", "text": "one"}\n{"_id": "d2", "text": "two"}\n'
QUERIES = b'{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "second"}\n'
QRELS = b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\n"
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tiny"
    (made / "qrels").mkdir(parents=True)
    (made / "corpus.jsonl").write_bytes(CORPUS)
    (made / "queries.jsonl").write_bytes(QUERIES)
    (made / "qrels" / "test.tsv").write_bytes(QRELS)
    return made


def content(folder: Path):
    found = load_collection(folder)
    return [(one.id, one.title, one.text) for one in found.documents], found.queries, found.qrels


def test_a_mark_of_utf8_and_line_ends_of_windows_change_nothing(folder):
    expected = content(folder)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = folder / name
        path.write_bytes(BOM + path.read_bytes().replace(b"\n", b"\r\n"))
    assert content(folder) == expected


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_packed_files(folder, suffix, pack):
    expected = content(folder)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = folder / name
        path.with_name(path.name + suffix).write_bytes(pack(path.read_bytes()))
        path.unlink()
    assert content(folder) == expected


def test_hidden_files_are_no_splits(folder):
    (folder / "qrels" / "._test.tsv").write_bytes(b"\0\5\26\7")
    (folder / "qrels" / "dev.tsv.gz").write_bytes(gzip.compress(QRELS))
    (folder / "qrels" / "dev.tsv").write_bytes(QRELS)
    assert {name: path.name for name, path in split_files(folder).items()} == {"dev": "dev.tsv", "test": "test.tsv"}
    assert split_files(folder / "corpus.jsonl") == split_files(folder / "none") == {}


@pytest.mark.parametrize("inner", ["tiny/", ""])
def test_the_archive_as_it_is_downloaded(folder, tmp_path, inner):
    archive = tmp_path / "tiny.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{inner}{path.relative_to(folder)}")
    assert content(archive) == content(folder)
    assert load_collection(archive).name == "tiny"
    with pytest.raises(UsageError, match=r"no split 'dev'\. Known: test"):
        load_collection(archive, "dev")


def test_an_archive_that_is_damaged_or_another_file(folder, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "tiny"), "zip", folder))
    data = bytearray(archive.read_bytes())
    data[60:70] = bytes(10)
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"tiny\.zip/.* cannot be unpacked"):
        load_collection(archive)
    packed = Path(shutil.make_archive(str(tmp_path / "tiny"), "tar", folder))
    with pytest.raises(UsageError, match=r"tiny\.tar is a file: unpack it"):
        load_collection(packed)


@pytest.mark.parametrize(
    "text",
    [
        "q1 d1 1\nq2 d2 2\n",
        "q1\td1\t1.0\nq2\td2\t2.\n",
        "q1 0 d1 1\nq2 0 d2 2\n",
        "q1\tQ0\td1\t1\nq2\tQ0\td2\t2\n",
        "query-id\tcorpus-id\tscore\n\nq1\td1\t+1\nq2\td2\t2\n",
        "qid iter docid rel\nq1 0 d1 1\nq2 0 d2 2\n",
    ],
)
def test_qrels_of_three_and_of_four_columns(folder, text):
    (folder / "qrels" / "test.tsv").write_text(text)
    assert read_qrels(folder, "test") == {"q1": {"d1": 1}, "q2": {"d2": 2}}


def test_columns_parted_by_tabs_may_hold_spaces(folder):
    (folder / "qrels" / "test.tsv").write_text("a query\ta document\t1\n")
    assert read_qrels(folder, "test") == {"a query": {"a document": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\td1\t1.5\n", r"test\.tsv:1: the grade '1\.5' is not a whole number"),
        ("q1\td1\thigh\n", r"test\.tsv:1: the grade 'high' is not a whole number"),
        ("q1\td1\t1_0\n", r"test\.tsv:1: the grade '1_0'"),
        ("q1\td1\t1\nq1\td1\t0\n", r"test\.tsv:2: document 'd1' of query 'q1' has grade 0 here and 1 in a line before"),
        ("q1 3 d1 1\n", r"test\.tsv:1: the second of four columns is '3'"),
        ("q1 0 d1 1\nq2 d2 1\n", r"test\.tsv:2: four fields were expected"),
        ("q1 d1 1\nq2 0 d2 1\n", r"test\.tsv:2: three fields"),
        ("q1\t\t1\n", r"test\.tsv:1: the id of the document is empty"),
        ("q1\td\x001\t1\n", r"test\.tsv:1: NUL"),
        ("q1\td1\t1\nq9\td1\t1\n", r"test\.tsv:2: query 'q9' is not in"),
        ("q1\td1 \t1\n", "white space around the ids differs"),
    ],
)
def test_qrels_that_cannot_be_used(folder, text, message):
    (folder / "qrels" / "test.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_collection(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"_id": "x", "text": "\\ud800"}', "lone surrogate"),
        (b'{"_id": "x", "text": "a\\u0000b"}', "NUL character in text"),
        (b'{"_id": "x\\u0000", "text": "a"}', "NUL character in _id"),
        (b'{"_id": "x", "text": ["a"]}', r"text is not a string \(list\)"),
        (b'{"_id": "x", "title": 3, "text": "a"}', r"title is not a string \(int\)"),
        (b'{"_id": 0.5, "text": "a"}', r"_id is not a string \(float\)"),
        (b'{"_id": null, "text": "a"}', r"_id is not a string \(null\)"),
        (b'{"_id": true, "text": "a"}', r"_id is not a string \(bool\)"),
        (b'{"_id": " ", "text": "a"}', "_id is empty"),
        (b'{"_id": "x", "text": "\xff"}', r"not UTF-8 \(byte 0xff"),
    ],
)
@pytest.mark.parametrize("name", ["corpus", "queries"])
def test_lines_that_cannot_be_used(folder, name, line, message):
    path = folder / f"{name}.jsonl"
    path.write_bytes(path.read_bytes() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=rf"{name}\.jsonl:4: .*{message}"):
        load_collection(folder)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_utf16_is_read(folder, name, encoding, mark):
    expected, path = content(folder), folder / name
    text = path.read_text()
    path.write_bytes(f"{mark}{text}".encode(encoding))
    assert content(folder) == expected


def test_a_query_with_two_texts_is_refused_and_a_copy_is_counted(folder):
    path = folder / "queries.jsonl"
    path.write_bytes(QUERIES + QUERIES.splitlines(keepends=True)[0])
    (folder / "qrels" / "test.tsv").write_bytes(QRELS + b"q1\td1\t1\nq1\td1\t1.0\n")
    assert load_collection(folder).repeated == {"queries": 1, "qrels": 2}
    path.write_bytes(QUERIES + b'{"_id": "q1", "text": "another"}\n')
    for read in (read_queries, load_collection):
        with pytest.raises(DataError, match=r"queries\.jsonl:3: query 'q1' has another text"):
            read(folder)


@pytest.mark.parametrize(("text", "what"), [("another", "for another text"), ("one", "the same line again")])
def test_document_ids_that_repeat_are_refused(folder, text, what):
    path = folder / "corpus.jsonl"
    path.write_bytes(CORPUS + f'{{"_id": "d1", "title": "A", "text": "{text}"}}\n'.encode())
    with pytest.raises(DataError, match=rf"corpus\.jsonl:3: duplicate id 'd1'; .*jsonl:1 .*{what}.*--max-passage"):
        load_collection(folder)
    assert len(load_collection(folder, max_passage=True).documents) == 3
