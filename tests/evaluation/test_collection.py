from __future__ import annotations

import shutil

import pytest

from pretrieve.core.errors import DataError, UsageError
from pretrieve.text.beir import load_collection
from searching import beir, documents


@pytest.fixture
def folder(tmp_path):
    return beir(tmp_path / "tiny")


def test_a_folder_is_read(folder):
    found = load_collection(folder)
    assert (found.name, found.split) == ("tiny", "test")
    assert [(d.id, d.title, d.text) for d in found.documents] == [(d.id, d.title, d.text) for d in documents(60)]
    assert list(found.queries) == list(found.qrels)
    assert sorted(found.qrels["q0"].values()) == [0, 1, 2]
    assert all(not document.title for document in load_collection(folder, titles=False).documents)


def test_plain_files_and_a_file_without_header(folder):
    qrels = folder / "qrels" / "dev.tsv"
    qrels.write_text("q1\td001\t1\n")
    assert load_collection(folder, "dev").qrels == {"q1": {"d001": 1}}


def test_a_missing_split_names_those_there(folder):
    with pytest.raises(UsageError, match=r"no split 'dev'\. Known: test"):
        load_collection(folder, "dev")
    with pytest.raises(UsageError, match="no such folder"):
        load_collection(folder / "none")
    with pytest.raises(UsageError, match="qrels"):
        load_collection(folder / "qrels")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query-id\tcorpus-id\tscore\nq1\td001\n", r"dev.tsv:2: three fields"),
        ("query-id\tcorpus-id\tscore\nq1\td001\thigh\n", r"dev.tsv:2: the grade 'high'"),
        ("query-id\tcorpus-id\tscore\nq1\td001\t0.5\n", r"dev.tsv:2: the grade '0.5'"),
        ("query-id\tcorpus-id\tscore\nabsent\td001\t1\n", r"query 'absent' is not in"),
        ("query-id\tcorpus-id\tscore\n", "holds no qrels"),
        ("query-id\tcorpus-id\tscore\nq1\tnobody\t1\n", "judges no document of"),
    ],
)
def test_bad_judgements_are_named_by_line(folder, text, message):
    (folder / "qrels" / "dev.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_collection(folder, "dev")


@pytest.mark.parametrize(
    ("line", "message"), [("{", "not JSON"), ("[1]", "object"), ('{"_id": "x"}', "no field 'text'")]
)
def test_bad_records_are_named_by_line(folder, line, message):
    (folder / "corpus.jsonl").write_text('{"_id": "a", "text": "b"}\n\n' + line + "\n")
    with pytest.raises(DataError, match=rf"corpus.jsonl:3: .*{message}"):
        load_collection(folder)


def test_a_cut_gzip_file_is_named(folder):
    path = folder / "corpus.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"corpus\.jsonl\.gz:\d+: cut gzip .*: fetch the file again"):
        load_collection(folder)


def test_a_corpus_without_documents(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    for path in (tmp_path / "copy").glob("corpus.jsonl*"):
        path.unlink()
    (tmp_path / "copy/corpus.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="holds no document"):
        load_collection(tmp_path / "copy", "test")
