"""Text formats: what is a document, what its title, what is dropped; and installed packages, read without import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pretrieve.core.errors import MissingExtraError, UsageError
from pretrieve.core.types import Document
from pretrieve.text import readers
from pretrieve.text.corpus import ReadReport, read

LONG = "Words that fill a section. " * 60


def documents(path: Path, content: str | bytes) -> list[Document]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read([path]))


def test_the_folder_is_the_registry() -> None:
    assert set(readers.by_suffix()) >= {".jsonl", ".parquet", ".csv", ".tsv", ".txt", ".md", ".html"}
    assert set(readers.by_scheme()) == {"python", "hf", "beir", "ir_datasets", "memory"}
    for suffix, module in readers.by_suffix().items():
        assert callable(module.read), suffix


def test_a_short_text_is_one_document(tmp_path: Path) -> None:
    (document,) = documents(tmp_path / "a.txt", "\ufeffOne.\r\n\r\nTwo.\n")
    assert (document.id, document.title, document.text) == (str(tmp_path / "a.txt"), "", "One.\n\nTwo.")


def test_a_long_text_is_cut_between_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {i} " + "with some words in it. " * 40 for i in range(40)]
    found = documents(tmp_path / "a.txt", "\n\n".join(paragraphs))
    assert [document.id for document in found] == [f"{tmp_path / 'a.txt'}#{i + 1}" for i in range(len(found))]
    assert 3 < len(found) < 7
    rebuilt = "\n\n".join(document.text for document in found)
    assert [part.strip() for part in rebuilt.split("\n\n")] == [part.strip() for part in paragraphs]
    one_line_each = documents(
        tmp_path / "b.txt", "\n".join(f"line {i} of a text without blank lines" for i in range(5000))
    )
    assert len(one_line_each) > 3
    assert sum(len(document.text.splitlines()) for document in one_line_each) == 5000


def test_markdown_short(tmp_path: Path) -> None:
    source = "---\ntitle: 'The front'\n---\nIntro with **bold** and [a link](http://x.y).\n\n## Sub\n\n- item `code`\n"
    (document,) = documents(tmp_path / "a.md", source)
    assert document.title == "The front"
    assert document.text == "Intro with bold and a link.\n\nSub\n\nitem code"
    (document,) = documents(tmp_path / "a.md", "# Only *title*\n\nText.\n\n![picture](x.png) <b>raw</b>\n")
    assert (document.title, document.text) == ("Only title", "Text.\n\npicture raw")


def test_markdown_long_is_cut_at_headings(tmp_path: Path) -> None:
    source = (
        f"{LONG}\n\n# Guide\n\nAbout.\n\n## Install\n\n{LONG}\n\n```sh\n# no heading\npip install x\n```\n\n"
        f"### Linux\n\n| a | b |\n|---|---|\n| c | d |\n\n## Use\n\n{LONG}\n\nUnderlined\n=====\n\nLast.\n"
    )
    found = documents(tmp_path / "a.md", source)
    titles = ["", "Guide", "Guide > Install", "Guide > Install > Linux", "Guide > Use", "Underlined"]
    assert [document.title for document in found] == titles
    assert found[2].text.endswith("# no heading\npip install x")
    assert found[3].text == "a | b\nc | d"
    assert found[5].text == "Last."
    assert len({document.id for document in found}) == 6


def test_a_very_long_section_is_cut_at_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"{i}: {LONG}".strip() for i in range(12)]
    found = documents(tmp_path / "a.md", "# Big\n\n" + "\n\n".join(paragraphs))
    assert len(found) > 2
    assert {document.title for document in found} == {"Big"}
    assert "\n\n".join(document.text for document in found) == "\n\n".join(paragraphs)


def test_html(tmp_path: Path) -> None:
    page = (
        "<!doctype html><html><head><title>The page</title><style>p {color: red}</style></head><body><nav>Menu</nav>"
        "<script>var hidden = 1;</script><div>One <b>bold</b>word<p>Two</p>Three</div><pre>  a\n   b</pre>"
        "<noscript>no</noscript><ul><li>x<li>y &amp; z</ul></body></html>"
    )
    (document,) = documents(tmp_path / "a.html", page)
    assert document.title == "The page"
    assert document.text == "One boldword\n\nTwo\n\nThree\n\na\n   b\n\nx\n\ny & z"


def test_html_long_is_cut_at_headings(tmp_path: Path) -> None:
    page = (
        f"<title>T</title><p>{LONG}</p><h1>Guide</h1><p>About</p><section><h2>In<i>stall</i></h2><p>{LONG}</p>"
        f"</section><h2>Use</h2>{LONG}"
    )
    found = documents(tmp_path / "a.htm", page)
    assert [document.title for document in found] == ["T", "Guide", "Guide > Install", "Guide > Use"]


def test_html_deep_and_other_charsets(tmp_path: Path) -> None:
    (document,) = documents(tmp_path / "a.html", "<div>" * 5000 + "deep words" + "</div>" * 5000)
    assert document.text == "deep words"
    (document,) = documents(tmp_path / "b.html", '<meta charset="iso-8859-1"><p>café'.encode("latin-1"))
    assert document.text == "café"


@pytest.mark.parametrize("name", ["a.md", "a.html", "a.txt"])
def test_text_files_that_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "good.txt").write_text("A good text.")
    for content, reason in [
        (b"caf\xe9 au lait caf\xc3\xa9 caf\xc3\xa9", "not UTF-8"),
        (b"word " * 1000, "too long"),
        (b"  \n\n ", "empty document"),
        (b"a\0b c", "NUL character"),
    ]:
        (tmp_path / name).write_bytes(content)
        report = ReadReport()
        assert len(list(read([tmp_path], on_bad="skip", report=report, max_record_bytes=2000))) == 1
        assert dict(report.faults) == {reason: 1}, content[:20]


def make_package(folder: Path) -> None:
    package = folder / "tinypkg"
    for name, source in {
        "__init__.py": '"""The tiny package that tests are made of."""\nraise SystemExit("it was imported")\n',
        "_inner.py": (
            '"""A private module whose own words are not shown."""\n'
            "def norm(x, ord: 'int | None' = None, *, keep=False):\n"
            '    """Return the norm of a tiny vector.\n\n    Indented details follow.\n    """\n'
            "def _private():\n"
            '    """A private function that nobody should see."""\n'
            "class Box(dict):\n"
            '    """A box that holds all tiny things."""\n'
            "    def __init__(self, size=3):\n"
            '        """Make it, with some words here too."""\n'
            "    def open(self, wide: bool = True):\n"
            '        """Open the box, wide or only a little."""\n'
            "try:\n    import x\nexcept ImportError:\n    def later():\n"
            '        """Something that is defined only without x."""\n'
            "else:\n    def later():\n"
            '        """Something that is defined only with x."""\n'
            "def short():\n"
            '    """Too short."""\n'
        ),
        "broken.py": 'def (:\n"""This file is not Python at all, is it?"""\n',
        "tests/test_x.py": '"""Tests are no documentation, however long."""\n',
        "sub/deep.py": '"""A module deep down in the tiny package."""\nSTRANGE = "\\d"\n',
        "sub/half.py": 'def lone():\n    """A lone \\ud800 surrogate stands in this docstring."""\n',
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(source)


def test_python_packages_are_read_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    report = ReadReport()
    found = list(read(["python:tinypkg"], report=report))
    assert {document.id: document.title for document in found} == {
        "tinypkg": "tinypkg",
        "tinypkg.norm": "tinypkg.norm(x, ord=None, *, keep=False)",
        "tinypkg.Box": "tinypkg.Box(size=3)",
        "tinypkg.Box.open": "tinypkg.Box.open(wide=True)",
        "tinypkg.later": "tinypkg.later()",
        "tinypkg.later#2": "tinypkg.later()",
        "tinypkg.sub.deep": "tinypkg.sub.deep",
        "tinypkg.sub.half.lone": "tinypkg.sub.half.lone()",
    }
    assert next(d.text for d in found if d.id == "tinypkg.norm").endswith("vector.\n\nIndented details follow.")
    assert next(d.where for d in found if d.id == "tinypkg.norm") == f"{tmp_path / 'tinypkg' / '_inner.py'}:2"
    assert next(d.text for d in found if d.id == "tinypkg.sub.half.lone").startswith("A lone ? surrogate")
    assert report.bad == 0
    assert "tinypkg" not in sys.modules


def test_python_all_is_the_union_in_a_fixed_order(tmp_path: Path) -> None:
    make_package(tmp_path)
    script = (
        "import sys; from pretrieve.text.readers import python\n"
        f"sys.path.insert(0, {str(tmp_path)!r}); before = set(sys.modules)\n"
        "found = python.packages(); assert 'tinypkg' in found and 'json' in found and 'numpy' in found\n"
        "assert '_tkinter' not in found and 'site-packages' not in found\n"
        "names = [r.fields['id'] for r in python.read('json,tinypkg', 1 << 20)]\n"
        "assert names == [r.fields['id'] for r in python.read(' json, tinypkg,', 1 << 20)]\n"
        "assert 'json.dumps' in names and 'json.tool' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_unknown_package() -> None:
    with pytest.raises(UsageError, match=r"no installed package is called 'nunpy'.*Did you mean '\w+'"):
        list(read(["python:nunpy"]))


def test_hub_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[hub\]"'):
        list(read(["hf:BeIR/scifact"]))
