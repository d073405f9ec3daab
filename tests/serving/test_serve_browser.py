"""The search page in Chromium: type, see, compare, judge, filter, by keys alone, on a phone, in the dark, hostile text.

The documents are sections of this project's documentation, and one whose every part is hostile.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

import searching
from browser import PHONE, grave_faults, opened, picture
from browser import browser as browser
from pretrieve.core.types import Document
from pretrieve.text.beir import load_collection
from serving.conftest import HOSTILE, ROOT, Server, pretrieve, write_documents

QUERY = "static model search"
CONTROLS = "lang~kamika or lang='\x1b[2J\u202e'"  # in a filter, for those of documents do not come into an index


def sections() -> list[Document]:
    """Sections of some pages, with the page as a field."""
    made = []
    for page in ("search", "evaluate", "labels", "input", "scale"):
        path = ROOT / "docs" / f"{page}.md"
        text = re.sub(r"```.*?```|[`*|#]", "", path.read_text(), flags=re.DOTALL)
        pieces = [piece.strip() for piece in re.split(r"\n\s*\n|\n- ", text) if len(piece.split()) > 12]
        for number, piece in enumerate(pieces):
            title = " ".join(piece.split()[:6])
            made.append(Document(id=f"{page}/{number}", title=title, text=piece, fields={"lang": page}))
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory, browser):
    """A server of two indexes that keeps judgements."""
    folder = tmp_path_factory.mktemp("site")
    made = sections()
    made.append(Document(id="x/<b>", title=HOSTILE, text=f"{HOSTILE} {QUERY}", fields={"lang": HOSTILE}))
    write_documents(folder / "docs.jsonl", made)
    for seed, name in enumerate(("documentation", "other")):
        searching.static_model(folder / f"model-{name}", made, seed=seed)
        pretrieve("index", folder / "docs.jsonl", "--model", folder / f"model-{name}", "-o", folder / name)
    server = Server(folder / "documentation", "--index", folder / "other", "--judgements", folder / "kept")
    server.folder = folder
    yield server
    code, said = server.stop()
    assert code == 0
    assert "unexpected" not in said


@pytest.fixture
def visit(site, browser):
    """Opens an address of the server; at the end nothing was complained about, and nothing came from elsewhere."""
    seen = []

    def go(path: str, **context: object):
        stack = opened(browser, site.address + path, **context)
        seen.append((stack, stack.__enter__()))
        seen[-1][1].page.on("dialog", lambda dialog: seen[-1][1].errors.append(f"dialog: {dialog.message}"))
        return seen[-1][1].page

    yield go
    for stack, one in seen:
        stack.__exit__(None, None, None)
        assert one.errors == []
        assert {address for address in one.requests if not address.startswith(site.address)} == set()


def test_type_and_see(visit) -> None:
    page = visit("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type(QUERY)
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")
    assert page.locator(".hit").count() == 10
    assert page.url.endswith("?q=static+model+search&filter=&index=documentation&with=hybrid")
    marked = {text.lower() for text in page.locator("mark").all_inner_texts()}
    assert {"static", "search"} & marked
    hit = page.locator(".hit").first
    assert not hit.locator(".why table").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("w")
    assert hit.locator(".why table").is_visible()
    assert "shared:" in hit.inner_text()
    assert "near:" in hit.inner_text()
    page.locator("a[rel=next]").click()
    page.wait_for_selector("ol[start='11']")
    assert "page=2" in page.url


def test_compare(visit) -> None:
    page = visit(f"/?q={quote(QUERY)}")
    for name in ("lexical", "other:dense"):
        page.get_by_label(name, exact=True).check()
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector("section:nth-child(3)")
    assert "with=hybrid&with=lexical&with=other%3Adense" in page.url
    for text in page.locator(".alike").all_inner_texts()[1:]:
        assert re.fullmatch(r"overlap@10 [01]\.\d\d · RBO [01]\.\d\d", text)
    moved = page.locator("section:nth-child(2) .moved").all_inner_texts()
    assert len(moved) == 10
    assert all(re.fullmatch(r"[▲▼]\d+|=|new", one) for one in moved)
    assert "gone:" in page.locator("section:nth-child(3)").inner_text()
    first = page.locator("section:nth-child(1) .hit").first
    name = first.get_attribute("data-id")
    first.hover()
    same = page.locator(".hit.same")
    assert same.count() >= 2
    assert {one.get_attribute("data-id") for one in same.all()} == {name}
    page.mouse.move(0, 0)
    assert page.locator(".hit.same").count() == 0
    page.keyboard.press("j")
    page.keyboard.press("l")
    assert page.evaluate("document.activeElement.closest('section').ariaLabel") == "lexical"
    assert page.evaluate("document.activeElement.dataset.id") == name
    page.keyboard.press("h")
    assert page.evaluate("document.activeElement.closest('section').ariaLabel") == "hybrid"


def test_judge(visit, site) -> None:
    address = f"/?q={quote(QUERY)}&with=hybrid,lexical"
    page = visit(address)
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.wait_for_selector("#status:has-text('kept')")
    name = page.locator(".hit").first.get_attribute("data-id")
    shown = page.locator(".grade:visible").all_inner_texts()
    assert shown == ["✓ relevant"] * page.locator(f"[data-id='{name}'].hit").count()
    page.keyboard.press("j")
    page.keyboard.press("n")
    page.wait_for_selector(".grade:visible >> text=✗ not relevant")
    other = page.evaluate("document.activeElement.dataset.id")
    page.reload()
    assert page.locator(f"[data-id='{other}'].hit .grade").first.inner_text() == "✗ not relevant"
    assert load_collection(site.folder / "kept").qrels == {"q1": {name: 1, other: 0}}
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.wait_for_selector("#status:has-text('taken back')")
    assert load_collection(site.folder / "kept").qrels == {"q1": {other: 0}}
    page = visit(address)
    assert page.locator(".grade:visible").count() == page.locator(f"[data-id='{other}'].hit").count()


def test_filter(visit) -> None:
    page = visit(f"/?q={quote(QUERY)}")
    page.locator("a.facet", has_text="evaluate").click()
    page.wait_for_selector("#unfiltered")
    assert page.locator("#filter").input_value() == '"lang"="evaluate"'
    for hit in page.locator(".hit").all():
        assert hit.get_attribute("data-id").startswith("evaluate/")
    page.locator("a.facet[aria-current]").click()
    page.wait_for_selector("a.facet:not([aria-current])")
    assert page.locator("#unfiltered").count() == 0
    page.locator("#filter").fill("lang=labels")
    page.locator("#filter").press("Enter")
    page.wait_for_selector("#unfiltered")
    assert page.locator(".hit[data-id^='labels/']").count() == page.locator(".hit").count() > 0
    page.locator("body").press("u")
    page.wait_for_selector(".hit:not([data-id^='labels/'])")


def test_a_refused_filter_is_said(site, browser) -> None:
    with opened(browser, f"{site.address}/?q=a&filter=(((") as seen:
        assert "filter" in seen.page.get_by_role("alert").inner_text()
        assert len(seen.errors) == 1, "that of the status 400"


def test_keys_alone(visit) -> None:
    page = visit("/")
    page.keyboard.type("x")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.press("Control+a")
    page.keyboard.type(QUERY)
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    name = page.locator(".hit").nth(1).get_attribute("data-id")
    assert page.evaluate("document.activeElement.dataset.id") == name
    page.keyboard.press("Enter")
    page.wait_for_selector("main.document")
    assert name in page.locator("dd").first.inner_text()
    page.keyboard.press("/")
    page.wait_for_selector("#q")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_and_in_the_dark(visit, scheme) -> None:
    backs = []
    for path in ("/", f"/?q={quote(QUERY)}&with=hybrid,lexical,other", f"/?q={quote(HOSTILE)}", "/read/search%2F1"):
        page = visit(path, viewport=PHONE, color_scheme=scheme)
        for hit in page.locator(".why").all():
            hit.evaluate("one => one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        backs.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert set(backs) == {"rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 24, 27)"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_grave_fault(visit, scheme) -> None:
    for path in ("/", f"/?q={quote(QUERY)}&with=hybrid,lexical,other", "/read/search%2F1"):
        page = visit(path, color_scheme=scheme)
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("w")
        assert grave_faults(page) == []


def test_hostile_text_is_shown_and_does_nothing(visit) -> None:
    for path in (
        f"/?q={quote(HOSTILE)}&with=hybrid,lexical",
        f"/?q={quote(HOSTILE)}&filter={quote(CONTROLS)}",
        f"/read/{quote('x/<b>', safe='')}",
    ):
        page = visit(path)
        assert page.evaluate("document.scripts.length") == 1
        assert page.evaluate("document.images.length") == 0
        assert page.locator("red").count() == 0
        text = page.inner_text("body")
        assert "<script>alert(1)</script>" in text
        assert "[red]kamika[/red]" in text
        assert ("where lang~kamika or lang='\\x1b[2J\\u202e'" in text) == ("filter=" in path)
        assert "\x1b" not in text
        assert "\u202e" not in text
    page = visit(f"/?q={quote(HOSTILE)}")
    page.locator(".hit[data-id='x/<b>']").first.focus()
    page.keyboard.press("r")
    page.wait_for_selector("#status:has-text('kept')")
    page.keyboard.press("r")
    page.wait_for_selector("#status:has-text('taken back')")


def test_pictures_for_the_documentation(visit) -> None:
    where = quote("lang in (search, scale, input, labels)")
    for scheme in ("light", "dark"):
        address = f"/?q=which+documents+are+deleted&filter={where}&with=hybrid,lexical"
        page = visit(address, color_scheme=scheme, viewport={"width": 1000, "height": 640})
        page.keyboard.press("j")
        page.keyboard.press("w")
        assert page.locator(".why[open]").count() == 1
        picture(page, f"serve-{scheme}.png")
