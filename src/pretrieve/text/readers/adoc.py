"""AsciiDoc: marks and attributes are dropped, the text is kept; long documents are cut at headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.outline import Outline, outlined
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".adoc", ".asciidoc")
_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+(.+?)(?:[ \t]+=+)?")
_ATTRIBUTE = re.compile(r":!?[\w-]+!?:(?:\s.*)?|\[[^\[\]]*\]|\[\[[^\]]*\]\]|//(?!/).*|(?:include|toc)::.*|<<<|'''|\+")
_SAYS = re.compile(r"^:(author|email|revdate|revnumber|keywords|lang):[ \t]*(\S.*?)[ \t]*$", re.M)
_FENCE = re.compile(r"-{4,}|={4,}|\*{4,}|_{4,}|\.{4,}|\+{4,}|\|===+|--|```.*")
_COMMENT = re.compile(r"/{4,}")
_BLOCK_TITLE = re.compile(r"\.(?=[^\s.])")
_ITEM = re.compile(r"(?:\*{1,6}|\.{1,6}|-|\d+\.|<\d+>|<\.>)[ \t]+(?:\[[ x*]\][ \t]+)?")
_LINK = re.compile(
    r"(?:link:|xref:|image::?|mailto:|https?://|kbd:|menu:|footnote:)[^\s\[\]]*\[([^\[\]]*)\]|<<[^<>,]*,?\s*([^<>]*)>>"
)
_MARKS = re.compile(r"(?<!\w)([*_`#+]{1,2})(?=\S)(.{1,300}?)(?<=\S)\1(?!\w)")


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document if short, else as one document a section, titled ``Guide > Install``.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    return outlined(path, limit, outline)


def outline(source: str) -> Outline:
    """Headings and blocks of a text; in listings nothing is a mark."""
    found = Outline(facts=lambda: dict(_SAYS.findall(source)))
    block: list[str] = []
    fence = ""
    for number, line in enumerate(source.split("\n"), start=1):
        line = line.rstrip()
        if not block:
            found.line = number
        if fence:
            if line == fence:
                fence = ""
            elif not _COMMENT.fullmatch(fence):
                block.append(line)
        elif _COMMENT.fullmatch(line) or re.fullmatch(r"-{4,}|\.{4,}|\+{4,}", line):
            fence = line
        elif heading := _HEADING.fullmatch(line):
            found.block("\n".join(block))
            block.clear()
            found.line = number
            found.heading(len(heading[1]), _plain(heading[2]))
        elif not line:
            found.block("\n".join(block))
            block.clear()
        elif not _ATTRIBUTE.fullmatch(line) and not _FENCE.fullmatch(line):
            block.append(_plain(_ITEM.sub("", _BLOCK_TITLE.sub("", line, count=1), count=1)))
    found.block("\n".join(block))
    return found


def _plain(line: str) -> str:
    line = _LINK.sub(lambda found: found[1] or found[2] or "", line)
    if line.startswith("|"):
        line = " | ".join(cell.strip() for cell in line.split("|") if cell.strip())
    return _MARKS.sub(r"\2", line)
