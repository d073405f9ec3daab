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
from typing import Any

from pretrieve.core.errors import UsageError, suggest
from pretrieve.text.parallel import mapped, processors
from pretrieve.text.records import Fault, Record

SCHEME = "python"
_OTHERS = """
test tests testing _testing conftest vendor vendored _vendor _vendored extern idlelib lib2to3 turtledemo site-packages
dist-packages __pycache__ node_modules
"""
_SKIPPED = frozenset(_OTHERS.split())
_WORDS = 5  # shorter docstrings say nothing that the name does not
_FILES = 32  # source files that a process parses at a time
_JOBS_EACH = 8  # fewer are not worth a process
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
    selected = [part.strip() for part in names.split(",") if part.strip()] or sorted(found)
    for package in selected:
        if package not in found:
            raise UsageError(f"python:{names}: no installed package is called {package!r}.{_near(package, found)}")
    sources = [source for package in dict.fromkeys(selected) for source in _modules(package, found[package])]
    taken: Counter[str] = Counter()
    for where, fields in _documents(sources, limit):
        name = fields["id"]
        taken[name] += 1
        if taken[name] > 1:  # an overload, or a copy for another system
            fields["id"] = f"{name}#{taken[name]}"
        yield Record(where, fields, fixed=True)


def parse_files(job: list[Any]) -> list[tuple[str, dict[str, str]]]:
    """Read some source files: a list of [module, path] and the most bytes of one, to place and fields of documents."""
    sources, limit = job
    return [found for module, path in sources for found in _documented(module, Path(path), limit)]


def _documents(sources: list[tuple[str, Path]], limit: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Documents of source files in order; parsing is slow, so many files are shared by all processors."""
    jobs = [
        [[(module, str(path)) for module, path in sources[start : start + _FILES]], limit]
        for start in range(0, len(sources), _FILES)
    ]
    workers = min(processors(), len(jobs) // _JOBS_EACH)
    results = mapped(f"{__name__}:{parse_files.__name__}", jobs, workers) if workers > 1 else map(parse_files, jobs)
    for documents in results:
        yield from documents


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


def _documented(module: str, path: Path, limit: int) -> Iterator[tuple[str, dict[str, str]]]:
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


def _members(block: Sequence[ast.stmt], prefix: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
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


def _document(
    node: ast.Module | ast.ClassDef | _Function, name: str, title: str, path: Path
) -> Iterator[tuple[str, dict[str, str]]]:
    text = ast.get_docstring(node, clean=False)
    if text and len(text.split(None, _WORDS)) >= _WORDS:
        text = inspect.cleandoc(text).replace("\0", " ").encode(errors="replace").decode()  # an escape can be anything
        yield f"{path}:{getattr(node, 'lineno', 1)}", {"id": name, "title": title, "text": text}


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
