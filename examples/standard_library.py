"""A corpus that every Python has: functions of its own library, and labels made of their docstrings."""

from __future__ import annotations

import ast
import asyncio
import email
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (logging, email, asyncio)


def documents() -> list[dict[str, str]]:
    """Functions and methods as records of ``id``, ``title`` and ``text``, without their docstrings."""
    return [{"id": name, "title": name, "text": text} for name, text, _ in functions()]


def labels() -> dict[str, str]:
    """Queries and the ids of their functions: first lines of docstrings, those that two functions have left out."""
    summaries = [(summary, name) for name, _, summary in functions() if len(summary.split()) > 3]
    counts = Counter(summary for summary, _ in summaries)
    return {summary: name for summary, name in summaries if counts[summary] == 1}


def judged(found: dict[str, str]) -> dict[str, dict]:
    """Labels as ``evaluate`` takes them: queries and qrels, by the ids of queries."""
    numbered = {f"q{number}": pair for number, pair in enumerate(found.items())}
    return {
        "queries": {key: query for key, (query, _) in numbered.items()},
        "qrels": {key: [name] for key, (_, name) in numbered.items()},
    }


def functions() -> Iterator[tuple[str, str, str]]:
    """Name, source and first line of the docstring of every function of some lines."""
    for package in PACKAGES:
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            source = path.read_text(encoding="utf-8")
            for scope in ast.walk(ast.parse(source)):
                for node in getattr(scope, "body", ()) if isinstance(scope, ast.Module | ast.ClassDef) else ():
                    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                        yield from described(f"{package.__name__}.{path.stem}", scope, node, source)


def described(
    module: str, scope: ast.Module | ast.ClassDef, node: ast.FunctionDef | ast.AsyncFunctionDef, source: str
) -> Iterator[tuple[str, str, str]]:
    """One function, if there is something to it."""
    docstring = ast.get_docstring(node, clean=False) or ""
    text = (ast.get_source_segment(source, node) or "").replace(docstring, "") if docstring else ""
    if docstring and len(text) > 200:
        owner = f".{scope.name}" if isinstance(scope, ast.ClassDef) else ""
        yield f"{module}{owner}.{node.name}:{node.lineno}", text, docstring.strip().splitlines()[0]
