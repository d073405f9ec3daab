"""Long documents cut into passages, at headings and between paragraphs; each knows its headings and its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pretrieve.core.types import Document
from pretrieve.text.records import Mark
from pretrieve.text.sentences import sentence_starts

WORDS = 200  # of a passage, about
_WHOLE = 1.5  # times as many words stay whole
_SMALL = 0.25  # of the words: less is joined to its neighbour


@dataclass(slots=True)
class _Piece:
    """Lines of a text that stay together: row of the first, the text, its words and headings."""

    row: int
    text: str
    words: int
    path: tuple[str, ...]


def line_at(marks: Sequence[Mark], row: int) -> int:
    """The line of the file at which a line of the text stands; 0 if it is not known.

    Args:
        marks: of the text, in order.
        row: line of the text, from 0.
    """
    before = [mark for mark in marks if mark.row <= row]
    return before[-1].line + row - before[-1].row if before and before[-1].line else 0


def passages_of(document: Document, marks: Sequence[Mark], words: int = WORDS) -> list[tuple[Document, int]]:
    """The passages of a document with their lines (0 if not known); the document alone if it is short.

    Args:
        document: the document; its passages have its fields, ``id#1``, ``id#2``... as ids, and titles that end with the
            headings they stand below.
        marks: where the parts of its text stand.
        words: about how many a passage has.
    """
    pieces = [part for piece in _pieces(document.text, marks) for part in _cut(piece, words)]
    groups = list(_grouped(pieces, words)) if sum(piece.words for piece in pieces) > _WHOLE * words else []
    if len(groups) < 2:
        return [(document, line_at(marks, 0))]
    made = []
    for number, group in enumerate(groups, start=1):
        text = "\n\n".join(piece.text for piece in group)
        title = _title(document.title, _common([piece.path for piece in group]))
        part = replace(document, id=f"{document.id}#{number}", title=title, text=text, parent=document.id)
        made.append((part, line_at(marks, group[0].row)))
    return made


def _pieces(text: str, marks: Sequence[Mark]) -> Iterator[_Piece]:
    """The paragraphs of a text."""
    lines = text.split("\n")
    borders = {mark.row for mark in marks}
    paths = iter([*marks, Mark(len(lines) + 1, 0)])
    now, following = Mark(0, 0), next(paths)
    start = 0
    for row in range(len(lines) + 1):
        ends = row == len(lines) or not lines[row].strip() or (row in borders and row > start)
        if not ends:
            continue
        while following.row <= start:
            now, following = following, next(paths)
        paragraph = "\n".join(lines[start:row])
        if paragraph.strip():
            yield _Piece(start, paragraph, len(paragraph.split()), now.path)
        start = row + (row < len(lines) and not lines[row].strip())


def _cut(piece: _Piece, words: int) -> Iterator[_Piece]:
    """A paragraph; one that is too long in parts that end with lines, or with sentences if it is one line."""
    if piece.words <= _WHOLE * words:
        yield piece
        return
    lines = piece.text.split("\n")
    units = [(piece.row + number, unit) for number, line in enumerate(lines) for unit in _units(line, words)]
    row, part, size = units[0][0], "", 0
    last = row
    for place, unit in units:
        count = len(unit.split())
        if size and size + count > words:
            yield _Piece(row, part, size, piece.path)
            row, part, size = place, "", 0
        part += ("\n" if place != last and part else " " if part else "") + unit
        size, last = size + count, place
    yield _Piece(row, part, size, piece.path)


def _units(line: str, words: int) -> list[str]:
    """A line; its sentences if it is long; pieces of many words if a sentence is."""
    if len(line.split()) <= words // 2:
        return [line]
    starts = sentence_starts(line)
    sentences = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], len(line)], strict=True)] or [line]
    found: list[str] = []
    for sentence in sentences:
        each = sentence.split()
        if len(each) <= _WHOLE * words:
            found.append(sentence)
        else:
            found += [" ".join(each[first : first + words]) for first in range(0, len(each), words)]
    return found


def _grouped(pieces: Sequence[_Piece], words: int) -> Iterator[list[_Piece]]:
    """Pieces in groups of about so many words; a heading begins one, unless what stands before is very short."""
    group: list[_Piece] = []
    held: list[_Piece] = []
    for piece in pieces:
        size = _words(group)
        other = bool(group) and piece.path != group[-1].path
        if group and size >= _SMALL * words and (other or size + piece.words > words):
            if held:
                yield held
            held, group = group, []
        group.append(piece)
    if held and _words(group) < _SMALL * words:
        yield held + group
        return
    if held:
        yield held
    if group:
        yield group


def _words(group: Sequence[_Piece]) -> int:
    return sum(piece.words for piece in group)


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The headings that all have."""
    first = paths[0]
    length = next(
        (depth for depth in range(len(first), 0, -1) if all(path[:depth] == first[:depth] for path in paths)), 0
    )
    return first[:length]


def _title(title: str, path: tuple[str, ...]) -> str:
    """The headings below the document's title, which may have the first of them already."""
    joined = " > ".join(path)
    if not title or not joined or joined == title or joined.startswith(f"{title} > "):
        return joined or title
    return title if title.endswith(joined) else f"{title} > {joined}"
