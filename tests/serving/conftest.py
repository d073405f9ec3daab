"""A server as a process on a free port, and requests to it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

import searching
from cli.conftest import run as run
from pretrieve.cli.app import main
from pretrieve.core.types import Document

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \x1b[2J [red]kamika[/red] \u202eabc 'quoted' \"double\""
)


@dataclass
class Reply:
    """What a request gave."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self):
        return json.loads(self.text)


class Server:
    """``pretrieve serve`` with some arguments."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "pretrieve", "serve", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"Serving on (\S+)", line):
                self.address = found[1]
                return
        raise AssertionError("".join(self.lines))

    def get(self, path: str, body: object = None, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, data=data, headers=named)
        if data is not None:
            request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as found:
                return Reply(found.status, {k.lower(): v for k, v in found.headers.items()}, found.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode())

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, "".join(self.lines) + rest


def write_documents(path: Path, made: list[Document]) -> Path:
    lines = [{"id": one.id, "title": one.title, "text": one.text, "lang": one.fields.get("lang", "en")} for one in made]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def pretrieve(*arguments: object) -> str:
    """Run a command in this process, as ``main`` does, and return what it printed."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["pretrieve", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
    assert code == 0, out.getvalue()
    return out.getvalue()


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model``, ``docs.jsonl`` and its ``index``; document ``x/<b>`` is hostile."""
    folder = tmp_path_factory.mktemp("served")
    made = searching.documents(80)
    hostile = Document(id="x/<b>", title=HOSTILE, text=f"{HOSTILE} {made[3].text}", fields={"lang": HOSTILE})
    made.append(hostile)
    searching.static_model(folder / "model", made)
    write_documents(folder / "docs.jsonl", made)
    pretrieve("index", folder / "docs.jsonl", "--model", folder / "model", "-o", folder / "index")
    return folder


@pytest.fixture(scope="module")
def server(served_folder: Path):
    """A server of that index, for a file of tests."""
    found = Server(served_folder / "index", "--threads", "2")
    yield found
    found.stop()
