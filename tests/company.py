"""A folder as companies have them: every format, in every state; each file that must be read holds a word of its own.

``build`` writes the files and tells, for each, which words the documents must hold and which they must not.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import socket
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

import made_files


@dataclass
class Company:
    """What was written.

    Attributes:
        folder: the folder.
        words: words that the documents must hold, by file.
        absent: words that they must not hold, by file.
        read: number of files that give a document.
        faults: number of files that cannot be read, by reason.
        passed_over: number of files that are not meant to be read, by reason.
    """

    folder: Path
    words: dict[str, list[str]] = field(default_factory=dict)
    absent: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    _number: int = 0

    @property
    def read(self) -> int:
        """Files that give a document."""
        return len(self.words)

    def word(self) -> str:
        """A word that stands nowhere else."""
        self._number += 1
        letters = "abcdefghij"
        return "marker" + "".join(letters[int(digit)] for digit in f"{self._number:04}")

    def good(self, name: str, make: Callable[..., bytes | str], count: int = 1, absent: int = 0) -> None:
        """Write a file that must be read; ``make`` gets a list of words, and one of words that must not be found."""
        words, others = [self.word() for _ in range(count)], [self.word() for _ in range(absent)]
        content = make(words, others) if absent else make(words)
        self.write(name, content)
        self.words[name], self.absent[name] = words, others

    def bad(self, name: str, content: bytes | str, reason: str) -> None:
        """Write a file that cannot be read."""
        self.write(name, content)
        self.faults[reason] = self.faults.get(reason, 0) + 1

    def other(self, name: str, content: bytes | str, reason: str) -> None:
        """Write a file that is not read, on purpose."""
        self.write(name, content)
        self.passed_over[reason] = self.passed_over.get(reason, 0) + 1

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def build(folder: Path) -> Company:
    """Write the folder, which must not exist."""
    folder.mkdir()
    company = Company(folder)
    for part in (_prose, _encodings, _packed, _tables, _code, _mail, _office, _xml, _collections, _odd, _left_out):
        part(company)
    return company


def _prose(company: Company) -> None:
    company.good("handbook/plain.txt", lambda w: f"The office opens at nine, says {w[0]}.\n")
    company.good("README", lambda w: f"All about this folder: {w[0]}.\n")
    company.good(
        "handbook/markdown.md",
        lambda w: (
            f"+++\ntitle = 'Handbook'\n+++\n# Rules {w[0]}\n\n<details><summary>More {w[1]}</summary>\n\n"
            f"<table><tr><td>port {w[2]}</td></tr></table>\n</details>\n\n- item {w[3]}\n"
        ),
        count=4,
    )
    company.good("handbook/one-paragraph.md", lambda w: f"<p>Only this paragraph, {w[0]}.</p>\n")
    company.good(
        "site/page.html",
        lambda w, n: (
            f"<html><head><title>Prices - Acme</title></head><body><nav>menu {n[0]}</nav>"
            f"<div id='cookie-banner'>cookies {n[1]}</div><main><h1>Prices</h1><p>The price is {w[0]}.</p>"
            f"<table><tr><td>cell {w[1]}</td></tr></table></main><footer>imprint {n[2]}</footer></body></html>"
        ),
        count=2,
        absent=3,
    )
    company.good(
        "docs/guide.rst", lambda w: f"Guide\n=====\n\nInstall {w[0]}.\n\n.. note:: Mind the {w[1]}.\n", count=2
    )
    company.good("logs/server.log", lambda w: f"2026-11-28 10:00:00 ERROR the disk {w[0]} is full\n")
    company.good(
        "notebooks/study.ipynb",
        lambda w: orjson.dumps(
            {
                "cells": [
                    {"cell_type": "markdown", "metadata": {}, "source": ["# Study\n", f"We look at {w[0]}."]},
                    {"cell_type": "code", "metadata": {}, "outputs": [], "source": [f"print('{w[1]}')"]},
                ],
                "metadata": {},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        ),
        count=2,
    )
    company.good("handbook/with space é.txt", lambda w: f"A name with a space, {w[0]}.")


def _encodings(company: Company) -> None:
    company.good("encodings/mark.txt", lambda w: f"\ufeffUTF-8 with a mark, {w[0]}.")
    company.good("encodings/utf16.txt", lambda w: f"UTF-16 with a mark, {w[0]}: größer.".encode("utf-16"))
    company.good("encodings/utf16be.txt", lambda w: b"\xfe\xff" + f"Big endian, {w[0]}.".encode("utf-16-be"))
    company.good("encodings/windows.txt", lambda w: f"It’s “{w[0]}”, a café that costs 5 €.".encode("cp1252"))
    company.good("encodings/polish.txt", lambda w: f"Zażółć gęślą jaźń, {w[0]} to jest polski tekst.".encode("cp1250"))
    company.good("encodings/russian.txt", lambda w: f"Это простой русский текст, {w[0]} и так далее.".encode("cp1251"))
    company.good(
        "encodings/japanese.html",
        lambda w: f"<meta charset='shift_jis'><p>これは日本語のページです。{w[0]}</p>".encode("shift_jis"),
    )
    company.good(
        "encodings/smart.html",
        lambda w: f"<meta charset='iso-8859-1'><p>Don’t “{w[0]}” — 5 €</p>".encode("cp1252"),
    )
    company.good("encodings/lines.txt", lambda w: f"Windows ends\r\nof lines {w[0]}\r\nand old\rones.\r\n")


def _packed(company: Company) -> None:
    company.good("packed/a.txt.gz", lambda w: gzip.compress(f"Packed by gzip, {w[0]}.".encode()))
    company.good("packed/b.md.bz2", lambda w: bz2.compress(f"# Packed\n\nby bzip2, {w[0]}.".encode()))
    company.good("packed/c.txt.xz", lambda w: lzma.compress(f"Packed by xz, {w[0]}.".encode()))
    company.good("packed/d.jsonl.zst", lambda w: zstandard.compress(b'{"text": "Packed by zstd, %s."}' % w[0].encode()))
    first, second = company.word(), company.word()
    with zipfile.ZipFile(company.write("packed/e.zip", b""), "w") as archive:
        archive.writestr("inside/one.txt", f"In an archive, {first}.")
        archive.writestr("inside/two.md", f"# Two\n\nIn an archive, {second}.")
    company.words["packed/e.zip/inside/one.txt"] = [first]
    company.words["packed/e.zip/inside/two.md"] = [second]


def _tables(company: Company) -> None:
    company.good("data/a.jsonl", lambda w: f'{{"id": 1, "text": "a line of JSON, {w[0]}"}}\n\n')
    company.good("data/b.json", lambda w: f'[{{"title": "Array", "body": "of objects, {w[0]}"}}]')
    company.good("data/tickets.csv", lambda w: f"ID,Subject,Description\n1,Printer,It does not print {w[0]}\n")
    company.good("data/products.csv", lambda w: f"ID;Name;Beschreibung\n1;Lampe;hell und warm {w[0]}\n")
    company.good("data/excel.csv", lambda w: f"id,text\n1,from a spreadsheet {w[0]}\n".encode("utf-16"))
    company.good("data/quoted.tsv", lambda w: f'id\ttext\ttitle\n1\t"A ""harbour seal"" {w[0]}"\t"Seal"\n')
    company.good("data/collection.tsv", lambda w: f"0\tThe first passage is {w[0]}.\n1\tThe second one is {w[1]}.\n", 2)
    company.good("data/nothing-named.csv", lambda w: f"colour,remark\nred,a long remark about {w[0]}\n")

    def parquet(words: list[str]) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"id": [1], "text": [f"a row of Parquet, {words[0]}"]}), sink)
        return sink.getvalue().to_pybytes()

    company.good("data/rows.parquet", parquet)


def _code(company: Company) -> None:
    company.good("code/tool.py", lambda w: f'"""A tool {w[0]}."""\n\n\ndef run(x):\n    return x  # {w[1]}\n', count=2)
    company.good(
        "code/app.js", lambda w: f"/** Starts the app {w[0]}. */\nfunction start() {{ return '{w[1]}'; }}\n", count=2
    )
    company.good("code/main.go", lambda w: f"// Main does {w[0]}.\npackage main\n\nfunc main() {{}}\n")
    company.good("code/query.sql", lambda w: f"-- all customers of {w[0]}\nSELECT * FROM customers;\n")


def _mail(company: Company) -> None:
    def message(words: list[str]) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = f"Invoice {words[0]}", "a@example.org", "b@example.org"
        mail.set_content(f"Grüße, the invoice {words[1]} is attached.\n", cte="quoted-printable")
        return mail

    company.good("mail/one.eml", lambda w: bytes(message(w)), count=2)
    company.good(
        "mail/all.mbox",
        lambda w: (
            b"From a Mon Jan  1 00:00:00 2026\n" + bytes(message(w[:2])) + b"\n"
            b"From b Mon Jan  1 00:00:00 2026\n" + bytes(message(w[2:])) + b"\n"
        ),
        count=4,
    )


def _office(company: Company) -> None:
    one, two, slides, rows, text, book, page = (company.word() for _ in range(7))
    office = company.folder / "office"
    office.mkdir()
    made_files.docx(
        office / "report.docx", made_files.paragraph(f"The report {one}") + made_files.table([[f"a {two}"]])
    )
    made_files.pptx(office / "talk.pptx", [("Talk", [f"A point {slides}"], "")])
    made_files.xlsx(office / "sums.xlsx", {"Sums": [["name", "sum"], [f"lamp {rows}", 3.0]]})
    made_files.odt(office / "letter.odt", f"<office:text><text:p>Dear {text}</text:p></office:text>")
    made_files.epub(office / "book.epub", "Book", [f"<h1>One</h1><p>It was {book}.</p>"])
    made_files.pdf(office / "paper.pdf", [[f"The paper says {page}."]])
    company.words |= {
        "office/report.docx": [one, two],
        "office/talk.pptx": [slides],
        "office/sums.xlsx": [rows],
        "office/letter.odt": [text],
        "office/book.epub": [book],
        "office/paper.pdf": [page],
    }


def _xml(company: Company) -> None:
    company.good(
        "xml/wiki.xml",
        lambda w: (
            "<mediawiki><page><title>Otter</title><ns>0</ns><id>1</id><revision><text>'''Otters''' eat [[fish]] "
            f"{w[0]}.</text></revision></page></mediawiki>"
        ),
    )
    company.good("xml/feed.xml", lambda w: "<rss><channel><title>News</title><item><title>Today</title><description>It "
                 f"rains {w[0]}.</description></item></channel></rss>")  # fmt: skip
    company.good("xml/wiki_00", lambda w: f'<doc id="7" url="u" title="Seal">\nSeal\n\nSeals swim {w[0]}.\n</doc>\n')


def _collections(company: Company) -> None:
    """Data sets with queries beside the corpus: the queries are no documents."""
    company.good("sets/beir/corpus.jsonl", lambda w: f'{{"_id": "b1", "title": "", "text": "a passage {w[0]}"}}\n')
    query = company.word()
    for name in ("sets/beir/queries.jsonl", "sets/tsv/queries.tsv"):
        company.other(name, f'{{"_id": "q", "text": "{query}"}}\n', "queries and labels beside a corpus")
    company.write("sets/beir/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\tb1\t1\n")
    company.good("sets/tsv/corpus.tsv", lambda w: f"id\ttext\nt1\tanother passage {w[0]}\n")
    company.absent["sets/queries"] = [query]


def _odd(company: Company) -> None:
    company.bad("odd/empty.txt", "", "empty file")
    company.bad("odd/blank.md", " \n\n", "empty document")
    company.bad("odd/binary.txt", bytes(range(256)) * 8, "binary file")
    company.bad("odd/pointer.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
                "git-LFS pointer")  # fmt: skip
    company.bad("odd/cut.txt.gz", gzip.compress(os.urandom(1000))[:300], "binary file")
    company.bad("odd/broken.zip", b"PK\x03\x04 no archive", "damaged zip")
    company.bad("odd/broken.parquet", b"PAR1 no table", "damaged Parquet")
    (company.folder / "odd/dangling.txt").symlink_to("nowhere.txt")
    os.mkfifo(company.folder / "odd/pipe.txt")
    (company.folder / "odd/null.txt").symlink_to("/dev/null")
    company.faults |= {"a dangling link": 1, "a named pipe": 1, "a device": 1}
    with socket.socket(socket.AF_UNIX) as link:
        here = Path.cwd()
        os.chdir(company.folder / "odd")  # the name of a socket is short
        try:
            link.bind("socket.txt")
        finally:
            os.chdir(here)
    company.faults["a socket"] = 1
    if os.geteuid() != 0:
        company.bad("odd/secret.txt", "secret", "unreadable")
        (company.folder / "odd/secret.txt").chmod(0)


def _left_out(company: Company) -> None:
    hidden = company.word()
    company.other(".hidden.txt", f"hidden {hidden}", "hidden")
    company.write(".git/config.txt", f"hidden {hidden}")
    company.write("web/node_modules/x/readme.md", f"hidden {hidden}")
    company.write("web/.gitignore", "build/\n*.tmp.txt\n")
    company.passed_over["hidden"] += 1
    company.other("web/a.tmp.txt", f"hidden {hidden}", "ignored by .gitignore")
    company.write("web/build/out.txt", f"hidden {hidden}")
    company.other("office/~$report.docx", "lock", "temporary")
    company.other("pictures/logo.png", b"\x89PNG\r\n\x1a\n" + bytes(200), ".png")
    company.other("pictures/photo.JPG", b"\xff\xd8\xff" + bytes(200), ".jpg")
    (company.folder / "web/again").symlink_to("../handbook")
    (company.folder / "web/loop").symlink_to(".")
    company.absent["hidden"] = [hidden]
