"""One writer of files: whole or not at all, swapped in one step, every changed bit found, one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core import arrays, disk, files
from pretrieve.core.errors import CorruptError, LockedError, StorageError, UsageError, VersionError

# A child that kills itself at the k-th thing it asks of the disk.
WRITER = """
import os, signal, sys
from pathlib import Path
import numpy as np
from pretrieve.core import disk, files

target, stop, value = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
seen = 0
def fault(operation, path):
    global seen
    seen += 1
    if seen == stop:
        os.kill(os.getpid(), signal.SIGKILL)
disk.fault_point = fault
with files.create(target, "store", replace=True, meta={"value": value}) as folder:
    folder.array("numbers", np.full(1000, value))
    folder.json("facts.json", {"value": value})
print(seen)
"""


def write(target: Path, value: int, stop: int = 0) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", WRITER, str(target), str(stop), str(value)]
    return subprocess.run(command, capture_output=True, check=False)


def value_of(target: Path) -> int:
    meta = files.read_manifest(target, "store")
    files.verify(target)
    assert set(files.load_array(target / "numbers").tolist()) == {meta["value"]}
    assert orjson.loads((target / "facts.json").read_bytes()) == {"value": meta["value"]}
    return int(meta["value"])


@pytest.mark.parametrize("replacing", [False, True])
def test_killed_anywhere_the_artefact_is_whole_or_absent(tmp_path: Path, replacing: bool) -> None:
    target = tmp_path / "store"
    points = int(write(tmp_path / "count", 0).stdout)
    assert points > 6
    if replacing:
        write(target, 1)
    seen = set()
    for stop in range(1, points + 1):
        done = write(target, 2, stop)
        assert done.returncode == -signal.SIGKILL
        if target.exists():
            seen.add(value_of(target))
        else:
            assert not replacing
            with pytest.raises(UsageError, match="no such folder"):
                files.read_manifest(target, "store")
        if seen == {2} or 2 in seen:
            break  # it is there from now on
    assert seen <= {1, 2}
    assert (1 in seen) == replacing
    assert write(target, 3).returncode == 0
    assert value_of(target) == 3
    with disk.lock(tmp_path):
        files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "count", "store"]


def test_replacing_is_one_step(tmp_path: Path) -> None:
    """A reader in another process never finds the place empty while it is replaced many times."""
    target = tmp_path / "store"
    write(target, 0)
    script = (
        "import sys, time; from pathlib import Path\n"
        f"target = Path({str(target)!r}); end = time.time() + 2; print('ready', flush=True); count = 0\n"
        "while time.time() < end:\n"
        "    assert (target / 'MANIFEST.json').exists(); count += 1\n"
        "print(count)"
    )
    reader = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"ready\n"
    for value in range(1, 20):
        with files.create(target, "store", replace=True, meta={"value": value}) as folder:
            folder.array("numbers", np.full(10, value))
            folder.json("facts.json", {"value": value})
    assert int(reader.communicate()[0]) > 100
    assert reader.returncode == 0
    assert value_of(target) == 19


def test_killed_in_an_exchange_on_a_disk_that_knows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network drive may lack the one-step exchange: the two steps are completed by ``recover``."""
    target, new = tmp_path / "store", tmp_path / "new"
    write(target, 1)
    write(new, 2)

    class Killed(BaseException):
        pass

    def fault(operation: str, path: Path) -> None:
        raise Killed

    monkeypatch.setattr(disk.ctypes, "CDLL", lambda *_, **__: object())
    with monkeypatch.context() as patch:
        patch.setattr(disk, "fault_point", fault)
        with pytest.raises(Killed):
            disk.exchange(new, target)
    assert not target.exists()
    message = f"store was being replaced when its process was killed: rename {tmp_path}/.store.replaced to store."
    with pytest.raises(UsageError, match=re.escape(message)):
        files.read_manifest(target, "store")
    later = threading.Timer(0.2, lambda: disk.recover(target))
    later.start()
    assert value_of(target) == 1  # a reader waits for whoever is between the two steps
    later.join()
    disk.recover(target)
    assert value_of(target) == 1
    disk.exchange(new, target)
    assert (value_of(target), value_of(new)) == (2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "store"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), files.create(tmp_path / "store", "store") as folder:  # noqa: PT012
        folder.write("a", b"x")
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "store", 1)
    with pytest.raises(UsageError, match="--overwrite"), files.create(tmp_path / "store", "store"):
        pass
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    for replace in (False, True):
        with pytest.raises(UsageError, match="not made by pretrieve"), files.create(mine, "store", replace=replace):
            pass
    (tmp_path / "empty").mkdir()
    with files.create(tmp_path / "empty", "store") as folder:
        folder.write("a", b"x")
    assert files.verify(tmp_path / "empty")["files"] == 1
    assert (mine / "thesis.tex").read_text() == "x"


@settings(deadline=None, max_examples=60)
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7), name=st.sampled_from(["numbers", "facts.json"]))
def test_every_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int, name: str
) -> None:
    target = tmp_path_factory.mktemp("flip") / "store"
    with files.create(target, "store") as folder:
        folder.array("numbers", np.arange(30_000))
        folder.json("facts.json", {"a": 1})
    assert files.verify(target) == {"files": 2, "bytes": 240_128 + len(files.to_json({"a": 1}))}
    data = bytearray((target / name).read_bytes())
    data[position % len(data)] ^= 1 << bit
    (target / name).write_bytes(data)
    with pytest.raises(CorruptError, match=f"{name}: expected sha256"):
        files.verify(target)


def test_readers_accept_only_what_the_manifest_describes(tmp_path: Path) -> None:
    target = tmp_path / "store"
    write(target, 1)
    manifest = orjson.loads((target / files.MANIFEST).read_bytes())
    with pytest.raises(UsageError, match="is a store of pretrieve; an index was expected"):
        files.read_manifest(target, "index")
    with pytest.raises(UsageError, match="is a store of pretrieve; a model was expected"):
        files.read_manifest(target, "model")

    def put(**changes: object) -> None:
        (target / files.MANIFEST).write_bytes(orjson.dumps(manifest | changes))

    put(format=99)
    with pytest.raises(VersionError, match="format 99"):
        files.read_manifest(target, "store")
    del manifest["checksum"]  # as earlier versions wrote it
    for name in ("../outside", "/etc/passwd"):
        put(files={name: {"bytes": 1, "sha256": "0" * 64, "ends": "0" * 64}})
        with pytest.raises(CorruptError, match="points outside"):
            files.read_manifest(target, "store")
    for broken in (b"", b"{", b"[]", b'{"format": 1}', b'{"format": 1, "kind": "store", "files": [], "meta": {}}'):
        (target / files.MANIFEST).write_bytes(broken)
        with pytest.raises(CorruptError, match=r"MANIFEST\.json is damaged"):
            files.read_manifest(target, "store")
    (target / files.MANIFEST).unlink()
    with pytest.raises(UsageError, match="was not finished"):
        files.read_manifest(target, "store")


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(operation: str, path: Path) -> None:
        if operation == "write":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(disk, "fault_point", full)
    message = r"the disk is full \(at least 1,000 bytes are needed and [\d,]+ are free\)"
    with pytest.raises(StorageError, match=message), files.create(tmp_path / "store", "store") as folder:
        folder.write("a", bytes(1000))
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_who_holds_a_lock_is_known_though_its_name_is_written_a_moment_later(tmp_path: Path) -> None:
    with (tmp_path / disk.LOCK).open("wb", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        later = threading.Timer(0.05, held.write, [b"pid 7 on there"])
        later.start()
        with pytest.raises(LockedError, match="is being written by pid 7 on there: wait"), files.lock(tmp_path):
            pass
        later.join()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    script = (
        "import time; from pathlib import Path; from pretrieve.core import files\n"
        f"with files.lock(Path({str(tmp_path)!r})):\n    print('locked', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    with pytest.raises(LockedError, match=f"is being written by pid {holder.pid} on "), files.lock(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    for _ in range(50):  # the system releases it with the process
        try:
            with files.lock(tmp_path):
                break
        except LockedError:
            time.sleep(0.1)
    else:
        pytest.fail("the lock outlived its holder")


def test_who_waits_for_a_folder_that_is_removed_makes_it_again(tmp_path: Path) -> None:
    script = (
        "import time; from pathlib import Path; from pretrieve.core import files\n"
        f"print('waits', flush=True)\nwith files.lock(Path({str(tmp_path / 'run')!r}), wait=True):\n"
        f"    print((Path({str(tmp_path / 'run')!r}) / '.lock').exists(), flush=True)"
    )
    with files.lock(tmp_path / "run"):
        waiting = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waits\n"
        time.sleep(0.5)
        shutil.rmtree(tmp_path / "run")
    assert waiting.communicate(timeout=60)[0] == "True\n"
    assert waiting.returncode == 0


def test_adopt(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with files.create(target, "model", meta={"k": 1}) as folder:
        folder.path.joinpath("sub").mkdir()
        folder.path.joinpath("sub", "weights").write_bytes(b"12")
        folder.adopt()
        folder.write("a", b"x")
    assert files.read_manifest(target, "model") == {"k": 1}
    assert files.verify(target) == {"files": 2, "bytes": 3}
    assert sorted(path.name for path in target.iterdir()) == ["MANIFEST.json", "a", "sub"]


def test_a_single_file_appears_whole_or_not(tmp_path: Path) -> None:
    target = tmp_path / "new" / "bad.jsonl"
    with pytest.raises(RuntimeError, match="stop"), files.create_file(target) as file:  # noqa: PT012
        file.write(b"half")
        raise RuntimeError("stop")
    assert list(target.parent.iterdir()) == []
    for content in (b"one", b"two"):
        with files.create_file(target) as file:
            file.write(content)
        assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


numbers = st.sampled_from([np.uint8, np.uint16, np.int64, np.float32, np.bool_])


@settings(deadline=None, max_examples=60)
@given(dtype=numbers, shape=st.lists(st.integers(0, 5), min_size=0, max_size=3), mmap=st.booleans())
def test_arrays_round_trip(tmp_path_factory: pytest.TempPathFactory, dtype: type, shape: list[int], mmap: bool) -> None:
    path = tmp_path_factory.mktemp("array")
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    with files.create(path / "a", "store") as folder:
        folder.array("values", values)
        with folder.open("streamed") as file:
            file.write(arrays.array_header(values.dtype, (-1, *shape[1:])))
            file.write(values.tobytes())
    found = files.load_array(path / "a" / "values", mmap=mmap)
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert (found == values).all()
    if 0 not in shape[1:] and shape:
        assert (files.load_array(path / "a" / "streamed", mmap=mmap) == values).all()


@pytest.mark.parametrize(
    "header",
    [
        b"", b"{}", b"x" * 128, b'{"magic":"other","dtype":"<i8","shape":[2]}',
        b'{"magic":"pretrieve-array","dtype":"|O","shape":[2]}',
        b'{"magic":"pretrieve-array","dtype":"<i8","shape":[-2]}',
        b'{"magic":"pretrieve-array","dtype":"<i8","shape":[99999999999999999999]}',
        b'{"magic":"pretrieve-array","dtype":"nonsense","shape":[2]}', b'{"magic":"pretrieve-array","dtype":"<i8"}',
        b'{"magic":"pretrieve-array","dtype":"<i8","shape":[-1,0]}',
        b'{"magic":"pretrieve-array","dtype":"<i8","shape":[3]}',
        b'{"magic":"pretrieve-array","dtype":"<i4","shape":[-1,3]}',
    ],
)  # fmt: skip
def test_bad_headers_are_refused_before_allocation(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "array"
    path.write_bytes(header.ljust(127) + b"\n" + bytes(16))
    with pytest.raises(CorruptError, match="array"):
        files.load_array(path)


def test_fingerprints_are_of_values() -> None:
    assert files.fingerprint({"a": 1, "b": [2]}) == files.fingerprint({"b": [2], "a": 1})
    assert files.fingerprint({"a": 1}) != files.fingerprint({"a": 2})
    assert len(files.fingerprint(None)) == 16
