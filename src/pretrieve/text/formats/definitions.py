"""Where classes and functions begin in source code: by Python's own parser, in other languages by their first line."""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Definition:
    """A class, function or the like.

    Attributes:
        line: its first line, from 0; comments and decorators before it belong to it.
        depth: how many definitions it stands in.
        name: what it is called.
    """

    line: int
    depth: int
    name: str


_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|sealed|async|override|virtual|inline"
    r"|extern|unsafe|const|partial|open|data|case|implicit|lazy|pub(?:\([\w: ]*\))?|local|fileprivate|readonly|declare"
    r"|suspend|mutating|companion|enum(?=\s+class))\s+){0,8}"
)
_KEYWORDS = (
    r"(?:class|interface|struct|enum|trait|impl|module|mod|namespace|def|defp|defmodule|fn|func|function|fun|sub|object"
    r"|record|protocol|extension|type|union|macro_rules!|procedure|proc|package|contract|library|actor)"
)
_NAMED = re.compile(
    rf"(\s*){_MODIFIERS}{_KEYWORDS}\b\*?\s*(?:<[^<>]{{0,200}}>\s*)?(?:\([^()]{{0,200}}\)\s*)?([A-Za-z_$][\w$.:]*[?!]?)"
)
_ARROW = re.compile(
    rf"(\s*){_MODIFIERS}(?:const|let|var|val)?\s*([A-Za-z_$][\w$.]*)\s*(?::[^=]{{0,200}})?(?:=|<-)\s*"
    r"(?:async\s+)?(?:function\b|\([^()]{0,300}\)\s*(?::[^=>]{0,100})?=>|[\w$]+\s*=>)"
)
_TYPED = re.compile(  # int main(..., void Box::open(..., public String name(...
    r"(\s*)(?:[A-Za-z_][\w:<>,.*&\[\]?~ \t]{0,200}?[\s*&>\]])?([A-Za-z_~][\w:~]*)\s*\([^;]*(?:\)[^;]*)?"
)
_CREATE = re.compile(
    r"(\s*)create\s+(?:or\s+replace\s+)?(?:temp(?:orary)?\s+|unique\s+|materialized\s+)?"
    r"(?:table|view|function|procedure|trigger|index|type)\s+(?:if\s+not\s+exists\s+)?([\w.\"`\[\]]+)",
    re.IGNORECASE,
)
_SHELL = re.compile(r"(\s*)([\w:-]+)\s*\(\)\s*\{?\s*")
_NOT_NAMES = (frozenset(keyword.kwlist) - {"class", "def", "async"}) | {
    "switch",
    "catch",
    "do",
    "new",
    "throw",
    "sizeof",
    "using",
    "case",
}
_COMMENT = re.compile(r"\s*(?://|#(?!include|define|if|endif|else|pragma)|/\*|\*|--|%|;;|@|\[\[?|'''|\"\"\"|<!--)")
_DEPTH = 24  # columns of indentation below which no definitions are looked for
_LONGEST = 400  # characters of a line that may begin a definition


def definitions(source: str, suffix: str) -> list[Definition]:
    """The definitions of a source file, in order.

    Args:
        source: its text.
        suffix: of its name; Python is parsed, if it can be.
    """
    if suffix in (".py", ".pyi"):
        found = _of_python(source)
        if found is not None:
            return found
    return list(_of_lines(source.split("\n"), suffix))


def _of_python(source: str) -> list[Definition] | None:
    """The definitions of Python; None if it cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # another version, a template
        return None
    lines = source.split("\n")
    return [
        Definition(_with_comments(lines, line), depth, name)
        for line, depth, name in sorted(_members(tree.body, 0), key=lambda member: member[0])
    ]


def _members(body: Sequence[ast.stmt], depth: int) -> Iterator[tuple[int, int, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield min([node.lineno, *(mark.lineno for mark in node.decorator_list)]) - 1, depth, node.name
            if isinstance(node, ast.ClassDef):
                yield from _members(node.body, depth + 1)
        elif isinstance(node, ast.If):
            yield from _members([*node.body, *node.orelse], depth)


def _of_lines(lines: Sequence[str], suffix: str) -> Iterator[Definition]:
    """The definitions that lines look like; what stands in what is told by the indentation."""
    around: list[int] = []
    for number, line in enumerate(lines):
        found = _begin(line, suffix) if line and len(line) <= _LONGEST else None
        if found is None:
            continue
        indent, name = found
        while around and around[-1] >= indent:
            around.pop()
        yield Definition(_with_comments(lines, number), len(around), name)
        around.append(indent)


def _begin(line: str, suffix: str) -> tuple[int, str] | None:
    """Indentation and name of a definition that begins at a line; None if none does."""
    kinds = [_NAMED, _ARROW, *([_CREATE] if suffix == ".sql" else []), *([_SHELL] if suffix in _SHELLS else [])]
    kinds += [_TYPED] if suffix in _BRACES and line.rstrip().endswith(("{", ")", ",", "(")) else []
    for kind in kinds:
        found = kind.match(line)
        if found and found[2] not in _NOT_NAMES and line.split(None, 1)[0] not in _NOT_NAMES:
            indent = len(found[1].expandtabs(4))
            if kind is _TYPED and ((suffix in _FLAT and indent) or not _is_typed(line)):
                continue
            return (indent, found[2]) if indent <= _DEPTH else None
    return None


def _is_typed(line: str) -> bool:
    """Whether a line is the head of a function and no call: words before the name, or a body after it."""
    head = line.partition("(")[0]
    if "=" in head or "." in head or "->" in head:
        return False
    return len(head.split()) > 1 or line.rstrip().endswith("{")


_SHELLS = frozenset({".sh", ".bash", ".zsh", ".ksh"})
_C_LIKE = ".c .h .cc .cpp .cxx .hh .hpp .cu .m .mm .java .cs .js .mjs .cjs .jsx .ts .mts .cts .tsx .dart .groovy"
_BRACES = frozenset(_C_LIKE.split())
_FLAT = frozenset({".c", ".h", ".cu", ".m"})  # functions do not stand in anything


def _with_comments(lines: Sequence[str], number: int) -> int:
    """The first line of the comments and decorators right before a line."""
    while number and _COMMENT.match(lines[number - 1]):
        number -= 1
    return number
