"""Pages that ORQA leaves out, and HTML entities."""

import orjson
import pytest

from pretrieve.text.corpus import Fields, ReadReport, read
from pretrieve.text.wikipedia import is_article


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("List of rivers of Norway", False),
        ("Index of physics articles", False),
        ("Outline of chess", False),
        ("Mercury (disambiguation)", False),
        ("list of kings", False),
        ("Listening", True),
        ("Schindler's List", True),
        ("The List of Seven", True),
        ("List", True),
        ("", True),
    ],
)
def test_titles(title: str, expected: bool) -> None:
    assert is_article(title) is expected


def test_pages_are_left_out_and_entities_read_only_where_asked(tmp_path) -> None:
    path = tmp_path / "wiki.jsonl"
    rows = [
        ("1", "List of &amp; signs", "Many."),
        ("2", "R&amp;B", "Tom &lt;3 Ann&#39;s&nbsp;song."),
        ("3", "", "&amp;."),
    ]
    path.write_bytes(b"\n".join(orjson.dumps({"id": i, "title": title, "text": text}) for i, title, text in rows))
    report = ReadReport()
    found = list(read([path], fields=Fields(wikipedia=True), report=report))
    assert [(d.title, d.text) for d in found] == [("R&B", "Tom <3 Ann's\xa0song."), ("", "&.")]
    assert (report.read, report.kept, report.passed_over) == (3, 2, 1)
    assert "1 pages that are no articles left out" in report.summary()
    without = list(read([path], fields=Fields(wikipedia=True, use_titles=False)))
    assert [d.id for d in without] == ["2", "3"], "titles decide even where they are not kept"
    plain = list(read([path]))
    assert [d.text for d in plain] == [text for _, _, text in rows]
