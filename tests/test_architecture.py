"""The house stands: imports point down, heavy libraries stay out of the cold path, public names are documented."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "pretrieve"
FLOORS = {
    "core": 0, "text": 1, "sampling": 2, "models": 3, "index": 3, "methods": 4, "training": 4, "evaluation": 4,
    "finetuning": 4, "generation": 4,
    "pipeline": 5, "retriever": 5, "testing": 5, "reporting": 5, "serving": 5, "cli": 6, "__init__": 7, "__main__": 7,
}  # fmt: skip
# Same-floor rooms that may know each other: an index opens the static model it was built with, by NumPy alone.
NEIGHBOURS = {("retriever", "pipeline"), ("reporting", "pipeline"), ("serving", "pipeline"), ("index", "models")}
FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[0]


def imports(tree: ast.AST) -> set[str]:
    """Every module imported anywhere in a file, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    assert here in FLOORS, f"{here} has no floor: give it one in tests/test_architecture.py"
    for name in imports(ast.parse(path.read_text())):
        match = re.match(r"pretrieve\.(\w+)", name)
        if match and match[1] in FLOORS and match[1] != here:
            allowed = FLOORS[match[1]] < FLOORS[here] or (here, match[1]) in NEIGHBOURS
            assert allowed, f"{path.name} on floor {FLOORS[here]} ({here}) imports {name} on floor {FLOORS[match[1]]}"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if room(p) in ("core", "text", "sampling", "index")],
    ids=lambda p: str(p.relative_to(SOURCE)),
)
def test_lower_floors_know_no_torch(path: Path) -> None:
    heavy = {name.split(".")[0] for name in imports(ast.parse(path.read_text()))} & {
        "torch",
        "transformers",
        "sentence_transformers",
    }
    assert not heavy


# Rooms of the pipeline, in the order in which they may know each other.
ROOMS = (
    "run", "pretrain", "encode", "open_index", "index", "update_index", "searcher", "evaluate", "finetune", "qa",
    "generate", "distill", "compare", "inspect", "push", "demo",
)  # fmt: skip


def test_rooms_of_the_pipeline_point_down() -> None:
    for path in sorted((SOURCE / "pipeline").rglob("*.py")):
        here = path.relative_to(SOURCE / "pipeline").with_suffix("").parts[0]
        for name in imports(ast.parse(path.read_text())):
            match = re.match(r"pretrieve\.pipeline\.(\w+)", name)
            if match and here != "__init__":
                assert ROOMS.index(match[1]) <= ROOMS.index(here), f"{path.name} ({here}) imports {name}"


def test_no_module_needs_itself() -> None:
    """No circle of imports, those inside functions and for types included."""
    names = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path for path in FILES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph = {name: imports(ast.parse(path.read_text())) & names.keys() - {name} for name, path in names.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_trainer_names_no_method() -> None:
    names = {path.stem for path in (SOURCE / "methods").glob("*.py")} - {"__init__"}
    assert len(names) >= 3
    for path in (SOURCE / "training").glob("*.py"):
        words = set(re.findall(r"\w+", path.read_text().lower()))
        assert not words & names, f"{path.name} names {words & names}"


def test_only_core_files_writes() -> None:
    """One writer: no other file opens anything for writing."""
    pattern = re.compile(r"""\.(write_text|write_bytes|tofile|savez|dump)\(|open\(([^)]*, )?["'][wax]b?\+?["']""")
    for path in FILES:
        if path.relative_to(SOURCE).as_posix() not in ("core/files.py", "core/arrays.py"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if "one-writer:" not in line:  # a line may say why it is no artefact
                    assert not pattern.search(line), f"{path.relative_to(SOURCE)}:{number} writes: {line.strip()}"


def test_nothing_unpickles() -> None:
    banned = re.compile(r"\bpickle\b|torch\.load\(|allow_pickle=True|yaml\.load\(|\beval\(|\bexec\(|shell=True")
    for path in FILES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.split("#")[0]
            if path.name == "torch_file.py":  # the one file that reads what torch.save wrote
                code = re.sub(r"torch\.load\((?=[^()]*weights_only=True\))", "", code)
            if not code.strip().startswith(("*", '"')) and "No pickle" not in code:
                assert not banned.search(re.sub(r"\.eval\(\)", "", code)), (
                    f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
                )


def public(tree: ast.Module):
    yield "module", tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for item in node.body:
                    overload = isinstance(item, ast.FunctionDef) and "overload" in map(ast.unparse, item.decorator_list)
                    if isinstance(item, ast.FunctionDef) and not item.name.startswith("_") and not overload:
                        yield f"{node.name}.{item.name}", item


def walk_all(nodes: list[ast.stmt]):
    for node in nodes:
        yield from ast.walk(node)


def raises(function: ast.FunctionDef) -> set[str]:
    """Names of the errors that a function raises by itself."""
    found = set()
    caught = {id(inner) for node in ast.walk(function) if isinstance(node, ast.Try) for inner in walk_all(node.body)}
    for node in ast.walk(function):
        if id(node) in caught:
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found.add(node.exc.func.id)
    return found - {"AssertionError", "NotImplementedError", "StopIteration"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_public_names_are_documented(path: Path) -> None:
    for name, node in public(ast.parse(path.read_text())):
        text = ast.get_docstring(node)
        assert text, f"{path.name}: {name} has no docstring"
        if isinstance(node, ast.FunctionDef):
            for error in raises(node):
                assert "Raises:" in text, f"{path.name}: {name} raises {error} and its docstring does not say so"
                assert error in text, f"{path.name}: {name} raises {error} and its docstring does not say so"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_fit_the_eye(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400, f"{path.name} is too long to read in five minutes"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            # a command declares its options in its signature, which is a table, not code
            arguments = [*node.args.args, *node.args.kwonlyargs]
            last_argument = max((item.end_lineno for item in arguments), default=node.lineno)
            lines = node.end_lineno - (last_argument if room(path) == "cli" and node.name == "command" else node.lineno)
            assert lines < 60, f"{path.name}: {node.name} has {lines} lines"


def test_no_import_cycles() -> None:
    """Importing each module first, alone, works: nothing needs another to be imported before it."""
    modules = [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__") for path in FILES
    ]
    light = [name for name in modules if name.split(".")[1:2] in (["core"], ["text"], ["sampling"], ["index"], ["cli"])]
    code = """
import sys, importlib
for module in sys.argv[1:]:
    for key in [key for key in sys.modules if key.startswith("pretrieve")]:
        del sys.modules[key]
    importlib.import_module(module)
"""
    subprocess.run([sys.executable, "-c", code, *light], check=True)


def test_the_command_line_starts_light() -> None:
    """`pretrieve --help` imports no array, model or index library."""
    code = "import sys, pretrieve.cli.app; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not set(loaded) & {
        "torch",
        "transformers",
        "sentence_transformers",
        "faiss",
        "bm25s",
        "scipy",
        "sklearn",
        "pyarrow",
    }


def test_files_of_tests_have_names_of_their_own() -> None:
    """Two files of tests with one name: pytest reads one of them."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []


def test_slow_tests_are_named_by_what_they_are_called() -> None:
    """A test that got another name would be run by `make quick`."""
    tests = Path(__file__).parent
    for name in (tests / "slow.txt").read_text().split():
        path, _, function = name.partition("::")
        assert (tests / path).exists(), f"slow.txt: {name}"
        assert not function or re.search(rf"^def {function}\(", (tests / path).read_text(), flags=re.MULTILINE), name
