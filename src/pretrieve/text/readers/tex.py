"""LaTeX: commands are dropped, their text is kept; long documents are cut at sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.outline import Outline, outlined
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".tex", ".latex")
_LEVELS = {"part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6}
_COMMENT = re.compile(r"(?<!\\)%.*")
_HEADING = re.compile(
    r"\\(part|chapter|section|subsection|subsubsection|paragraph|title)\*?(?:\[[^\[\]]*\])?\{((?:[^{}]|\{[^{}]*\})*)\}"
)
_SILENT = re.compile(
    r"\\(?:begin|end|label|ref|eqref|pageref|cite\w*|usepackage|documentclass|bibliography\w*|includegraphics|input|include"
    r"|newcommand|renewcommand|def|vspace|hspace|setlength|hypersetup)\*?(?:\[[^\[\]]*\])*(?:\{[^{}]*\})?(?:\[[^\[\]]*\])?"
)
_COMMAND = re.compile(r"\\[a-zA-Z@]+\*?[ \t]?(?:\[[^\[\]]*\])?")
_ESCAPED = re.compile(r"\\([%&_#${}])")
_SAYS = re.compile(r"\\(author|date)\{((?:[^{}]|\{[^{}]*\})*)\}")
_DOCUMENT = "\\begin{document}"


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document if short, else as one document a section, titled ``Guide > Install``.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    return outlined(path, limit, outline)


def outline(source: str) -> Outline:
    """Headings and blocks of a text; of what stands before the document only the title."""
    source = "\n".join(_COMMENT.sub("", line) for line in source.split("\n"))
    found = Outline()
    before, begin, after = source.partition(_DOCUMENT)
    body = after if begin else before
    for heading in _HEADING.finditer(before) if begin else ():
        if heading[1] == "title":
            found.title = _plain(heading[2])
    place = begun = 0
    found.facts = lambda: {name: _plain(value) for name, value in _SAYS.findall(before)}
    found.line = first = 1 + (before + begin).count("\n") * bool(begin)
    for heading in _HEADING.finditer(body):
        _add(found, body[place : heading.start()])
        place = heading.end()
        first += body.count("\n", begun, place)
        found.line, begun = first, place
        if heading[1] == "title":
            found.title = _plain(heading[2])
        else:
            found.heading(_LEVELS[heading[1]], _plain(heading[2]))
    _add(found, body[place:])
    return found


def _add(found: Outline, text: str) -> None:
    line, place = found.line, 0
    for block in re.split(r"\n[ \t]*\n", text):
        start = text.find(block, place)
        line += text.count("\n", place, start)
        found.line = line + block[: len(block) - len(block.lstrip())].count("\n")
        line, place = line + block.count("\n"), start + len(block)
        found.block("\n".join(line for line in _plain(block).split("\n") if line.strip()))


def _plain(text: str) -> str:
    text = _COMMAND.sub("", _SILENT.sub("", text.replace("\\\\", "\n").replace("~", " ")))
    return _ESCAPED.sub(r"\1", re.sub(r"(?<!\\)[{}]", "", text)).strip()
