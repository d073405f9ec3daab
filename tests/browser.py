"""Pages in a real Chromium: started once, skipped where Chromium or Playwright is missing.

A test imports the fixture by name, ``from browser import browser as browser``, and opens pages through ``opened``,
which listens before the page loads:

    with opened(browser, "http://127.0.0.1:8000/", viewport=PHONE, color_scheme="dark") as seen:
        seen.page.keyboard.type("question")
    assert seen.errors == []
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1100, "height": 800}
PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
LARGEST_PICTURE = 200_000  # bytes
GRAVE = ("serious", "critical")


@dataclass
class Seen:
    """An open page, what its console and its script complained about, and every address that it asked for."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


_RUNNING: list[Any] = []  # Playwright starts once in a process, and each file of tests has a fixture of its own


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; the test is skipped where it or Playwright is not installed."""
    if _RUNNING:
        yield _RUNNING[0]
        return
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as started:
        # --no-sandbox: CI runs as root; --disable-dev-shm-usage: containers have a small /dev/shm
        launched = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        _RUNNING.append(launched)
        yield launched
        _RUNNING.clear()
        launched.close()


@contextmanager
def opened(browser: Any, address: str, **context: Any) -> Iterator[Seen]:
    """Open a page in a context of its own; ``context`` is what Playwright's ``new_context`` takes."""
    made = browser.new_context(**{"viewport": DESK, **context})
    try:
        made.set_default_timeout(120_000)  # milliseconds: a machine may be busy
        seen = Seen(made.new_page())
        seen.page.on(
            "console", lambda message: message.type in ("error", "warning") and seen.errors.append(message.text)
        )
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.goto(address)
        yield seen
    finally:
        made.close()


def grave_faults(page: Any) -> list[tuple[str, str]]:
    """What axe finds in an open page that is serious or critical: the rule, and the first element that breaks it.

    The test is skipped where axe is not installed.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = axe.run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in GRAVE]


def picture(page: Any, name: str, **options: Any) -> None:
    """Keep a screenshot in ``docs/pictures`` where PRETRIEVE_SCREENSHOTS=1; otherwise do nothing.

    Args:
        page: open page.
        name: of the file, such as ``report-run.png``.
        options: of Playwright's ``screenshot``.
    """
    if os.environ.get("PRETRIEVE_SCREENSHOTS") != "1":
        return
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / name, **options)
    size = (PICTURES / name).stat().st_size
    assert size < LARGEST_PICTURE, f"{name} has {size:,} bytes"
