"""What `inspect` shows of every preset: real text, what is hidden beside what it is, candidates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pretrieve.methods import facts, names
from pretrieve.pipeline.inspect import InspectRequest, look
from pretrieve.reporting.examples import examples_section
from pretrieve.reporting.page import Page
from pretrieve.reporting.render import html
from pretrieve.text.corpus import Fields

SMALL = {"vocabulary_size": "400", "batch_size": "16"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents in two languages, with sentences, titles, names, and phrases that come back."""
    path = tmp_path_factory.mktemp("texts") / "documents.jsonl"
    lines = []
    for number in range(60):
        city = ("Paris", "London", "Berlin", "Madrid")[number % 4]
        sentences = [
            f"The old bridge of {city} number {number} was built in {1700 + number} by Mary Smith.",
            f"It is made of stone, and many people cross the old bridge every morning to {city}.",
            f"In {1800 + number} a flood took three of its arches, which were made again of iron.",
            "Since then John Miller writes the names of all who cross the old bridge into a book.",
            f"The book of {city} lies in the library, where nobody reads it before the winter.",
        ]
        text = " ".join(sentences * 2)
        lines.append(orjson.dumps({"id": f"d{number}", "title": f"Bridge {number}", "text": text, "lang": "en"}))
    path.write_bytes(b"\n".join(lines))
    return path


def seen(texts: Path, method: str, number: int = 2, **more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    settings = SMALL | ({"passage": "15"} if method == "spider" else {})
    return look(
        InspectRequest(
            sources=(str(texts),), method=method, number=number, settings=settings, fields=Fields(group="lang"), **more
        )
    )


@pytest.mark.parametrize("method", names())
def test_every_preset_can_be_looked_at(texts, method) -> None:
    examples, summary = seen(texts, method)
    assert len(examples) == 2
    assert summary["method"] == method
    assert summary["task"]
    for example in examples:
        assert example["rows"]
        check_documents(example, method)
        for row in example["rows"]:
            assert all(0 <= start < stop for start, stop in row["spans"])
            assert any(text for state, text, _ in row["pieces"] if state != "removed")
            for state, shown, stands in row["pieces"]:
                assert state in ("kept", "deleted", "masked", "replaced", "guessed", "removed")
                assert bool(stands) == (state not in ("kept", "guessed")), "what is hidden stands beside it"
                assert shown or state in ("deleted", "removed")


def check_documents(example: dict[str, Any], method: str) -> None:
    """Every row lies in a document that is shown, and the pieces of a document agree with the places of the spans."""
    rows, shown = example["rows"], example["documents"]
    assert [one["document"] for one in shown] == list(dict.fromkeys(row["document"] for row in rows))
    for number, row in enumerate(rows):
        (within,) = [one for one in shown if one["document"] == row["document"]]
        lengths = [stop - start for place, start, stop in within["spans"] if place == number]
        assert lengths == [stop - start for start, stop in row["spans"]]
        assert any(number in holds for holds, text in within["pieces"] if text)
    for within in shown:
        assert all(0 <= start < stop <= within["tokens"] for _, start, stop in within["spans"])
        assert {number for holds, _ in within["pieces"] for number in holds} == {span[0] for span in within["spans"]}
    roles = set(facts(method).card.negatives)
    others = example["others"]
    assert bool(roles) == bool(others["rows"]) == bool(others["shown"])
    assert {other["role"] for other in others["shown"]} <= roles
    assert others["rows"] % 15 == 0, "a batch of 16 has 15 other examples"


@pytest.mark.parametrize("method", names())
def test_every_preset_has_a_page_of_its_examples(texts, method) -> None:
    examples, summary = seen(texts, method)
    shown = examples_section(examples, summary)
    page = html(Page(kind="run", title=method, verdict=["a"], sections=[shown]))
    assert page.count("<article>") == 2
    assert page.count('<figure class="strip">') == sum(len(example["documents"]) for example in examples)
    assert page.count("<dt ") == sum(len(example["rows"]) for example in examples)
    assert page.count('<li dir="auto">') == sum(len(example["others"]["shown"]) for example in examples)


def test_hidden_words_stand_beside_what_is_shown(texts) -> None:
    """What the model sees and the true words together are the passage of the document."""
    documents = {}
    for line in texts.read_bytes().splitlines():
        document = orjson.loads(line)
        documents[document["id"]] = "".join(f"{document['title']} {document['text']}".lower().split())
    examples, summary = seen(texts, "mlm", number=16)
    states = set()
    for example in examples:
        (row,) = example["rows"]
        states |= {state for state, *_ in row["pieces"]}
        text = "".join((stands or shown).replace("##", "") for _, shown, stands in row["pieces"])
        assert "".join(text.split()) in documents[example["document"]]
        hidden = sum(shown.split().count("[MASK]") for state, shown, _ in row["pieces"] if state == "masked")
        assert 0 < row["guessed"] <= 0.3 * row["of"]
        assert hidden <= row["guessed"]
    assert states == {"kept", "masked", "replaced", "guessed"}
    assert "15%" in summary["task"]


def test_a_sentence_that_was_cut_out_is_shown_in_its_place(texts) -> None:
    examples, _ = seen(texts, "orqa-ict", number=12)
    cut = [example for example in examples if "removed" in example["note"]]
    assert cut
    for example in cut:
        sentence, block = example["rows"]
        between = [stands for state, _, stands in block["pieces"] if state == "removed"]
        first = any(sentence["spans"][0][0] < start for start, _ in block["spans"][1:])
        if len(block["spans"]) > 2 or between:
            assert between == ["".join(text for _, text, _ in sentence["pieces"])]
        assert first or not between


def test_a_chosen_passage_after_its_title_is_not_called_cut_out(texts) -> None:
    """Only what was taken out is marked; a block far from its title was chosen there."""
    examples, _ = seen(texts, "spider", number=8)
    rows = [row for example in examples for row in example["rows"] if row["role"] in ("positive", "negative")]
    assert any(len(row["spans"]) == 2 and row["spans"][1][0] > row["spans"][0][1] for row in rows)
    assert not any(state == "removed" for row in rows for state, *_ in row["pieces"])


def test_candidates_are_looked_up(texts) -> None:
    """A method that looks documents up is asked for them; candidates of other documents say which."""
    examples, _ = seen(texts, "realm", number=2)
    for example in examples:
        roles = [row["role"] for row in example["rows"]]
        assert roles.count("candidate") >= 3
        assert any(row["document"] != example["document"] for row in example["rows"])


def test_views_are_told(texts) -> None:
    examples, summary = seen(texts, "mvr", number=2)
    assert "8 views" in summary["task"]
    assert [row["role"] for row in examples[0]["rows"]][-1] == "block"


def test_what_the_negatives_are_depends_on_the_preset(texts) -> None:
    assert "queue of 8,192" in seen(texts, "contriever", number=1)[1]["task"]  # the preset's value for static encoders
    assert "queue" not in seen(texts, "contriever-inbatch", number=1)[1]["task"]


def test_the_base_is_one_that_the_method_trains(texts, run) -> None:
    outcome = run("inspect", texts, "--method", "mlm", "-n", "1", "--set", "vocabulary_size=400")
    assert outcome.code == 0, outcome.err
    assert "mlm trains transformers: shown as for --base new" in " ".join(outcome.err.split())
    assert "‹" in outcome.out
    refused = run("inspect", texts, "--method", "mlm", "--base", "static")
    assert refused.code == 2
    assert "does not train a static encoder" in refused.err
    assert seen(texts, "structure", number=1)[1]["base"] == "static"


def test_what_is_printed_tells_hidden_from_shown_without_colours(texts, run) -> None:
    out = run("inspect", texts, "--method", "contriever-inbatch", "-n", "2", "--set", "vocabulary_size=400").out
    assert "deleted (taken out" in out
    assert "‹" in out
    assert "A batch has" in out
    assert "2 rows" in out


def words(pieces: Iterable[str]) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", " ".join(pieces).lower()))


def test_words_that_a_key_lost_to_its_query_are_shown_as_deleted(texts, run) -> None:
    """They stand in the query, and nowhere else in what the model sees of the document."""
    settings = SMALL | {"drop_shared": "1.0", "title": "0", "crop": "0", "remove": "0"}
    examples, summary = look(InspectRequest(sources=(str(texts),), method="structure", number=16, settings=settings))
    assert summary["options"]["drop_shared"] == 1.0
    lost = 0
    for example in examples:
        query, document = example["rows"]
        assert query["deleted"] == 0
        asked = words(shown for state, shown, _ in query["pieces"] if state == "kept")
        deleted = words(stands for state, _, stands in document["pieces"] if state == "deleted")
        seen = words(shown for state, shown, _ in document["pieces"] if state == "kept")
        lost += len(deleted)
        assert bool(deleted) == bool(document["deleted"])
        assert deleted <= asked
        assert not deleted & seen
    assert lost > 16
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    out = run("inspect", texts, "-n", "3", *changes).out
    assert "deleted (taken out" in out
