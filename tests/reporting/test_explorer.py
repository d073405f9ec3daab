"""``inspect --html``: what the page holds, how a browser shows it, and that documents stay text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import orjson
import pytest

import searching
from browser import DESK, PHONE, grave_faults, opened, picture
from browser import browser as browser
from cli.conftest import run as run
from pretrieve.core.types import Document
from pretrieve.models.bag import Bag
from pretrieve.reporting.explorer import LARGEST

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\x1b[2J\u202eevil"
)
TOPICS = ("river", "engine", "garden", "violin", "harbour", "glacier", "market", "library")
COUNT = 120


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents about topics, each in two copies with few differences, some of them hostile; and a ``model``."""
    folder = tmp_path_factory.mktemp("explored")
    lines, texts = [], []
    for number in range(COUNT):
        topic = TOPICS[number % len(TOPICS)]
        words = " ".join(f"the {topic} number {number // 2} has part {part} of {topic} water." for part in range(8))
        title = f"{topic} {number} {HOSTILE if number % 10 == 0 else ''}"
        one = {"id": f"d{number}{'<b>' if number == 3 else ''}", "title": title, "text": f"{HOSTILE} {words}"}
        lines.append(orjson.dumps(one))
        texts.append(Document(id=str(number), text=words))
    (folder / "d.jsonl").write_bytes(b"\n".join(lines))
    searching.static_model(folder / "model", texts)
    return folder


@pytest.fixture(scope="module")
def explored(corpus: Path) -> Path:
    """The page with losses under the model."""
    import subprocess
    import sys

    words = ("inspect", corpus / "d.jsonl", "--method", "contriever-inbatch", "--set", "batch_size=64", "-n", "40",
             "--model", corpus / "model", "--html", corpus / "page.html")  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "pretrieve", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "40 pairs" in done.stdout
    assert "\x1b" not in done.stdout
    return corpus / "page.html"


def data_of(path: Path) -> dict:
    text = path.read_text()
    assert len(text.encode()) <= LARGEST
    (held,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert "<" not in held
    assert text.count("<script") == 2, "the data, and the page's own"
    return orjson.loads(held)


def test_losses_and_suspects_are_those_of_the_model(explored, corpus) -> None:
    data = data_of(explored)
    pairs, encoder = data["pairs"], Bag.load(corpus / "model")
    assert len(pairs) == 40
    texts = [[" ".join(seen for _, seen, _ in row["pieces"] if seen) for row in pair["rows"]] for pair in pairs]
    sides = [encoder.encode_documents([text[side] for text in texts]) for side in (0, 1)]
    queries, keys = (side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12) for side in sides)
    some = 0
    for place, pair in enumerate(pairs):
        scores = {other: float(queries[place] @ keys[other]) for other in range(40)
                  if other == place or pairs[other]["document"] != pair["document"]}  # fmt: skip
        loss = np.log(sum(np.exp(score / 0.05) for score in scores.values())) - scores[place] / 0.05
        assert pair["loss"] == pytest.approx(loss, abs=1e-3)
        near = {other for other, score in scores.items() if other != place and score >= 0.95 * scores[place] - 1e-4}
        assert {other for other, _ in pair["suspects"]} <= near
        assert len(pair["suspects"]) <= 5
        some += bool(pair["suspects"])
    assert some
    assert any(f"{some} pairs have some" in note for note in data["facts"]["notes"])


def test_points_have_their_documents_neighbours_and_pairs(explored) -> None:
    data = data_of(explored)
    points = data["points"]
    assert {len(values) for values in points.values()} == {COUNT}
    assert all(0 <= value <= 1 for name in "xy" for value in points[name])
    topics = [title.split()[0] for title in points["title"]]
    same = [topics[other] == topics[place] for place, near in enumerate(points["near"]) for other in near]
    assert np.mean(same) > 0.8, "neighbours are of the same topic"
    assert max(points["cluster"]) < len(data["clusters"])
    for number, pair in enumerate(data["pairs"]):
        assert number in points["pairs"][pair["point"]]


def test_a_map_without_a_model_is_of_word_counts(run, corpus, tmp_path) -> None:
    words = ("inspect", corpus / "d.jsonl", "--method", "mlm", "--set", "vocabulary_size=400", "--set", "batch_size=8",
             "--html", tmp_path / "p.html", "--points", "50")  # fmt: skip
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    data = data_of(tmp_path / "p.html")
    assert len(data["points"]["x"]) == 50
    assert all(pair["loss"] is None and pair["suspects"] == [] for pair in data["pairs"])
    assert "50 of 120 documents" in outcome.out
    assert "tells no rows of a batch apart" in outcome.out
    topics = [title.split()[0] for title in data["points"]["title"]]
    same = [topics[other] == topics[place] for place, near in enumerate(data["points"]["near"]) for other in near[:2]]
    assert np.mean(same) > 0.6


@pytest.mark.parametrize(("words", "error"), [
    (("--html", "page.txt"), "ends in .html"), (("--model", "m"), "--model is for the page of --html"),
    (("--html", "page.html", "--model", "nothing-here"), "nothing-here"),
])  # fmt: skip
def test_refused_in_one_line(run, corpus, tmp_path, monkeypatch, words, error) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("inspect", corpus / "d.jsonl", *words)
    assert outcome.code in (1, 2)
    assert error in outcome.err
    assert not (tmp_path / "page.html").exists()


def test_a_person_pages_filters_and_looks_at_the_map(browser, explored) -> None:
    data = data_of(explored)
    with opened(browser, explored.as_uri()) as seen:
        page = seen.page
        assert page.locator("#place").inner_text() == "1 of 40"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("j")
        assert page.locator("#place").inner_text() == "3 of 40"
        assert page.locator("#pair h3").first.inner_text().startswith("Pair 3: document ")
        page.keyboard.press("End")
        assert page.locator("#next").is_disabled()
        page.check("#suspected")
        some = sum(bool(pair["suspects"]) for pair in data["pairs"])
        assert page.locator("#place").inner_text() == f"1 of {some}"
        page.select_option("#order", "loss")
        highest = max((pair["loss"], -number) for number, pair in enumerate(data["pairs"]) if pair["suspects"])
        assert page.locator("#pair h3").first.inner_text().startswith(f"Pair {1 - highest[1]}:")
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.type("zzz")
        assert page.locator("#place").inner_text() == "no pair fits"
        page.click("#filters button")
        page.wait_for_function("document.getElementById('place').textContent === '1 of 40'")
        page.keyboard.press("m")
        page.keyboard.type("garden 2")
        page.locator("#found button").first.click()
        assert "garden 2" in page.locator("#document h3").first.inner_text()
        page.locator("#document ul button").first.click()
        box = page.locator("#map").bounding_box()
        x, y = data["points"]["x"][5], 1 - data["points"]["y"][5]
        spot = {"x": 12 + x * (box["width"] - 26), "y": 12 + y * (box["height"] - 26)}
        page.locator("#map").click(position=spot)
        assert page.locator("#tip").is_visible()
        assert page.locator("#legend li").count() == len(set(data["points"]["cluster"]))
        page.select_option("#colour", "length")
        assert seen.errors == []
        assert [one for one in seen.requests if not one.startswith("data:")] == [explored.as_uri()]
        picture(page, "report-pairs.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_documents_are_text_on_a_phone(browser, explored, scheme) -> None:
    with opened(browser, explored.as_uri(), viewport=PHONE, color_scheme=scheme) as seen:
        page = seen.page
        assert page.title() == "Training examples and the map of the corpus"
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.fill("#find", "evil")
        page.locator("#found button").first.click()
        assert "</script><script>" in page.locator("#document p").nth(1).inner_text()
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 2
        for _ in range(5):
            page.click("#next")
        assert page.title() == "Training examples and the map of the corpus"
        assert "\u202e" not in page.content()
        assert seen.errors == []


@pytest.mark.parametrize(("scheme", "size"), [("light", PHONE), ("dark", PHONE), ("dark", DESK)])
def test_axe_finds_no_grave_fault(browser, explored, scheme, size) -> None:
    with opened(browser, explored.as_uri(), viewport=size, color_scheme=scheme) as seen:
        page = seen.page
        assert grave_faults(page) == []
        page.keyboard.press("ArrowRight")
        page.check("#suspected")
        page.fill("#find", "garden 2")
        page.locator("#found button").first.click()
        for colour in ("cluster", "length"):
            page.select_option("#colour", colour)
            assert grave_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert seen.errors == []
        assert [one for one in seen.requests if not one.startswith("data:")] == [explored.as_uri()]
