"""The programs and notebooks of ``examples/`` run as a user runs them: each as a process, made small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {  # arguments that make a program small
    "search_a_folder.py": ("--steps", "2", "--save", "index"),
    "finetune_with_labels.py": ("--steps", "2"),
    "compare_methods.py": (
        "--base", "new:layers=1,hidden=16,heads=2", "--tokens", "1000", "--steps", "1", "--seeds", "1",
    ),
    "evaluate_by_query.py": ("--steps", "2"),
    "own_method.py": ("--steps", "2"),
}  # fmt: skip
SHOWS = {  # what only a run to the end prints
    "search_a_folder.py": "asyncio/timeouts.py",
    "finetune_with_labels.py": "tuned | hybrid |",
    "compare_methods.py": "| condenser |",
    "evaluate_by_query.py": "Most won:",
    "own_method.py": "email.",
}


def ran(folder: Path, *command: str) -> str:
    """What a program printed."""
    environment = {**os.environ, "TMPDIR": str(folder), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_is_run() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")} - {"standard_library.py"}
    assert programs == SMALL.keys() == SHOWS.keys()


@pytest.mark.parametrize("name", SMALL)
def test_a_program_runs(name: str, tmp_path: Path) -> None:
    assert SHOWS[name] in ran(tmp_path, str(EXAMPLES / name), *SMALL[name])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    """Its cells, one after the other; nothing that was printed is kept in the file."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    code = "\n".join("".join(cell["source"]) for cell in cells)
    assert "STEPS = 200" in code
    script = tmp_path / "notebook.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(EXAMPLES)!r})\n" + code.replace("STEPS = 200", "STEPS = 2"))
    assert "hybrid" in ran(tmp_path, str(script))


def test_the_page_names_them_all() -> None:
    page = (EXAMPLES / "README.md").read_text()
    named = [path for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".ipynb")]
    assert [path.name for path in named if f"({path.relative_to(EXAMPLES)})" not in page] == []
