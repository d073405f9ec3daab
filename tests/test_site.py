"""The documentation site: what ``make docs`` lays out is whole; it is built where mkdocs is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pretrieve.evaluation.published_results import results
from pretrieve.methods import facts, names
from test_documentation import COMMANDS, check, options_of, shell_blocks

ROOT = Path(__file__).parent.parent
INSTALLED = importlib.util.find_spec("mkdocs") is not None
OF_NETWORK = re.compile(  # scripts, pictures and style sheets of other machines
    r"""<(script|img|iframe)[^>]+src=["']?(https?:)?//|<link[^>]+rel=["']?(stylesheet|icon)[^>]+href=["']?(https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, as the script lays them out."""
    target = tmp_path_factory.mktemp("site") / "pages"
    subprocess.run([sys.executable, "tools/site_pages.py", str(target)], cwd=ROOT, check=True, timeout=120)
    return target


def shown_in(entry: object) -> list[str]:
    """Pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in shown_in(part)]


def test_every_page_is_in_the_navigation(site: Path) -> None:
    """Reports of records apart, which their pages link."""
    text = (ROOT / "mkdocs.yml").read_text()
    shown = shown_in(yaml.safe_load(text)["nav"])
    pages = {str(page.relative_to(site)) for page in site.rglob("*.md")}
    assert sorted(shown) == sorted(set(shown))
    assert set(shown) == {page for page in pages if not page.startswith("records/")} | {"records/README.md"}


def test_links_lead_to_pages_and_files(site: Path) -> None:
    texts = {page: re.sub(r"`[^`]*`", "", page.read_text()) for page in site.rglob("*.md")}
    link = re.compile(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)")
    targets = [(page, target) for page, text in texts.items() for target in link.findall(text)]
    assert len(targets) > 200
    assert [(page, target) for page, target in targets if not (page.parent / target).is_file()] == []


@pytest.mark.parametrize("name", names())
def test_a_method_has_its_page(site: Path, name: str) -> None:
    page = site / "docs" / "methods" / f"{name}.md"
    text, found = page.read_text(), facts(name)
    assert found.card.idea in text
    assert found.card.good_for in text
    for key, value in {**found.preset.options, **found.preset.training}.items():
        assert f"| `{key}` | " in text
        assert value.note.replace("|", "\\|") in text
    for row in results(name):
        assert f"{row['value']:.3f}" in text
        assert f"records/{row['record']}/README.md" in text
    for line in (line for block in shell_blocks(page) for line in block):
        check(line)


def test_comparisons_are_those_of_the_records(site: Path) -> None:
    """The page of a method shows its cells; a mark stands where the report's own table has one."""
    report = json.loads((ROOT / "records" / "compare" / "medquad" / "report.json").read_text())
    cells = [one for one in report["cells"] if one["method"] == "mlm" and one["mode"] == "dense"]
    text = (site / "docs" / "methods" / "mlm.md").read_text()
    assert "| medquad | all labels | 0.516 | 0.479† (" in text
    assert "| medquad | 1,000 labels | 0.433 | 0.410 (" in text
    assert len(cells) == 3
    assert "0.602* (" in (site / "docs" / "methods" / "condenser.md").read_text()


def test_every_option_is_in_the_reference(site: Path) -> None:
    parts = (site / "docs" / "api" / "commands.md").read_text().split("\n## pretrieve ")
    assert {part.split("\n")[0] for part in parts[1:]} == COMMANDS.keys()
    for part in parts[1:]:
        name = part.split("\n")[0]
        assert {
            option
            for option in options_of(name) - {"--help", "-h"}
            if f"`{option}`" not in part and option.startswith("-")
        } == set()


def test_what_the_reference_names_exists(site: Path) -> None:
    """``::: name`` of mkdocstrings."""
    texts = [page.read_text() for page in site.rglob("*.md")]
    named = [name for text in texts for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)]
    assert "pretrieve.retriever.Retriever" in named
    for name in named:
        assert (pkgutil.resolve_name(name).__doc__ or "").strip(), name


@pytest.mark.skipif(not INSTALLED, reason="mkdocs is not installed: `make docs` builds the site")
def test_the_site_is_built_and_needs_no_network(site: Path, tmp_path: Path) -> None:
    settings = (ROOT / "mkdocs.yml").read_text().replace("[src]", f"[{ROOT / 'src'}]")
    settings = settings.replace("build/site/pages", str(site)).replace("build/site/html", str(tmp_path / "html"))
    config = tmp_path / "mkdocs.yml"
    config.write_text(settings)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(config)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    html = sorted((tmp_path / "html").rglob("*.html"))
    assert len(html) > 60
    assert [str(page) for page in html if OF_NETWORK.search(page.read_text())] == []
