"""What is kept of a record for search: values, limits, places; and that training sees none of it."""

from __future__ import annotations

import datetime
import json
from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pytest

from pretrieve.text import corpus, kept
from pretrieve.text.corpus import Keep, ReadReport
from pretrieve.text.dates import iso_date
from pretrieve.text.documents import Documents
from pretrieve.text.kept import FieldKeeper
from pretrieve.text.records import Record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-31", "2025-01-31"),
        ("2025/1/3", "2025-01-03"),
        ("31.1.2025", "2025-01-31"),
        ("31 January 2025", "2025-01-31"),
        ("Jan 31, 2025", "2025-01-31"),
        ("Fri, 31 Jan 2025 10:00:00 +0100", "2025-01-31T09:00:00Z"),
        ("2025-01-31 10:00", "2025-01-31T10:00:00"),
        ("2025-01-31T10:00:00.123Z", "2025-01-31T10:00:00.123000Z"),
        ("2025-01-31T23:30:00-02:00", "2025-02-01T01:30:00Z"),
        ("01/02/2025", None),
        ("2025-13-01", None),
        ("31 Foo 2025", None),
        ("version 1.2.2025", None),
        ("20250131", None),
    ],
)
def test_dates_are_iso(text, expected) -> None:
    assert iso_date(text) == expected


def fields(**values) -> dict:
    keeper = FieldKeeper("s.jsonl", several=False, is_folder=False)
    found = keeper.fields(Record("s.jsonl:1", values), {"id", "text"})
    notes = {note.reason: note.detail for note in keeper.notes("s.jsonl")}
    return {**found, **({"notes": notes} if notes else {})}


def test_values_are_plain() -> None:
    found = fields(
        id="1", text="t", a=1, b=2.5, c=True, d=" x ", e=None, f=float("nan"), g=datetime.date(2025, 1, 2), h=["a", 2],
        i={"x": {"y": "deep"}, "z": [1]}, j=[{"k": 1}], k=np.int64(7), l="", m=[], n=1 << 70,
    )  # fmt: skip
    assert found == {
        "a": 1, "b": 2.5, "c": True, "d": "x", "g": "2025-01-02", "h": ["a", 2], "i.x.y": "deep", "i.z": [1],
        "j": '[{"k":1}]', "k": 7, "n": str(1 << 70),
    }  # fmt: skip


def test_what_is_too_much_is_counted_by_name() -> None:
    found = fields(long="x" * 5000, vector=[0.1] * 300, other=object(), nul="a\0b", ok=1)
    assert found.pop("ok") == 1
    assert found == {
        "notes": {kept.TOO_LONG: "long (1), vector (1)", kept.NOT_PLAIN: "other (1), nul (1)"},
    }
    many = fields(**{f"f{n}": n for n in range(70)})
    assert len(many) == kept.MOST_FIELDS + 1
    assert kept.TOO_MANY in many["notes"]
    assert kept.TOO_LONG in fields(**{f"f{n}": "x" * 4000 for n in range(6)})["notes"]


def test_a_value_that_holds_itself_ends() -> None:
    loop: dict = {}
    loop.update({str(n): loop for n in range(30)})
    assert "notes" in fields(loop=loop)
    row: list = []
    row.append(row)
    assert "notes" in fields(row=row)


def read(path: Path, **options) -> list:
    return list(corpus.read([path], on_bad="skip", keep=Keep(**options), report=ReadReport()))


def test_every_format_gives_its_fields_and_places(tmp_path) -> None:
    folder = tmp_path / "docs"
    (folder / "guide").mkdir(parents=True)
    (folder / "guide" / "keys.md").write_text(
        "---\ntitle: Keys\nauthor: Ada\ndate: 2025-03-01\ntags: [a, b]\nmeta:\n  owner: me\n---\n# Keys\n\nRotate.\n"
    )
    (folder / "toml.md").write_text('+++\nauthor = "Bo"\nyear = 2024\n+++\nText of it.\n')
    (folder / "t.csv").write_text("id,text,year\n1,a row of a table,2021\n")
    (folder / "r.jsonl").write_text(json.dumps({"id": "x", "text": "a record", "lang": "en", "n": 3}) + "\n")
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = "Hello", "ada@example.org", "bo@example.org, cy@example.org"
    letter["Date"] = "Fri, 31 Jan 2025 10:00:00 +0100"
    letter.set_content("the text of the letter")
    (folder / "l.eml").write_bytes(letter.as_bytes())
    (folder / "p.html").write_text(
        "<html lang=de><head><title>P</title><meta name=author content=Cy><meta property='article:published_time' "
        "content='2024-05-06T10:00:00Z'></head><body><p>Some text of a page that says something.</p></body></html>"
    )
    (folder / "s.py").write_text("x = 1\n")
    (folder / "posts.xml").write_text(
        '<posts>\n<row Id="7" PostTypeId="1" Score="5" Title="Q" Body="&lt;p&gt;How?&lt;/p&gt;" '
        'CreationDate="2020-01-01T00:00:00.000" Tags="&lt;sql&gt;"/>\n</posts>\n'
    )
    found = {document.place: dict(document.fields) for document in read(folder)}
    assert found["guide/keys.md:11"] == {"author": "Ada", "date": "2025-03-01", "tags": ["a", "b"], "meta.owner": "me"}
    assert found["toml.md:5"] == {"author": "Bo", "year": 2024}
    assert found["t.csv:2"] == {"year": "2021"}
    assert found["r.jsonl:1"] == {"lang": "en", "n": 3}
    assert found["l.eml:1"] == {
        "from": "ada@example.org", "date": "2025-01-31T09:00:00Z", "to": ["bo@example.org", "cy@example.org"],
    }  # fmt: skip
    assert found["p.html:1"] == {"author": "Cy", "date": "2024-05-06T10:00:00Z", "language": "de"}
    assert found["s.py:1"] == {"language": "python"}
    assert found["posts.xml:2"] == {"score": 5, "kind": "question", "date": "2020-01-01T00:00:00", "tags": ["sql"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "# Top\n\nIntro.\n\n## Part {n}\n\nline {n}\n"),
        ("a.rst", "Top\n===\n\nIntro.\n\nPart {n}\n--------\n\nline {n}\n"),
        ("a.adoc", "= Top\n\nIntro.\n\n== Part {n}\n\nline {n}\n"),
        ("a.org", "* Top\n\nIntro.\n\n** Part {n}\n\nline {n}\n"),
        ("a.tex", "\\section{{Top}}\n\nIntro.\n\n\\subsection{{Part {n}}}\n\nline {n}\n"),
    ],
)
def test_places_are_the_lines_of_the_file(tmp_path, name, text) -> None:
    """Every part of a long document names the line at which its text stands, and so do its passages."""
    words = "many words of prose " * 20
    source = "".join(text.format(n=n) + f"\n{words}\n\nword{n} ends it\n\n" for n in range(40))
    (tmp_path / name).write_text(source)
    lines = source.split("\n")
    for options in ({}, {"passages": 30}):
        found = read(tmp_path / name, **options)
        assert len(found) > 30
        for document in found:
            file, _, line = document.place.rpartition(":")
            assert file == name
            first = document.text.split("\n")[0].strip()
            assert first in lines[int(line) - 1], (document.place, first)


def test_places_of_code_and_text(tmp_path) -> None:
    source = "\n\n" + "".join(f"def f{n}():\n    return {n}  # {'x' * 120}\n\n\n" for n in range(60))
    (tmp_path / "c.py").write_text(source)
    (tmp_path / "t.txt").write_text("\n\n" + "\n\n".join(f"paragraph {n} " + "word " * 90 for n in range(30)))
    for name in ("c.py", "t.txt"):
        lines = (tmp_path / name).read_text().split("\n")
        for document in read(tmp_path / name, passages=60):
            line = int(document.place.rpartition(":")[2])
            assert document.text.split("\n")[0].strip() in lines[line - 1]


def test_training_sees_nothing_of_it(tmp_path) -> None:
    """The bytes and the fingerprint of what is trained on do not know of fields; vectors fit both."""
    (tmp_path / "r.jsonl").write_text(
        "".join(json.dumps({"id": str(n), "text": f"text {n}", "author": "Ada"}) + "\n" for n in range(50))
    )
    plain = Documents.write(tmp_path / "plain", corpus.read([tmp_path / "r.jsonl"]))
    whole = Documents.write(tmp_path / "whole", corpus.read([tmp_path / "r.jsonl"], keep=Keep()))
    line = (tmp_path / "plain" / "records.jsonl").read_bytes().splitlines()[0]
    assert json.loads(line) == {"id": "0", "title": "", "text": "text 0", "group": ""}
    assert whole.fingerprint == plain.fingerprint
    assert whole.digest(3, 20) == plain.digest(3, 20)
    assert whole[7].fields == {"author": "Ada"}
    assert whole[7].place == "r.jsonl:8"
    assert plain[7].fields == {}


def test_several_sources_are_told_apart_by_their_places(tmp_path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"text of {name}")
    found = corpus.read([tmp_path / "one", tmp_path / "two"], keep=Keep())
    assert [document.place for document in found] == [f"{tmp_path}/one/a.txt:1", f"{tmp_path}/two/a.txt:1"]
