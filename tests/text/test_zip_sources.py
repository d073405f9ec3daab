"""Archives as folders: a data set as downloaded, nested folders, names, encrypted, damaged, many members, bombs."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from pretrieve.core.errors import DataError, UsageError
from pretrieve.text.corpus import ReadReport, read


def archive(path: Path, parts: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return path


def test_a_beir_data_set_as_downloaded(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "scifact.zip",
        {
            "scifact/": b"",
            "scifact/corpus.jsonl": '{"_id": "d1", "title": "A", "text": "one"}\n{"_id": "d2", "text": "two"}\n',
            "scifact/queries.jsonl": '{"_id": "q1", "text": "a query"}\n',
            "scifact/qrels/": b"",
            "scifact/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
            "__MACOSX/scifact/._corpus.jsonl": b"\x00\x05\x16\x07",
        },
    )
    report = ReadReport()
    assert {document.id: document.title for document in read([path], report=report)} == {"d1": "A", "d2": ""}
    assert report.bad == 0
    assert report.folders == {"queries and labels beside a corpus": 1}


def test_nested_folders_and_names_of_old_programs(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a/b/c/d.txt": "Deep text.", "top.md": "# Top\n\nText.", "Ürü.txt": "Umlaut."})
    assert {document.text for document in read([path])} == {"Deep text.", "Text.", "Umlaut."}
    old = tmp_path / "old.zip"
    with zipfile.ZipFile(old, "w") as file:
        file.writestr("uber.txt", "Some text.")
    old.write_bytes(old.read_bytes().replace(b"uber.txt", b"\x81ber.txt"))  # cp437, without the mark of UTF-8
    (document,) = read([old])
    assert (document.id, document.text) == (f"{old}/über.txt", "Some text.")


def encrypted(path: Path, name: bytes) -> Path:
    """Set the mark of encryption of a member, in its two headers."""
    data = bytearray(path.read_bytes())
    for start, mark in ((26 + 4, 6), (46, 8)):
        place = data.find(name) if mark == 6 else data.rfind(name)
        data[place - start + mark] |= 1
    path.write_bytes(bytes(data))
    return path


def test_encrypted_members_are_counted(tmp_path: Path) -> None:
    path = encrypted(archive(tmp_path / "a.zip", {"open.txt": "Some text.", "secret.txt": "no"}), b"secret.txt")
    report = ReadReport()
    assert [document.text for document in read([path], report=report)] == ["Some text."]
    assert report.faults == {"encrypted": 1}
    path = encrypted(archive(tmp_path / "b.zip", {"secret.txt": "no"}), b"secret.txt")
    with pytest.raises((DataError, UsageError), match="encrypted"):
        list(read([path]))


def test_damaged_archives(tmp_path: Path) -> None:
    text = " ".join(str(random.Random(0).random()) for _ in range(5_000))
    path = archive(tmp_path / "a.zip", {"a.txt": text, "b.txt": "Other text."})
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes(50) + whole[250:])
    report = ReadReport()
    assert [document.text for document in read([path], report=report)][-1:] == ["Other text."]
    assert report.faults == {"damaged zip": 1}
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged zip"):
        list(read([path]))


def test_many_members_are_read_in_linear_time(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        path = tmp_path / f"{count}.zip"
        with zipfile.ZipFile(path, "w") as file:
            for number in range(count):
                file.writestr(f"folder/{number // 100}/{number}.txt", f"Text {number}.")
        start = time.process_time()
        assert sum(1 for _ in read([path])) == count
        return time.process_time() - start

    few = seconds(1_000)
    assert seconds(8_000) < 24 * few


def test_a_bomb_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """A thousand to one, in one line, in many lines, and in a member with a false length."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("line.txt", "w") as part:
            for _ in range(200):
                part.write(b" " * (1 << 20))
        with file.open("page.md", "w") as part:
            for _ in range(200):
                part.write(b"\n" * (1 << 20))
        file.writestr("good.txt", "Some text.")
    assert path.stat().st_size < 1 << 20
    report = ReadReport()
    tracemalloc.start()
    assert [document.text for document in read([path], report=report)] == ["Some text."]
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    assert report.faults["too long"] >= 1


def test_a_member_with_a_false_length(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a.txt": "Some text.", "b.txt": "Other text."})
    data = bytearray(path.read_bytes())
    place = data.rfind(b"a.txt") - 46 + 24
    data[place : place + 4] = struct.pack("<I", 1 << 31)
    path.write_bytes(bytes(data))
    report = ReadReport()
    assert "Other text." in [document.text for document in read([path], report=report)]
