"""Reports in a real browser, from a file: no error, no request, dark, and no wider than a phone."""

from __future__ import annotations

import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("kind", ["model", "comparison", "evaluation"])
def test_opens_from_a_file(run, browser, model, compared, evaluated, tmp_path, kind) -> None:
    sources = {"model": model, "comparison": compared / "comparison", "evaluation": evaluated}
    target = tmp_path / "report.html"
    assert run("report", sources[kind], "-o", target).code == 0
    backs = set()
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport=PHONE, color_scheme=scheme, java_script_enabled=True)
        errors, requests = [], []
        page.on("console", lambda message, errors=errors: errors.append(message.text))
        page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
        page.on("request", lambda request, requests=requests: requests.append(request.url))
        page.goto(target.as_uri())
        assert errors == []
        assert [one for one in requests if not one.startswith("data:")] == [target.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.locator(".verdict p").first.is_visible()
        top = page.locator(".verdict").bounding_box()["y"]
        assert top < PHONE["height"] / 2, "the verdict is seen first"
        backs.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for name in page.locator("figure > svg").all():
            box = name.bounding_box()
            assert box["width"] > 200
            assert box["height"] > 20
        page.close()
    assert len(backs) == 2, "dark is dark"
