"""Bytes and lines of files, plain or compressed, in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from pretrieve.text.records import Fault

COMPRESSED = (".gz", ".zst")
_CHUNK = 1 << 18
_PACKED = 1 << 13  # a damaged zstd frame loses no more than what this holds
_KEPT = 1000  # bytes kept of a line that is too long
BOM = b"\xef\xbb\xbf"


class DamagedStreamError(Exception):
    """A compressed file that ends early or cannot be unpacked."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self._reason, self._detail = reason, detail

    def fault(self, where: str, raw: object = None) -> Fault:
        """The fault to report."""
        return Fault(where, self._reason, self._detail, raw)


def chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked if its name ends in ``.gz`` or ``.zst``.

    Raises:
        DamagedStreamError: what is compressed is cut or damaged; the bytes before were given.
        OSError: the file cannot be read.
    """
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            yield from _gzip_chunks(raw)
        elif path.suffix == ".zst":
            yield from _zstd_chunks(raw)
        else:
            while data := raw.read(_CHUNK):
                yield data


def lines(path: Path, limit: int) -> Iterator[tuple[int, bytes] | Fault]:
    """The lines of a file with their numbers, from 1; without line ends, and without the mark of UTF-8 at the start.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line; a longer one is passed over and is a fault.

    Yields:
        ``(number, line)``, or the fault that stands in its place.
    """
    number, tail, skipped = 1, b"", 0
    try:
        for chunk in chunks(path):
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


def text_lines(path: Path, limit: int) -> Iterator[tuple[int, str] | Fault]:
    """The lines of a text file with their numbers; a line that is not UTF-8 is a fault."""
    for item in lines(path, limit):
        if isinstance(item, Fault):
            yield item
            continue
        try:
            yield item[0], item[1].decode()
        except UnicodeDecodeError as error:
            yield not_utf8(f"{path}:{item[0]}", item[1], error)


def whole(path: Path, limit: int) -> bytes | Fault:
    """The content of a text file without the mark of UTF-8; NUL, or more than ``limit`` bytes, is a fault."""
    data = bytearray()
    try:
        for chunk in chunks(path):
            data += chunk
            if len(data) > limit:
                return Fault(f"{path}:1", "too long", f"more than {limit:,} bytes", bytes(data[:_KEPT]))
    except DamagedStreamError as error:
        return error.fault(f"{path}:1", bytes(data[:_KEPT]))
    if 0 in data:  # parsers of text formats replace it without a word
        return Fault(f"{path}:{data[: data.index(0)].count(10) + 1}", "NUL character", f"at {data.index(0)}")
    return bytes(data).removeprefix(BOM)


def not_utf8(where: str, data: bytes, error: UnicodeDecodeError) -> Fault:
    """The fault of bytes that are no UTF-8 text."""
    return Fault(where, "not UTF-8", f"byte 0x{data[error.start]:02x} at {error.start}", data)


def stem(path: Path) -> tuple[str, str]:
    """Name and suffix of a file without the suffix of its compression, e.g. ``("corpus", ".jsonl")``."""
    inner = Path(path.stem) if path.suffix in COMPRESSED else path
    return inner.stem, inner.suffix.lower()


def _line(path: Path, number: int, line: bytes, skipped: int, limit: int) -> tuple[int, bytes] | Fault:
    if skipped or len(line) > limit:
        return Fault(f"{path}:{number}", "too long", f"more than {limit:,} bytes", line[:_KEPT])
    line = line.removesuffix(b"\r")
    return number, line.removeprefix(BOM) if number == 1 else line


def _gzip_chunks(raw: Any) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=raw) as file:
        while True:
            try:
                data = file.read1(_CHUNK)  # what there is: read() would lose the good end of a cut file
            except EOFError:
                raise DamagedStreamError("cut gzip", "the file ends early") from None
            except (gzip.BadGzipFile, zlib.error) as error:
                raise DamagedStreamError("damaged gzip", str(error)) from None
            if not data:
                return
            yield data


def _zstd_chunks(raw: Any) -> Iterator[bytes]:
    frame = None
    while data := raw.read(_PACKED):
        while data:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(data)
            except zstandard.ZstdError as error:
                raise DamagedStreamError("damaged zstd", str(error)) from None
            data = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise DamagedStreamError("cut zstd", "the file ends early")
