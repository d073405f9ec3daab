"""Remote sources: a web server that breaks off and refuses; folders and patterns in memory; file addresses."""

from __future__ import annotations

import gzip
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

import made_files as made
from pretrieve.core.errors import PretrieveError, StorageError, UsageError
from pretrieve.text.corpus import ReadReport, read
from pretrieve.text.files import remote

LINES = b"".join(
    b'{"_id":"%d","title":"t%d","text":"%s"}\n' % (n, n, b"words of a document " * 30) for n in range(20_000)
)


@dataclass
class Site:
    """What a server has and how it fails.

    Attributes:
        files: content by path.
        cuts: places at which a connection breaks, each once.
        ranges: whether it gives parts of files.
        failures: answers 503 that are given first.
        asked: paths that were asked for.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    failures: int = 0
    asked: list[str] = field(default_factory=list)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        site, path = self.site, self.path.partition("?")[0]
        site.asked.append(path)
        if site.failures:
            site.failures -= 1
            return self.send_error(503, "busy")
        if path == "/forbidden.jsonl":
            return self.send_error(403)
        if path not in site.files:
            return self.send_error(404)
        data = site.files[path]
        start, stop = 0, len(data)
        if site.ranges and (wanted := self.headers.get("Range")):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(len(data), int(last) + 1 if last else len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        else:
            self.send_response(200)
        if site.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if not body:
            return None
        cut = next((place for place in site.cuts if start < place < stop), None)
        if cut is not None:
            site.cuts.remove(cut)
            self.wfile.write(data[start:cut])
            self.wfile.flush()
            self.connection.close()
            return None
        self.wfile.write(data[start:stop])
        return None


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote, "PAUSES", (0.01, 0.01, 0.01))
    handler = type("Bound", (Handler,), {"site": Site()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # a client that goes away
    handler.site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler.site
    server.shutdown()
    server.server_close()
    fsspec.filesystem("http").clear_instance_cache()


@pytest.fixture
def memory() -> Iterator[dict[str, bytes]]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system.store
    system.store.clear()


def put(name: str, data: bytes) -> None:
    fsspec.filesystem("memory").pipe_file(name, data)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("cuts", [[], [1_000_000], [900_000, 1_000_000, 5_000_000, 9_000_001]])
def test_reading_resumes_where_the_connection_broke(site: Site, ranges: bool, cuts: list[int]) -> None:
    site.files["/a/corpus.jsonl"] = LINES
    site.ranges, site.cuts = ranges, [*cuts]
    found = list(read([f"{site.address}/a/corpus.jsonl"], deduplicate=False))
    assert [document.id for document in found] == [str(number) for number in range(20_000)]
    assert site.cuts == []


def test_it_gives_up_after_some_tries(site: Site) -> None:
    site.files["/a.jsonl"] = LINES
    site.cuts = [1_000_000 + n for n in range(0, 60_000, 1)]
    site.ranges = False
    with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:\d+/a\.jsonl: .*"):
        list(read([f"{site.address}/a.jsonl"]))


def test_all_formats_are_read(site: Site, tmp_path: Path) -> None:
    site.files["/a.md.gz"] = gzip.compress(b"# Title\n\nSome text.")
    site.files["/b.pdf"] = made.pdf(tmp_path / "b.pdf", [["Words of a page."]]).read_bytes()
    site.files["/c.docx"] = made.docx(tmp_path / "c.docx", made.paragraph("Words of Word.")).read_bytes()
    site.files["/download"] = b'{"id": "1", "text": "By its content."}'
    names = ("a.md.gz", "b.pdf", "c.docx", "download?x=1")
    found = list(read([f"{site.address}/{name}" for name in names]))
    assert [document.text for document in found] == [
        "Some text.", "Words of a page.", "Words of Word.", "By its content.",
    ]  # fmt: skip
    assert found[0].id == f"{site.address}/a.md.gz"


def test_a_data_set_as_downloaded(site: Site) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("scifact/corpus.jsonl", LINES[:5_000].rpartition(b"\n")[0])
        file.writestr("scifact/queries.jsonl", '{"_id": "1", "text": "a query"}')
        file.writestr("scifact/qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\t1\t1\n")
    site.files["/scifact.zip"] = data.getvalue()
    site.cuts = [len(data.getvalue()) // 2]
    assert {document.id for document in read([f"{site.address}/scifact.zip"], deduplicate=False)} == set("0123456")


def test_a_busy_server_is_asked_again(site: Site) -> None:
    site.files["/a.jsonl"] = LINES[:2_000].rpartition(b"\n")[0]
    site.failures = 2
    assert len(list(read([f"{site.address}/a.jsonl"], deduplicate=False))) > 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{site}/no.jsonl", r"{site}/no\.jsonl: not found \(404\)\."),
        ("{site}/no", r"{site}/no: not found \(404\)\."),
        ("{site}/no.zip", r"{site}/no\.zip: not found \(404\)\."),
        ("{site}/forbidden.jsonl", r".*the server answers 403.*"),
        ("http://127.0.0.1:9/a.jsonl", r".*the server cannot be reached\."),
        ("https://no-such-host.invalid/a.jsonl", r".*the host is not known\."),
        ("memory://nothing/here", r"memory://nothing/here: no such file or folder\."),
        ("s3://bucket/a.jsonl", r"s3://bucket/a\.jsonl: s3:// needs s3fs: pip install s3fs\."),
        ("gopher://a/b", r"gopher://a/b: Protocol not known: gopher\."),
        ("http://", r"http://: no valid address\."),
    ],
)
def test_errors_are_one_clear_line(site: Site, memory: object, source: str, says: str) -> None:
    with pytest.raises(PretrieveError, match=f"^{says.format(site=site.address)}$"):
        list(read([source.format(site=site.address)]))


def test_a_folder_is_read_as_on_disk(memory: object) -> None:
    put("/d/beir/corpus.jsonl", b'{"_id": "1", "text": "one"}\n{"_id": "2", "text": "two"}\n')
    put("/d/beir/queries.jsonl", b'{"_id": "1", "text": "a query"}')
    put("/d/docs/a.md", b"# A\n\nSome text.")
    put("/d/docs/b.md", b"not this")
    put("/d/docs/.gitignore", b"b.md")
    put("/d/docs/c.abc", b"?")
    report = ReadReport()
    found = {document.id: document.text for document in read(["memory://d"], report=report)}
    assert found == {"1": "one", "2": "two", "memory:///d/docs/a.md": "Some text."}
    assert report.ignored == {
        "queries and labels beside a corpus": 1, "ignored by .gitignore": 1, "hidden": 1, ".abc": 1,
    }  # fmt: skip
    assert [document.text for document in read(["memory://d/**/*.md"])] == ["Some text.", "not this"]


def test_a_file_address_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a b.txt"
    path.write_text("Some text.")
    (document,) = read([path.as_uri()])
    assert (document.id, document.text) == (str(path), "Some text.")
    with pytest.raises(UsageError, match="no such file or folder"):
        list(read([(tmp_path / "c.txt").as_uri()]))


def test_nothing_else_is_fetched(site: Site, tmp_path: Path) -> None:
    """Addresses inside documents are text."""
    site.files["/a.xml"] = f'<!DOCTYPE a SYSTEM "{site.address}/b.dtd"><a>See {site.address}/c.html here.</a>'.encode()
    list(read([f"{site.address}/a.xml"]))
    assert set(site.asked) == {"/a.xml"}
