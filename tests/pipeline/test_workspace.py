"""The workspace of a run, beside its output, which stays as it is until the new one is whole."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from forks import start
from pretrieve.core import disk, files
from pretrieve.core.errors import CorruptError, LockedError, StorageError, UsageError
from pretrieve.pipeline.run.stopping import InterruptedRunError, stoppable
from pretrieve.pipeline.run.workspace import Workspace, check_workspace, workspace_of

WORTH = "checkpoints/step-5/x"


def make(output: Path, value: str, **options: bool) -> Path:
    """A finished run: a model of which each file holds the value."""
    with Workspace(output, **options) as work:
        fill(work.path, WORTH)
        publish(work, value)
    return output


def publish(work: Workspace, value: str, parts: int = 3) -> None:
    with work.publish("model", {"value": value}) as folder:
        for part in range(parts):
            folder.write(f"part-{part}", value.encode() * 1000)


def value_of(output: Path) -> str:
    files.verify(output)
    value = str(files.read_manifest(output, "model")["value"])
    assert {path.read_bytes() for path in output.glob("part-*")} == {value.encode() * 1000}
    return value


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stopped(output: Path, *made: str, **options: bool) -> None:
    """A run that ends with an error after it made some files."""

    def run() -> None:
        with Workspace(output, **options) as work:
            fill(work.path, *made)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()


def test_a_run_that_is_done_leaves_its_output_alone(tmp_path) -> None:
    make(tmp_path / "deep" / "model", "1")
    assert names(tmp_path / "deep") == {"model"}
    assert value_of(tmp_path / "deep" / "model") == "1"
    make(tmp_path / "deep" / "model", "2", overwrite=True)
    assert names(tmp_path / "deep") == {"model"}
    assert value_of(tmp_path / "deep" / "model") == "2"


def test_all_is_as_before_when_nothing_worth_resuming_was_made(tmp_path) -> None:
    stopped(tmp_path / "deep" / "model", "documents/text")
    assert names(tmp_path) == set(), "parents that were made are gone too"
    (tmp_path / "model").mkdir()
    stopped(tmp_path / "model", "documents/text")
    assert names(tmp_path) == {"model"}
    make(tmp_path / "model", "1")
    stopped(tmp_path / "model", "documents/text", overwrite=True)
    assert names(tmp_path) == {"model"}
    assert value_of(tmp_path / "model") == "1"


@pytest.mark.parametrize("work", [WORTH, "negatives-bm25.jsonl", "a.jsonl.parts/000000000.jsonl"])
def test_what_took_time_stays_and_is_resumed(tmp_path, work) -> None:
    output = tmp_path / "model"
    stopped(output, work, "documents/text")
    assert names(tmp_path) == {"model.work"}
    with pytest.raises(
        UsageError, match=r"an unfinished run, in .*model\.work: add --resume to continue, or --overwrite"
    ):
        make(output, "1")
    with Workspace(output, resume=True) as again:
        assert (again.path / work).is_file()
        assert (again.path / "documents/text").is_file()
        assert not again.finished
        publish(again, "1")
    assert names(tmp_path) == {"model"}
    with Workspace(output, resume=True) as again:
        assert again.finished
    assert names(tmp_path) == {"model"}


def test_an_unfinished_run_survives_a_mistake_of_the_one_that_replaces_it(tmp_path) -> None:
    output = tmp_path / "model"
    stopped(output, WORTH)
    stopped(output, "documents/text", overwrite=True)
    with Workspace(output, resume=True) as work:
        assert (work.path / WORTH).is_file()
        assert not (work.path / "documents").exists()
        shutil.rmtree(work.path / "checkpoints")
        fill(work.path, "checkpoints/step-1/y")
        publish(work, "1")
    stopped(output, WORTH, overwrite=True)
    stopped(output, "checkpoints/step-6/x", overwrite=True)
    with Workspace(output, resume=True) as work:
        assert not (work.path / WORTH).exists(), "begun anew, and worth resuming"
        assert (work.path / "checkpoints/step-6/x").is_file()


def test_kept_when_asked_for(tmp_path) -> None:
    output = make(tmp_path / "model", "1", keep=True)
    assert (workspace_of(output) / WORTH).is_file()
    with pytest.raises(UsageError, match="exists already"):
        make(output, "2")
    with Workspace(output, resume=True, keep=True) as work:
        assert work.finished
    make(output, "2", overwrite=True)
    assert names(tmp_path) == {"model"}


def test_only_what_was_to_be_replaced_is_replaced(tmp_path) -> None:
    """What came to the output while a run was stopped is not overwritten by --resume."""
    output = tmp_path / "model"
    stopped(output, WORTH)
    make(tmp_path / "other", "other")
    (tmp_path / "other").rename(output)
    with (
        pytest.raises(UsageError, match=r"is not what it was when the run in .* began"),
        Workspace(output, resume=True),
    ):
        pass
    assert value_of(output) == "other"
    assert (workspace_of(output) / WORTH).is_file()
    shutil.rmtree(output)
    with Workspace(output, resume=True) as work:
        publish(work, "1")
    stopped(output, WORTH, overwrite=True)
    with Workspace(output, resume=True) as work:
        publish(work, "2")
    assert value_of(output) == "2"


def test_somebody_elses_folder_is_not_used(tmp_path) -> None:
    fill(tmp_path / "model.work", "thesis.tex")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError, match="was not made by pretrieve"):
            check_workspace(tmp_path / "model", (), **options)
        with pytest.raises(UsageError, match="was not made by pretrieve"):
            make(tmp_path / "model", "1", **options)
    assert names(tmp_path / "model.work") == {"thesis.tex"}
    shutil.rmtree(tmp_path / "model.work")
    (tmp_path / "model.work").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="was not made by pretrieve"):
        make(tmp_path / "model", "1")
    fill(tmp_path / "mine", "thesis.tex")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError, match="was not made by pretrieve"):
            make(tmp_path / "mine", "1", **options)


def test_what_is_read_is_not_replaced(tmp_path) -> None:
    output = make(tmp_path / "model", "1", keep=True)
    for source in (output, output / "part-0", workspace_of(output) / WORTH):
        with pytest.raises(UsageError, match="would be overwritten"):
            check_workspace(output, [source], overwrite=True)
    check_workspace(output, [output], resume=True)


# Names of an output


@pytest.mark.parametrize("name", ["model", "./model", "model/", "../here/model", "sub/../model"])
def test_relative_names(tmp_path, monkeypatch, name) -> None:
    (tmp_path / "here" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with Workspace(Path(name)) as work:
        assert work.path == tmp_path / "here" / "model.work" / "run" == workspace_of(Path(name))
        publish(work, "1")
    make(Path(name), "2", overwrite=True)
    assert value_of(tmp_path / "here" / "model") == "2"
    assert names(tmp_path / "here") == {"model", "sub"}


def test_the_current_folder(tmp_path, monkeypatch) -> None:
    """Filled where it is empty, so that a shell goes on in it; never replaced under somebody's feet."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    inode = here.stat().st_ino
    make(Path(), "1")
    assert value_of(Path()) == "1"
    assert here.stat().st_ino == inode
    assert names(tmp_path) == {"here"}
    with pytest.raises(UsageError, match="cannot be replaced from within: run the command in another folder"):
        make(Path(), "2", overwrite=True)
    (here / "inner").mkdir()
    monkeypatch.chdir(here / "inner")
    with pytest.raises(UsageError, match="cannot be replaced from within"):
        make(here, "2", overwrite=True)
    assert value_of(here) == "1"
    with Workspace(Path(".."), resume=True) as work:
        assert work.finished


def test_a_link_is_followed(tmp_path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "model")
    for value in ("1", "2"):
        make(tmp_path / "link", value, overwrite=value == "2")
        assert (tmp_path / "link").is_symlink()
        assert value_of(tmp_path / "disk" / "model") == value
    assert names(tmp_path / "disk") == {"model"}


def test_a_root_or_a_mount_point_is_refused() -> None:
    for place in (Path("/"), Path("/proc")):
        with pytest.raises(UsageError, match=f"{place} (cannot be an output|is a mount point)"):
            make(place, "1")


# Disks that refuse


def unprivileged(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code as a user who has no rights."""
    drop = "import os\nif os.geteuid() == 0: os.setuid(65534)\n"
    imports = "import sys\nfrom pathlib import Path\nfrom pretrieve.pipeline.run.workspace import Workspace\n"
    command = [sys.executable, "-c", imports + drop + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("there", [False, True])
def test_a_parent_that_cannot_be_written(there) -> None:
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name) / "parent"
        (parent / "model").mkdir(parents=True) if there else parent.mkdir()
        Path(name).chmod(0o755)
        parent.chmod(0o555)
        done = unprivileged("with Workspace(Path(sys.argv[1])): pass", parent / "model")
        parent.chmod(0o755)
        assert f"{parent} cannot be written: Permission denied. Choose another place." in done.stderr
        assert names(parent) == ({"model"} if there else set())


@pytest.fixture
def small_disk(tmp_path):
    """A real disk of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_keeps_the_old_model_and_says_how_much_is_needed(small_disk) -> None:
    output = make(small_disk / "model", "1")

    def write() -> None:
        with Workspace(output, overwrite=True) as work, work.publish("model") as folder:
            folder.write("small", bytes(50_000))
            folder.write("large", bytes(1_000_000))

    with pytest.raises(StorageError, match=r"large: the disk is full \(at least 1,050,000 bytes are needed") as found:
        write()
    free = int(str(found.value).split(" are needed and ")[1].split()[0].replace(",", ""))
    assert abs(free - shutil.disk_usage(small_disk).free) < 20_000, "what is free when the half is removed"
    assert names(small_disk) == {"model"}
    assert value_of(output) == "1"


def test_a_disk_without_room_for_anything(small_disk) -> None:
    block = small_disk / "block"
    with pytest.raises(OSError, match="No space"), block.open("wb") as file:
        file.write(bytes(1 << 20))
    with pytest.raises(StorageError, match="the disk is full"):
        make(small_disk / "model", "1")
    assert names(small_disk) == {"block"}


# Signals and kills


class _KilledError(BaseException):
    pass


def points(monkeypatch, stop: int, work) -> int:
    """Do some work, stopping at the k-th thing that is asked of the disk; returns how many were asked."""
    seen = 0

    def fault(operation: str, path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == stop:
            raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(disk, "fault_point", fault)
        if stop:
            with pytest.raises(_KilledError):
                work()
        else:
            work()
    return seen


def test_stopped_at_every_operation_the_old_model_stays(tmp_path, monkeypatch) -> None:
    output = make(tmp_path / "model", "1")
    shutil.copytree(output, tmp_path / "copy")
    count = points(monkeypatch, 0, lambda: make(tmp_path / "copy", "2", overwrite=True))
    assert count > 15
    seen = []
    for stop in range(1, count + 1):
        points(monkeypatch, stop, lambda: make(output, "2", overwrite=True))
        seen.append(value_of(output))
        if seen[-1] == "2":
            break
        assert names(tmp_path) <= {"model", "copy", "model.work"}
    assert seen == ["1"] * (len(seen) - 1) + ["2"]
    with Workspace(output, resume=True) as work:
        assert work.finished
    assert names(tmp_path) == {"model", "copy"}


def overwrite_slowly(report, output: Path, value: str) -> None:
    """In a process of its own: replace a model, with a pause at each operation."""

    def pause(operation: str, path: Path) -> None:
        time.sleep(0.003)

    disk.fault_point = pause
    report.send("begins")
    with Workspace(output, overwrite=True) as work:
        fill(work.path, WORTH, "documents/text")
        publish(work, value, parts=20)
    report.send("done")


def test_killed_at_random_moments_a_reader_always_finds_a_whole_model(tmp_path) -> None:
    output, chance = make(tmp_path / "model", "0"), random.Random(5)
    values, killed = {"0"}, 0
    for number in range(1, 21):
        process, reports = start(overwrite_slowly, output, str(number))
        assert reports.recv() == "begins"
        values.add(str(number))
        deadline = time.monotonic() + chance.random() * 0.35
        while time.monotonic() < deadline:
            assert seen_whole(output) in values
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        assert value_of(output) in values
        assert names(tmp_path) <= {"model", "model.work"}
    assert killed > 5
    make(output, "last", overwrite=True)
    assert names(tmp_path) == {"model"}
    assert value_of(output) == "last"


def seen_whole(output: Path) -> str:
    """What a reader finds; one that opened the old just before the exchange looks again."""
    for _ in range(3):
        with contextlib.suppress(CorruptError, AssertionError):
            return value_of(output)
    return value_of(output)


def write_at_once(report, output: Path, value: str) -> None:
    """In a process of its own: make a model, or say that another process does."""
    try:
        with Workspace(output, overwrite=True) as work:
            publish(work, value)
        report.send(value)
    except LockedError as error:
        report.send(str(error))


def test_two_processes_at_once(tmp_path) -> None:
    """One wins, the other says who holds it; whoever waits comes next."""
    output = tmp_path / "model"
    with Workspace(output) as work:
        process, reports = start(write_at_once, output, "2")
        assert f"is being written by pid {os.getpid()} on" in reports.recv()
        process.join()
        waiting = threading.Thread(target=lambda: make(output, "3", overwrite=True, wait=True))
        waiting.start()
        time.sleep(0.2)
        publish(work, "1")
        assert value_of(output) == "1"
    waiting.join()
    assert value_of(output) == "3"
    for turn in range(5):
        started = [start(write_at_once, output, f"{turn}{number}") for number in range(3)]
        told = [reports.recv() for _, reports in started]
        for process, _ in started:
            process.join()
        winners = [text for text in told if text.isdigit()]
        assert winners
        assert all("is being written by pid" in text for text in told if not text.isdigit())
        assert value_of(output) in winners
        assert names(tmp_path) == {"model"}


def test_scratch_of_a_killed_run_is_swept(tmp_path) -> None:
    output = make(tmp_path / "model", "1")
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    pid = dead.stdout.decode().strip()
    living = f".pretrieve-model.{os.getppid()}.00000000"
    for name in (f".pretrieve-model.{pid}.0a", f".pretrieve-model.quarantine.jsonl.{pid}.0b", living,
                 f".pretrieve-model2.{pid}.0c", f"model.work/run/.pretrieve-output.{pid}.0d",
                 f"model.work/.pretrieve-x.{pid}.0e"):  # fmt: skip
        fill(tmp_path, f"{name}/file")
    make(output, "2", overwrite=True)
    assert names(tmp_path) == {"model", living, f".pretrieve-model2.{pid}.0c"}


def test_a_signal_says_what_is_kept(tmp_path) -> None:
    """The advice is that of the moment: before and after there is something to resume."""
    output = tmp_path / "model"

    def run(*made: str) -> str:
        work = Workspace(output)

        def interrupted() -> None:
            with stoppable(work.advice), work:
                fill(work.path, *made)
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)

        with pytest.raises(InterruptedRunError) as found:
            interrupted()
        assert found.value.exit_code == 143
        return str(found.value)

    assert run("documents/x") == (
        f"stopped by SIGTERM: {output} was not made; there is nothing to resume: run the same command again."
    )
    assert run(WORTH) == (
        f"stopped by SIGTERM: progress is saved in {tmp_path / 'model.work'}; add --resume to continue."
    )
    assert names(tmp_path) == {"model.work"}
