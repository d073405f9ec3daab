"""The folder is the registry, and so are folders of one's own; the example of docs/add-a-method.md is a method."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

import tiny
from pretrieve import methods
from pretrieve.core.errors import ExtensionError, UsageError
from pretrieve.testing import check_method

PAGE = Path(__file__).parent.parent.parent / "docs" / "add-a-method.md"
ROOT = PAGE.parent.parent


def example() -> str:
    """The file that the page shows."""
    (text,) = re.findall(r"<!--[^>]*-->\n```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return text


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of methods of one's own, with the example."""
    found = tmp_path / "mine"
    found.mkdir()
    (found / "neighbours.py").write_text(example())
    monkeypatch.setenv(methods.FOLDERS, str(found))
    return found


def test_without_the_variable_only_the_package_is_searched(monkeypatch) -> None:
    monkeypatch.delenv(methods.FOLDERS, raising=False)
    assert "neighbours" not in methods.names()
    assert {"mlm", "structure", "contriever", "orqa-ict"} <= set(methods.names())
    assert set(methods.presets()) == set(methods.names())


def test_the_example_is_found(folder) -> None:
    module, preset = methods.find("neighbours")
    assert "neighbours" in methods.names()
    assert module.CARD.title.startswith("Neighbours")
    assert preset.options["window"].value == 64
    assert methods.presets()["neighbours"] is module


def test_the_example_draws_consecutive_windows(folder) -> None:
    """Window and next window, against a slow walk over each document."""
    module, _ = methods.find("neighbours")
    documents = tiny.store(12)
    sampler = module.sampler(documents, tiny.BARE, module.Options(window=8))
    expected = set()
    for start, stop in zip(documents.starts, documents.ends, strict=True):
        size = min(8, (stop - start) // 2)
        for first in range(start, stop - 2 * size + 1, size):
            expected.add((first, size))
    batch = sampler.draw(np.arange(sampler.mixture.items), None)
    found = set(zip(sampler.starts.tolist(), sampler.lengths[sampler.owners].tolist(), strict=True))
    assert found == expected
    for row, first, size in zip(
        range(0, 2 * len(batch), 2), sampler.starts, sampler.lengths[sampler.owners], strict=True
    ):
        both = np.concatenate([batch.rows.row(row), batch.rows.row(row + 1)])
        assert np.array_equal(both, documents.tokens[first : first + 2 * size])


def test_the_example_keeps_the_contract(folder) -> None:
    """As its author checks it: in a process that knows neither pytest nor this folder."""
    code = "import neighbours; from pretrieve.testing import check_method; check_method(neighbours)"
    code += "; import sys; assert 'pytest' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def checked(folder: Path, name: str) -> str:
    """What ``check_method`` says of a file."""
    module = methods.REGISTRY.module(folder / f"{name}.py")
    with pytest.raises(ExtensionError) as raised:
        check_method(module)
    return str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'vectors={"query": queries[:, None]',
            'vectors={"query": queries[:, None] - queries.mean()',
            "static encoder: encode is row separable .* depend on the others of its batch",
        ),
        (
            "return Encoded(",
            "next(self.parameters()).data.mul_(1.001)\n        return Encoded(",
            "encode changes parameters or buffers",
        ),
        (
            'return Loss(value=losses.mean(), statistics={"accuracy": hits.mean()})',
            "return Loss(value=losses.mean(), statistics={\"accuracy\": hits.mean() + float('inf')})",
            "the statistic .accuracy. is inf",
        ),
        ("value=losses.mean()", "value=losses.sum()", "compare of two halves of a batch averages to"),
        ("value=losses.mean()", "value=losses", r"neighbours\.py:\d+: value of the loss has to be a scalar"),
        ('"window": Value(64, "ours", "two of', '"window": Value(4, "ours", "two of', "window is at least 8 tokens"),
        ("        temperature: divides the similarities.\n", "", "does not describe temperature"),
        (
            "self.mixture = mixture(None, len(self.owners), 1.0)",
            "self.mixture = mixture(None, len(self.owners), 1.0)\n        self.starts = self.starts + provenance",
            "with provenance a sampler draws other rows",
        ),
        (
            "super().__init__()\n        self.encoder, self.options = encoder, options",
            "super().__init__()\n        self.encoder, self.options, self.drawn = encoder, options, 1.0",
            "a resumed run ends with other weights",
        ),
    ],
)
def test_a_method_that_breaks_a_promise_is_told_which(folder, old, new, words) -> None:
    text = example()
    if "drawn" in new:  # state that a step changes, and a checkpoint does not hold
        changed = "def after_step(self, global_vectors, batch, step):\n        self.drawn += 1\n\n    def compare("
        text = text.replace("def compare(", changed).replace("losses.mean(),", "losses.mean() * self.drawn,")
    assert old in text
    (folder / "neighbours.py").write_text(text.replace(old, new))
    said = checked(folder, "neighbours")
    assert said.startswith(str(folder / "neighbours.py"))
    assert re.search(words, said), said


def documents(path: Path) -> Path:
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(150)]
    lines = [{"id": str(number), "text": " ".join(rng.choice(words, 60)) + "."} for number in range(40)]
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return path


def pretrieve(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, methods.FOLDERS: str(folder)}
    command = [sys.executable, "-c", "from pretrieve.cli.app import main; main()", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_example_is_trained_by_the_command_line(folder, tmp_path) -> None:
    """And its golden losses are made by the command of the page."""
    out = tmp_path / "out"
    small = ("--set", "batch_size=8", "--set", "vocabulary_size=300", "--set", "dimensions=16", "--set", "window=16")
    done = pretrieve(
        "train",
        documents(tmp_path / "d.jsonl"),
        "-o",
        out,
        "--method",
        "neighbours",
        "--steps",
        "5",
        *small,
        folder=folder,
    )
    assert done.returncode == 0, done.stderr
    report = orjson.loads((out / "report.json").read_bytes())
    assert report["recipe"]["method"] == "neighbours"
    assert "Neighbours: consecutive windows" in (out / "README.md").read_text()


def test_golden_losses_of_the_example_are_the_same_twice(folder) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "golden"))
    from make import STEPS, losses

    found = losses("neighbours", "static")
    assert len(found) == STEPS
    assert found == losses("neighbours", "static")
    assert found[-1] < found[0]


def test_a_taken_name_is_refused_with_both_files(folder) -> None:
    (folder / "other.py").write_text('PRESETS = {"mlm": None}\n')
    with pytest.raises(ExtensionError, match=r"other\.py: the preset 'mlm' is in .*mlm\.py already"):
        methods.names()


def test_a_broken_file_is_named(tmp_path, monkeypatch) -> None:
    """Where it cannot be read, at once; where it cannot be imported, when it is asked for."""
    monkeypatch.setenv(methods.FOLDERS, str(tmp_path))
    (tmp_path / "fails.py").write_text('PRESETS = {"fails": 1}\nimport nothing_of_that_name\n')
    assert "fails" in methods.names()
    methods.find("mlm")
    with pytest.raises(ExtensionError, match=r"fails\.py:2 cannot be imported .*nothing_of_that_name"):
        methods.find("fails")
    done = pretrieve("methods", "fails", folder=tmp_path)
    assert done.returncode == 1
    assert "fails.py:2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PRESETS = {", r"mine\.py:1 cannot be read as a method"),
        ("PRESETS = dict(a=1)\n", r"mine\.py:1: PRESETS has to be a dictionary whose names are written out"),
        ("NAME = 'a'\nPRESETS = {NAME: 1}\n", r"mine\.py:2: PRESETS has to be a dictionary"),
    ],
)
def test_a_file_that_cannot_be_listed(tmp_path, monkeypatch, text, message) -> None:
    monkeypatch.setenv(methods.FOLDERS, str(tmp_path))
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ExtensionError, match=message):
        methods.names()


def test_missing_parts_and_folders_are_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "half.py").write_text('PRESETS = {"half": 1}\nCARD = 1\n')
    (tmp_path / "_helper.py").write_text("this is no Python")
    (tmp_path / "plain.py").write_text("x = 1\n")
    monkeypatch.setenv(methods.FOLDERS, str(tmp_path))
    assert "half" in methods.names()
    with pytest.raises(
        ExtensionError, match=r"half\.py is not a complete method: it lacks Options, sampler, objective, explain"
    ):
        methods.find("half")
    monkeypatch.setenv(methods.FOLDERS, str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="there is no folder"):
        methods.names()


def test_two_folders_may_have_files_of_one_name(tmp_path, monkeypatch) -> None:
    """Each is a module of its own."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        text = example().replace('"neighbours": Preset', f'"neighbours-{name}": Preset')
        (tmp_path / name / "same.py").write_text(text)
    monkeypatch.setenv(methods.FOLDERS, os.pathsep.join(str(tmp_path / name) for name in ("a", "b")))
    first, second = methods.find("neighbours-a")[0], methods.find("neighbours-b")[0]
    assert first is not second
    assert first.Options is not second.Options


def test_the_list_says_what_the_modules_say(folder) -> None:
    listed = methods.listing()
    assert "neighbours" in listed
    assert list(listed) == sorted(methods.names())
    for name, module in methods.presets().items():
        said = listed[name]
        assert said.summary == module.PRESETS[name].summary
        assert (said.encoders, said.pretraining_only) == (module.CARD.encoders, module.CARD.pretraining_only)


def test_the_list_imports_what_is_not_written_out(folder) -> None:
    path = folder / "neighbours.py"
    path.write_text(path.read_text().replace("        summary=", '        summary="" + '))
    assert methods.listing()["neighbours"].summary.startswith("a window finds the window")
