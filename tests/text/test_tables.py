"""Tables: delimiters, quotes, headers and their absence, decided by the first rows; Parquet and Arrow."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from pretrieve.core.errors import DataError, UsageError
from pretrieve.text.corpus import Fields, ReadReport, read
from pretrieve.text.formats.dialect import dialect_of, is_quoted

WORDS = [
    "river",
    "stone",
    "harbour,",
    "glacier;",
    "orchard",
    "market:",
    "the",
    "of",
    "and",
    "is",
    "'seal'",
    "moon's",
    "water",
    "(tide)",
]


def table(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def found(source: Path, **fields: object) -> list[tuple[str, str, str]]:
    return [(d.id, d.title, d.text) for d in read([source], fields=Fields(**fields))]  # type: ignore[arg-type]


ROW = [("1", "Dam", "How a dam is built")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_delimiters(tmp_path: Path, delimiter: str, suffix: str) -> None:
    rows = ["id", "title", "text"], ["1", "Dam", "How a dam is built"]
    path = table(tmp_path / f"a{suffix}", "\n".join(delimiter.join(row) for row in rows))
    assert found(path) == ROW


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("named", [True, False])
def test_written_tables_are_read_back(tmp_path: Path, delimiter: str, named: bool) -> None:
    """Any text that the csv module writes comes back, whatever signs of other dialects are in it."""
    draw = random.Random(7)
    header = ["id", "text"] if named else ["number", "the words"]
    for trial in range(30):
        rows = [[str(n), f"{n} {' '.join(draw.choices(WORDS, k=draw.randrange(3, 30)))}"] for n in range(20)]
        path = tmp_path / f"{trial}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([header, *rows])
        assert [[d.id, d.text] for d in read([path], fields=Fields(id=header[0], text=header[1]))] == rows


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\r\nid;title;text\r\n1;Dam;How a dam is built\r\n",
        '"sep=,"\nid,title,text\n1,Dam,How a dam is built\n',
        "\ufeffid,title,text\n1,Dam,How a dam is built\n",
        "id, title, text\n1, Dam, How a dam is built\n",
        'id, title, text\n1, "Dam", "How a dam is built"\n',
        "ID,Title,TEXT\n1,Dam,How a dam is built\n",
        " Id , TITLE,Text \n1,Dam,How a dam is built\n",
        "id,title,text,,\n1,Dam,How a dam is built,,\n",
        "id,title,text\n1,Dam,How a dam is built,,,\n",
        ",id,title,text\n0,1,Dam,How a dam is built\n",
        "id,title,text,text\n1,Dam,How a dam is built,another\n",
        "\nid,title,text\n\n1,Dam,How a dam is built\n\n",
    ],
)
def test_headers(tmp_path: Path, content: str) -> None:
    path = table(tmp_path / "a.csv", content)
    assert found(path) == ROW
    assert found(table(tmp_path / "b.csv", content.encode("utf-16"))) == ROW


def test_repeated_and_unused_columns_are_said(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.csv", "id,text,text,status,price,link\n1,first one,second one,open,12.5,http://x.org/a\n"
    )
    report = ReadReport()
    (document,) = read([path], report=report)
    assert document.text == "first one"
    assert f"{path}: with columns of the same name, numbered (text)" in report.examples
    assert f"{path}: with columns not used (text.2, status)" in report.examples
    assert [d.text for d in read([path], fields=Fields(text="text.2"))] == ["second one"]


def test_rows_with_another_number_of_cells(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "id,text\n1,one two\n2\n3,a b,c\n4,\n5,last one,,\n")
    report = ReadReport()
    assert [d.id for d in read([path], on_bad="skip", report=report)] == ["1", "5"]
    assert dict(report.faults) == {"wrong number of columns": 2, "empty document": 1}


def test_quotes_of_a_writer_and_quotes_of_the_text(tmp_path: Path) -> None:
    rows = [
        '1\t"A ""seal"" rests, and swims."\t"Seal"',
        "2\tPlain text.\tOther",
        *[f"{n}\tx {n}\t" for n in range(3, 300)],
    ]
    quoted = "\n".join(["id\ttext\ttitle", *rows, '300\t"open, not closed\tX', "301\tlast\tY"])
    records = found(table(tmp_path / "a.tsv", quoted))
    assert records[:2] == [("1", "Seal", 'A "seal" rests, and swims.'), ("2", "Other", "Plain text.")]
    assert records[299:] == [("300", "X", '"open, not closed'), ("301", "Y", "last")]
    stray = 'id\ttext\n1\t"Hello," he said.\n2\t"Whole."\n3\tsays "hi\n'
    assert [text for _, _, text in found(table(tmp_path / "b.tsv", stray))] == [
        '"Hello," he said.',
        '"Whole."',
        'says "hi',
    ]


def test_quotes_that_begin_after_the_first_rows(tmp_path: Path) -> None:
    plain = "".join(f"{n}\tplain text {n}\n" for n in range(500))
    path = table(tmp_path / "a.tsv", f'id\ttext\n{plain}500\t"a ""late"" quote"\n501\tend\n')
    assert [text for _, _, text in found(path)][-2:] == ['a "late" quote', "end"]


def test_quoted_cells_over_several_lines(tmp_path: Path) -> None:
    path = table(tmp_path / "a.tsv", 'id\ttext\n1\t"line one\nline two"\n2\tb c\n3\td e\n')
    assert [text for _, _, text in found(path)] == ["line one\nline two", "b c", "d e"]


def test_dialect_rules() -> None:
    assert dialect_of([], ",").delimiter == ","
    assert dialect_of(["text", "one; two, three", "four"], ",").delimiter == ","
    assert dialect_of(["name of it;the words", "a, b, c;d", "e;f, g"], ",").delimiter == ";"
    assert not is_quoted(["a\tb"], "\t")
    assert is_quoted(['a\t"b"'], "\t")
    assert not is_quoted(['a\t"b" c'], "\t")


HEADERLESS = "0\tThe first passage is about a dam.\n1\tThe second is about trains.\n"


def test_a_table_without_a_header_never_loses_its_first_record(tmp_path: Path) -> None:
    path = table(tmp_path / "collection.tsv", HEADERLESS)
    with pytest.raises(UsageError, match=r"seems to have no header.* such as --columns id,text$"):
        list(read([path]))
    for columns in (("id", "text"), ("-", "text"), ("", "text")):
        documents = found(path, columns=columns)
        assert [text for _, _, text in documents] == [
            "The first passage is about a dam.",
            "The second is about trains.",
        ]
        assert documents[0][0] == ("0" if columns[0] == "id" else f"{path}:1")
    assert next(text for _, _, text in found(path, text="2", id="1")) == "The first passage is about a dam."


def test_a_headerless_table_in_a_folder(tmp_path: Path) -> None:
    table(tmp_path / "collection.tsv", HEADERLESS)
    table(
        tmp_path / "wide.tsv", "7\tA title\tA text of several words that goes on.\n8\tB\tAnother text of some words.\n"
    )
    report = ReadReport()
    documents = list(read([tmp_path], report=report))
    assert [(d.id, d.text) for d in documents] == [
        ("0", "The first passage is about a dam."),
        ("1", "The second is about trains."),
    ]
    assert report.notes["without a header, read as id and text"] == 1
    assert any("--columns id,title,text" in line for line in report.examples)


def test_a_header_beside_columns_is_no_record(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "id,text\n1,one two\n")
    report = ReadReport()
    assert [d.id for d in read([path], fields=Fields(columns=("id", "text")), report=report)] == ["1"]
    assert any("header that was passed over" in note for note in report.notes)


@pytest.mark.parametrize(
    ("rows", "suggested"),
    [
        (["12,Some text of a good length that goes on"], "id,text"),
        (["12,A title here,Some text of a good length that goes on,3"], "id,title,text,-"),
        (["Some text of a good length that goes on without an id"], "text"),
    ],
)
def test_suggested_columns_work(tmp_path: Path, rows: Sequence[str], suggested: str) -> None:
    path = table(tmp_path / "a.csv", "\n".join(rows) + "\n")
    with pytest.raises(UsageError, match=f"--columns {suggested}$"):
        list(read([path]))
    assert next(text for _, _, text in found(path, columns=tuple(suggested.split(",")))).startswith("Some text")


def test_parquet_types(tmp_path: Path) -> None:
    columns = {
        "docid": pa.array(["a", "b"]).dictionary_encode(),
        "Title": pa.array(["T", None], pa.large_string()),
        "content": pa.array([b"binary text", "caf\xe9 text".encode()]),
        "vector": [[0.1], [0.2]],
        "picture": [{"bytes": b"x", "path": "p"}] * 2,
    }
    for write, name in ((pq.write_table, "a.parquet"), (pa.feather.write_feather, "a.feather")):
        write(pa.table(columns), tmp_path / name)
        assert found(tmp_path / name) == [("a", "T", "binary text"), ("b", "", "caf\xe9 text")]
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, pa.table(columns).schema) as writer,
    ):
        writer.write_table(pa.table(columns))
    assert len(found(tmp_path / "a.arrow")) == 2
    table(tmp_path / "b.arrow", b"no arrow at all")
    with pytest.raises(DataError, match="damaged Arrow"):
        list(read([tmp_path / "b.arrow"]))


def test_nested_text_in_parquet(tmp_path: Path) -> None:
    nested = [[{"text": "one two", "rank": 1}, {"text": "three"}], [{"text": "four"}]]
    pq.write_table(pa.table({"id": ["a", "b"], "passages": nested}), tmp_path / "corpus-00000-of-00001.parquet")
    assert [d.text for d in read([tmp_path])] == ["one two\n\nthree", "four"]
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table({"id": ["a"], "hits": [{"words": ["p one", "p two"]}]}), path)
    with pytest.raises(UsageError, match=r"Known: .*hits\.words"):
        list(read([path]))
    assert found(path, text="hits.words") == [("a", "", "p one\n\np two")]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet", "a.txt", "a.md", "a.html"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    table(tmp_path / name, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(DataError, match=r"git-LFS pointer.*git lfs pull"):
        list(read([tmp_path / name]))
