"""A folder as projects have it, through the command line: pages, mail, notebooks and code are found by their words."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import labelling

FILES = {
    "README.md": "# Tool\n\n<details>\n<summary>Breaking</summary>\nThe zanzibar endpoint is gone.\n</details>\n",
    "docs/page.html": "<title>Ports</title><nav>quagga menu</nav><table><tr><td>Port<td>4711 quokka</table>",
    "docs/guide.rst": "Guide\n=====\n\n.. note:: The kestrel is a bird.\n",
    "mail/a.eml": "Subject: Wombat volume\n\nNever delete the wombat volume.\n",
    "src/box.py": 'class Numbat:\n    """Holds what a numbat needs."""\n',
    "settings.toml": "# where the bilby lives\nport = 1\n",
    "run.log": "2026-01-01 the echidna stopped\n",
    "logo.svg": "<svg/>",
}
FOUND = {
    "zanzibar endpoint": "README.md",
    "quokka port": "docs/page.html",
    "kestrel": "docs/guide.rst",
    "wombat volume": "mail/a.eml",
    "numbat": "src/box.py",
    "bilby": "settings.toml",
    "echidna": "run.log",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    labelling.static_model(tmp_path / "model")
    return tmp_path


def test_all_text_of_a_project_is_found(run, folder: Path) -> None:
    outcome = run("index", folder / "project", "--model", folder / "model", "-o", folder / "index")
    assert outcome.code == 0, outcome.err
    assert "8 files: 7 read, 1 passed over (.svg 1)" in outcome.err + outcome.out
    for query, name in FOUND.items():
        hits = run("search", folder / "index", query, "--mode", "lexical", "--json")
        first = orjson.loads(hits.out)["hits"][0]
        assert first["id"] == str(folder / "project" / name), query
    assert not orjson.loads(run("search", folder / "index", "quagga", "--mode", "lexical", "--json").out)["hits"]
