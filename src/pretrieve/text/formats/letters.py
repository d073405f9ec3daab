"""Letters (MIME) to outlines: subject, plain text or else HTML, text attachments; broken ones give what can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from email.errors import HeaderParseError, MessageError
from email.header import decode_header
from email.message import Message
from pathlib import Path

from pretrieve.text.files.decoding import Encoding, declared, guess, is_utf8
from pretrieve.text.formats import pages
from pretrieve.text.formats.outline import Outline
from pretrieve.text.formats.sections import line_of
from pretrieve.text.records import Fault, Note, Record

_TEXTS = frozenset({"text/plain", "text/markdown", "text/csv", "text/x-log", "text/enriched"})


def records(data: bytes, path: Path, where: str, name: str = "") -> Iterator[Record | Fault | Note]:
    """The records of a letter: one, or parts of a long one; and a note for what is not read of it.

    Args:
        data: the letter.
        path: its file.
        where: ``file:line`` of its begin.
        name: its id, where the file holds several.
    """
    try:
        letter = message_from_bytes(data)
    except RecursionError:
        yield Fault(where, "damaged mail", "its parts are nested too deep")
        return
    found = Outline(title=header(letter, "subject"), facts=lambda: _facts(letter))
    left_out: list[str] = []
    for part in _leaves(letter):
        kind, file = part.get_content_type(), _file_name(part)
        kind = (
            "text/plain" if part.get_content_maintype() in ("multipart", "message") else kind
        )  # damaged: without parts
        if kind != "text/html" and kind not in _TEXTS:
            left_out.append(f"{file or 'a part'} ({kind})")
            continue
        text, note = _text(part, where)
        if note is not None:
            yield note
        if file:
            found.heading(2, file)
        _add(found, kind, text)
    if left_out:
        yield Note(where, "with attachments that are not read", ", ".join(left_out[:5]))
    for record in found.records(path, name):
        yield replace(record, line=line_of(where))


def _facts(letter: Message) -> dict[str, object]:
    """Who wrote a letter to whom, and when."""
    found: dict[str, object] = {"from": header(letter, "from"), "date": header(letter, "date")}
    for name in ("to", "cc"):
        found[name] = [part.strip() for part in header(letter, name).split(",") if part.strip()]
    named = {"message_id": "message-id", "in_reply_to": "in-reply-to", "list_id": "list-id"}
    return found | {name: header(letter, key) for name, key in named.items()}


def header(letter: Message, name: str) -> str:
    """A header as one line of text; a word in an unknown charset stays as it is."""
    value = str(letter.get(name) or "")
    try:
        pieces = decode_header(value)
    except (HeaderParseError, ValueError):
        pieces = [(value, None)]
    words = [piece if isinstance(piece, str) else _decoded(piece, charset or "")[0] for piece, charset in pieces]
    return " ".join("".join(words).encode(errors="replace").decode().replace("\0", " ").split())


def _add(found: Outline, kind: str, text: str) -> None:
    if kind == "text/html":
        page = pages.outline(text)
        found.title = found.title or page.title
        found.extend(page)
    else:
        for block in text.replace("\r\n", "\n").split("\n\n"):
            found.block(block)


def _leaves(letter: Message) -> Iterator[Message]:
    """The parts that are no containers; of alternatives the plain text if it has any, else the last that is text."""
    stack = [letter]
    while stack:
        part = stack.pop()
        if not part.is_multipart():
            yield part
            continue
        inner = [child for child in part.get_payload() if isinstance(child, Message)]
        if part.get_content_type() == "multipart/alternative":
            inner = _best(inner)
        stack += reversed(inner)


def _best(parts: list[Message]) -> list[Message]:
    plain = [part for part in parts if part.get_content_type() in _TEXTS and _payload(part).strip()]
    rich = [part for part in parts if part.is_multipart() or part.get_content_type() == "text/html"]
    return plain[:1] or rich[-1:] or parts[-1:]


def _text(part: Message, where: str) -> tuple[str, Note | None]:
    try:
        charset = str(part.get_content_charset() or "")
    except (LookupError, ValueError):
        charset = ""
    data = _payload(part)
    if part.get_content_type() == "text/html" and not charset:
        from pretrieve.text.readers.html import charset as of_page

        charset = of_page(data[:4096]) or ""
    text, encoding = _decoded(data, charset)
    replaced = text.count("\ufffd")
    text = text.replace("\0", " ")
    if encoding is not None and encoding.guessed:
        return text, Note(where, f"not UTF-8, read as {encoding.label} (a guess)")
    return text, Note(where, "undecodable bytes replaced", f"{replaced:,}") if replaced else None


def _payload(part: Message) -> bytes:
    """The bytes of a part; an encoding that is broken gives what can be read of it."""
    try:
        data = part.get_payload(decode=True)
    except (LookupError, ValueError, MessageError):
        data = None
    return data if isinstance(data, bytes) else b""


def _decoded(data: bytes, charset: str) -> tuple[str, Encoding | None]:
    """Bytes as text: UTF-8 if they are valid, else by the charset, else by a guess."""
    encoding = declared(charset) if charset else None
    if encoding is None and not is_utf8(data):
        encoding = guess(data)
    return data.decode(encoding.codec if encoding else "utf-8", errors="replace"), encoding


def _file_name(part: Message) -> str:
    try:
        name = part.get_filename() or ""
    except (LookupError, ValueError, TypeError, MessageError):
        name = ""
    return " ".join(str(name).encode(errors="replace").decode().replace("\0", " ").split())[:200]
