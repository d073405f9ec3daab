"""Files that are zip archives of XML (DOCX, PPTX, XLSX, ODT, EPUB): their parts, unpacked as read, with limits."""

from __future__ import annotations

import contextlib
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from pretrieve.text.files.streams import DamagedStreamError, seekable
from pretrieve.text.formats.sections import Sections
from pretrieve.text.formats.xml_events import Event, events
from pretrieve.text.records import Fault, Record

_CHUNK = 1 << 18
_UNPACKED = 256 << 20  # bytes that any file may unpack to
_RATIO = 200  # a large file may unpack to as many times its size
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")  # begins encrypted files of Office, and its files before 2007
_PROPERTIES = {  # elements that Office, OpenDocument and EPUB say them in
    "creator": "author",
    "initial-creator": "author",
    "created": "date",
    "creation-date": "date",
    "date": "date",
    "modified": "modified",
    "keywords": "keywords",
    "keyword": "keywords",
    "subject": "subject",
    "language": "language",
    "category": "category",
    "publisher": "publisher",
    "identifier": "identifier",
}
_SECRET = "EncryptedPackage".encode("utf-16-le")


class Container:
    """The parts of an open file.

    Args:
        file: the open file.
        size: its bytes.
        limit: most bytes of one tag.

    Attributes:
        names: names of its parts.
    """

    def __init__(self, file: IO[bytes], size: int, limit: int) -> None:
        self._archive = zipfile.ZipFile(file)
        self._most = self._left = max(_UNPACKED, _RATIO * size)
        self._limit = limit
        self.names = frozenset(self._archive.namelist())

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a part; nothing if it is not there.

        Raises:
            DamagedStreamError: it is encrypted, damaged, or the file unpacks to too much.
        """
        if name not in self.names:
            return
        try:
            with self._archive.open(name) as part:
                while data := part.read(_CHUNK):
                    self._left -= len(data)
                    if self._left < 0:
                        raise DamagedStreamError("too long", f"unpacks to more than {self._most >> 20:,} MB")
                    yield data
        except RuntimeError as error:  # zipfile's word for a part with a password
            raise DamagedStreamError("encrypted", str(error)) from None
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError) as error:
            raise DamagedStreamError("damaged zip", f"{name}: {error}") from None

    def events(self, name: str) -> Iterator[Event]:
        """The events of a part that is XML; nothing if it is not there.

        Raises:
            DamagedStreamError: as ``chunks``, or it is not well-formed.
        """
        return events(self.chunks(name), self._limit)

    def bytes(self, name: str) -> bytes:
        """The bytes of a whole part.

        Raises:
            DamagedStreamError: as ``chunks``, or it is longer than the limit.
        """
        data = b""
        for chunk in self.chunks(name):
            data += chunk
            if len(data) > self._limit:
                raise DamagedStreamError("too long", f"{name}: more than {self._limit:,} bytes")
        return data

    def text(self, name: str, element: str) -> str:
        """The text of the first element of a name in a part; empty if there is none."""
        inside = False
        words: list[str] = []
        with contextlib.suppress(DamagedStreamError):
            for kind, value, _, _ in self.events(name):
                if kind == "text" and inside:
                    words.append(value)
                elif kind != "text" and value == element:
                    inside = kind == "start"
                    if not inside:
                        break
        return " ".join("".join(words).split())

    def properties(self, name: str) -> dict[str, object]:
        """Author, dates, language and keywords that a part says of the document."""
        found: dict[str, object] = {}
        open_element, left = "", self._left
        with contextlib.suppress(DamagedStreamError):
            for kind, value, _, _ in self.events(name):
                if kind == "start":
                    open_element = _PROPERTIES.get(value, "")
                elif kind == "text" and open_element and value.strip():
                    found[open_element] = f"{found.get(open_element, '')}{value}"
                elif kind == "end":
                    open_element = ""
        self._left = left
        return found

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """The relations of a part of an Office file: type and target by id."""
        folder, base = posixpath.split(name)
        found: dict[str, tuple[str, str]] = {}
        for kind, value, attributes, _ in self.events(f"{folder}/_rels/{base}.rels"):
            if kind == "start" and value == "Relationship" and attributes.get("TargetMode") != "External":
                target = resolved(name, attributes.get("Target", ""))
                found[attributes.get("Id", "")] = (attributes.get("Type", "").rpartition("/")[2], target)
        return found


Gather = Callable[[Container, Sections], Iterator[Record | Fault]]


def read_parts(path: Path, limit: int, main: str, gather: Gather) -> Iterator[Record | Fault]:
    """Read a file whose text is gathered from its parts; a fault ends it, and what stands before is given.

    Args:
        path: the file.
        limit: most bytes of one tag of its XML.
        main: part without which it is damaged.
        gather: fills the sections, and gives those that are ready.
    """
    sections = Sections(path)
    fault: Fault | None = None
    try:
        with opened(path, limit) as container:
            if main not in container.names:
                raise DamagedStreamError(f"damaged {path.suffix[1:].upper()}", f"no {main}")
            yield from gather(container, sections)
    except DamagedStreamError as error:
        fault = error.fault(f"{path}:1")
    if fault is None and sections.is_empty:
        fault = Fault(f"{path}:1", "no text")
    yield from sections.records()
    if fault is not None:
        yield fault


@contextlib.contextmanager
def opened(path: Path, limit: int) -> Iterator[Container]:
    """Open a file that is a zip archive of parts.

    Raises:
        DamagedStreamError: it is none, or encrypted.
        OSError: the file cannot be read.
    """
    with seekable(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(8)
        if not head:
            raise DamagedStreamError("empty file")
        if head == _OLE:
            secret = _SECRET in file.read(min(size, limit))
            raise DamagedStreamError(
                "encrypted" if secret else "not a zip file", "" if secret else "of Office before 2007"
            )
        try:
            container = Container(file, size, limit)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise DamagedStreamError("damaged zip", str(error)) from None
        yield container


def resolved(name: str, target: str) -> str:
    """The name of a part that another part names relatively."""
    target = unquote(target.partition("#")[0])
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(name), target)).lstrip("/")
