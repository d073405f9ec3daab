"""reStructuredText: directives, roles and marks are dropped, their text is kept; long documents are cut at headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.outline import Outline, outlined
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".rst", ".rest")
_RULE = re.compile(r"([!-/:-@\[-`{-~])\1+[ \t]*")
_DIRECTIVE = re.compile(r"(\s*)\.\.[ \t]+(?:\|([^|]+)\|[ \t]+)?([\w.:+-]+?)::(?:[ \t]+(.*))?")
_COMMENT = re.compile(r"(\s*)\.\.(?:[ \t]+(.*))?")
_FOOTNOTE = re.compile(r"\[[^\]]+\][ \t]+(.*)")
_OPTION = re.compile(r"\s*:[\w-]+:(?:\s.*)?")
_BORDER = re.compile(r"\s*(?:\+[-=+]+\+|=+(?:[ \t]+=+)+|-+(?:[ \t]+-+)+)[ \t]*")
_ROLE = re.compile(r":[\w.+:-]+:`([^`]+)`")
_TITLED = re.compile(r"(.*\S)\s+<[^<>]*>")
_TARGET = re.compile(r"`([^`<]{0,300}?)\s{0,20}<[^`>]*>`_{0,2}")
_LITERAL = re.compile(r"``(.{1,1000}?)``|`([^`]+)`_{0,2}|\*\*(\S.{0,300}?)\*\*|(?<![\w*])\*(\S[^*\n]*)\*")
_ITEM = re.compile(r"(\s*)(?:[*+-]|#\.)[ \t]+")
_SILENT = """
toctree include literalinclude highlight currentmodule contents raw index meta default-role sectnum program role module
autosummary automodule autoclass autofunction codeauthor tabularcolumns
"""
_NO_TEXT = frozenset(_SILENT.split())
_NO_ARGUMENT = frozenset(
    {"code", "code-block", "sourcecode", "math", "parsed-literal", "list-table", "image", "figure", "only", "ifconfig"}
)


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document if short, else as one document a section, titled ``Guide > Install``.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    return outlined(path, limit, outline)


def outline(source: str) -> Outline:
    """Headings and blocks of a text."""
    return _Reader(source).run()


class _Reader:
    def __init__(self, source: str) -> None:
        self._lines = [line.expandtabs().rstrip() for line in source.split("\n")]
        self._found = Outline()
        self._styles: dict[tuple[str, bool], int] = {}  # of headings, in the order in which they come
        self._block: list[str] = []
        self._line = 1

    def run(self) -> Outline:
        index = 0
        while index < len(self._lines):
            index = self._step(index)
        self._flush()
        return self._found

    def _step(self, index: int) -> int:
        """Read what begins at a line; returns the line after it."""
        line = self._lines[index]
        self._line = index + 1
        if not self._block:
            self._found.line = self._line
        if not line:
            self._flush()
            return index + 1
        if used := self._heading(index):
            return index + used
        if found := _DIRECTIVE.fullmatch(line):
            return self._directive(index, found)
        if (found := _COMMENT.fullmatch(line)) and not line.lstrip().startswith("..."):
            return self._comment(index, found)
        if not _BORDER.fullmatch(line) and not (_RULE.fullmatch(line) and len(line) > 3):
            self._block.append(_plain(line))
        return index + 1

    def _heading(self, index: int) -> int:
        """Read a title with its lines of punctuation; returns the number of lines, 0 if it is none."""
        lines = self._lines[index : index + 3]
        over = bool(_RULE.fullmatch(lines[0])) and len(lines) == 3 and _RULE.fullmatch(lines[2]) is not None
        if over and lines[0][0] == lines[2][0] and lines[1].strip() and not _RULE.fullmatch(lines[1]):
            return self._title(lines[1], lines[0][0], over=True)
        if self._block or len(lines) < 2 or not _RULE.fullmatch(lines[1]) or _RULE.fullmatch(lines[0]):
            return 0
        if lines[0][0] == " " or len(lines[1]) < min(4, len(lines[0])) or 2 * len(lines[1]) < len(lines[0]):
            return 0
        return self._title(lines[0], lines[1][0], over=False)

    def _title(self, text: str, mark: str, *, over: bool) -> int:
        self._flush()
        level = self._styles.setdefault((mark, over), len(self._styles) + 1)
        self._found.heading(level, _plain(text))
        return 3 if over else 2

    def _directive(self, index: int, found: re.Match[str]) -> int:
        """Read a directive: its argument is text, its options are not; what is indented below it is read as text."""
        self._flush()
        indent, name, argument = len(found[1]), found[3].rpartition(":")[2], found[4] or ""
        index += 1
        while index < len(self._lines) and self._below(index, indent) and _OPTION.fullmatch(self._lines[index]):
            option = self._lines[index].strip()
            if option.startswith((":alt:", ":caption:", ":title:")):
                self._found.block(_plain(option.partition(" ")[2]))
            index += 1
        if name in _NO_TEXT or found[2]:
            if found[2] and name == "replace":
                self._found.block(_plain(argument))
            return self._end(index, indent)
        if argument and name not in _NO_ARGUMENT:
            self._block.append(_plain(argument))
            if index < len(self._lines) and not self._lines[index]:
                self._flush()
        return index

    def _comment(self, index: int, found: re.Match[str]) -> int:
        """Pass over a comment or target; a footnote or citation is text."""
        self._flush()
        if footnote := _FOOTNOTE.fullmatch(found[2] or ""):
            self._block.append(_plain(footnote[1]))
            return index + 1
        if not found[2] and (index + 1 == len(self._lines) or not self._lines[index + 1]):
            return index + 1  # an empty comment ends what is indented before it
        return self._end(index + 1, len(found[1]))

    def _below(self, index: int, indent: int) -> bool:
        line = self._lines[index]
        return bool(line) and len(line) - len(line.lstrip()) > indent

    def _end(self, index: int, indent: int) -> int:
        """The line after all that is indented deeper."""
        while index < len(self._lines) and (not self._lines[index] or self._below(index, indent)):
            index += 1
        return index

    def _flush(self) -> None:
        self._found.block("\n".join(self._block))
        self._found.line = self._line
        self._block.clear()


def _plain(line: str) -> str:
    """A line without marks of roles, links and emphasis; cells of a table stay parted by ``|``."""
    if line.lstrip().startswith("|"):
        line = line.strip().strip("|").strip()
    line = _ITEM.sub(r"\1", line, count=1)
    if "`" in line:
        line = _TARGET.sub(lambda found: found[1] or found[0].strip("`<>_"), _ROLE.sub(_role, line))
    if "`" in line or "*" in line:
        line = _LITERAL.sub(lambda found: next(group for group in found.groups() if group is not None), line)
    return line.removesuffix("::") + ":" if line.endswith("::") and line != "::" else line.removesuffix("::")


def _role(found: re.Match[str]) -> str:
    text = _TITLED.fullmatch(found[1])
    return text[1] if text else found[1].lstrip("~!")
