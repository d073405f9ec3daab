"""An artefact that is changed in place is the one before or the one after, wherever its writer is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from pretrieve.core import commits, disk, files
from pretrieve.core.errors import StorageError, UsageError

# A child that kills itself at the k-th thing it asks of the disk.
WRITER = """
import os, signal, sys
from pathlib import Path
import numpy as np
from pretrieve.core import commits, disk

target, stop, value = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
seen = 0
def fault(operation, path):
    global seen
    seen += 1
    if seen == stop:
        os.kill(os.getpid(), signal.SIGKILL)
disk.fault_point = fault
with commits.revise(target, "store") as revision:
    number = revision.meta["next"]
    revision.drop("parts/")
    for name in ("numbers", "inner/numbers"):
        revision.folder.array(f"parts/{number}/{name}", np.full(100, value))
    revision.meta |= {"next": number + 1, "value": value}
print(seen)
"""


def write(target: Path, value: int, stop: int = 0) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", WRITER, str(target), str(stop), str(value)]
    return subprocess.run(command, capture_output=True, check=False)


def made(target: Path) -> Path:
    with files.create(target, "store", meta={"next": 2, "value": 1}) as folder:
        folder.array("parts/1/numbers", np.full(100, 1))
    return target


def value_of(target: Path) -> int:
    meta = files.read_manifest(target, "store")
    files.verify(target)
    names = orjson.loads((target / files.MANIFEST).read_bytes())["files"]
    assert all(set(files.load_array(target / name).tolist()) == {meta["value"]} for name in names)
    return int(meta["value"])


def test_killed_anywhere_it_is_whole(tmp_path: Path) -> None:
    points = int(write(made(tmp_path / "count"), 2).stdout)
    assert points > 10
    values = []
    for stop in [*range(1, points - 6, 3), *range(points - 6, points + 1)]:
        target = made(tmp_path / f"store{stop}")
        assert write(target, 2, stop).returncode == -signal.SIGKILL
        values.append(value_of(target))
        assert write(target, 3).returncode == 0
        assert value_of(target) == 3
        there = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
        assert there == {files.MANIFEST, *orjson.loads((target / files.MANIFEST).read_bytes())["files"]}, "swept"
    assert values == sorted(values)
    assert set(values) == {1, 2}


def test_a_call_that_fails_anywhere_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, count = made(tmp_path / "store"), 0
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}

    def fault(operation: str, path: Path) -> None:
        nonlocal count
        count += 1
        if count == stop:
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(disk, "fault_point", fault)
    for stop in range(1, 40):  # noqa: B007 - read by the fault
        count = 0
        try:
            with commits.revise(target, "store") as revision:
                revision.folder.array("parts/2/numbers", np.full(100, 2))
                revision.drop("parts/1/")
                revision.meta["value"] = 2
        except StorageError:
            if value_of(target) == 1:
                assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
                continue
        break
    assert value_of(target) == 2
    assert stop > 5


def test_what_is_no_artefact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"), commits.revise(tmp_path / "none", "store"):
        pass
