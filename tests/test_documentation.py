"""What the documentation shows is checked: every command of README, CONTRIBUTING and docs, and README's Python.

A command in a block of ``console``, ``bash`` or ``sh`` is found by itself. Its options are parsed, and ``pretrieve``
and ``python -c`` are run, in the order of the page, in a folder with the files that the pages name, at small sizes.
``make``, ``pip install`` and scripts are compared with the Makefile, ``pyproject.toml`` and the script. ``torchrun``
starts two processes, ``pretrieve serve`` a server that ``curl`` asks until the page ends.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

import company
import labelling
import launching
import pages
import searching
import stock
import teachers
import writers
from pretrieve.cli.app import app
from serving.conftest import Server
from test_architecture import FLOORS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Pages of what was decided and tried name options that are gone.
HISTORY = ("decisions.md", "log.md")
PACKAGE = ROOT / "src" / "pretrieve"
HERE = "http://127.0.0.1:8000"  # where the pages serve
FOLDERS = re.compile(r"PRETRIEVE_(METHODS|READERS|NEGATIVES|ENCODERS)")
COMMANDS = typer.main.get_command(app).commands
WITHOUT_COMMAND = {name for one in typer.main.get_command(app).params for name in one.opts} | {"--help", "-h"}

NOT_RUN: dict[str, str] = {  # commands that are parsed only, and why
    "pretrieve encode docs/ --model my-model -o my-ray-vectors --engine ray --workers 64": "Ray is not installed",
    "pretrieve --install-completion": "it changes the files of the shell that runs the tests",
}
SMALL = {  # what is added to a command, so that it takes a second
    "train": "--steps 3 --tracker none --set batch_size=8",
    "finetune": "--steps 3 --tracker none --set batch_size=8",
    "distill": "--steps 2 --contrast-steps 2 --teacher-tokens 2000 --tracker none",
    "generate": "--document-words 20 --max-new-tokens 5 --keep-within 30 --negatives 2 --concurrency 2",
    "compare": "--seeds 1 --steps 2 --tune steps=1 --labels 20 --base new:layers=1,hidden=16,heads=2",
    "read": "--steps 1 --tracker none --set batch_size=8",
    "demo": "--minutes 0.01 --source docs/",
}
LONG = ("--minutes", "--epochs", "--tokens", "--seeds")  # options that are left out with their value
SMALL_PYTHON = {
    "minutes=2": "steps=2",
    "labels=[100, 1000, 0], seeds=3": 'labels=[100, 0], seeds=1, tokens=500, tuning={"steps": "1"}',
    '"contriever-inbatch", "cocondenser"': "",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of code of a page: language and text."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def lines_of(block: str) -> list[str]:
    """The commands of a block, without comments; a backslash joins two lines."""
    joined = block.replace("\\\n", " ").splitlines()
    found = [" ".join(line.removeprefix("$ ").split()) for line in joined]
    return [line for line in found if shlex.split(line, comments=True)]


def name_of(page: Path) -> str:
    """The path of a page below ``docs``."""
    return str(page.relative_to(ROOT / "docs")) if "docs" in page.parts else page.name


def shell_blocks(page: Path) -> list[list[str]]:
    return [lines_of(text) for language, text in blocks(page) if language in ("console", "bash", "sh")]


SHOWN = [(name_of(page), line) for page in PAGES for block in shell_blocks(page) for line in block]


def options_of(command: str) -> set[str]:
    return {name for one in COMMANDS[command].params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}


def check_pretrieve(words: list[str]) -> None:
    """Parse a command as the command line does."""
    if words[0].startswith("-"):
        assert words[0] in WITHOUT_COMMAND
        return
    assert words[0] in COMMANDS, f"no command {words[0]}"
    command = COMMANDS[words[0]]
    if {"--config", "--recipe"} & set(words):  # the file is read when the command runs
        assert {word.split("=")[0] for word in words[1:] if word.startswith("--")} <= options_of(words[0])
        return
    command.make_context(words[0], words[1:])


def check_make(words: list[str]) -> None:
    """Targets and variables are those of the Makefile."""
    text = (ROOT / "Makefile").read_text()
    for word in words:
        name, assigned, _ = word.partition("=")
        assert re.search(rf"\b{name}\b", text) if assigned else re.search(rf"^{name}:", text, re.MULTILINE), word
    if not any("=" in word for word in words):
        subprocess.run(["make", "--dry-run", *words], cwd=ROOT, check=True, capture_output=True)


def check_pip(words: list[str]) -> None:
    """What is installed is this checkout with extras that it has, or a version of ``constraints.txt``."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert words[0] == "install"
    for word in words[1:]:
        if match := re.fullmatch(r"\.(?:\[([\w,]+)\])?", word):
            assert set((match[1] or "train").split(",")) <= extras.keys(), word
        elif not word.startswith(("--index-url", "https://")):
            assert word in (ROOT / "constraints.txt").read_text().split(), word


def check_python(words: list[str]) -> None:
    """A script is there and knows its options; what follows ``-c`` can be compiled."""
    if words[0] == "-c":
        compile(words[1], "documentation", "exec")
        return
    script = (ROOT / words[0]).read_text()
    for word in words[1:]:
        assert not word.startswith("-") or f'"{word.split("=")[0]}"' in script, f"{words[0]} has no option {word}"


def check_export(words: list[str]) -> None:
    """A variable is one that the package reads."""
    name = words[0].partition("=")[0]
    assert any(f'"{name}"' in path.read_text() for path in (ROOT / "src").rglob("*.py")), name


def check_torchrun(words: list[str]) -> None:
    """It starts a command of ``pretrieve`` that works in several processes."""
    assert words[0] == "--nproc-per-node"
    assert int(words[1]) > 1
    assert words[2:4] == ["-m", "pretrieve"]
    assert words[4] in ("train", "finetune", "read", "compare")
    check_pretrieve(words[4:])


def check_curl(words: list[str]) -> None:
    """It asks the server of the pages."""
    (address,) = words
    assert address.startswith(f"{HERE}/")


CHECKS = {
    "pretrieve": check_pretrieve, "make": check_make, "pip": check_pip, "python": check_python,
    "export": check_export, "cd": lambda words: None, "torchrun": check_torchrun, "curl": check_curl,
}  # fmt: skip


def check(line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    assert program in CHECKS, f"{program}: say in CHECKS how a command of it is checked"
    CHECKS[program](words)


@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_a_command_is_one_that_exists(page: str, line: str) -> None:
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "pretrieve train docs/ -o out --minuts 2",
        "pretrieve train docs/ -o out --minutes two",
        "pretrieve trian docs/ -o out",
        "pretrieve encode docs/ -o out",
        "pretrieve train docs/ -o out --config run.toml --mehtod mvr",
        "make dmo",
        "make demo TORCH_INDEKS=x",
        'pip install ".[trian]"',
        "pip install torch==0.1",
        "python benchmarks/nothing.py",
        "python benchmarks/label_free.py DATA --sedes 0",
        "export PRETRIEVE_METHODEN=~/my-methods",
        "uv sync",
        "torchrun --nproc-per-node 8 -m pretrieve train docs/ -o out --stebs 3",
        "torchrun --nproc-per-node 8 -m pretrieve index docs/ -o out",
        "curl http://127.0.0.1:9000/search",
    ],
)
def test_a_wrong_command_is_seen(line: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 - each check has its own
        check(line)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_in_blocks_of_a_shell(page: Path) -> None:
    for language, text in blocks(page):
        assert language in ("console", "bash", "sh", "python", "toml", "json"), f"a block of {language or 'nothing'}"
        assert language in ("console", "bash", "sh") or not re.search(r"^(\$ )?pretrieve ", text, re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in HISTORY], ids=name_of)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    """``--option`` in a line that begins with a command (a table) is of that command, otherwise of any."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    every = set().union(WITHOUT_COMMAND, *map(options_of, COMMANDS))
    for line in text.splitlines():
        row = re.match(r"\| `pretrieve (\w+)", line)
        for span in re.findall(r"`([^`]+)`", line):
            command = re.match(r"pretrieve (\w+)", span) or row
            if command:
                assert command[1] in COMMANDS, span
            known = options_of(command[1]) if command else every
            if not span.startswith(("python", "pip", "pytest", "ruff", "mypy", "make", "torchrun", "accelerate")):
                assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", span)) <= known, f"{span}: {line}"


def test_settings_in_the_text_exist() -> None:
    """``--set name=value``: the name is an option of some part."""
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for page in PAGES:
        for name in re.findall(r"--set (?:\w+\.)?(\w+)=", page.read_text()):
            assert page.name in HISTORY or re.search(rf"^    {name}: ", code, re.MULTILINE), f"{page.name}: {name}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_that_the_tour_names_exist() -> None:
    """Paths of Python files in CONTRIBUTING, from the root or from the package."""
    for name in re.findall(r"`([\w/]+/[\w/]*\.?\w*)`", (ROOT / "CONTRIBUTING.md").read_text()):
        assert any((folder / name).exists() for folder in (ROOT, PACKAGE, PACKAGE / "pipeline")), name


def test_floors_of_the_layout_are_those_that_are_checked() -> None:
    rows = re.findall(r"^\| (\d) \| `([\w.]+)/?` \|.*\| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    shown = {name.removesuffix(".py"): int(floor) for floor, name, _ in rows}
    assert shown == {name: floor for name, floor in FLOORS.items() if not name.startswith("__")}
    for _, name, places in rows:
        for place in re.findall(r"`([\w/]+\.py)`", places):
            assert any((folder / place).exists() for folder in (PACKAGE, PACKAGE / name)), place


def test_commands_that_are_not_run_are_shown() -> None:
    assert NOT_RUN.keys() <= {line for _, line in SHOWN}


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages name and do not make: documents, labels, calendars, and models of others."""
    folder = tmp_path_factory.mktemp("things")
    (folder / "docs").mkdir()
    texts = searching.documents(60, sentences=30)
    lines = [
        {"id": text.id, "title": text.title, "text": text.text, "author": "Ada", "date": f"2025-0{number % 9 + 1}-01"}
        for number, text in enumerate(texts)
    ]
    (folder / "questions.txt").write_text(f"{texts[0].title}\n{texts[1].title}\n")
    (folder / "docs" / "docs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pairs = [{"query": f"{document.title}?", "positive": document.text} for document in texts]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    labelling.beir(folder / "beir-folder", 80, 20)
    teachers.teacher(folder / "sentence-transformers" / "all-MiniLM-L6-v2", texts)
    stock.checkpoint("bert", folder / "facebook" / "contriever", layers=1)
    writers.generator(folder / "doc2query-folder", texts)
    writers.encoder(folder / "cross-encoder-folder", texts)
    company.build(folder / "company")
    (folder / "texts").symlink_to(folder / "docs")
    (folder / "calendars").mkdir()
    for number, text in enumerate(texts):
        event = f"BEGIN:VEVENT\nSUMMARY:{text.title}\nDESCRIPTION:{' '.join(text.text.split())}\nEND:VEVENT\n"
        (folder / "calendars" / f"{number}.ics").write_text(event)
    return folder


@pytest.fixture
def folder(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the things, which is the user's home too."""
    for path in things.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def smaller(words: list[str]) -> list[str]:
    """A command of ``pretrieve``, made small; what is at its output is replaced, unless the command changes it."""
    kept = [word for word, before in zip(words, ["", *words], strict=False) if not {word, before} & set(LONG)]
    kept = [re.sub(r"layers=\d+,hidden=\d+", "layers=1,hidden=16,heads=2", word) for word in kept]
    output = Path(kept[kept.index("-o") + 1]) if "-o" in kept else None
    replaced = output is not None and output.exists() and "--overwrite" in options_of(kept[0])
    replaced = replaced and "--update" not in kept
    return [*kept, *SMALL.get(kept[0], "").split(), *(["--overwrite"] if replaced else [])]


@contextmanager
def servers() -> Iterator[list[Server]]:
    """The servers that a page starts; the last one is asked, and all are stopped with the page."""
    started: list[Server] = []
    try:
        yield started
    finally:
        for server in started:
            server.process.terminate()
            server.process.communicate(timeout=30)


def run(line: str, page: Path, monkeypatch: pytest.MonkeyPatch, started: list[Server]) -> None:
    """Do what a command of a page does."""
    program, *words = shlex.split(line, comments=True)
    if program == "pretrieve" and words[0] == "serve":
        started.append(Server(*words[1:]))
    elif program == "curl":
        with urllib.request.urlopen(words[0].replace(HERE, started[-1].address), timeout=30) as reply:
            answer = json.load(reply)
            assert answer.get("hits", True) or "lexical" in line, f"{line}: {answer}"
    elif program == "torchrun":
        code = launching.torchrun(Path.cwd(), 2, *smaller(words[4:])).wait(timeout=200)
        assert code == 0, f"{line}\n{Path('launcher.log').read_text()}"
    elif program == "pretrieve" and line not in NOT_RUN:
        outcome = CliRunner().invoke(app, smaller(words), input="a question\n", catch_exceptions=False)
        assert outcome.exit_code == 0, f"{line}\n{outcome.output}"
    elif program == "export":
        name, _, value = words[0].partition("=")
        place = Path(value).expanduser() if FOLDERS.fullmatch(name) else Path.cwd()
        place.mkdir(exist_ok=True)
        for file in re.findall(r"`(\w+\.py)`:\n\n<!--", page.read_text()):
            (place / file).write_text(pages.example(page.name))
        monkeypatch.setenv(name, str(place) if FOLDERS.fullmatch(name) else value)
    elif program == "cd":
        monkeypatch.chdir(Path(words[0]).expanduser())
    elif program == "python" and words[0] == "-c":
        monkeypatch.syspath_prepend(str(Path.cwd()))
        exec(compile(words[1], page.name, "exec"), {})


@pytest.mark.parametrize("page", [page for page in PAGES if shell_blocks(page)], ids=name_of)
def test_commands_run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page; README makes what the other pages begin with."""
    if page.name != "README.md":
        run("pretrieve train docs/ -o my-model", page, monkeypatch, [])
        shutil.copy("pairs.jsonl", "labels.jsonl")
    for text in (text for language, text in blocks(page) if language == "toml"):
        Path(re.findall(r"# (\w+\.toml)\n", text)[0]).write_text(text)  # its first line names it
    with writers.serving() as generator, servers() as started:
        for block in shell_blocks(page):
            monkeypatch.chdir(folder)  # a block is read as one shell
            for line in block:
                run(line.replace(f"{HERE}/v1", generator.url), page, monkeypatch, started)
    if page.name == "README.md":
        check_what_holds_text(folder)


def check_what_holds_text(folder: Path) -> None:
    """As README and the model cards say: an index and labels hold text of documents, a model does not."""
    sentence = searching.documents(60, sentences=30)[0].text.split(". ")[0].encode()
    made = {path.name for path in folder.iterdir() if not path.is_symlink()}
    files = [(name, path) for name in made for path in (folder / name, *(folder / name).rglob("*")) if path.is_file()]
    holding = {name for name, path in files if sentence in path.read_bytes()}
    assert holding >= {"my-index", "labels.jsonl"}
    assert made >= {"my-model", "my-start", "tuned", "my-static"}
    assert holding <= {"my-index", "labels.jsonl", "report"}, "a model holds text"
    assert not [name for name in made if name.endswith(".work")]
    assert all("holds no" in (folder / name / "README.md").read_text() for name in ("my-model", "tuned", "my-static"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_every_page_compiles(page: Path) -> None:
    """Only README's is run: other pages show clients of servers, too."""
    for language, text in blocks(page):
        if language == "python":
            compile(text, page.name, "exec")


def test_python_of_readme_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the page, in one interpreter, made small."""
    code = "\n".join(text for language, text in blocks(ROOT / "README.md") if language == "python")
    for old, new in SMALL_PYTHON.items():
        assert old in code, f"{old!r} is not in README: make its code small otherwise"
        code = code.replace(old, new)
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "| tuned | hybrid |" in out
    assert "| mlm |" in out
