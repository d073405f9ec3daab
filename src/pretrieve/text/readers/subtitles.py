"""Subtitles (SubRip, WebVTT): what is said, without times and marks, in parts of about 8,000 characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.files.streams import whole_text
from pretrieve.text.formats.outline import Outline
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".srt", ".vtt")
_TIME = re.compile(r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*-->")
_MARK = re.compile(r"</?(?:[a-z]|font|ruby|rt|lang|\d)[^<>]*>|\{\\[^{}]*\}")
_HEAD = re.compile(r"WEBVTT|NOTE\b|STYLE\b|REGION\b")
_CUES = 40  # joined to a paragraph


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document, or as parts.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    content = whole_text(path, limit)
    if isinstance(content, Fault):
        yield content
        return
    yield from content.notes
    found = Outline()
    lines = [line for cue in re.split(r"\n[ \t]*\n", content.text) for line in _said(cue)]
    for start in range(0, len(lines), _CUES):
        found.block("\n".join(lines[start : start + _CUES]))
    yield from found.records(path)


def _said(cue: str) -> Iterator[str]:
    """The lines of a cue that are spoken; a text without a time is taken as it is."""
    lines = cue.strip("\n").split("\n")
    times = [index for index, line in enumerate(lines[:2]) if _TIME.match(line.strip())]
    if not times and _HEAD.match(lines[0]):
        return
    for line in lines[times[0] + 1 if times else 0 :]:
        if text := _MARK.sub("", line).strip():
            yield text
