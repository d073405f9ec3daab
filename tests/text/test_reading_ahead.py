"""Several processes read: documents, order, places, counts, notes and errors are those of one process."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

import company
from pretrieve.core.errors import LostRankError, PretrieveError
from pretrieve.text import ahead, parallel
from pretrieve.text.corpus import Fields, ReadReport, read
from pretrieve.text.files.parts import parts_of

WORDS = ["baki", "dolu", "mane", "pora", "nelu", "tiso", "ravi", "kumo"]


def outcome(sources: Sequence[object], **options: Any) -> dict[str, Any]:
    """All that reading gives."""
    report, documents, error = ReadReport(), [], ""
    try:
        documents += read([str(source) for source in sources], report=report, **options)
    except PretrieveError as found:
        error = f"{type(found).__name__}: {found}"
    return {
        "documents": documents,
        "error": error,
        "report": report,
        "facts": report.facts(),
        "lines": list(report.lines()),
        "order": [list(report.faults), list(report.notes)],
    }


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "parallel import work" in " ".join(child.cmdline())]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is worth a process, and cut into many parts."""
    monkeypatch.setattr(ahead, "_WORTH", 0)
    monkeypatch.setattr(ahead, "_QUICK", ())
    monkeypatch.setattr(ahead, "_WHOLE", 8_000)
    monkeypatch.setattr(ahead, "_JOB", 3_000)


def same(sources: Sequence[object], **options: Any) -> dict[str, Any]:
    """What two processes read, which is what one does."""
    alone = outcome(sources, workers=1, **options)
    shared = outcome(sources, workers=2, **options)
    for name, value in alone.items():
        assert shared[name] == value, name
    assert not workers()
    return shared


def lines(count: int, seed: int, **faults: float) -> bytes:
    """JSON Lines with faults, in some share of the lines."""
    chance, found = random.Random(seed), []
    for number in range(count):
        text = " ".join(chance.choices(WORDS, k=chance.randrange(1, 30)))
        record: dict[str, Any] = {"id": f"d{number}", "title": chance.choice(WORDS), "text": text}
        line = orjson.dumps(record)
        kind = chance.choices(["good", *faults], [1, *faults.values()])[0]
        line = {
            "good": line,
            "cut": line[:-4],
            "blank": b"  ",
            "list": b"[1, 2]",
            "bytes": line[:20] + b"\xff\xfe" + line[20:],
            "mark": b"\xef\xbb\xbf" + line,
            "open": b"{",
            "empty": orjson.dumps(record | {"text": " "}),
            "untitled": orjson.dumps({"id": f"d{number}", "title": "Only a title", "text": ""}),
            "again": orjson.dumps(record | {"id": f"d{number // 2}"}),
            "same": orjson.dumps(record | {"text": "the same text", "title": "same"}),
            "other": orjson.dumps({"_id": f"x{number}", "contents": text, f"more{number % 9}": "some words here"}),
            "long": orjson.dumps(record | {"text": text * 400}),
            "surrogate": b'{"id": "s%d", "text": "a \\ud800 b"}' % number,
        }[kind]
        found.append(line + chance.choice([b"\n", b"\n", b"\r\n"]))
    return b"".join(found)


EVERY = dict.fromkeys(("cut", "blank", "list", "bytes", "mark", "open", "empty", "untitled", "again", "same", "other",
                       "long", "surrogate"), 0.05)  # fmt: skip


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(2))
def test_a_large_file_of_lines_with_every_fault(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(lines(2500, seed, **EVERY)[: -seed or None])  # the last line may be cut
    found = same([path], on_bad="skip", max_record_bytes=4000)
    assert len(found["documents"]) > 1000
    assert found["report"].bad > 200
    assert {"duplicate id", "too long", "malformed JSON", "not an object"} <= set(found["facts"]["bad"])
    parts = list(parts_of(path, 3_000))
    assert len(parts) > 50
    assert b"".join(path.read_bytes()[part.start : part.stop] for part in parts) == path.read_bytes()
    assert all(path.read_bytes()[: part.start].count(b"\n") + 1 == part.line for part in parts)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("line", [b"{", b"", b"\xef\xbb\xbf{}"])
def test_a_part_begins_with_what_begins_other_files(tmp_path: Path, line: bytes) -> None:
    """A bracket alone, a blank line, a byte order mark: they mean something at the beginning of a file alone."""
    good = lines(1000, 8)
    (tmp_path / "docs.jsonl").write_bytes(good + (good[:400].rpartition(b"\n")[0] + (b"\n" + line) * 600 + b"\n") * 9)
    starts = [part.start for part in parts_of(tmp_path / "docs.jsonl", 3_000)]
    assert any((tmp_path / "docs.jsonl").read_bytes()[start:].startswith(line + b"\n") for start in starts)
    same([tmp_path / "docs.jsonl"], on_bad="skip")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("on_bad", ["auto", "fail", "skip"])
def test_the_first_bad_line_is_named(tmp_path: Path, on_bad: str) -> None:
    good = lines(2000, 1)
    for number, content in enumerate((good + b"{bad\n" + good, b"{bad\n" + good, good[:-1])):
        (tmp_path / f"{number}.jsonl").write_bytes(content)
        found = same([tmp_path / f"{number}.jsonl"], on_bad=on_bad)
        assert bool(found["error"]) == (on_bad != "skip" and number < 2)
        assert number or on_bad == "skip" or "0.jsonl:2001: malformed JSON" in found["error"]


@pytest.mark.usefixtures("small")
def test_files_that_are_no_plain_lines(tmp_path: Path) -> None:
    """A mark, UTF-16, JSON over several lines, nothing but blanks, compressed, without end: large files all."""
    good = lines(1200, 2)
    pretty = orjson.dumps([orjson.loads(line) for line in good.split(b"\n") if line], option=orjson.OPT_INDENT_2)
    contents = {
        "mark.jsonl": b"\xef\xbb\xbf" + good,
        "wide.jsonl": good.decode().encode("utf-16"),
        "pretty.jsonl": pretty,
        "late.jsonl": b"\n" * 9000 + good,
        "blank.jsonl": b"\n" * 9000,
        "one.jsonl": b'{"id": "one", "text": "' + b"word " * 9000 + b'"}',
        "packed.jsonl.gz": gzip.compress(good),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = same([tmp_path / "mark.jsonl", tmp_path, tmp_path / "one.jsonl"], on_bad="skip")
    assert len(found["documents"]) > 1000
    same([tmp_path / "pretty.jsonl"])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "fields",
    [
        Fields(text="text", title="title"),
        Fields(text="txet"),
        Fields(group="lang"),
        Fields(use_titles=False),
        Fields(text="body"),
        Fields(wikipedia=True),
    ],
)
def test_fields_that_are_named_and_some_that_are_not_there(tmp_path: Path, fields: Fields) -> None:
    (tmp_path / "docs.jsonl").write_bytes(lines(1500, 3, other=0.1, untitled=0.1))
    (tmp_path / "few.jsonl").write_bytes(b'{"name": "List of rivers", "note": "it has some words here"}\n' * 300)
    same([tmp_path], fields=fields, on_bad="skip")
    same([tmp_path / "few.jsonl"], fields=fields, on_bad="skip")


@pytest.mark.usefixtures("small")
def test_ids_that_repeat_in_files_of_a_folder(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.jsonl").write_bytes(lines(90 if number % 3 else 400, number, again=0.1, same=0.1))
    found = same([tmp_path], on_bad="skip")
    assert any("named FILE#id" in note for note in found["facts"]["notes"])
    same([tmp_path], on_bad="skip", deduplicate=False)
    same([tmp_path, tmp_path / "03.jsonl"], on_bad="skip")


@pytest.mark.parametrize("on_bad", ["auto", "fail"])
def test_a_folder_as_companies_have_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, on_bad: str) -> None:
    monkeypatch.setattr(ahead, "_WORTH", 0)
    monkeypatch.setattr(ahead, "_JOB", 20_000)
    built = company.build(tmp_path / "company")
    found = same([built.folder], on_bad=on_bad)
    assert bool(found["error"]) == (on_bad == "fail")


def test_a_quarantine_is_that_of_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ahead, "_WORTH", 0)
    (tmp_path / "docs.jsonl").write_bytes(lines(500, 5, **EVERY))
    found = []
    for count in (1, 2):
        place = tmp_path / f"quarantine-{count}"
        outcome([tmp_path / "docs.jsonl"], on_bad="quarantine", quarantine=place, workers=count)
        found.append(place.read_bytes())
    assert found[0] == found[1]


@pytest.mark.usefixtures("small")
def test_other_processes_do_the_work_and_a_killed_one_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(lines(9000, 6))
    monkeypatch.setenv(parallel.WORKERS, "3")
    documents = read([path], on_bad="skip")
    for _ in range(2000):
        next(documents)
    assert len(workers()) == 3
    for child in workers():
        child.kill()
    with pytest.raises(LostRankError, match="ended by SIGKILL"):
        list(documents)
    assert not workers()


@pytest.mark.usefixtures("small")
def test_nobody_is_left_when_the_reader_leaves(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_bytes(lines(9000, 6))
    documents = read([tmp_path / "docs.jsonl"], on_bad="skip", workers=2)
    for _ in range(2000):
        next(documents)
    assert len(workers()) == 2
    documents.close()
    assert not workers()


class StartedError(Exception):
    """Other processes were started."""


@pytest.mark.parametrize(("count", "name", "group", "started"), [
    (2, "docs.jsonl", "detect", True),
    (1, "docs.jsonl", "detect", False),
    (12, "docs.jsonl", None, False),
    (12, "docs.md", None, True),
    (2, "docs.md", None, False),
    (12, "docs.md.gz", None, False),
])  # fmt: skip
def test_processes_are_started_where_they_pay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, name: str, group: str | None, started: bool
) -> None:
    def mapped(*arguments: object) -> None:
        raise StartedError

    monkeypatch.setattr(parallel, "mapped", mapped)
    for number in range(count):
        content = b'{"text": "some words of document %d"}\n' % number + b"\n" * (3 << 20)
        (tmp_path / f"{number}-{name}").write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    documents = read([tmp_path], fields=Fields(group=group), on_bad="skip", workers=2)
    if started:
        with pytest.raises(StartedError):
            next(documents)
    else:
        assert "some words" in next(documents).text


def test_languages_are_detected_by_other_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ahead, "_WORTH", 0)
    monkeypatch.setattr(ahead, "_WHOLE", 8_000)
    monkeypatch.setattr(ahead, "_JOB", 3_000)
    (tmp_path / "docs.jsonl").write_bytes(lines(1300, 7, cut=0.05))
    same([tmp_path / "docs.jsonl"], fields=Fields(group="detect"), on_bad="skip")
