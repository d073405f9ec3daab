"""Long documents become passages that lose no word, and know their headings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core.types import Document
from pretrieve.text import corpus
from pretrieve.text.corpus import Keep, ReadReport
from pretrieve.text.passages import passages_of
from pretrieve.text.records import Mark

paragraphs = st.lists(st.text(alphabet="ab. \n", min_size=0, max_size=400), max_size=12)


@settings(max_examples=150, deadline=None)
@given(paragraphs, st.integers(20, 60))
def test_no_word_is_lost_or_doubled(blocks, words) -> None:
    text = "\n\n".join(blocks).strip()
    found = passages_of(Document(id="d", text=text), [Mark(0, 1)], words)
    assert [word for part, _ in found for word in part.text.split()] == text.split()
    assert all(len(part.text.split()) <= 3 * words for part, _ in found)
    assert len({part.id for part, _ in found}) == len(found)
    assert [line for _, line in found] == sorted(line for _, line in found)


def test_a_line_without_end_is_cut() -> None:
    found = passages_of(Document(id="d", text="word " * 5000), [], 200)
    assert max(len(part.text.split()) for part, _ in found) <= 300


def test_a_short_document_stays_whole() -> None:
    ((document, line),) = passages_of(Document(id="d", text="a few words"), [Mark(0, 4)], 200)
    assert (document.id, document.parent, line) == ("d", "", 4)


def test_passages_end_at_headings_and_have_them_in_their_titles(tmp_path) -> None:
    prose = "Some words of prose that say a thing or two. " * 8
    (tmp_path / "guide.md").write_text(f"# Guide\n\n{prose}\n\n## Install\n\n{prose}\n\n### Linux\n\n{prose}\n")
    report = ReadReport()
    found = list(corpus.read([tmp_path / "guide.md"], keep=Keep(passages=60), report=report))
    assert [one.id.removeprefix(f"{tmp_path}/") for one in found] == ["guide.md#1", "guide.md#2", "guide.md#3"]
    assert [one.title for one in found] == ["Guide", "Guide > Install", "Guide > Install > Linux"]
    assert [one.place for one in found] == ["guide.md:3", "guide.md:5", "guide.md:9"]
    assert {one.parent for one in found} == {str(tmp_path / "guide.md")}
    assert (report.kept, report.cut, report.passages) == (1, 1, 3)
    assert "1 of 1 documents cut into 3 passages" in list(report.lines())


def test_ids_of_passages_take_no_id_that_is_there(tmp_path) -> None:
    import json

    lines = [{"id": "a#1", "text": "short"}, {"id": "a", "text": "one word after the other. " * 100}]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = [one.id for one in corpus.read([tmp_path / "r.jsonl"], keep=Keep(passages=100))]
    assert found[:3] == ["a#1", "a#1~", "a#2"]
