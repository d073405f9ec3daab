"""Reports in Chromium, from a file: seen on a phone and in the dark, and by those who do not see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import DESK, PHONE, grave_faults, opened, picture
from browser import browser as browser

KINDS = ("model", "tuned", "comparison", "lists", "evaluation", "runs")


@pytest.fixture
def written(run, model, tuned, compared, evaluated, rankings, tmp_path):
    """Writes the report of a kind."""
    beir = ("--benchmark", compared / "beir")
    sides = [part for name in ("none-0", "contriever-inbatch-0") for part in ("--run", rankings / f"{name}.dense.run")]
    sources = {
        "model": (model,), "tuned": (tuned,), "comparison": (compared / "comparison",), "evaluation": (evaluated,),
        "lists": (compared / "comparison", *beir), "runs": (compared / "e.json", *sides, *beir),
    }  # fmt: skip

    def write(kind: str) -> Path:
        outcome = run("report", *sources[kind], "-o", tmp_path / "report.html")
        assert outcome.code == 0, outcome.err
        return tmp_path / "report.html"

    return write


@pytest.mark.parametrize("kind", ["model", "comparison", "evaluation"])
def test_a_browser_opens_it_from_a_file(written, browser, kind) -> None:
    target = written(kind)
    backs = set()
    for scheme in ("light", "dark"):
        with opened(browser, target.as_uri(), viewport=PHONE, color_scheme=scheme) as seen:
            page = seen.page
            assert seen.errors == []
            assert [one for one in seen.requests if not one.startswith("data:")] == [target.as_uri()]
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            assert page.locator(".verdict p").first.is_visible()
            top = page.locator(".verdict").bounding_box()["y"]
            assert top < PHONE["height"] / 2, "the verdict is seen first"
            backs.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            for name in page.locator("figure > svg").all():
                box = name.bounding_box()
                assert box["width"] > 200
                assert box["height"] > 20 or "strip" in name.locator("..").get_attribute("class")
            if scheme == "light":
                page.set_viewport_size(DESK)
                picture(page, f"report-{kind}.png")
    assert len(backs) == 2, "dark is dark"


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_no_grave_fault(written, browser, kind) -> None:
    target = written(kind)
    for scheme, size in (("light", PHONE), ("dark", PHONE), ("dark", DESK)):
        with opened(browser, target.as_uri(), viewport=size, color_scheme=scheme) as seen:
            for folded in seen.page.locator("details").all():
                folded.evaluate("one => one.open = true")
            assert grave_faults(seen.page) == []
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert seen.errors == []
            assert [one for one in seen.requests if not one.startswith("data:")] == [target.as_uri()]
