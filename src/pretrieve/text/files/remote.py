"""Remote files, ``s3://``, ``gs://``, ``https://`` and what else fsspec knows (extra ``remote``), as readers need them.

Files are streamed. A connection that breaks is opened again where it broke; an address that is given is all that is
fetched.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

from pretrieve.core.errors import UsageError
from pretrieve.core.extras import require

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before a broken connection is opened again
_BLOCK = 4 << 20  # bytes of a request
_SOURCE = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE)
_PATTERN = re.compile(r"[*?\[]")
_WEB = ("http", "https")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_FOR_GOOD = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def is_remote(source: str) -> bool:
    """Whether a source is an address, ``scheme://...``."""
    return _SOURCE.match(source) is not None


def local_path(source: str) -> Path | None:
    """The path of a ``file://`` address; None for others."""
    parts = urlsplit(source)
    if parts.scheme.lower() != "file":
        return None
    from urllib.request import url2pathname

    return Path(url2pathname(source.partition("://")[2].removeprefix("localhost")))


@dataclass(frozen=True)
class RemoteFile:
    """A remote file with the methods of a path that reading needs (text/files/streams.py).

    Attributes:
        system: file system of fsspec.
        address: with its scheme.
    """

    system: Any
    address: str

    def __str__(self) -> str:
        return self.address

    @cached_property
    def _path(self) -> PurePosixPath:
        parts = urlsplit(self.address)
        return PurePosixPath(unquote(parts.path if parts.scheme in _WEB else self.address))

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self._path.name

    @property
    def suffix(self) -> str:
        """Suffix of the name."""
        return self._path.suffix

    @property
    def stem(self) -> str:
        """Name without suffix."""
        return self._path.stem

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open it for reading from the start to the end.

        Raises:
            OSError: it cannot be read.
        """
        assert mode == "rb"
        return cast(IO[bytes], io.BufferedReader(_Stream(self.system, self.address)))


def remote_files(source: str) -> tuple[list[Path], bool]:
    """The files of an address: itself, those below a folder, or those that match a pattern, in the order of names.

    Args:
        source: ``scheme://...``, with ``*`` and ``**`` where the scheme is not of the web.

    Returns:
        Files with the methods of a path that reading needs; and whether the address names one file.

    Raises:
        MissingExtraError: fsspec or aiohttp is not installed.
        UsageError: the scheme is not known, or there is nothing.
    """
    require("remote", source)
    scheme = urlsplit(source).scheme
    system = _system(source, scheme)
    with _clear(source):
        found, single = _found(system, source, scheme)
    if not found:
        raise UsageError(f"{source}: no such file or folder.")
    return [cast(Path, RemoteFile(system, address)) for address in found], single


def check(path: Path) -> None:
    """Do nothing if a remote file can be read.

    Raises:
        UsageError: it cannot; the text says why.
    """
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.") from None


def _found(system: Any, source: str, scheme: str) -> tuple[list[str], bool]:
    if scheme in _WEB and not source.endswith("/"):
        return [source], True  # a question mark is part of a query there
    if _PATTERN.search(source) and scheme not in _WEB:
        return [_address(system, name) for name in sorted(system.glob(source))], False
    if scheme not in _WEB and system.isfile(source):
        return [source], True
    below = [_address(system, name) for name in sorted(system.find(source))]
    return (below, False) if below or scheme not in _WEB else ([source], True)  # a page that lists no files


def _address(system: Any, name: str) -> str:
    return str(name if "://" in name else system.unstrip_protocol(name))


def _system(source: str, scheme: str) -> Any:
    import fsspec

    logging.getLogger("fsspec").setLevel(logging.CRITICAL)  # what it says is said by the error
    try:
        return fsspec.url_to_fs(source, **_options(scheme))[0]
    except ImportError:
        package = _PACKAGES.get(scheme, "its package")
        raise UsageError(f"{source}: {scheme}:// needs {package}: pip install {package}.") from None
    except ValueError as error:
        raise UsageError(f"{source}: {_line(error)}.") from None


def _options(scheme: str) -> dict[str, Any]:
    """How a file system is opened: a web server that does not answer is given up."""
    if scheme not in _WEB:
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=20, sock_read=60)}}


@contextlib.contextmanager
def _clear(source: str) -> Iterator[None]:
    """Turn an error of fsspec or of what it uses into one line."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{source}: {_reason(error)}.") from None


class _Stream(io.RawIOBase):
    """The bytes of a remote file; a broken connection is opened again at its place."""

    def __init__(self, system: Any, address: str) -> None:
        self._system, self._address = system, address
        self._place = 0
        self._file: Any = None
        self._connect()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        Raises:
            OSError: the connection broke too often, or the file is gone.
        """
        for pause in (*PAUSES, None):
            try:
                if self._file is None:
                    self._connect_at()
                data = self._file.read(min(len(buffer), _BLOCK))
                buffer[: len(data)] = data
                self._place += len(data)
                return len(data)
            except Exception as error:
                self._drop()
                if pause is None or isinstance(_cause(error), _FOR_GOOD) or _is_refused(error):
                    raise _os_error(self._address, error, self._place) from None
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        super().close()

    def _connect(self) -> None:
        """Open the file, with as many tries as for reading."""
        for pause in (*PAUSES, None):
            try:
                self._connect_at()
                return
            except Exception as error:
                if pause is None or not _is_passing(error):
                    raise _os_error(self._address, error, 0) from None
                time.sleep(pause)

    def _connect_at(self) -> None:
        whole = self._is_given_whole()
        self._file = self._system.open(self._address, "rb", block_size=0 if whole else _BLOCK, cache_type="readahead")
        if self._place and whole:
            self._skip()
        elif self._place:
            self._file.seek(self._place)

    def _is_given_whole(self) -> bool:
        """Whether a file comes in one answer: the first time, and from web servers that know no other."""
        if urlsplit(self._address).scheme not in _WEB:
            return False
        return not self._place or not self._system.info(self._address).get("partial")

    def _skip(self) -> None:
        left = self._place
        while left:
            data = self._file.read(min(left, _BLOCK))
            if not data:
                raise ConnectionError("the file became shorter")
            left -= len(data)

    def _drop(self) -> None:
        file, self._file = self._file, None
        with contextlib.suppress(Exception):
            if file is not None:
                file.close()


def _cause(error: BaseException) -> BaseException:
    """What lies behind an error: fsspec says of all that goes wrong on the web that the file is not found."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _is_passing(found: Exception) -> bool:
    """Whether another try may help: not if the file is not there, or may not be read, or the host is unknown."""
    error = _cause(found)
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status >= 500 or status in (408, 429)
    return not isinstance(error, (*_FOR_GOOD, ValueError)) and "Connector" not in type(error).__name__


def _is_refused(error: Exception) -> bool:
    """Whether the server says that there is nothing to be had: 404 and the like."""
    status = getattr(_cause(error), "status", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 416, 429)


def _os_error(address: str, found: Exception, place: int) -> OSError:
    where = f" after {place:,} bytes" if place else ""
    return OSError(errno.EIO, f"{_reason(found)}{where}", address)


def _reason(found: Exception) -> str:
    """What went wrong, in one line."""
    error = _cause(found)
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return "not found (404)" if status == 404 or str(error).startswith("http") else "no such file or folder"
    if isinstance(status, int) and status >= 400:
        return f"the server answers {status} {getattr(error, 'message', '')}".strip()
    if isinstance(error, TimeoutError):
        return "the server does not answer in time"
    kind = type(error).__name__
    if "DNS" in kind or "Name or service not known" in str(error):
        return "the host is not known"
    if "Connector" in kind or isinstance(error, ConnectionRefusedError):
        return "the server cannot be reached"
    if kind == "InvalidURL" or kind == "InvalidUrlClientError":
        return "no valid address"
    if "Credentials" in kind:
        return "no credentials: set them as the provider's own tools expect them"
    return _line(error) or kind


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")
