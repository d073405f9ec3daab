"""What stands in an XML file, in reading order and in bounded memory, and small trees of its records.

Names are local names: ``w:p`` is ``p``. An attribute with a prefix keeps the colon: ``r:id`` is ``:id``. External
entities are never fetched; those of HTML are known; expat stops what entities would make too large.
"""

from __future__ import annotations

import html
import pyexpat
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder

from pretrieve.text.files.decoding import by_mark, declared
from pretrieve.text.files.streams import DamagedStreamError

Event = tuple[str, str, dict[str, str], int]
"""``("start", name, attributes, line)``, ``("text", characters, {}, 0)`` or ``("end", name, {}, line)``."""

_DECLARED = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})")
_OWN = ("utf-8", "utf-16", "us-ascii")  # encodings that expat reads itself, as they are declared
_NODE = 100  # bytes that an element counts for
_SAFE = (2, 4, 1)  # expat limits what entities are expanded to since then


def events(chunks: Iterable[bytes], limit: int) -> Iterator[Event]:
    """The events of an XML file.

    Args:
        chunks: the bytes of the file.
        limit: most bytes of one tag.

    Raises:
        DamagedStreamError: the file is not well-formed, or a tag is too long; what stands before was given.
    """
    found: list[Event] = []
    parser: Any = None
    decoder: Any = None
    waiting = 0
    for chunk in chunks:
        if parser is None:
            decoder = _decoder(chunk)
            parser = _parser(found, "utf-8" if decoder else None)
        data = decoder.decode(chunk).encode() if decoder else chunk
        yield from _parsed(parser, data, found)
        waiting = 0 if found else waiting + len(data)
        found.clear()
        if waiting > limit:
            raise DamagedStreamError("too long", f"more than {limit:,} bytes in one tag")
    if parser is not None:
        yield from _parsed(parser, b"", found, last=True)


def trees(found: Iterable[Event], names: Collection[str], limit: int) -> Iterator[tuple[Element | None, int]]:
    """The elements of certain names, each as a tree with its line; None for one that is too long.

    Args:
        found: events of a file.
        names: names of elements that are records; one inside another belongs to it.
        limit: most bytes of a record.
    """
    builder: TreeBuilder | None = None
    depth = size = first = 0
    for kind, value, attributes, line in found:
        if kind == "start" and depth == 0 and value in names:
            builder, size, first = TreeBuilder(), 0, line
        elif depth == 0:
            continue
        depth += (kind == "start") - (kind == "end")
        size += len(value) + (_NODE if kind == "start" else 0) + sum(map(len, attributes.values()))
        builder = None if size > limit else builder
        if builder is not None:
            _build(builder, kind, value, attributes)
        if depth == 0:
            yield (builder.close() if builder is not None else None), first
            builder = None


def text_of(element: Element | None) -> str:
    """The text of an element and of all below it, with single spaces."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _build(builder: TreeBuilder, kind: str, value: str, attributes: dict[str, str]) -> None:
    if kind == "start":
        builder.start(value, attributes)
    elif kind == "end":
        builder.end(value)
    else:
        builder.data(value)


def _parsed(parser: Any, data: bytes, found: list[Event], *, last: bool = False) -> Iterator[Event]:
    try:
        parser.Parse(data, last)
    except pyexpat.ExpatError as error:
        yield from found
        found.clear()
        reason = pyexpat.errors.messages.get(error.code, str(error))
        raise DamagedStreamError("malformed XML", f"line {error.lineno}: {reason}") from None
    except (ValueError, LookupError) as error:  # a multi-byte encoding that expat does not read
        raise DamagedStreamError("malformed XML", str(error)) from None
    yield from found


def _parser(found: list[Event], encoding: str | None) -> Any:
    parser = pyexpat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.UseForeignDTD(True)  # entities without a definition are then skipped, and no error
    parser.ExternalEntityRefHandler = lambda *_: 1
    names: dict[str, str] = {}

    def start(name: str, attributes: dict[str, str]) -> None:
        if ":" in "".join(attributes):
            attributes = {_attribute(key): value for key, value in attributes.items()}
        local = names.get(name) or names.setdefault(name, name.rpartition(":")[2])
        found.append(("start", local, attributes, parser.CurrentLineNumber))

    def end(name: str) -> None:
        found.append(("end", names[name], {}, parser.CurrentLineNumber))

    def text(data: str) -> None:
        found.append(("text", data, {}, 0))

    def skipped(name: str, is_parameter: bool) -> None:
        if not is_parameter:
            found.append(("text", html.unescape(f"&{name};"), {}, 0))

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.SkippedEntityHandler = text, skipped
    if pyexpat.version_info < _SAFE:
        parser.EntityDeclHandler = _refuse
    return parser


def _refuse(*_: object) -> None:
    raise ValueError("entities are declared, which this version of expat does not limit")


def _attribute(name: str) -> str:
    prefix, colon, local = name.rpartition(":")
    return colon + local if prefix else name


def _decoder(head: bytes) -> Any:
    """What decodes a file in an encoding that expat does not read, or reads by another name than browsers do."""
    import codecs

    label = _DECLARED.match(head)
    if label is None or by_mark(head) is not None or label[1].decode().lower() in _OWN:
        return None
    encoding = declared(label[1].decode())
    return None if encoding is None else codecs.getincrementaldecoder(encoding.codec)("replace")
