"""The place of a run: a mistake or an early stop leaves it as it was, and what took time stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrieve.core import aside, files
from pretrieve.core.errors import LockedError
from pretrieve.pipeline.run.workspace import hold


def content(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def failing(output: Path, *names: str, overwrite: bool = False) -> None:
    def run() -> None:
        with hold(output, overwrite=overwrite):
            fill(output, *names)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()


def test_a_place_that_was_missing_or_empty_is_so_again(tmp_path) -> None:
    failing(tmp_path / "new", "training/records")
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    failing(tmp_path / "empty", "training/records")
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    "work",
    ["checkpoints/step-5/x", "training/first/checkpoints/step-5/x", "training/negatives-bm25.jsonl",
     "training/negatives-bm25.jsonl.parts/000000000.jsonl", "negatives-bm25.jsonl.parts/000000000.jsonl"],
)  # fmt: skip
def test_what_took_time_stays(tmp_path, work) -> None:
    failing(tmp_path / "new", work)
    assert content(tmp_path / "new") == {work}


def test_what_is_overwritten_comes_back(tmp_path) -> None:
    before = fill(
        tmp_path / "model", files.MANIFEST, "weights", "checkpoints/step-9/x", "training/negatives-bm25.jsonl"
    )
    whole = content(before)
    failing(before, "training/records", "weights", overwrite=True)
    assert content(before) == whole
    failing(before, "checkpoints/step-1/x", overwrite=True)
    assert content(before) == {"checkpoints/step-1/x", *(f"{aside.BEFORE}/{name}" for name in whole)}
    failing(before, overwrite=True)
    assert content(before) == whole, "begun anew, and failed before there was anything"
    with hold(before, overwrite=True):
        assert content(before) == {f"{aside.BEFORE}/{name}" for name in whole}
        fill(before, files.MANIFEST)
    assert content(before) == {files.MANIFEST}


def test_killed_between_done_and_forgotten(tmp_path) -> None:
    """The new one is done; what it replaced does not come back."""
    fill(tmp_path, f"{aside.BEFORE}/old", files.MANIFEST, "new")
    failing(tmp_path, overwrite=True)
    assert content(tmp_path) == {files.MANIFEST, "new"}


def test_a_place_of_another_process_is_not_touched(tmp_path) -> None:
    with hold(tmp_path / "model"):
        fill(tmp_path / "model", "training/records")
        with pytest.raises(LockedError), hold(tmp_path / "model", overwrite=True):
            raise AssertionError
        assert content(tmp_path / "model") == {"training/records"}
