"""Several processes read files ahead of the one that uses them; what they find is the same, in the same order.

It pays where most of the work is done for each document by itself: prose, markup and office files, and any format when
languages are detected. Small files are read whole, some at a time; a large file whose lines are records (``divides`` of
its reader) in parts of whole lines. All else is read by this process when its turn comes, and so is a file on which
another process fails, so that errors are those of one process.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.types import Document
from pretrieve.text import parallel, readers
from pretrieve.text.files.inputs import Input
from pretrieve.text.files.parts import FilePart, parts_of
from pretrieve.text.files.streams import CHUNK, COMPRESSED
from pretrieve.text.names import DETECT, Fields, Names
from pretrieve.text.parsing import PASSED_OVER, Found, Parsed, parsed
from pretrieve.text.records import Fault, Note

_WORTH = 32 << 20  # bytes of prose from which other processes are started
_DETECTED = 6  # times that a byte of a document counts whose language is detected
_QUICK = (".jsonl", ".ndjson", ".jsonlines", ".csv", ".tsv", ".tab", ".arrow", ".feather", ".parquet", ".pq")
_WHOLE = 4 << 20  # most bytes of a file that is read whole
_PACKED = 20  # times that a compressed byte counts
_JOB = 1 << 20  # bytes of a part, or of some whole files
_FILES = 64  # most files of a job
_MOST = 8  # processes; this one cannot use what more of them find
_LEFT_OUT = ("pdf",)  # readers with a process of their own
_FOUND, _FAULT, _NOTE, _PASSED_OVER = range(4)


@dataclass(frozen=True, slots=True)
class _Job:
    """What another process was asked for.

    Attributes:
        places: of the inputs, whole ones; or of the one that is read in parts.
        part: the part.
    """

    places: tuple[int, ...]
    part: FilePart | None = None


class Ahead:
    """The documents of inputs, some read by other processes.

    Args:
        inputs: all inputs, in the order in which they are asked for.
        fields: field names.
        limit: most bytes of a record.
        workers: most processes.
    """

    def __init__(self, inputs: Sequence[Input | Fault], fields: Fields, limit: int, workers: int) -> None:
        self._inputs, self._fields, self._limit = inputs, fields, limit
        self._places = {id(item): place for place, item in enumerate(inputs)}
        detects = fields.group == DETECT
        sizes = enumerate(_size(item, detects=detects) for item in (inputs if workers > 1 else ()))
        self._sizes = {place: size for place, size in sizes if size is not None}
        is_worth = sum(self._sizes.values()) * (_DETECTED if detects else 1) >= _WORTH
        self._workers = min(workers, _MOST) if is_worth else 1
        self._asked: deque[_Job] = deque()
        self._results: Iterator[Any] | None = None
        self._whole: dict[int, Any] = {}  # results by place
        self._heads: dict[int, FilePart] = {}  # what this process reads of the files that are read in parts

    def parsed(self, item: Input, names: Names) -> Iterator[Parsed]:
        """Read an input.

        Args:
            item: one of the inputs.
            names: names of its fields.

        Raises:
            PretrieveError: as ``parsing.parsed``.
            LostRankError: another process was ended.
        """
        place = self._places[id(item)]
        if self._workers > 1 and place in self._sizes:
            if self._results is None:
                self._results = parallel.mapped(f"{__name__}:{read_job.__name__}", self._jobs(), self._workers)
            yield from self._others(place, item, names)
        else:
            yield from parsed(item, names, self._limit, self._fields.columns)

    def close(self) -> None:
        """End the other processes."""
        if self._results is not None:
            self._results.close()  # type: ignore[attr-defined]

    def _others(self, place: int, item: Input, names: Names) -> Iterator[Parsed]:
        """What other processes read of an input."""
        if self._sizes[place] <= _WHOLE:
            while place not in self._whole:
                job, result = self._next()
                self._whole.update(zip(job.places, result, strict=True) if job.part is None else ())
            yield from self._given(self._whole.pop(place), item, names)
            return
        job, result = self._next()
        while place not in job.places or job.part is None:  # of a file that was left at an error
            self._whole.update(zip(job.places, result, strict=True) if job.part is None else ())
            job, result = self._next()
        head = self._heads.pop(place, None)
        if head is None:  # not to be divided
            yield from self._given(None, item, names)
            return
        yield from self._given(None, _of_part(item, head), names)
        while job.part is not None and job.part.stop > job.part.start:
            yield from self._given(result[0], _of_part(item, job.part), names)
            job, result = self._next()

    def _next(self) -> tuple[_Job, Any]:
        assert self._results is not None
        result = next(self._results)
        return self._asked.popleft(), result

    def _given(self, result: Any, item: Input, names: Names) -> Iterator[Parsed]:
        """What another process found in a file or a part; None: it is read by this one."""
        if result is None:
            yield from parsed(item, names, self._limit, self._fields.columns)
            return
        for kind, values, guesses in result["found"]:
            for guess in guesses:
                names.guess(guess)
            if kind == _FOUND:
                identity, text, title, group, where, guessed_id = values
                yield Found(Document(id=identity, text=text, title=title, group=group, where=where), None, guessed_id)
            elif kind == _PASSED_OVER:
                yield PASSED_OVER
            else:
                yield (Fault if kind == _FAULT else Note)(*values)
        names.give([Note(*note) for note in result["notes"]], result["used"])

    def _jobs(self) -> Iterator[Any]:
        """The jobs for other processes, in the order of the inputs."""
        some: list[int] = []
        for place, size in self._sizes.items():
            if size > _WHOLE:
                yield from self._some(some)
                some = []
                yield from self._parts(place)
                continue
            some.append(place)
            if len(some) == _FILES or sum(self._sizes[one] for one in some) >= _JOB:
                yield from self._some(some)
                some = []
        yield from self._some(some)

    def _some(self, places: list[int]) -> Iterator[Any]:
        if places:
            yield self._asked_for(_Job(tuple(places)), [self._described(place) for place in places])

    def _parts(self, place: int) -> Iterator[Any]:
        """The parts of a file after its head, whose fields are checked; and an empty one, which is the end."""
        item = self._inputs[place]
        assert isinstance(item, Input)
        assert isinstance(item.argument, Path)
        end = FilePart(item.argument, 0, 0, 1)
        parts = parts_of(item.argument, _JOB)
        head, joins = self._head(item, parts)
        if head is not None:
            self._heads[place] = head
            for part in parts:
                yield self._asked_for(_Job((place,), part), [self._described(place, part, joins=joins)])
        yield self._asked_for(_Job((place,), end), [])

    def _head(self, item: Input, parts: Iterator[FilePart]) -> tuple[FilePart | None, bool]:
        """The first parts of a file, until its fields are known, and whether it has none for the text."""
        fields = replace(self._fields, group=None) if self._fields.group == DETECT else self._fields
        names, head = _names(item, fields), None
        try:
            assert isinstance(item.argument, Path)
            with item.argument.open("rb") as file:
                if not item.reader.divides(file.read(CHUNK)):
                    return None, False
            for part in parts:
                for _ in parsed(_of_part(item, part), names, self._limit, fields.columns):
                    pass
                head = FilePart(part.path, 0, part.stop, 1)
                if names.is_settled:
                    break
        except Exception:  # whatever it is: it comes again where it belongs
            return None, False
        return head, names.joins

    def _described(self, place: int, part: FilePart | None = None, *, joins: bool = False) -> dict[str, Any]:
        item = self._inputs[place]
        assert isinstance(item, Input)
        found: dict[str, Any] = {
            "path": str(item.argument),
            "reader": item.reader.__name__,
            "named": item.named,
            "fields": asdict(self._fields),
            "limit": self._limit,
        }
        return found if part is None else found | {"part": [part.start, part.stop, part.line], "joins": joins}

    def _asked_for(self, job: _Job, described: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._asked.append(job)
        return described


def read_job(job: list[dict[str, Any]]) -> list[orjson.Fragment | None]:
    """Read some files, or a part of one, in another process.

    Args:
        job: what to read, as ``Ahead`` describes it.

    Returns:
        What was found in each; None for a file that is to be read by the process that asked.
    """
    return [_read(described) for described in job]


def _read(described: dict[str, Any]) -> orjson.Fragment | None:
    fields = Fields(**{**described["fields"], "columns": _tuple(described["fields"]["columns"])})
    item = Input(importlib.import_module(described["reader"]), Path(described["path"]), described["named"])
    names = _names(item, fields)
    if "part" in described:
        names.settle(joins=described["joins"])
        item = _of_part(item, FilePart(Path(described["path"]), *described["part"]))
    try:
        found = [_plain(entry, names) for entry in parsed(item, names, described["limit"], fields.columns)]
        notes = [[note.where, note.reason, note.detail] for note in names.notes()]
        names.check_all_seen()
        return orjson.Fragment(orjson.dumps({"found": found, "notes": notes, "used": names.used}))
    except Exception:  # whatever it is: it comes again in the process that asked
        return None


def _plain(entry: Parsed, names: Names) -> list[Any]:
    """What was found as kind, values and guesses."""
    kind: int
    values: list[Any]
    if isinstance(entry, Found):
        document, record = entry.document, entry.record
        assert record is not None
        values = [document.id, document.text, document.title, document.group, document.where, names.guessed_id(record)]
        kind = _FOUND
    elif isinstance(entry, Fault | Note):
        kind = _FAULT if isinstance(entry, Fault) else _NOTE
        values = [entry.where, entry.reason, entry.detail]
    else:
        kind, values = _PASSED_OVER, []
    return [kind, values, names.take_guesses()]


def _names(item: Input, fields: Fields) -> Names:
    return Names(fields, str(item.argument), tabular=getattr(item.reader, "TABULAR", False), named=item.named)


def _of_part(item: Input, part: FilePart) -> Input:
    return Input(item.reader, part, item.named)  # type: ignore[arg-type]  # a file of its own


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _size(item: Input | Fault, *, detects: bool) -> int | None:
    """Bytes of an input that another process may read, or should; None if this one has to."""
    if isinstance(item, Fault) or type(item.argument) is not type(Path()):  # no remote file, and no member of a zip
        return None
    assert isinstance(item.argument, Path)
    module, _, name = item.reader.__name__.rpartition(".")
    if module != readers.__name__ or name in _LEFT_OUT or not (detects or item.kind not in _QUICK):
        return None
    try:
        str(item.argument).encode()
        size = item.argument.stat().st_size
    except (OSError, ValueError):
        return None
    packed = item.argument.suffix.lower() in COMPRESSED
    size *= _PACKED if packed else 1
    return size if size <= _WHOLE or (hasattr(item.reader, "divides") and not packed) else None
