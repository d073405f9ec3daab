"""Files of Word, PowerPoint, Excel and OpenDocument, and books: their words, titles and order; faults and limits."""

from __future__ import annotations

import random
import re
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made_files as made
from pretrieve.core.errors import DataError
from pretrieve.text.corpus import MAX_RECORD_BYTES, ReadReport, read
from pretrieve.text.readers import by_suffix
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".docx", ".docm", ".pptx", ".pptm", ".xlsx", ".xlsm", ".odt", ".odp", ".ods", ".epub")


def texts(count: int, words: int = 60, seed: int = 0) -> list[str]:
    """Paragraphs of words that are all different."""
    rng = random.Random(seed)
    return [
        " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyzéß") for _ in range(7)) for _ in range(words)) + "."
        for _ in range(count)
    ]


def sample(path: Path, paragraphs: list[str]) -> Path:
    """A file of the format of the suffix that holds these paragraphs."""
    kind = path.suffix
    if kind in (".docx", ".docm"):
        return made.docx(path, "".join(map(made.paragraph, paragraphs)))
    if kind in (".pptx", ".pptm"):
        return made.pptx(path, [(f"Title {number}", [text], "") for number, text in enumerate(paragraphs)])
    if kind in (".xlsx", ".xlsm"):
        return made.xlsx(path, {"Sheet": [[*text.split()] for text in paragraphs]})
    if kind == ".epub":
        return made.epub(path, "Book", [f"<p>{text}</p>" for text in paragraphs])
    body = "".join(f"<text:p>{text}</text:p>" for text in paragraphs)
    return made.odt(path, body)


def by_title(path: Path) -> dict[str, str]:
    return {document.title: document.text for document in read([path], deduplicate=False)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_words_are_read(tmp_path: Path, suffix: str) -> None:
    paragraphs = texts(80)
    path = sample(tmp_path / f"a{suffix}", paragraphs)
    found = list(read([path]))
    wanted = set(re.findall(r"\w+", " ".join(paragraphs)))
    assert len(wanted & set(re.findall(r"\w+", " ".join(document.text for document in found)))) >= 0.95 * len(wanted)
    assert max(len(document.text) for document in found) < 12_000, "a long document is cut"
    assert len({document.id for document in found}) == len(found)


def test_word_headings_tables_and_notes(tmp_path: Path) -> None:
    long = texts(3, 200)
    body = (
        made.paragraph("Handbook", "Titel")
        + made.paragraph("Install", "berschrift1")
        + made.paragraph(long[0])
        + made.paragraph("On Linux", "berschrift2")
        + made.paragraph(long[1])
        + made.table([["name", "size"], ["river", "1094 km"]])
        + made.paragraph("Use", "berschrift1")
        + f"<w:p><w:r><w:t>{long[2]}</w:t><w:tab/><w:delText>deleted</w:delText></w:r></w:p>"
    )
    note = f"<w:footnotes {made.W}>{made.paragraph('A note below.')}</w:footnotes>"
    found = by_title(made.docx(tmp_path / "a.docx", body, word__footnotes=note))
    assert list(found) == ["Handbook > Install", "Handbook > Install > On Linux", "Handbook > Use"]
    assert found["Handbook > Install > On Linux"].endswith("name | size\nriver | 1094 km")
    assert found["Handbook > Use"] == f"{long[2]}\n\nA note below."


def test_text_boxes_are_read_once(tmp_path: Path) -> None:
    box = made.paragraph("Boxed text.")
    body = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    (document,) = read([made.docx(tmp_path / "a.docx", body)])
    assert document.text == "Boxed text."


def test_slides_are_in_their_order_with_notes(tmp_path: Path) -> None:
    long = texts(3, 200)
    slides = [("First", [long[0]], "Say hello."), ("Second", [long[1]], ""), ("", [long[2]], "")]
    found = by_title(made.pptx(tmp_path / "a.pptx", slides))
    assert found == {"First": f"{long[0]}\n\nSay hello.", "Second": long[1], "Slide 3": long[2]}


def test_rows_of_sheets(tmp_path: Path) -> None:
    sheets = {"Rivers": [["name", "km"], ["Elbe", 1094.5]], "Dates": [["opened", -43_831.0]]}
    (document,) = read([made.xlsx(tmp_path / "a.xlsx", sheets)])
    assert document.title == "Rivers"
    assert document.text == "name | km\nElbe | 1094.5\n\nDates\n\nopened | 2020-01-01"


def test_open_document_headings_and_tables(tmp_path: Path) -> None:
    cells = "".join(f"<table:table-cell><text:p>{text}</text:p></table:table-cell>" for text in "ab")
    row = f"<table:table-row>{cells}</table:table-row>"
    body = (
        '<text:h text:outline-level="1">Install</text:h>'
        '<text:p>Some<text:s text:c="2"/>text<text:span> here</text:span>.'
        "<text:note><text:note-body><text:p>A note.</text:p></text:note-body></text:note> More.</text:p>"
        f"<text:tracked-changes><text:p>old</text:p></text:tracked-changes><table:table>{row}{row}</table:table>"
    )
    (document,) = read([made.odt(tmp_path / "a.odt", body, "Guide")])
    assert document.title == "Guide"
    assert document.text.split("\n\n") == ["Install", "Some  text here.", "A note.", "More.", "a | b\na | b"]


def test_chapters_are_in_reading_order(tmp_path: Path) -> None:
    long = texts(2, 400)
    chapters = [f"<h1>One</h1><p>{long[0]}</p>", f"<h1>Two</h1><p>{long[1]}</p>", "<img src='x.png'/>"]
    found = list(read([made.epub(tmp_path / "a.epub", "The Book", chapters)]))
    assert [document.title for document in found][:2] == ["The Book > One", "The Book > Two"]
    assert [document.text for document in found][:2] == long


def reasons(path: Path) -> set[str]:
    found = list(by_suffix()[path.suffix].read(path, MAX_RECORD_BYTES))
    assert all(isinstance(item, Record | Fault | Note) for item in found)
    return {item.reason for item in found if isinstance(item, Fault)}


def test_encrypted_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le"))
    assert reasons(path) == {"encrypted"}
    with pytest.raises(DataError, match=r"a\.docx:1: encrypted"):
        list(read([path]))
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
    assert reasons(path) == {"not a zip file"}
    path = made.odt(tmp_path / "a.odt", "<text:p>x</text:p>")
    made.archive(path, {"content.xml": b"\x00\x01", "META-INF/manifest.xml": "<m><encryption-data/></m>"})
    assert reasons(path) == {"encrypted"}
    path = made.epub(tmp_path / "a.epub", "B", ["<p>x</p>"])
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("META-INF/encryption.xml", '<e><CipherReference URI="OEBPS/text/part%201.xhtml"/></e>')
    assert reasons(path) == {"encrypted"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_holds_no_text_or_is_another_zip(tmp_path: Path, suffix: str) -> None:
    path = made.archive(tmp_path / f"a{suffix}", {"other.txt": "x"})
    assert len(reasons(path)) == 1
    assert reasons(path).pop().startswith("damaged")
    path.write_bytes(b"")
    assert reasons(path) == {"empty file"}
    if suffix != ".epub":
        assert reasons(sample(tmp_path / f"b{suffix}", [])) == {"no text"}


def test_a_bomb_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    """A thousand to one: 300 MB of blanks in a paragraph, and of paragraphs."""
    path = tmp_path / "a.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("word/document.xml", "w") as part:
        part.write(f"<w:document {made.W}><w:body>".encode())
        for _ in range(300):
            part.write(b"<w:p><w:r><w:t>a</w:t></w:r></w:p>" + b" " * (1 << 20))
    assert path.stat().st_size < 400_000
    tracemalloc.start()
    assert reasons(path) == {"too long"}
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_a_giant_tag_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(path := tmp_path / "a.docx", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("word/document.xml", "<w:document a='" + " " * (30 << 20) + "'/>")
    assert reasons(path) == {"too long"}


def test_entities_neither_explode_nor_read_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    start = f'<!DOCTYPE d [<!ENTITY e0 "lol"><!ENTITY f SYSTEM "file://{secret}">{entities}]>'
    document = "<w:document {W}><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>"
    for text, expected in (("&e9;", {"malformed XML"}), ("&f;", {"no text"})):
        path = made.archive(tmp_path / "a.docx", {"word/document.xml": start + document.format(W=made.W, text=text)})
        assert reasons(path) == expected


def test_a_long_document_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    text = made.paragraph(texts(1, 100)[0])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("word/document.xml", "w") as part:
        part.write(f"<w:document {made.W}><w:body>".encode())
        for _ in range(30_000):
            part.write(text.encode())
        part.write(b"</w:body></w:document>")
    tracemalloc.start()
    found = sum(1 for _ in by_suffix()[".docx"].read(path, MAX_RECORD_BYTES))
    assert found > 2_000
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None)
@given(data=st.data())
def test_damaged_files_give_faults_alone(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    """Random bytes, cut files and changed bytes: never an exception."""
    path = sample(tmp_path_factory.mktemp("damaged") / f"a{suffix}", texts(3, 10))
    whole = path.read_bytes()
    kind = data.draw(st.sampled_from(["random", "cut", "changed", "part"]))
    if kind == "random":
        path.write_bytes(data.draw(st.binary(max_size=200)))
    elif kind == "cut":
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    elif kind == "changed":
        place = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:place] + data.draw(st.binary(min_size=1, max_size=8)) + whole[place + 1 :])
    else:
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        name = data.draw(st.sampled_from(sorted(parts)))
        place = data.draw(st.integers(0, len(parts[name])))
        parts[name] = parts[name][:place] + data.draw(st.binary(max_size=20))
        made.archive(path, parts)
    reasons(path)


def test_a_damaged_part_leaves_what_was_before(tmp_path: Path) -> None:
    path = made.docx(tmp_path / "a.docx", made.paragraph("Good text.") + "<w:p><broken>")
    report = ReadReport()
    (document,) = read([path], on_bad="skip", report=report)
    assert document.text == "Good text."
    assert report.faults == {"malformed XML": 1}
