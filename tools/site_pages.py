"""Lay out the pages of the documentation site: ``python tools/site_pages.py PAGES``, called by ``make docs``.

PAGES becomes a copy of the repository's Markdown, so that links between pages are those of the repository. Added are a
page for each method, from its card, its values and its results; the API reference, from docstrings; and lists.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from site_api import api_pages
from site_methods import method_pages

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs", "records", "examples")
SUFFIXES = ("", ".md", ".svg", ".png", ".json", ".py", ".ipynb")
LARGE = 200_000  # bytes: results are linked from their pages, and stay in the repository


def copied(target: Path) -> None:
    """Copy what is shown, as it lies in the repository."""
    for name in SHOWN:
        for path in sorted((ROOT / name).rglob("*")) if (ROOT / name).is_dir() else [ROOT / name]:
            small = path.is_file() and path.suffix in SUFFIXES and path.stat().st_size <= LARGE
            if small and "__pycache__" not in path.parts:
                place = target / path.relative_to(ROOT)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


def contents(folder: Path, title: str) -> str:
    """A page that lists the pages of a folder by their titles."""
    lines = [f"# {title}", ""]
    for page in sorted(folder.rglob("*.md")):
        heading = re.search(r"^# (.+)$", page.read_text(), re.MULTILINE)
        lines.append(f"* [{heading[1] if heading else page.stem}]({page.relative_to(folder)})")
    return "\n".join([*lines, ""])


def lay_out(target: Path) -> None:
    """Write all pages below ``target``, which is replaced."""
    shutil.rmtree(target, ignore_errors=True)
    copied(target)
    for place, text in {**method_pages(), **api_pages()}.items():
        path = target / "docs" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("Docs", "Records"):
        folder = target / name.lower()
        (folder / "README.md").write_text(contents(folder, name))
    for page in target.rglob("*.md"):  # a link to a folder leads to its page
        text = re.sub(r"(\]\([\w./-]+/)\)", lambda found: f"{found[1]}README.md)", page.read_text())
        page.write_text(text)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
