"""PDF files: words, titles, headers, broken words; encrypted, scanned, damaged and very long ones."""

from __future__ import annotations

import importlib.util
import random
import re
import zipfile
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made_files as made
from pretrieve.core.errors import DataError, MissingExtraError
from pretrieve.text.corpus import MAX_RECORD_BYTES, ReadReport, read
from pretrieve.text.formats import pdf_pages
from pretrieve.text.formats.page_lines import paragraphs, without_margins
from pretrieve.text.readers import pdf
from pretrieve.text.records import Fault, Note, Record


def texts(count: int, words: int = 150, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [
        " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(6)) for _ in range(words)) + "."
        for _ in range(count)
    ]


def found(path: Path) -> list[Record | Fault | Note]:
    items = list(pdf.read(path, MAX_RECORD_BYTES))
    assert all(isinstance(item, Record | Fault | Note) for item in items)
    return items


def faults(path: Path) -> list[str]:
    return [f"{item.reason}: {item.detail}" for item in found(path) if isinstance(item, Fault)]


def test_all_words_are_read(tmp_path: Path) -> None:
    pages = [[text] for text in texts(40)]
    path = made.pdf(tmp_path / "a.pdf", pages)
    documents = list(read([path]))
    wanted = set(re.findall(r"\w+", str(pages)))
    assert len(wanted & set(re.findall(r"\w+", " ".join(document.text for document in documents)))) >= 0.95 * len(
        wanted
    )
    assert max(len(document.text) for document in documents) < 12_000
    assert [document.id for document in documents] == [f"{path}#{n}" for n in range(1, len(documents) + 1)]


def test_titles_of_metadata_and_contents(tmp_path: Path) -> None:
    long = texts(4)
    pages = [["Install", long[0]], [long[1]], ["Use it", long[2]], [long[3]]]
    path = made.pdf(tmp_path / "a.pdf", pages, "Handbook", {0: "Install", 2: "Use it"})
    assert {document.title: document.text for document in read([path])} == {
        "Install": f"{long[0]}\n\n{long[1]}",
        "Use it": f"{long[2]}\n\n{long[3]}",
    }
    (document,) = read([made.pdf(tmp_path / "b.pdf", [["A short text."]], "Handbook")])
    assert (document.title, document.text) == ("Handbook", "A short text.")
    (document,) = read([made.pdf(tmp_path / "c.pdf", [["A text."]], "Microsoft Word - draft3.doc")])
    assert document.title == ""


def test_headers_and_footers_go_and_are_counted(tmp_path: Path) -> None:
    pages = [["The Handbook", text, f"Page {number}"] for number, text in enumerate(texts(10, 60), 1)]
    report = ReadReport()
    path = made.pdf(tmp_path / "a.pdf", pages)
    text = "\n".join(document.text for document in read([path], report=report))
    assert "Handbook" not in text
    assert "Page" not in text
    assert report.notes == {"without repeated page headers and footers": 1}
    assert "20 lines" in report.examples[0]


def test_lines_that_do_not_repeat_stay() -> None:
    topics = ("rivers", "seas", "lakes", "ponds")
    pages = [
        [f"Chapter about {topic}", topic, f"{number} metres of {topic}", str(number)]
        for number, topic in enumerate(topics)
    ]
    assert without_margins(pages) == ([page[:-1] for page in pages], 4)


def test_broken_lines_and_words_are_joined() -> None:
    lines = [
        "The repre-",
        "sentation of the documents is a",
        "long matter.",
        "A new paragraph of the same text",
        "- an item",
    ]
    assert paragraphs(lines) == [
        "The representation of the documents is a long matter.",
        "A new paragraph of the same text",
        "- an item",
    ]
    assert paragraphs(["The well-", "Known words are kept as they are"]) == [
        "The well- Known words are kept as they are"
    ]


def test_encrypted_scanned_and_damaged(tmp_path: Path) -> None:
    path = made.pdf(tmp_path / "a.pdf", [["Secret text."]], password="x")
    assert faults(path) == ["encrypted: "]
    with pytest.raises(DataError, match=r"a\.pdf:1: encrypted"):
        list(read([path]))
    assert faults(made.pdf(tmp_path / "b.pdf", [[], []])) == ["no text in the pages: 2 pages, perhaps scanned"]
    path = tmp_path / "c.pdf"
    path.write_bytes(b"%PDF-1.4\nnothing")
    assert faults(path)[0].startswith("damaged PDF: ")
    path.write_bytes(b"")
    assert faults(path)[0].startswith("damaged PDF: ")
    made.pdf(path, [["A text."], [], ["More text."]])
    report = ReadReport()
    (document,) = read([path], report=report)
    assert report.notes == {"with pages without text": 1}
    assert document.text == "A text.\n\nMore text."


def test_compressed_and_in_an_archive(tmp_path: Path) -> None:
    import gzip

    path = made.pdf(tmp_path / "a.pdf", [["A short text."]])
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path, "x/a.pdf")
    (tmp_path / "b.pdf.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert [document.text for document in read([tmp_path / "a.zip"])] == ["A short text."]
    assert [document.text for document in read([tmp_path / "b.pdf.gz"])] == ["A short text."]


def test_what_kills_or_blocks_the_process_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made.pdf(tmp_path / "a.pdf", [["A text."]] * 3_000)
    items = pdf.read(path, MAX_RECORD_BYTES)
    stream = pdf_pages.messages(path)
    next(stream)
    (worker,) = pdf_pages._kept
    psutil.Process(worker._process.pid).kill()
    with pytest.raises(Exception, match=r"PDFium stopped.*SIGKILL"):
        list(stream)
    assert any(isinstance(item, Record) for item in items), "the next file has a new process"
    monkeypatch.setattr(pdf_pages, "PATIENCE", 0.3)
    stream = pdf_pages.messages(path)
    next(stream)
    psutil.Process(pdf_pages._kept[0]._process.pid).suspend()
    with pytest.raises(Exception, match="took longer"):
        list(stream)


def test_a_generator_that_is_left_takes_its_process_along(tmp_path: Path) -> None:
    path = made.pdf(tmp_path / "a.pdf", [["A text."]] * 50)
    stream = pdf_pages.messages(path)
    next(stream)
    stream.close()
    assert not any(b"pdf_worker" in " ".join(child.cmdline()).encode() for child in psutil.Process().children())
    assert len(found(path)) >= 1


def many_pages(path: Path, count: int) -> Path:
    """A file of so many pages, written by hand: a flat tree, one text for all."""
    stream = b"BT /F1 12 Tf 20 100 Td (Some words of a page that all share.) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, b" ".join(b"%d 0 R" % (5 + n) for n in range(count))),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
    ]
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Resources<</Font<</F1 3 0 R>>>>/Contents 4 0 R>>"
    with path.open("wb") as file:
        file.write(b"%PDF-1.4\n")
        places = []
        for number in range(4 + count):
            places.append(file.tell())
            file.write(b"%d 0 obj%s endobj\n" % (number + 1, objects[number] if number < 4 else page))
        start = file.tell()
        file.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1))
        file.writelines(b"%010d 00000 n \n" % place for place in places)
        file.write(b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(places) + 1, start))
    return path


@pytest.mark.slow
def test_a_hundred_thousand_pages(tmp_path: Path) -> None:
    path = many_pages(tmp_path / "a.pdf", 100_000)
    this = psutil.Process()
    before, others = this.memory_info().rss, this.children()  # of earlier tests
    most = count = 0
    for number, message in enumerate(pdf_pages.messages(path)):
        count += "text" in message
        if number % 5_000 == 0:
            both = [this, *(child for child in this.children() if child not in others)]
            most = max(most, sum(process.memory_info().rss for process in both) - before)
    assert count == 100_000
    assert most < 300e6


@settings(deadline=None)
@given(data=st.data())
def test_damaged_files_give_faults_alone(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = made.pdf(tmp_path_factory.mktemp("damaged") / "a.pdf", [[text] for text in texts(3, 10)], "A", {1: "B"})
    whole = path.read_bytes()
    kind = data.draw(st.sampled_from(["random", "cut", "changed"]))
    if kind == "random":
        path.write_bytes(b"%PDF-1.7\n" + data.draw(st.binary(max_size=200)))
    elif kind == "cut":
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        for _ in range(data.draw(st.integers(1, 5))):
            place = data.draw(st.integers(0, len(whole) - 1))
            whole = whole[:place] + data.draw(st.binary(min_size=1, max_size=8)) + whole[place + 1 :]
        path.write_bytes(whole)
    found(path)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.pdf(tmp_path / "a.pdf", [["A text."]])
    (tmp_path / "b.txt").write_text("Another text.")
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pypdfium2" else there(name))
    report = ReadReport()
    assert [document.text for document in read([tmp_path], report=report)] == ["Another text."]
    assert report.ignored == {".pdf: needs documents": 1}
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[documents\]"'):
        list(read([tmp_path / "a.pdf"]))
