"""Formats of text, mail and code: what is read of each, what is dropped, and that no input breaks a reader."""

from __future__ import annotations

import mailbox
import re
import time
from collections import Counter
from email.message import EmailMessage
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core.types import Document
from pretrieve.text import readers
from pretrieve.text.corpus import ReadReport, read
from pretrieve.text.records import Fault, Note, Record

MARKDOWN = (".md", ".mdx", ".qmd")
MARKUP = (*MARKDOWN, ".html", ".rst", ".adoc", ".org", ".tex")
PLAIN = (".txt", ".log", ".toml", ".py", ".js", ".sql", ".srt")
SUFFIXES = (*MARKUP, *PLAIN, ".ipynb", ".eml", ".mbox", ".mht", ".vtt", ".c")
LONG = "Words that fill a section. " * 60


def documents(path: Path, content: str | bytes, report: ReadReport | None = None) -> list[Document]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read([path], report=report))


def one(path: Path, content: str | bytes) -> tuple[str, str]:
    (document,) = documents(path, content)
    return document.title, document.text


def notebook(*cells: dict[str, object]) -> bytes:
    return orjson.dumps({"cells": cells, "nbformat": 4})


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40, deadline=None)
@given(
    data=st.binary(max_size=400) | st.text("<>-=#*_`[](){}:|\\/ .\n\taé1\"'!~^@%$&;,+", max_size=400).map(str.encode)
)
def test_any_bytes_give_records_faults_and_notes(suffix: str, data: bytes, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(data)
    for item in readers.by_suffix()[suffix].read(path, 1 << 20):
        assert isinstance(item, Record | Fault | Note)
        if isinstance(item, Record):
            assert {type(value) for value in item.fields.values()} == {str}


HEADINGS = {
    ".html": "<h2>{}</h2>",
    ".rst": "{}\n==============",
    ".adoc": "== {}",
    ".org": "* {}",
    ".tex": r"\section{{{}}}",
}
BLOCKS = {".html": "<p>{}</p>"}


@pytest.mark.parametrize("suffix", [*MARKUP, *PLAIN])
def test_words_are_not_lost(suffix: str, tmp_path: Path) -> None:
    lines = [f"Sentence {number} names thing{number} and others." for number in range(900)]
    heading = HEADINGS.get(suffix, "# {}")
    blocks = [
        f"{heading.format(f'Chapter {number} naught{number}')}\n\n{BLOCKS.get(suffix, '{}').format(line)}\n\n"
        for number, line in enumerate(lines)
    ]
    found = documents(tmp_path / f"a{suffix}", "".join(blocks))
    expected = Counter(re.findall(r"\w+", " ".join(f"naught{number} {line}" for number, line in enumerate(lines))))
    read_words = Counter(re.findall(r"\w+", " ".join(f"{document.title} {document.text}" for document in found)))
    assert (expected & read_words).total() >= 0.95 * expected.total()


NESTED = [
    "<div>",
    "<table><tr><td>",
    "<b>",
    "<pre>",
    "<ul><li>",
    "> ",
    "- ",
    "1. ",
    "*a ",
    "**a ",
    "`a ",
    "[[a ",
    "{",
    "# a\n",
]


@pytest.mark.parametrize("suffix", [*MARKUP, ".js", ".py", ".eml", ".mbox", ".ipynb"])
def test_what_is_nested_deep_is_read_in_linear_time(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    for piece in NESTED:
        path.write_text(piece * (40_000 // len(piece)) + "deep words")
        start = time.process_time()
        found = list(readers.by_suffix()[suffix].read(path, 1 << 20))
        assert time.process_time() - start < 8, piece
        if suffix in (".html", ".md") and piece[0] in "<>-1" and piece != "<pre>":
            assert "deep words" in str(found[-1]), piece


def test_many_headings_take_linear_time(tmp_path: Path) -> None:
    found = documents(tmp_path / "a.org", "".join(f"{'*' * (1 + i % 3000)} H{i}\ntext {i}\n" for i in range(4_000)))
    assert len(found) == 4_000


def test_html_inside_markdown_is_text(tmp_path: Path) -> None:
    source = (
        "# Notes\n\n<details>\n<summary>Breaking</summary>\nThe endpoint is gone.\n</details>\n\n<!-- not this -->\n\n"
        "<table>\n<tr><td>Port</td><td>4711</td></tr>\n</table>\n\n"
        "<div align='center'>\n\nNever *delete* it.\n\n</div>\n\n"
        'Line<br>break <img src=x alt="a pump">.\n\n<script>\nvar x;\n</script>\n'
    )
    title, text = one(tmp_path / "a.md", source)
    assert title == "Notes"
    blocks = ["Breaking", "The endpoint is gone.", "Port | 4711", "Never delete it.", "Line\nbreak a pump."]
    assert text.split("\n\n") == blocks
    assert one(tmp_path / "b.md", "<p>All of it is a paragraph.</p>\n") == ("", "All of it is a paragraph.")
    assert one(tmp_path / "c.md", "<h1 align=center>Tool</h1>\n<p>What it does.</p>\n") == ("Tool", "What it does.")


@pytest.mark.parametrize(
    ("front", "title", "text"),
    [
        ('+++\ntitle = "A page"\ndraft = false\n+++\n', "A page", "Body."),
        ("---\ntitle: 'It''s'\ndescription: >\n  Two\n  lines\ntags: [x]\n---\n", "It's", "Two lines\n\nBody."),
        ("---\nlayout: post # comment\ntitle: Plain # comment\n---\n", "Plain", "Body."),
        ("---\n\nA text: between rules.\n\n---\n", "", "A text: between rules.\n\nBody."),
    ],
)
def test_front_matter(front: str, title: str, text: str, tmp_path: Path) -> None:
    assert one(tmp_path / "a.md", f"{front}\nBody.\n") == (title, text)


def test_marks_of_markdown_are_dropped(tmp_path: Path) -> None:
    source = (
        "- [x] done\n- [ ] todo\n\nA claim[^1].\n\n[^1]: proof\n\n::: warning\nA heron.\n:::\n\n"
        "| a | b |\n|---|---|\n| c | d |\n"
    )
    assert one(tmp_path / "a.md", source)[1] == "done\n\ntodo\n\nA claim.\n\nproof\n\nA heron.\n\na | b\nc | d"
    mdx = (
        "import X from 'y'\n\n# T\n\n{/* hidden */}\n\n<Card title=\"Install\">\n"
        "  Body\n</Card>\n\n```js\nimport z from 'z'\n```\n"
    )
    assert one(tmp_path / "a.mdx", mdx) == ("T", "Install\n\nBody\n\nimport z from 'z'")


def test_lists_nested_deep_are_kept(tmp_path: Path) -> None:
    source = "".join("  " * depth + f"- item{depth}\n" for depth in range(300))
    text = " ".join(document.text for document in documents(tmp_path / "a.md", source))
    assert [depth for depth in range(300) if f"item{depth}" not in text] == []


PAGE = """<html><head><title>Install - Acme Docs</title><meta property="og:site_name" content="Acme Docs">
</head><body><header><a href=/>Acme</a><nav><ul><li><a href=1>Menu</a></ul></nav></header>
<div id="cookie-banner"><p>We use cookies to show advertisements.</p><button>Accept</button></div>
<main><div class="breadcrumbs"><a href=1>Home</a></div><h1>Install</h1><p>Read this<br>first&shy;ly.</p>
<section id="cookies"><h2>Cookies</h2><p>Cookies are stored in a jar.</p></section>
<table><tr><th>Port<td>80<tr><td><p>Host</p></td><td><p>localhost</p></td></table>
<details><summary>More</summary>Folded.</details><dl><dt>term<dd>meaning</dl><img src=x alt="a diagram">
<p hidden>never shown</p><span style="display: none">nor this</span><div role=tabpanel hidden>second tab</div></main>
<aside class="sidebar"><ul><li><a href=1>Related page</a></ul></aside><footer>Copyright</footer></body></html>"""


def test_pages_lose_their_boilerplate_and_no_content(tmp_path: Path) -> None:
    title, text = one(tmp_path / "a.html", PAGE)
    assert title == "Install"
    assert text.split("\n\n") == [
        "Read this\nfirstly.",
        "Cookies",
        "Cookies are stored in a jar.",
        "Port | 80\nHost | localhost",
        "More",
        "Folded.",
        "term",
        "meaning",
        "a diagram",
        "second tab",
    ]


@pytest.mark.parametrize(
    "page",
    [
        "<nav><p>All of the page stands in nav.</p></nav>",
        "<div class='sidebar'><p>A page in a wrapper that is called sidebar.</p></div><p>End.</p>",
        "<body style='display:none'><div hidden>Shown by a script later, all of it.</div></body>",
        "<header><h1>All of the page stands in its header</h1></header>",
    ],
)
def test_a_page_is_never_lost_to_its_class_names(page: str, tmp_path: Path) -> None:
    words = set(re.findall(r"\w+", re.sub(r"<[^>]*>", " ", page)))
    assert words <= set(re.findall(r"\w+", " ".join(one(tmp_path / "a.html", page))))


def test_a_page_names_itself_without_its_site(tmp_path: Path) -> None:
    def titled(title: str, rest: str = "") -> str:
        return one(tmp_path / "a.html", f"<title>{title}</title>{rest}<p>Text.")[0]

    assert titled("Install | Acme", "<h1>Install</h1>") == "Install"
    assert titled("Acme: Install", '<meta name="application-name" content="acme">') == "Install"
    assert titled("Re-install", "<h1>Re</h1>") == "Re-install"
    assert titled("Acme - Install", "<h1>Other</h1>") == "Acme - Install"


@pytest.mark.parametrize(
    "page",
    [
        '<?xml version="1.0" encoding="windows-1251"?><html><p>Привет, мир</p>'.encode("cp1251"),
        '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>Привет, мир'.encode("cp1251"),
        "<p>Привет, мир".encode("utf-16"),
    ],
)
def test_charsets_of_pages(page: bytes, tmp_path: Path) -> None:
    assert one(tmp_path / "a.html", page)[1] == "Привет, мир"


def test_a_long_table_is_cut_between_rows(tmp_path: Path) -> None:
    rows = "".join(f"<tr><td>row {number}<td>value</tr>" for number in range(2_000))
    found = documents(tmp_path / "a.html", f"<h1>Rows</h1><table>{rows}</table>")
    assert max(len(document.text) for document in found) <= 8_000
    assert [line for document in found for line in document.text.split("\n")][-1] == "row 1999 | value"


def test_headings_without_text_are_kept(tmp_path: Path) -> None:
    found = documents(tmp_path / "a.md", f"# News\n\n## 1.2\n\n## 1.1\n\n## 1.0\n\n{LONG}{LONG}")
    assert [(document.title, document.text[:8]) for document in found] == [
        ("News", "1.2\n\n1.1"),
        ("News > 1.0", "Words th"),
    ]


def test_restructured_text(tmp_path: Path) -> None:
    source = (
        ".. _target:\n\n=====\nGuide\n=====\n\n"
        "See :ref:`the pump <pump>`, :func:`~a.b` and `docs <http://x.y>`_, *now*::\n\n"
        "   code *kept*\n\n.. comment\n   goes on\n\n.. note:: Take care\n"
        "   of it.\n\n.. code-block:: python\n   :linenos:\n\n"
        "   print(1)\n\n.. toctree::\n   :maxdepth: 2\n\n   intro\n\nPart\n----\n\n"
        "+---+---+\n| a | b |\n+---+---+\n\n.. [1] A source.\n"
    )
    title, text = one(tmp_path / "a.rst", source)
    assert title == "Guide"
    assert text.split("\n\n") == [
        "See the pump, a.b and docs, now:",
        "code kept",
        "Take care\n   of it.",
        "print(1)",
        "Part",
        "a | b",
        "A source.",
    ]


def test_light_markup(tmp_path: Path) -> None:
    adoc = (
        "= Title\n:toc:\n\n== Part\n\n// no\n[source]\n----\nint *a*;\n----\n\n"
        "* a *bold* https://x.y[link]\n\n|===\n|a |b\n|===\n"
    )
    assert one(tmp_path / "a.adoc", adoc) == ("Title", "Part\n\nint *a*;\n\na bold link\n\na | b")
    org = "#+TITLE: Mine\n* TODO Part :tag:\n:PROPERTIES:\n:ID: 1\n:END:\ntext /it/ [[http://a][link]]\n"
    assert one(tmp_path / "a.org", org) == ("Mine", "Part\n\ntext it link")
    tex = (
        "\\title{On Pumps}\n\\begin{document}\n"
        "\\section{Why} A \\emph{bold} claim\\cite{x}, 50\\%. % no\n\\end{document}"
    )
    assert one(tmp_path / "a.tex", tex) == ("On Pumps", "Why\n\nA bold claim, 50%.")


def test_subtitles_lose_their_times(tmp_path: Path) -> None:
    srt = "1\n00:00:01,000 --> 00:00:02,000\n<i>Who</i> is it?\n\n2\n00:00:03,000 --> 00:00:04,000\n{\\an8}3 men\n"
    vtt = (
        "WEBVTT - a\n\nNOTE no\n\n00:01.000 --> 00:02.000 align:start\n"
        "Who is it?\n\nid\n00:03.000 --> 00:04.000\n3 men\n"
    )
    assert one(tmp_path / "a.srt", srt)[1] == one(tmp_path / "a.vtt", vtt)[1] == "Who is it?\n3 men"


def test_logs_are_cut_between_lines(tmp_path: Path) -> None:
    lines = [f"2026-01-01 10:00:00 INFO request {number}" for number in range(1_000)]
    found = documents(tmp_path / "a.log", "\n".join(lines))
    assert 3 < len(found) < 8
    assert [line for document in found for line in document.text.split("\n")] == lines


def test_notebooks(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    outputs = [
        {"data": {"text/plain": ["4", "2"]}},
        {"text": "printed\n"},
        {"text": "x" * 5_000},
        {"ename": "E", "evalue": "no"},
    ]
    report = ReadReport()
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Some *text*."]},
        {"cell_type": "code", "source": "a = 1", "outputs": outputs},
    ]
    (document,) = documents(path, notebook(*cells), report)
    assert (document.title, document.text) == ("Title", "Some text.\n\na = 1\n\n42\n\nprinted\n\nE: no")
    assert report.notes == {"with long outputs that are not read": 1}
    for content, reason in [(b"{", "malformed JSON"), (b"[]", "not a notebook"), (b'{"cells": 3}', "not a notebook")]:
        path.write_bytes(content)
        report = ReadReport()
        (tmp_path / "good.txt").write_text("A good text.")
        list(read([tmp_path], report=report))
        assert dict(report.faults) == {reason: 1}


def test_source_code(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    body = "    value = 1  # a line of the body\n" * 30
    python = (
        f'"""About boxes."""\nimport os\n\n# A box.\n@final\nclass Box:\n'
        f'    """Holds."""\n{body}\n    def open(self):\n    {body}'
    )
    found = documents(tmp_path / "src" / "box.py", python)
    name = f"{tmp_path.name}/src/box.py"
    assert [document.title for document in found] == [f"{name} > Box", f"{name} > Box.open"]
    assert found[0].text.startswith('"""About boxes."""\nimport os\n\n# A box.\n@final\nclass Box:')
    assert " ".join(document.text for document in found).split() == python.split()
    go = (
        f"// Package box.\npackage box\n\n// Open opens.\n"
        f"func (b *Box) Open(x int) error {{\n{body}}}\n\nfunc main() {{\n{body}}}\n"
    )
    assert [document.title.partition(" > ")[2] for document in documents(tmp_path / "b.go", go)] == ["Open", "main"]
    assert one(tmp_path / "src" / "a.sh", "echo hi\n") == (f"{tmp_path.name}/src/a.sh", "echo hi")


def test_generated_code_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("var a=1;" * 2_000)
    (tmp_path / "b.js").write_text("var a = 1;\n")
    report = ReadReport()
    assert len(list(read([tmp_path], report=report))) == 1
    assert dict(report.faults) == {"generated code": 1}


def letter(subject: str, text: str) -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = subject
    made["From"] = "a@b.c"
    made.set_content(text)
    return made


def test_letters(tmp_path: Path) -> None:
    made = letter("Réunion — été", "Bonjour à tous.\n\n> cité\n")
    made.add_alternative("<p>Rich</p>", subtype="html")
    made.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="p.png")
    made.add_attachment("Notes in a file.", filename="n.txt")
    report = ReadReport()
    (document,) = documents(tmp_path / "a.eml", made.as_bytes(), report)
    assert (document.title, document.text) == (
        "Réunion — été",
        "Bonjour à tous.\n\n> cité\n\nn.txt\n\nNotes in a file.",
    )
    assert report.notes == {"with attachments that are not read": 1}
    assert "p.png (image/png)" in report.examples[0]
    rich = (
        b"Subject: x\nContent-Type: text/html; charset=windows-1252\n"
        b"Content-Transfer-Encoding: quoted-printable\n\n<p>caf=E9 =96 ok</p>"
    )
    assert one(tmp_path / "b.eml", rich) == ("x", "café – ok")
    page = (
        b"Subject: Page\nContent-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n"
        b"<h1>T</h1><p>Saved.\n--b\nContent-Type: text/css\n\np {}\n--b--\n"
    )
    assert one(tmp_path / "c.mht", page) == ("Page", "T\n\nSaved.")


@pytest.mark.parametrize(
    "data",
    [
        b"Subject: =?utf-8?b?!!!?=\nContent-Type: text/plain; charset=nope\n\nStill words.",
        b"Subject: =?nope?q?caf=e9?=\nContent-Transfer-Encoding: base64\n\nU3RpbGwgd29yZHMu!!",
        b"Content-Type: multipart/mixed; boundary=a\n\nStill words.",
        b"Content-Type: multipart/mixed\n\nStill words.",
    ],
)
def test_broken_letters_give_what_can_be_read(data: bytes, tmp_path: Path) -> None:
    assert "Still words." in one(tmp_path / "a.eml", data)[1]


def test_parts_nested_without_end_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(b"Content-Type: message/rfc822\n\n" * 3_000)
    (tmp_path / "b.eml").write_bytes(letter("x", "words").as_bytes())
    report = ReadReport()
    assert len(list(read([tmp_path], report=report))) == 1
    assert dict(report.faults) == {"damaged mail": 1}


def test_mailboxes_are_read_letter_by_letter(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    box = mailbox.mbox(path)
    for number in range(20):
        box.add(letter(f"Letter {number}", f"Text {number}.\n\nFrom here on it is quoted.\n"))
    box.add(letter("Long", "word " * 2_000))
    box.close()
    report = ReadReport()
    found = list(read([path], report=report, on_bad="skip", max_record_bytes=5_000))
    assert [document.title for document in found] == [f"Letter {number}" for number in range(20)]
    assert found[3].text == "Text 3.\n\nFrom here on it is quoted."
    assert found[3].id == f"{path}#4"
    assert dict(report.faults) == {"too long": 1}
