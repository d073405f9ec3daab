"""Folders of PDF and Office files on the command line: what is read, and one line for what is not."""

from __future__ import annotations

from pathlib import Path

import made_files as made


def paragraphs(topic: str) -> list[str]:
    return [
        f"The {topic} number {number} is long. It has a name of its own, and a place in the {topic}."
        for number in range(20)
    ]


def test_a_folder_of_office_files(run, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    made.pdf(docs / "a.pdf", [[text] for text in paragraphs("river")])
    made.pdf(docs / "secret.pdf", [["A text."]], password="x")
    made.pdf(docs / "scan.pdf", [[]])
    made.docx(docs / "b.docx", "".join(map(made.paragraph, paragraphs("lake"))))
    made.pptx(docs / "c.pptx", [(text[:30], [text], "") for text in paragraphs("sea")])
    (docs / "d.docx").write_bytes(b"PK no zip file")
    done = run("inspect", docs, "-n", "1")
    assert done.code == 0, done.err
    said = done.out + done.err
    assert "6 files: 3 read, 3 gave no document" in said
    for line in (
        f"{docs / 'secret.pdf'}:1: encrypted",
        f"{docs / 'scan.pdf'}:1: no text in the pages (1 pages, perhaps scanned)",
        f"{docs / 'd.docx'}:1: damaged zip (File is not a zip file)",
    ):
        assert line in said.splitlines() or line in " ".join(said.split())


def test_a_file_that_is_named_is_one_line(run, tmp_path: Path) -> None:
    path = made.pdf(tmp_path / "a.pdf", [["A text."]], password="x")
    done = run("inspect", path)
    assert done.code == 1
    assert done.err == f"error: {path}:1: encrypted: fix it, or skip such records with --on-bad skip (or quarantine).\n"
