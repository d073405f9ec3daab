"""``--quiet``, ``--verbose`` and ``--log-file``: on every command, the same, and a log that misses nothing."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import orjson
import pytest
import typer.main

from pretrieve.cli.app import app
from pretrieve.core import files

CODE = "from pretrieve.cli.app import main; main()"
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
OPTIONS = ("--quiet", "--verbose", "--log-file")
BROKEN = """
import logging, sys, warnings
import pretrieve.core.files as files
from pretrieve.core.errors import PretrieveWarning

def verify(path):
    warnings.warn("mind\\x1b[2J the gap", PretrieveWarning)
    warnings.warn("a library's")
    logging.getLogger("library").warning("from a library")
    logging.getLogger("library").info("too much")
    print("a \\x1b[1mresult\\x1b[0m")
    print("without an end", end="")
    raise KeyError("no way")

files.verify = verify
from pretrieve.cli.app import main
main()
"""


@pytest.fixture
def artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with a MANIFEST in the current folder."""
    monkeypatch.chdir(tmp_path)
    with files.create(tmp_path / "made", "thing") as folder:
        folder.json("facts.json", {})
    return "made"


def logged(path: str = "run.log") -> list[tuple[str, str]]:
    """Level and text of each line that has a time stamp; every other one belongs to a traceback."""
    found = []
    for line in Path(path).read_text().splitlines():
        match = re.fullmatch(rf"{STAMP}(?:\[\d\] )?([A-Z]+) (.*)", line)
        found.append((match[1], match[2]) if match else ("", line))
    return found


def process(*words: object, code: str = CODE, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], env={**os.environ, **more}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_every_command_has_them() -> None:
    for name, command in typer.main.get_command(app).commands.items():
        names = [option for one in command.params for option in one.opts]
        assert [one for one in names if one in OPTIONS] == [*OPTIONS], name
        assert names[-3:] == [*OPTIONS], name


def test_a_log_has_command_environment_result_and_end(run, artefact) -> None:
    outcome = run("verify", artefact, "--log-file", "run.log")
    assert (outcome.code, outcome.err) == (0, "")
    lines = logged()
    assert lines[0] == ("DEBUG", "pretrieve verify made --log-file run.log")
    assert any(text.startswith("Python 3") for _, text in lines)
    assert any(text.startswith(f"pretrieve {version('pretrieve')}, torch ") for _, text in lines)
    assert ("INFO", outcome.out.strip()) in lines
    assert re.fullmatch(r"[\d.]+ s, [\d.]+ s of processors, at most [\d,]+ MB of memory", lines[-2][1])
    assert lines[-1] == ("INFO", "exit code 0")


def test_a_log_is_appended_to_and_has_errors_too(run, artefact) -> None:
    run("verify", artefact, "--log-file", "run.log")
    before = Path("run.log").read_text()
    outcome = run("verify", "missing", "--log-file", "run.log")
    assert Path("run.log").read_text().startswith(before)
    assert ("ERROR", outcome.err.strip().removeprefix("error: ")) in logged()
    assert logged()[-1] == ("INFO", f"exit code {outcome.code}")
    size = Path("run.log").stat().st_size
    run("verify", artefact)  # the next command has no log
    assert Path("run.log").stat().st_size == size


def test_an_unexpected_error_has_its_traceback_in_the_log_alone(artefact) -> None:
    done = process("verify", artefact, "--log-file", "run.log", code=BROKEN)
    assert done.returncode == 1
    assert done.stdout == "a \x1b[1mresult\x1b[0m\nwithout an end"
    said = done.stderr.splitlines()
    assert said[0] == "note: mind\\x1b[2J the gap"
    assert said[-1] == "error: unexpected KeyError: 'no way' (details: run.log; please report it)"
    assert "from a library" in said
    assert "Traceback" not in done.stderr
    assert not list(Path().glob("pretrieve-error-*"))  # what it would hold is in the log
    lines = logged()
    for line in (
        ("WARNING", "PretrieveWarning: mind\\x1b[2J the gap"),
        ("WARNING", "UserWarning: a library's"),
        ("WARNING", "from a library"),
        ("INFO", "a result"),
        ("INFO", "without an end"),
        ("ERROR", "unexpected KeyError: 'no way' (details: run.log; please report it)"),
        ("", "Traceback (most recent call last):"),
        ("", "KeyError: 'no way'"),
    ):
        assert line in lines, line
    assert "too much" not in Path("run.log").read_text()
    assert process("verify", artefact, code=BROKEN).stdout == done.stdout
    assert len(list(Path().glob("pretrieve-error-*"))) == 1  # as ever


def test_verbose_prints_details_and_no_traceback(artefact) -> None:
    done = process("verify", artefact, "--verbose", code=BROKEN)
    details = [line for line in done.stderr.splitlines() if line.startswith("debug: ")]
    assert details[0] == "debug: pretrieve verify made --verbose"
    assert "debug: Python 3" in done.stderr
    assert " s of processors, at most " in details[-1]
    assert "Traceback" not in done.stderr
    assert "debug" not in done.stdout


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("made", "it is a folder; give the name of a file"),
        ("nowhere/run.log", "there is no folder nowhere; make it first"),
        ("made/run.log", "the command uses made itself; put the log outside of it"),
        ("facts.json", "the command uses facts.json itself"),
        ("pipe", "it is no file that lines can be appended to"),
        ("/proc/run.log", "No such file or directory"),
    ],
)
def test_a_bad_place_is_one_line_before_the_work(run, artefact, place, reason) -> None:
    os.mkfifo("pipe")
    outcome = run("verify", artefact, "--output-json", "facts.json", "--log-file", place)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: --log-file {place}: {reason}")
    assert len(outcome.err.splitlines()) == 1
    assert not Path("facts.json").exists()


def test_a_log_is_not_read_as_a_document(run, artefact) -> None:
    """A ``.log`` file is one: each run would read the last one's."""
    outcome = run("train", ".", "-o", "out", "--log-file", "run.log")
    assert (outcome.code, "the command uses . itself" in outcome.err) == (2, True)
    assert not Path("run.log").exists()
    Path("out.work").mkdir()
    outcome = run("train", "docs.jsonl", "-o", "out", "--log-file", "out.work/run.log")
    assert (outcome.code, "the command uses out itself" in outcome.err) == (2, True)


def test_a_full_disk_is_said_once_and_the_command_goes_on(run, artefact) -> None:
    outcome = run("verify", artefact, "--log-file", "/dev/full")
    assert outcome.code == 0
    (line,) = outcome.err.splitlines()
    assert line == "warning: --log-file /dev/full: No space left on device; nothing more is written to it."


def test_a_token_is_not_logged(run, artefact) -> None:
    for words in (("--token", "geheim"), ("--token=geheim",)):
        run("serve", "missing", *words, "--log-file", "run.log")
    text = Path("run.log").read_text()
    assert "geheim" not in text
    assert "serve missing --token '***'" in text


def test_quiet_and_verbose_exclude_each_other(run, artefact) -> None:
    outcome = run("verify", artefact, "--quiet", "--verbose")
    assert (outcome.code, outcome.err) == (2, "error: give --quiet or --verbose, not both.\n")


def test_a_configuration_may_hold_them(run, artefact, documents, model) -> None:
    Path("c.toml").write_text(f'quiet = true\nlog-file = "run.log"\nbase = "{model}"\nsteps = 1\ntracker = "none"\n')
    outcome = run("train", documents, "-o", "out", "--config", "c.toml", "--method", "nothing")
    assert outcome.code == 2
    assert ("INFO", "exit code 2") in logged()


def test_progress_goes_to_the_log_beside_a_bar_and_quiet_shows_none(documents, model, artefact) -> None:
    """Through a real terminal, in a process of its own."""
    shown = {}
    for words in ((), ("--quiet",), ("--verbose",)):
        leader, follower = pty.openpty()
        log = f"run{''.join(words)}.log"
        done = subprocess.Popen(
            [sys.executable, "-c", CODE, "index", documents, "--model", model, "-o", "index", "--overwrite", *words,
             "--log-file", log], stderr=follower, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )  # fmt: skip
        os.close(follower)
        shown[words] = _all_of(leader)
        out, _ = done.communicate()
        assert done.returncode == 0
        assert ("Next:" in out) == (words != ("--quiet",))
        lines = logged(log)
        assert ("INFO", "read: start") in lines
        assert any(re.fullmatch(r"read: 200 documents, [\d.]+ s(, .*)?", text) for _, text in lines)
        assert all(level in ("DEBUG", "INFO") for level, _ in lines)
        assert [text for _, text in lines if text.startswith("Fields to filter by")]
        assert "\x1b" not in Path(log).read_text()
    assert "━" in shown[()]
    assert "debug" not in shown[()]
    assert shown["--quiet",] == ""
    assert re.search(r"debug: read: 200 documents, [\d.]+ s", shown["--verbose",])


def _all_of(leader: int) -> str:
    found = b""
    try:
        while part := os.read(leader, 65536):
            found += part
    except OSError:  # nobody writes any more
        pass
    os.close(leader)
    return found.decode()


def test_json_is_json_beside_a_log(run, artefact) -> None:
    outcome = run("verify", artefact, "--json", "--log-file", "run.log", "--verbose")
    facts = orjson.loads(outcome.out)
    assert [*facts] == ["made"]
    assert any("made" in text for level, text in logged() if level == "INFO")
