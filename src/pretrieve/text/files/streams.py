"""Bytes and lines of files, plain or compressed, as UTF-8, in bounded memory.

A file is anything with the methods ``open``, ``name``, ``suffix`` and ``stem`` of a path: a file on disk, a member
of an archive, a remote file.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from pretrieve.text.files.decoding import UTF8, UTF8_MARK, Encoding, by_mark, declared, guess, is_binary, is_utf8
from pretrieve.text.files.parts import first_line
from pretrieve.text.records import Fault, Note

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
CHUNK = _CHUNK = 1 << 18  # bytes read at once; the first of them show a file's encoding
_PACKED = 1 << 9  # bytes unpacked at once: a frame of blanks becomes 30,000 times as long
_KEPT = 1000  # bytes kept of a line that is too long
BOM = UTF8_MARK
_POINTER = b"version https://git-lfs.github.com/spec/"


class DamagedStreamError(Exception):
    """A compressed file that ends early or cannot be unpacked, or a file that is no text."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self._reason, self._detail = reason, detail

    def fault(self, where: str, raw: object = None) -> Fault:
        """The fault to report."""
        return Fault(where, self._reason, self._detail, raw)


def chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked if its name ends in ``.gz``, ``.zst``, ``.bz2`` or ``.xz``.

    Raises:
        DamagedStreamError: what is compressed is cut or damaged; the bytes before were given.
        OSError: the file cannot be read.
    """
    with path.open("rb") as raw:
        _refuse_pointer(raw)
        unpack = _UNPACKED.get(path.suffix.lower(), _plain_chunks)
        try:
            yield from unpack(raw)
        except zipfile.BadZipFile as error:  # the file is a member of an archive
            raise DamagedStreamError("damaged zip", str(error)) from None


def text_chunks(path: Path, *, guessing: bool = True) -> Iterator[bytes | Note]:
    """The bytes of a text file as UTF-8, whatever its encoding, without a byte order mark.

    While all bytes are ASCII nothing need be decided; the first chunk that has others decides.

    Args:
        path: the file, perhaps compressed.
        guessing: guess the encoding of bytes that are not UTF-8, and say so by a note; else they are given as they are.

    Raises:
        DamagedStreamError: as ``chunks``; or the file is binary.
        OSError: the file cannot be read.
    """
    encoding: Encoding | None = None
    decoder: Any = None
    for number, chunk in enumerate(chunks(path)):
        if number == 0 and first_line(path) == 1:
            encoding = by_mark(chunk)
            if guessing and encoding is None and is_binary(chunk):
                raise DamagedStreamError("binary file")
            if encoding == UTF8:
                chunk = chunk.removeprefix(BOM)
        if encoding is None and not chunk.isascii():
            encoding = UTF8 if not guessing or is_utf8(chunk, cut=True) else guess(chunk) or UTF8
        if encoding is None or encoding == UTF8:
            yield chunk
            continue
        if decoder is None:
            decoder = codecs.getincrementaldecoder(encoding.codec)("replace")
            if encoding.guessed:
                yield _guessed(path, encoding)
        yield decoder.decode(chunk).encode()
    if decoder is not None:
        yield decoder.decode(b"", True).encode()


def lines(path: Path, limit: int) -> Iterator[tuple[int, bytes] | Fault]:
    """The lines of a file with their numbers, from 1; without line ends, and without a byte order mark at the start.

    Bytes that are not UTF-8 are given as they are; UTF-16 and UTF-32 with a byte order mark are read.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line; a longer one is passed over and is a fault.

    Yields:
        ``(number, line)``, or the fault that stands in its place.
    """
    for item in _lines(path, limit, guessing=False):
        if not isinstance(item, Note):
            yield item


def guessed_lines(path: Path, limit: int) -> Iterator[tuple[int, bytes] | Fault | Note]:
    """As ``lines``; a file in another encoding than UTF-8 is read by a guess, and a note says so."""
    return _lines(path, limit, guessing=True)


def text_lines(path: Path, limit: int) -> Iterator[tuple[int, str] | Fault | Note]:
    """The lines of a text file with their numbers, by ``guessed_lines``; one that is damaged UTF-8 is a fault."""
    for item in guessed_lines(path, limit):
        if isinstance(item, Fault | Note):
            yield item
            continue
        try:
            yield item[0], item[1].decode()
        except UnicodeDecodeError as error:
            yield not_utf8(f"{path}:{item[0]}", item[1], error)


def whole(path: Path, limit: int) -> bytes | Fault:
    """The bytes of a file; more than ``limit`` bytes is a fault."""
    data = bytearray()
    try:
        for chunk in chunks(path):
            data += chunk
            if len(data) > limit:
                return Fault(f"{path}:1", "too long", f"more than {limit:,} bytes", bytes(data[:_KEPT]))
    except DamagedStreamError as error:
        return error.fault(f"{path}:1", bytes(data[:_KEPT]))
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Text:
    """The content of a text file.

    Attributes:
        text: the characters, line ends as line feeds.
        notes: a guessed encoding, replaced characters.
    """

    text: str
    notes: tuple[Note, ...] = ()


def whole_text(path: Path, limit: int, charset: Callable[[bytes], str | None] | None = None) -> Text | Fault:
    """The content of a text file of any encoding.

    A byte order mark counts first, then valid UTF-8, then what the file declares, then a guess.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
        charset: finds the declared charset in the first bytes, as HTML and XML have it.

    Returns:
        The text; or a fault for a file that is binary, holds NUL, is too long, or is damaged UTF-8.
    """
    data = whole(path, limit)
    if isinstance(data, Fault):
        return data
    encoding = by_mark(data) or (UTF8 if is_utf8(data) else None)
    label = charset(data[:4096]) if charset is not None else None
    named = declared(label) if label else None
    if named is not None and (encoding is None or named.codec.startswith("iso2022")):
        encoding = named
    if encoding is None or (encoding == UTF8 and not is_utf8(data)):
        if is_binary(data[:_CHUNK]):
            return Fault(f"{path}:1", "binary file")
        encoding = guess(data)
    if encoding is None:
        return _damaged(path, data)
    return _decoded(path, data, encoding)


@contextlib.contextmanager
def seekable(path: Path) -> Iterator[IO[bytes]]:
    """A file opened for reading at any place; one that is compressed or inside an archive is unpacked to disk first.

    Raises:
        DamagedStreamError: what is compressed is cut or damaged.
        OSError: the file cannot be read.
    """
    if isinstance(path, Path) and path.suffix.lower() not in COMPRESSED:
        with path.open("rb") as file:
            _refuse_pointer(file)
            yield file
        return
    with tempfile.TemporaryFile() as file:
        for chunk in chunks(path):
            file.write(chunk)
        file.seek(0)
        yield file


def not_utf8(where: str, data: bytes, error: UnicodeDecodeError) -> Fault:
    """The fault of bytes that are no UTF-8 text."""
    return Fault(where, "not UTF-8", f"byte 0x{data[error.start]:02x} at {error.start}", data)


def stem(path: Path) -> tuple[str, str]:
    """Name and suffix of a file without the suffix of its compression, e.g. ``("corpus", ".jsonl")``."""
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    return inner.stem, inner.suffix.lower()


def _refuse_pointer(raw: Any) -> None:
    """Refuse a file that git-LFS did not fetch: it holds where the content is, and not the content."""
    if hasattr(raw, "peek") and raw.peek(len(_POINTER)).startswith(_POINTER):
        raise DamagedStreamError("git-LFS pointer", "the content is not here: fetch it by git lfs pull")


def _lines(path: Path, limit: int, *, guessing: bool) -> Iterator[tuple[int, bytes] | Fault | Note]:
    number, tail, skipped = first_line(path), b"", 0
    try:
        for chunk in text_chunks(path, guessing=guessing):
            if isinstance(chunk, Note):
                yield chunk
                continue
            *complete, tail = (tail + chunk).split(b"\n")
            for line in complete:
                yield _line(path, number, line, skipped, limit)
                number, skipped = number + 1, 0
            if len(tail) > limit:
                skipped, tail = skipped + len(tail), tail[:_KEPT]
        if tail or skipped:
            yield _line(path, number, tail, skipped, limit)
    except DamagedStreamError as error:
        yield error.fault(f"{path}:{number}", tail)


def _line(path: Path, number: int, line: bytes, skipped: int, limit: int) -> tuple[int, bytes] | Fault:
    if skipped or len(line) > limit:
        return Fault(f"{path}:{number}", "too long", f"more than {limit:,} bytes", line[:_KEPT])
    return number, line.removesuffix(b"\r")


def _damaged(path: Path, data: bytes) -> Fault:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return not_utf8(f"{path}:{data[: error.start].count(10) + 1}", data, error)
    raise AssertionError("only damaged UTF-8 comes here")


def _decoded(path: Path, data: bytes, encoding: Encoding) -> Text | Fault:
    text = data.removeprefix(BOM).decode(encoding.codec, errors="replace")
    if "\0" in text:  # parsers of text formats replace it without a word
        place = text.index("\0")
        return Fault(f"{path}:{text[:place].count(chr(10)) + 1}", "NUL character", f"at {place}")
    notes = [_guessed(path, encoding)] if encoding.guessed else []
    replaced = text.count("\ufffd") if encoding != UTF8 else 0
    if replaced:
        notes.append(Note(str(path), "undecodable bytes replaced", f"{replaced:,} in {encoding.label}"))
    return Text(text.replace("\r\n", "\n").replace("\r", "\n"), tuple(notes))


def _guessed(path: Path, encoding: Encoding) -> Note:
    return Note(str(path), f"not UTF-8, read as {encoding.label} (a guess)")


def _plain_chunks(raw: Any) -> Iterator[bytes]:
    try:
        while data := raw.read(_CHUNK):
            yield data
    except zlib.error as error:  # the file is a member of an archive
        raise DamagedStreamError("damaged zip", str(error)) from None


def _gzip_chunks(raw: Any) -> Iterator[bytes]:
    return _file_chunks(gzip.GzipFile(fileobj=raw), "gzip")


def _bzip2_chunks(raw: Any) -> Iterator[bytes]:
    return _file_chunks(bz2.BZ2File(raw), "bzip2")


def _xz_chunks(raw: Any) -> Iterator[bytes]:
    return _file_chunks(lzma.LZMAFile(raw), "xz")


def _file_chunks(file: Any, kind: str) -> Iterator[bytes]:
    with file:
        while True:
            try:
                data = file.read1(_CHUNK)  # what there is: read() would lose the good end of a cut file
            except EOFError:
                raise DamagedStreamError(f"cut {kind}", "the file ends early") from None
            except (OSError, zlib.error, lzma.LZMAError) as error:  # gzip.BadGzipFile is an OSError
                if getattr(error, "errno", None) is not None:
                    raise
                raise DamagedStreamError(f"damaged {kind}", str(error)) from None
            if not data:
                return
            yield data


def _zstd_chunks(raw: Any) -> Iterator[bytes]:
    """Chunks of zstd frames; small pieces are unpacked at a time, since each may become very long."""
    frame = None
    ready: list[bytes] = []
    size = 0
    while block := raw.read(_CHUNK):
        view = memoryview(block)
        for start in range(0, len(block), _PACKED):
            data = bytes(view[start : start + _PACKED])
            while data:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                try:
                    ready.append(frame.decompress(data))
                    size += len(ready[-1])
                except zstandard.ZstdError as error:
                    yield b"".join(ready)
                    raise DamagedStreamError("damaged zstd", str(error)) from None
                data = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
            if size > _CHUNK:
                yield b"".join(ready)
                ready, size = [], 0
    yield b"".join(ready)
    if frame is not None:
        raise DamagedStreamError("cut zstd", "the file ends early")


_UNPACKED: dict[str, Callable[[Any], Iterator[bytes]]] = {
    ".gz": _gzip_chunks,
    ".zst": _zstd_chunks,
    ".bz2": _bzip2_chunks,
    ".xz": _xz_chunks,
}
