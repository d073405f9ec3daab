"""Reading: planted faults are all found and no good record is lost; sources resolve; conventions hold."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core.errors import DataError, UsageError
from pretrieve.text.corpus import Fields, ReadReport, read

LIMIT = 2000
INVISIBLE = re.compile("[\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
# Bad lines of a JSON Lines file with the reason that has to be counted.
PLANTED: list[tuple[bytes, str]] = [
    (b'{"id": "a", "text": "cut', "malformed JSON"),
    (b'{"id": "b", "text": "x"} trailing', "malformed JSON"),
    (b"{'id': 'single quotes'}", "malformed JSON"),
    (b'{"text": NaN}', "malformed JSON"),
    (b'{"text": "raw \x01 control"}', "malformed JSON"),
    (b"[" * 1500, "malformed JSON"),
    (b'["a", "list"]', "not an object"),
    (b'"a string"', "not an object"),
    (b"42", "not an object"),
    (b"null", "not an object"),
    (b'{"id": "c"}', "no text"),
    (b"{}", "no text"),
    (b'{"id": "d", "text": null}', "no text"),
    (b'{"id": "e", "text": [0.5, 1.5]}', "text is not a string"),
    (b'{"id": "f", "text": [["x", true]]}', "text is not a string"),
    (b'{"id": "g", "text": {"x": 1}}', "text is not a string"),
    (b'{"id": "h", "text": true}', "text is not a string"),
    (b'{"id": "i", "text": ""}', "empty document"),
    (b'{"id": "j", "text": " \\n\\t "}', "empty document"),
    (b'{"id": "k", "text": "\\u0001\\u0002"}', "empty document"),
    (b'{"id": "l", "title": {"x": 7}, "text": "x y"}', "title is not a string"),
    (b'{"id": "m", "lang": ["en"], "text": "x y"}', "group is not a string"),
    (b'{"id": 1.5, "text": "x y"}', "id is not a string"),
    (b'{"id": true, "text": "x y"}', "id is not a string"),
    (b'{"id": ["a"], "text": "x y"}', "id is not a string"),
    (b'{"id": "", "text": "x y"}', "empty id"),
    (b'{"id": "  ", "text": "x y"}', "empty id"),
    (b'{"id": "' + b"n" * 513 + b'", "text": "x y"}', "id too long"),
    (b'{"id": "tab\\there", "text": "x y"}', "id holds control characters"),
    (b'{"id": "n\\u0000l", "text": "x y"}', "NUL character"),
    (b'{"id": "n", "text": "a\\u0000b"}', "NUL character"),
    (b'{"id": "o", "title": "a\\u0000b", "text": "x y"}', "NUL character"),
    (b'{"id": "p", "text": "lone \\ud800 half"}', "lone surrogate"),
    (b'{"id": "q", "text": "lone \\udc00 half"}', "lone surrogate"),
    ('{"id": "r", "text": "café"}'.encode("latin-1"), "not UTF-8"),
    (b'{"id": "s", "text": "\xed\xa0\x80"}', "not UTF-8"),
    ('{"id": "t", "text": "x"}'.encode("utf-16"), "not UTF-8"),
    (b'{"id": "good0", "text": "another text under a taken id"}', "duplicate id"),
    (b'{"id": "u", "text": "' + b"long " * 500 + b'"}', "too long"),
]
DUPLICATES = [b'{"id": "good1", "text": "good text 1"}', b'{"id": "other", "text": "  good text 2\\r\\n"}']


def good(index: int) -> bytes:
    return orjson.dumps({"id": f"good{index}", "text": f"good text {index}"})


def planted_file(path: Path) -> list[str]:
    """Good lines around every bad one; the ids of the good."""
    lines = [good(0), good(1), good(2), b"", *DUPLICATES]
    for index, (bad, _) in enumerate(PLANTED):
        lines += [bad, good(index + 3)]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\r\n")
    return [f"good{index}" for index in range(len(PLANTED) + 3)]


def test_every_planted_fault_is_counted_and_no_good_line_is_lost(tmp_path: Path) -> None:
    expected = planted_file(tmp_path / "a.jsonl")
    report = ReadReport()
    found = list(read([tmp_path / "a.jsonl"], on_bad="skip", report=report, max_record_bytes=LIMIT))
    assert [document.id for document in found] == expected
    assert report.faults == Counter(reason for _, reason in PLANTED)
    assert (report.kept, report.duplicates, report.bad) == (len(expected), 2, len(PLANTED))
    assert report.read == report.kept + report.duplicates + report.bad
    assert len(report.examples) == len(report.faults), "one of each reason"
    assert report.examples[0].startswith(f"{tmp_path / 'a.jsonl'}:7: malformed JSON")
    assert "duplicate id: 1" in report.summary()


@pytest.mark.parametrize(("bad", "reason"), PLANTED, ids=range(len(PLANTED)))
def test_fail_stops_at_the_first_fault(tmp_path: Path, bad: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([good(0), bad, good(1)]))
    documents = read([path], max_record_bytes=LIMIT)
    assert next(documents).id == "good0"
    with pytest.raises(DataError, match=f":2: {reason}"):
        next(documents)


def test_quarantine_keeps_what_was_refused(tmp_path: Path) -> None:
    expected = planted_file(tmp_path / "a.jsonl")
    aside = tmp_path / "out" / "bad.jsonl"
    found = list(read([tmp_path / "a.jsonl"], on_bad="quarantine", quarantine=aside, max_record_bytes=LIMIT))
    assert [document.id for document in found] == expected
    lines = [orjson.loads(line) for line in aside.read_bytes().splitlines()]
    assert [line["reason"] for line in lines] == [reason for _, reason in PLANTED]
    assert [line["where"].rpartition(":")[2] for line in lines] == [str(7 + 2 * i) for i in range(len(PLANTED))]
    for line, (bad, reason) in zip(lines, PLANTED, strict=True):
        if reason != "too long":
            assert line["record"] == bad.decode(errors="backslashreplace")
    assert [path.name for path in aside.parent.iterdir()] == ["bad.jsonl"]  # nothing temporary is left


def test_quarantine_of_a_clean_corpus_makes_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(good(1))
    assert len(list(read([tmp_path], on_bad="quarantine", quarantine=tmp_path / "bad.jsonl"))) == 1
    assert not (tmp_path / "bad.jsonl").exists()


@settings(deadline=None, max_examples=150)
@given(lines=st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 30).map(good)), max_size=12))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    report = ReadReport()
    try:
        found = {document.id for document in read([path], on_bad="skip", report=report)}
    except DataError:
        found = set()
    whole = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert {orjson.loads(line)["id"] for line in whole if line.startswith(b'{"id":"good')} == found
    assert report.read == report.kept + report.duplicates + report.bad == sum(bool(line.strip()) for line in whole)


def visible(value: str) -> str:
    return INVISIBLE.sub("", value).replace("\ufffe", " ").replace("\uffff", " ")


text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda value: visible(value).strip())


@settings(deadline=None, max_examples=100)
@given(pairs=st.lists(st.tuples(text, text), min_size=1, max_size=8, unique_by=lambda pair: pair[1].strip()))
def test_json_escapes_survive(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    lines = [
        json.dumps({"id": str(i), "title": t, "text": b}, ensure_ascii=i % 2 == 0) for i, (t, b) in enumerate(pairs)
    ]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    report = ReadReport()
    clean = [[visible(value).strip() for value in pair] for pair in pairs]
    wanted = {i: body or " ".join(title.split()) for i, (title, body) in enumerate(clean) if body or title}
    found = list(read([path], on_bad="skip", report=report, deduplicate=False)) if wanted else []
    assert {int(document.id): document.text for document in found} == wanted


def test_fields_by_convention_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"_id": 7, "contents": "a b", "lang": "fr", "head": "T\\n U", "id": "no"}\n{"body": "c d"}\n')
    first, second = read([path])
    assert (first.id, first.text, first.title, first.group) == ("7", "a b", "", "fr")
    assert (second.id, second.text) == (f"{path}:2", "c d")
    first, second = read([path], fields=Fields(title="head"))
    assert (first.title, second.title) == ("T U", "")
    assert next(read([path], fields=Fields(title="head", use_titles=False))).title == ""


@pytest.mark.parametrize("role", ["text", "title", "id", "group"])
def test_unknown_field_names_those_present(tmp_path: Path, role: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"_id": "7", "text": "a b"}\n')
    with pytest.raises(UsageError, match=r"no field 'tex'.*(Did you mean 'text'|Known: _id, text)|no field tex;"):
        list(read([path], fields=Fields(**{role: "tex"})))


def test_a_table_without_a_text_column_is_a_wrong_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("number,words\n1,hello there\n")
    with pytest.raises(UsageError, match=r"--text-field.*Known: number, words"):
        list(read([tmp_path / "a.csv"], on_bad="skip"))
    (document,) = read([tmp_path / "a.csv"], fields=Fields(text="words", id="number"))
    assert (document.id, document.text) == ("1", "hello there")


def test_ends_and_controls_are_normalised(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(orjson.dumps({"id": "1", "text": "\ufeff a\r\nb\rc\x07d\x85e\tf \n"}))
    (document,) = read([path])
    assert document.text == "a\nb\nc d e\tf"


def test_sources_that_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text("# A\n\nb c")
    (tmp_path / "a.abc").write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match=r"no such file or folder\. Did you mean '.*guide\.md'\?"):
        list(read([tmp_path / "giude.md"]))
    with pytest.raises(
        UsageError,
        match=r"unknown suffix '\.abc'; known are .*\.csv, .*\.tsv.* also with \.gz, \.zst, \.bz2, \.xz, and \.zip",
    ):
        list(read([tmp_path / "a.abc"]))
    (tmp_path / "sub").mkdir()
    with pytest.raises(UsageError, match="no file here or below can be read"):
        list(read([tmp_path / "sub"]))
    with pytest.raises(UsageError, match="no such file"):
        list(read([tmp_path / "none" / "deep.md"]))


def test_an_empty_corpus_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n\n")
    with pytest.raises(DataError, match=r"no documents in .*: 0 documents"):
        list(read([tmp_path]))
    (tmp_path / "a.jsonl").write_bytes(b"{}\n")
    with pytest.raises(DataError, match=r"1 bad records \(no text: 1\)"):
        list(read([tmp_path], on_bad="skip"))


def test_folders_are_read_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/2.txt", "a/1.txt", "b/.hidden.txt", ".git/x.txt", "b/skip.bin", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    assert [document.text[8:] for document in read([tmp_path])] == ["c.txt", "a/1.txt", "b/2.txt"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_of_a_beir_folder_only_the_corpus(tmp_path: Path, suffix: str) -> None:
    data = b'{"_id": "d1", "title": "T", "text": "x y", "metadata": {}}\n'
    packed = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix](data)
    (tmp_path / "set" / "qrels").mkdir(parents=True)
    (tmp_path / "set" / f"corpus.jsonl{suffix}").write_bytes(packed)
    (tmp_path / "set" / "queries.jsonl").write_bytes(b'{"_id": "q1", "text": "z"}\n')
    (tmp_path / "set" / "qrels" / "test.tsv").write_bytes(b"query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    assert [document.id for document in read([tmp_path / "set"])] == ["d1"]
    assert [document.id for document in read([tmp_path])] == ["d1"]


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "damaged"])
def test_a_damaged_archive_gives_what_is_good(tmp_path: Path, kind: str, damage: str) -> None:
    lines = b"".join(good(i) + b"\n" for i in range(60_000))
    path = tmp_path / ("a.jsonl.gz" if kind == "gzip" else "a.jsonl.zst")
    packed = gzip.compress(lines) if kind == "gzip" else zstandard.compress(lines)
    half = len(packed) // 2
    path.write_bytes(packed[:half] if damage == "cut" else packed[:half] + b"\xff" * 64 + packed[half + 64 :])
    report = ReadReport()
    found = [document.id for document in read([path], on_bad="skip", report=report)]
    sound = next((i for i, name in enumerate(found) if name != f"good{i}"), len(found))
    assert sound > 20_000  # nearly all before the damage; gzip notices it late, by its checksum
    assert sum(count for reason, count in report.faults.items() if reason.endswith(kind)) == 1
    if damage == "cut":
        assert sound == len(found)
        assert dict(report.faults) == {f"cut {kind}": 1}


def test_zstd_frames_may_follow_each_other(tmp_path: Path) -> None:
    frames = [zstandard.compress(good(i) + b"\n") for i in range(3)]
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(frames))
    assert len(list(read([tmp_path]))) == 3


def test_csv_quotes_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [
        b"\xef\xbb\xbfid,title,text",
        b'1,T,"line one\nline ""two"""',
        b"2,only two",
        b"3,a,b,c",
        b'4,T,"never closed',
        b"5,T,good after it",
        b'6,T,"bad" quote',
        b"7,T,caf\xe9",
        b"8,T," + b"x" * 3000,
        b"",
        b"9,T,last",
    ]
    path.write_bytes(b"\r\n".join(rows))
    report = ReadReport()
    found = {d.id: d.text for d in read([path], on_bad="skip", report=report, max_record_bytes=2000)}
    assert found == {"1": 'line one\nline "two"', "5": "good after it", "9": "last"}
    expected = {"wrong number of columns": 2, "malformed CSV": 2, "not UTF-8": 1, "too long": 1}
    assert dict(report.faults) == expected
    places = [example.removeprefix(f"{path}:").partition(":")[0] for example in report.examples]
    assert sorted(places, key=int) == ["4", "5", "6", "8", "9", "10"]


def test_tsv_has_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b'id\ttext\n1\tsays "hi\n2\tb\tc\n3\t\xff \xc3\xa9 \xc3\xa8\n4\td e\n')
    report = ReadReport()
    assert [d.text for d in read([tmp_path], on_bad="skip", report=report)] == ['says "hi', "d e"]
    assert dict(report.faults) == {"wrong number of columns": 1, "not UTF-8": 1}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_parquet(tmp_path: Path, suffix: str) -> None:
    table = pa.table({"id": [1, 2, 3], "text": ["a b", None, "c d"], "vector": [[0.1], [0.2], [0.3]]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=2)
    packed = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix](buffer.getvalue())
    (tmp_path / f"a.parquet{suffix}").write_bytes(packed)
    report = ReadReport()
    assert [(d.id, d.text) for d in read([tmp_path], on_bad="skip", report=report)] == [("1", "a b"), ("3", "c d")]
    assert dict(report.faults) == {"no text": 1}
    (tmp_path / f"a.parquet{suffix}").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"damaged Parquet|cut gzip|cut zstd"):
        list(read([tmp_path]))


def test_documents_of_all_sources_share_ids_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(good(1) + b"\n" + good(2))
    (tmp_path / "b.jsonl").write_bytes(b'{"id": "good2", "text": "new"}\n{"id": "x", "text": "good text 1"}')
    report = ReadReport()
    assert len(list(read([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], on_bad="skip", report=report))) == 2
    assert (report.duplicates, dict(report.faults)) == (1, {"duplicate id": 1})
    assert len(list(read([tmp_path], on_bad="skip", deduplicate=False))) == 4


def test_a_dangling_link_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone.jsonl")
    (tmp_path / "b.jsonl").write_bytes(good(1))
    with pytest.raises(DataError, match=r"a\.jsonl: a dangling link"):
        list(read([tmp_path], on_bad="fail"))
    report = ReadReport()
    assert len(list(read([tmp_path], report=report))) == 1
    assert dict(report.faults) == {"a dangling link": 1}
    with pytest.raises(UsageError, match="a dangling link"):
        list(read([tmp_path / "a.jsonl"]))


def test_no_text_is_lost_for_the_name_of_its_file(tmp_path: Path) -> None:
    """Names may hold line ends and bytes that are no characters, and paths may be long."""
    deep = tmp_path.joinpath(*(f"{number:02}{'y' * 40}" for number in range(20)))
    deep.mkdir(parents=True)
    names = [b"latin-\xe9.txt", b"new\nline.md", b"tab\tname.html", b"12:colon.txt", b"hash#1.txt"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_text("a text of its own: " + name.hex())
    (deep / "a.txt").write_text("one text far below")
    (deep / "b.txt").write_text("another text far below")
    report = ReadReport()
    found = list(read([tmp_path], report=report))
    assert len(found) == len({document.id for document in found}) == len(names) + 2
    assert report.bad == 0
    assert all(document.id.isprintable() and len(document.id) <= 512 for document in found)
