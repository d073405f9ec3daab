"""Setting aside: whole again wherever a kill came, and what took its place is never mixed with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrieve.core import aside, disk


class _KilledError(Exception):
    pass


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "inner").mkdir()
    for name in ("MANIFEST.json", "inner/weights", disk.LOCK):
        (tmp_path / name).write_text(name)
    return tmp_path


def content(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


WHOLE = {"MANIFEST.json", "inner/weights", disk.LOCK}


def killed_at(monkeypatch, count: int) -> None:
    left = [count]

    def fault(operation: str, path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _KilledError

    monkeypatch.setattr(disk, "fault_point", fault)


def test_set_aside_and_put_back(folder) -> None:
    aside.set_aside(folder)
    assert aside.names(folder) == []
    (folder / "new").write_text("new")
    aside.put_back(folder)
    assert content(folder) == WHOLE


@pytest.mark.parametrize("stop", range(3))
def test_killed_while_it_is_set_aside(folder, monkeypatch, stop) -> None:
    with monkeypatch.context() as patch:
        killed_at(patch, stop)
        with pytest.raises(_KilledError):
            aside.set_aside(folder)
    aside.mend(folder)
    assert content(folder) == WHOLE


@pytest.mark.parametrize("stop", range(3))
def test_killed_while_it_is_put_back(folder, monkeypatch, stop) -> None:
    aside.set_aside(folder)
    (folder / "half").write_text("half")
    with monkeypatch.context() as patch:
        killed_at(patch, stop)
        with pytest.raises(_KilledError):
            aside.put_back(folder)
    aside.mend(folder)
    if stop:
        assert content(folder) == WHOLE
    else:
        aside.put_back(folder)
        assert content(folder) == WHOLE


def test_what_was_first_is_kept(folder) -> None:
    """A second overwriting run removes what the first one left half-made, and not what stood there before it."""
    aside.set_aside(folder)
    (folder / "half").write_text("half")
    aside.set_aside(folder)
    assert aside.names(folder) == []
    aside.put_back(folder)
    assert content(folder) == WHOLE
    aside.set_aside(folder)
    aside.forget(folder)
    assert content(folder) == {disk.LOCK}
