"""The documentation of installed Python packages, ``python:`` or ``python:numpy,torch``, read from their source.

Nothing is imported: sources are parsed, and every module, class and function with a docstring is a document. Its title
is the qualified name with the signature. Private parts of a path are left out (``numpy.linalg._linalg.norm`` is written
``numpy.linalg.norm``), private objects, tests and vendored copies are passed over.
"""

from __future__ import annotations

import ast
import gc
import inspect
import os
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pretrieve.core.errors import UsageError, suggest
from pretrieve.text.records import Fault, Record

SCHEME = "python"
_OTHERS = """
test tests testing _testing conftest vendor vendored _vendor _vendored extern idlelib lib2to3 turtledemo site-packages
dist-packages __pycache__ node_modules
"""
_SKIPPED = frozenset(_OTHERS.split())
_WORDS = 5  # shorter docstrings say nothing that the name does not
_SIGNATURE = 200  # characters of a signature that are kept
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def read(names: str, limit: int) -> Iterator[Record | Fault]:
    """Read the docstrings of packages, in the order of their names.

    Args:
        names: packages divided by commas; all that are installed, and the standard library, if empty.
        limit: most bytes of a source file; longer ones (generated tables) are passed over.

    Raises:
        UsageError: a package is not installed, with a suggestion.
    """
    found = packages()
    wanted = [part.strip() for part in names.split(",") if part.strip()] or sorted(found)
    for package in wanted:
        if package not in found:
            raise UsageError(f"python:{names}: no installed package is called {package!r}.{_near(package, found)}")
    taken: Counter[str] = Counter()
    for package in dict.fromkeys(wanted):
        for module, path in _modules(package, found[package]):
            for record in _documented(module, path, limit):
                name = str(record.fields["id"])
                taken[name] += 1
                if taken[name] > 1:  # an overload, or a copy for another system
                    record = Record(record.where, {**record.fields, "id": f"{name}#{taken[name]}"}, fixed=True)
                yield record


def packages() -> dict[str, Path]:
    """Top-level public packages and modules of this interpreter with their files, standard library first."""
    paths = sysconfig.get_paths()
    found: dict[str, Path] = {}
    for folder in dict.fromkeys([paths["stdlib"], *(path for path in sys.path if path), paths["purelib"]]):
        if not Path(folder).is_dir():
            continue
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            name = entry.name.removesuffix(".py")
            is_module = entry.name.endswith(".py") or (entry.is_dir() and (Path(entry) / "__init__.py").is_file())
            if is_module and name.isidentifier() and not name.startswith("_") and name not in _SKIPPED:
                found.setdefault(name, Path(entry))
    return found


def _near(package: str, found: dict[str, Path]) -> str:
    hint = suggest(package, found)
    return hint if "Did you mean" in hint else " It is the name that is imported, e.g. python:numpy."


def _modules(package: str, path: Path) -> Iterator[tuple[str, Path]]:
    """Module names and files of a package, sorted, without tests and vendored copies."""
    if path.is_file():
        yield package, path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and name.isidentifier())
        inside = Path(folder).relative_to(path).parts
        for file in sorted(files):
            stem = file.removesuffix(".py")
            if file.endswith(".py") and stem.isidentifier() and stem not in _SKIPPED and not stem.startswith("test_"):
                parts = [part for part in (*inside, stem) if not part.startswith("_")]
                yield ".".join([package, *parts]), Path(folder, file)


def _documented(module: str, path: Path, limit: int) -> Iterator[Record]:
    tree = _parse(path, limit)
    if tree is not None:
        if path.name == "__init__.py" or not path.name.startswith("_"):
            yield from _document(tree, module, module, path)
        yield from _members(tree.body, module, path)


def _parse(path: Path, limit: int) -> ast.Module | None:
    try:
        source = path.read_bytes()
    except OSError:
        return None
    if len(source) > limit or (b'"""' not in source and b"'''" not in source):
        return None
    collecting = gc.isenabled()
    gc.disable()  # a tree is many objects and no garbage: a quarter faster
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's escape sequences
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # code for another Python, templates
        return None
    finally:
        if collecting:
            gc.enable()


def _members(block: Sequence[ast.stmt], prefix: str, path: Path) -> Iterator[Record]:
    for node in block:
        if isinstance(node, ast.If | ast.Try):  # definitions for one version or system
            handlers = node.handlers if isinstance(node, ast.Try) else []
            for inner in (node.body, *(handler.body for handler in handlers), node.orelse):
                yield from _members(inner, prefix, path)
        elif isinstance(node, ast.ClassDef | _Function) and not node.name.startswith("_"):
            name = f"{prefix}.{node.name}"
            yield from _document(node, name, name + _signature(node), path)
            if isinstance(node, ast.ClassDef):
                yield from _members(node.body, name, path)


def _document(node: ast.Module | ast.ClassDef | _Function, name: str, title: str, path: Path) -> Iterator[Record]:
    text = ast.get_docstring(node, clean=False)
    if text and len(text.split(None, _WORDS)) >= _WORDS:
        text = inspect.cleandoc(text).replace("\0", " ").encode(errors="replace").decode()  # an escape can be anything
        yield Record(f"{path}:{getattr(node, 'lineno', 1)}", {"id": name, "title": title, "text": text}, fixed=True)


def _signature(node: ast.ClassDef | _Function) -> str:
    if isinstance(node, ast.ClassDef):
        made = [child for child in node.body if isinstance(child, ast.FunctionDef) and child.name == "__init__"]
        return _signature(made[0]) if made else ""
    arguments = node.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
        if argument is not None:
            argument.annotation = None
    text = ast.unparse(arguments).removeprefix("self").removeprefix("cls").removeprefix(", ")
    return f"({text})" if len(text) <= _SIGNATURE else f"({text[:_SIGNATURE].rpartition(',')[0]}, ...)"
