"""``encode``: vectors as shards on disk, that kills, faults, and the number of processes do not change."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import orjson
import pytest

import forks
import searching
from looking import seen
from pretrieve.core.shards import shard_name
from pretrieve.core.types import Document
from pretrieve.models.bag import Bag
from pretrieve.pipeline.encode.shards import read_shard, write_shard

SIZE = ("--shard-size", "32")
DOCUMENTS = 100  # four shards, the last one short


def write_lines(path: Path, made: list[Document]) -> Path:
    lines = [{"id": one.id, "title": one.title, "text": one.text} for one in made]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Documents, a model, another model, and the vectors of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("made")
    texts = searching.documents(DOCUMENTS)
    write_lines(folder / "docs.jsonl", texts)
    searching.static_model(folder / "model", texts)
    searching.static_model(folder / "other", texts, seed=1)
    process, _ = forks.start(faulty, words(folder, folder / "whole"), str(folder / "log"), 0, False)
    process.join()
    assert process.exitcode == 0, (folder / "log").read_text()
    return folder


def words(made: Path, output: Path, *more: object) -> list[str]:
    return [*map(str, ["encode", made / "docs.jsonl", "--model", made / "model", "-o", output, *SIZE, *more])]


def tree(folder: Path) -> dict[str, str]:
    """The sha256 of every file, by its path; temporary files and locks included."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def faulty(report: Connection, line: list[str], log: str, stop: int, lossy: bool) -> None:
    """The command line, killed at the ``stop``-th operation of the disk; ``lossy`` halves what was not synced."""
    with Path(log).open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from pretrieve.cli.app import main
    from pretrieve.core import disk

    seen, synced, unsynced = 0, Path(), set[Path]()

    def fault(operation: str, path: Path) -> None:
        nonlocal seen, synced
        seen += 1
        unsynced.discard(synced)
        synced = path if operation == "fsync" else Path()
        if operation in ("open", "write"):
            unsynced.add(path)
        if seen == stop:
            for one in unsynced if lossy else ():
                if one.exists():
                    os.truncate(one, one.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    disk.fault_point = fault
    sys.argv = ["pretrieve", *line]
    try:
        main()
    finally:
        report.send(seen)


@pytest.mark.parametrize("lossy", [False, True])
def test_killed_at_every_operation_of_the_disk_it_continues_to_the_same_bytes(run, made, tmp_path, lossy) -> None:
    two = ("--shard-size", "64")
    assert run(*words(made, tmp_path / "whole", *two)).code == 0
    expected, kills, kept = tree(tmp_path / "whole"), 0, set()
    while True:
        output = tmp_path / f"v{kills}"
        process, reports = forks.start(faulty, words(made, output, *two), str(tmp_path / "log"), kills + 1, lossy)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "log").read_text()
        kills += 1
        before = {path: path.stat().st_mtime_ns for path in output.glob("shard-*/MANIFEST.json")}
        kept.add(len(before))
        again = run(*words(made, output, *two))
        assert again.code == 0, again.err
        assert tree(output) == expected
        assert all(path.stat().st_mtime_ns == moment for path, moment in before.items()), "a whole shard was redone"
    assert kills > 25
    assert reports.recv() == kills
    assert kept == {0, 1, 2}


def test_killed_at_random_moments_it_continues_to_the_same_bytes(made, tmp_path) -> None:
    """Real processes, killed again and again with no more than the time that a start takes."""
    output, chance, killed = tmp_path / "v", random.Random(7), 0
    command = [sys.executable, "-m", "pretrieve", *words(made, output, "--shard-size", "8")]
    begin = time.monotonic()
    reference = subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, capture_output=True)
    whole = time.monotonic() - begin
    assert b"13 encoded, 0 found" in reference.stdout
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(whole * chance.uniform(0.5, 1.0))
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL), err
    assert killed
    done = subprocess.run(command, check=True, capture_output=True)
    assert b"100 texts in 13 shards of 8" in done.stdout
    assert tree(output) == tree(tmp_path / "whole")


def test_two_processes_make_what_one_makes(made, tmp_path) -> None:
    output = tmp_path / "v"
    commands = [[sys.executable, "-m", "pretrieve", *words(made, output, "--shard", f"{part}/2")] for part in (0, 1)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    outs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all("4 shards of 32" in out and "2 encoded, 0 found" in out for out in outs)
    assert tree(output) == tree(made / "whole")


def test_a_part_says_what_others_have_to_write_and_the_same_part_twice_is_refused(run, made, tmp_path) -> None:
    output = tmp_path / "v"
    outcome = run(*words(made, output, "--shard", "1/2"))
    assert outcome.code == 0
    assert "2 encoded, 0 found" in outcome.out
    assert "not there yet: shard-000000, shard-000002." in outcome.out
    assert "Next:" not in outcome.out
    (output / ".writer-0-of-2").mkdir()
    from pretrieve.core import files

    with files.lock(output / ".writer-0-of-2"):
        refused = run(*words(made, output, "--shard", "0/2"))
    assert refused.code == 1
    assert "is being written by pid" in refused.err


def test_a_stopped_run_says_that_the_same_command_continues(made, tmp_path) -> None:
    command = [sys.executable, "-c", SLOW, *words(made, tmp_path / "v", "--shard-size", "1")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not seen(tmp_path, "v/shard-000001/MANIFEST.json"):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    err = process.communicate()[1]
    assert process.returncode == 143
    assert f"whole shards are kept in {tmp_path / 'v'}; run the same command again to continue" in err
    assert not list(tmp_path.glob("v/.*"))


SLOW = """
import time
from pretrieve.core import disk
disk.fault_point = lambda operation, path: time.sleep(0.01)
from pretrieve.cli.app import main
main()
"""


def by_numpy(shard: Path) -> tuple[list[str], np.ndarray]:
    return json.loads((shard / "ids.json").read_text()), np.load(shard / "vectors.npy")


def by_pyarrow(shard: Path) -> tuple[list[str], np.ndarray]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(shard / "vectors.parquet")
    return table["id"].to_pylist(), np.array(table["vector"].to_pylist())


def by_safetensors(shard: Path) -> tuple[list[str], np.ndarray]:
    from safetensors.numpy import load_file

    return json.loads((shard / "ids.json").read_text()), load_file(shard / "vectors.safetensors")["vectors"]


READERS = {"npy": by_numpy, "parquet": by_pyarrow, "safetensors": by_safetensors}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", READERS)
def test_shards_are_read_by_the_library_of_their_format(run, made, tmp_path, name, dtype) -> None:
    outcome = run(*words(made, tmp_path / "v", "--format", name, "--dtype", dtype))
    assert outcome.code == 0, outcome.err
    texts = [f"{one.title} {one.text}" for one in searching.documents(DOCUMENTS)]
    expected = Bag.load(made / "model").encode_documents(texts)
    parts = [READERS[name](shard) for shard in sorted((tmp_path / "v").iterdir())]
    assert [one for ids, _ in parts for one in ids] == [one.id for one in searching.documents(DOCUMENTS)]
    found = np.concatenate([vectors for _, vectors in parts])
    assert (found == expected.astype(dtype)).all()
    assert run("verify", tmp_path / "v" / "shard-000003").code == 0


@pytest.mark.parametrize("name", READERS)
def test_several_vectors_a_document(tmp_path, name) -> None:
    vectors = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    ids = ["a", "b\n", "ç", "'", "/"]
    write_shard(tmp_path, 0, ids, vectors, {"format": name, "count": 5, "shape": [3, 4]})
    shard = read_shard(tmp_path / shard_name(0))
    assert shard.ids == ids
    assert (shard.vectors == vectors).all()
    found, values = READERS[name](tmp_path / shard_name(0))
    assert (found, values.tolist()) == (ids, vectors.tolist())


REFUSED = {
    "another model": (("--model", "{}/other"), "is of another model (model "),
    "another length": (("--max-length", "3"), "is of another model (model "),
    "another precision": (("--dtype", "float16"), "shard-000000 was written with --dtype float32, and is now float16"),
    "another format": (("--format", "parquet"), "was written with --format npy, and is now parquet"),
    "another size": (("--shard-size", "33"), "was written with --shard-size 32, and is now 33"),
    "queries": (("--queries",), "was written with vectors of documents, and is now queries"),
    "other texts": (("--without-titles",), "shard-000000 is of other documents (fingerprint "),
    "a part of none": (("--shard", "2/2"), "the first of eight processes is 0/8"),
    "workers of nobody": (("--workers", "2"), "--engine ray"),
    "a part of a check": (("--shard", "0/2", "--check"), "--check looks at all shards"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_belong_to_the_shards_is_refused_and_they_stay(run, made, name) -> None:
    more, text = REFUSED[name]
    before = tree(made / "whole")
    outcome = run(*words(made, made / "whole", *(word.format(made) for word in more)))
    assert outcome.code in (1, 2)
    assert text in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert tree(made / "whole") == before


@pytest.mark.parametrize("count", [DOCUMENTS + 1, DOCUMENTS - 4, 90])
def test_a_collection_that_grew_or_shrank_is_refused(run, made, tmp_path, count) -> None:
    output = tmp_path / "v"
    assert run(*words(made, output)).code == 0
    lines = write_lines(tmp_path / "docs.jsonl", searching.documents(count) if count > 90 else searching.documents(64))
    outcome = run("encode", lines, "--model", made / "model", "-o", output, *SIZE)
    assert outcome.code == 1
    assert "give the same sources and options, or choose another folder" in outcome.err


@pytest.mark.parametrize("place", ["docs.jsonl", "model", "model/model.safetensors", "/proc/v"])
def test_a_place_that_is_no_place_for_vectors(run, made, place) -> None:
    before = tree(made)
    outcome = run(*words(made, made / place))
    assert outcome.code in (1, 2)
    assert len(outcome.err.strip().splitlines()) == 1
    assert tree(made) == before


def test_bad_documents_are_said_and_nothing_is_left(run, made, tmp_path) -> None:
    (tmp_path / "docs.jsonl").write_text('{"text": "one"}\n{broken\n')
    line = ("encode", tmp_path / "docs.jsonl", "--model", made / "model", "-o", tmp_path / "v")
    outcome = run(*line)
    assert outcome.code == 1
    assert "docs.jsonl:2" in outcome.err
    assert not (tmp_path / "v").exists()
    skipped = run(*line, "--on-bad", "skip")
    assert skipped.code == 0
    assert "1 texts in 1 shards" in skipped.out
    assert "1 " in skipped.err


def test_values_that_half_precision_cannot_hold_are_refused(run, made, tmp_path) -> None:
    texts = searching.documents(DOCUMENTS)
    folder = searching.static_model(tmp_path / "large", texts)
    from safetensors.numpy import load_file, save_file

    save_file({"embedding.weight": load_file(folder / "model.safetensors")["embedding.weight"] * 1e6},
              folder / "model.safetensors")  # fmt: skip
    line = words(made, tmp_path / "v", "--model", folder)
    outcome = run(*line, "--dtype", "float16")
    assert outcome.code == 1
    assert "use --dtype float32" in outcome.err
    assert run(*line).code == 0


def test_queries_are_encoded_as_queries_and_equal_texts_stay(run, made, tmp_path) -> None:
    folder = searching.beir(tmp_path / "beir", 60, 30)
    (tmp_path / "queries.jsonl").write_text("".join(f'{{"_id": "q{n}", "text": "kalomi"}}\n' for n in range(3)))
    line = ("--model", made / "model", "--queries", "--query-prompt", "kalolo ")
    assert run("encode", folder, "-o", tmp_path / "v", *line).code == 0
    shard = read_shard(tmp_path / "v" / shard_name(0))
    with_prompt = run("encode", folder, "-o", tmp_path / "v", *line[:3])
    assert "is of another model (described " in with_prompt.err
    assert len(shard.ids) == 30
    assert shard.ids[0] == "q0"
    assert run("encode", tmp_path / "queries.jsonl", "-o", tmp_path / "w", *line).code == 0
    assert len(read_shard(tmp_path / "w" / shard_name(0)).ids) == 3
    refused = run("index", made / "docs.jsonl", "--model", made / "model", "-o", tmp_path / "i", "--vectors",
                  tmp_path / "v")  # fmt: skip
    assert "holds vectors of queries" in refused.err
    assert "encode the documents" in refused.err


def test_a_full_disk_leaves_whole_shards_and_the_next_run_completes_them(run, made, tmp_path, monkeypatch) -> None:
    """At each write: one line with the path, no half shard, and the rest is written when there is room."""
    from pretrieve.core import disk

    expected, fails, output = tree(made / "whole"), 0, tmp_path / "v"
    for operation in ("write", "fsync", "rename"):
        for allowed in range(0, 40, 3):
            left = allowed

            def full(seen: str, path: Path, operation: str = operation) -> None:
                nonlocal left
                left -= seen == operation
                if left < 0:
                    raise OSError(errno.ENOSPC, "No space left on device", str(path))

            with monkeypatch.context() as patch:
                patch.setattr(disk, "fault_point", full)
                outcome = run(*words(made, output))
            if outcome.code == 0:
                break
            fails += 1
            assert "the disk is full" in outcome.err
            assert str(output) in outcome.err
            there = tree(output) if output.exists() else {}
            assert there.items() <= expected.items(), "something else than whole shards"
        assert run(*words(made, output)).code == 0
        assert tree(output) == expected
        for path in sorted(output.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    assert fails > 6


def test_a_damaged_shard_is_said_and_encoded_again(run, made, tmp_path) -> None:
    output = tmp_path / "v"
    assert run(*words(made, output)).code == 0
    (output / "shard-000001" / "vectors.npy").write_bytes(b"cut")
    damaged = run(*words(made, output, "--check"))
    assert damaged.code == 1
    assert "shard-000001/vectors.npy: expected" in damaged.err
    outcome = run(*words(made, output))
    assert outcome.code == 0
    assert "shard-000001/vectors.npy: expected" in outcome.err
    assert "it is encoded again" in outcome.err
    assert "1 encoded, 3 found" in outcome.out
    assert tree(output) == tree(made / "whole")


def test_check_names_what_is_missing(run, made, tmp_path) -> None:
    output = tmp_path / "v"
    assert run(*words(made, output, "--shard", "1/3")).code == 0
    outcome = run(*words(made, output, "--check"))
    assert outcome.code == 1
    assert "3 of 4 shards are missing: shard-000000, shard-000002, shard-000003 (the first holds" in outcome.err
    assert run(*words(made, output)).code == 0
    done = run(*words(made, output, "--check"))
    assert done.code == 0
    assert "0 encoded, 4 found" in done.out
    flip(output / "shard-000002" / "vectors.npy")
    assert "shard-000002/vectors.npy: expected sha256" in run(*words(made, output, "--check")).err


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def index(made: Path, output: Path, *more: object) -> list[object]:
    return ["index", made / "docs.jsonl", "--model", made / "model", "-o", output, *more]


@pytest.mark.parametrize("name", READERS)
def test_an_index_of_vectors_is_the_index_that_encodes(run, made, tmp_path, name) -> None:
    assert run(*words(made, tmp_path / "v", "--format", name)).code == 0
    assert run(*index(made, tmp_path / "a")).code == 0
    outcome = run(*index(made, tmp_path / "b", "--vectors", tmp_path / "v"))
    assert outcome.code == 0, outcome.err
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_an_index_of_half_precision_says_so(run, made, tmp_path) -> None:
    assert run(*words(made, tmp_path / "v", "--dtype", "float16")).code == 0
    outcome = run(*index(made, tmp_path / "b", "--vectors", tmp_path / "v"))
    assert outcome.code == 0
    assert "float16" in outcome.err
    assert run(*index(made, tmp_path / "a")).code == 0
    hits = [orjson.loads(run("search", tmp_path / name, "kalomi", "--json").out)["hits"][:3] for name in "ab"]
    assert [hit["id"] for hit in hits[0]] == [hit["id"] for hit in hits[1]]


def test_a_transformer(run, made, tmp_path) -> None:
    """Vectors of a model of torch: the index ranks alike."""
    import teachers

    texts = searching.documents(40)
    teachers.teacher(tmp_path / "teacher", texts)
    docs = write_lines(tmp_path / "docs.jsonl", texts)
    assert run("encode", docs, "--model", tmp_path / "teacher", "-o", tmp_path / "v", *SIZE).code == 0
    for name, more in (("a", ()), ("b", ("--vectors", tmp_path / "v"))):
        outcome = run("index", docs, "--model", tmp_path / "teacher", "-o", tmp_path / name, *more)
        assert outcome.code == 0, outcome.err
    from pretrieve.core.arrays import load_array

    first, second = (load_array(tmp_path / name / "parts" / "000001" / "vectors") for name in "ab")
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_an_index_refuses_vectors_that_are_not_all_of_its_documents(run, made, tmp_path) -> None:
    output, taken = tmp_path / "v", tmp_path / "i"
    line = index(made, taken, "--vectors", output)
    assert "holds no vectors: write them with `pretrieve encode`" in run(*line).err
    assert run(*words(made, output, "--shard", "0/2")).code == 0
    missing = run(*line)
    assert missing.code == 1
    assert "2 of 4 shards are missing: shard-000001, shard-000003 (the first holds documents 32 to 63)" in missing.err
    assert run(*words(made, output)).code == 0
    assert "is of another model" in run(*line, "--model", made / "other").err
    assert "is of other documents" in run(*line, "--without-titles").err
    more = write_lines(tmp_path / "more.jsonl", searching.documents(DOCUMENTS + 40))
    assert "1 of 5 shards are missing: shard-000004" in run("index", more, *line[2:]).err
    fewer = write_lines(tmp_path / "fewer.jsonl", searching.documents(DOCUMENTS - 1))
    assert "shard-000003 is of other documents" in run("index", fewer, *line[2:]).err
    fewest = write_lines(tmp_path / "fewest.jsonl", searching.documents(64))
    assert "shard-000002 is of documents that the sources do not have" in run("index", fewest, *line[2:]).err
    flip(output / "shard-000003" / "vectors.npy")
    assert "shard-000003/vectors.npy: expected sha256" in run(*line).err
    assert not taken.exists()


def test_a_bit_in_the_middle_of_a_large_shard(run, made, tmp_path) -> None:
    """Not in the ends of a file, which are looked at whenever it is opened."""
    docs = write_lines(tmp_path / "docs.jsonl", searching.documents(1000))
    line = ("encode", docs, "--model", made / "model", "-o", tmp_path / "v")
    assert run(*line).code == 0
    flip(tmp_path / "v" / "shard-000000" / "vectors.npy")
    assert run(*line).code == 0, "the ends are as they were"
    for refused in (run(*line, "--check"), run("index", docs, *line[2:4], "-o", tmp_path / "i", "--vectors", line[5])):
        assert refused.code == 1
        assert "shard-000000/vectors.npy: expected sha256" in refused.err


MEASURED = """
import sys
from pretrieve.cli.app import main
try:
    main()
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss has the parent's
    print(int(peak.split()[1]) >> 10, file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_collection(tmp_path) -> None:
    """Ten times the documents, whose vectors are 82 MB: less than 5 % more memory, and 512 MB are never needed."""
    texts = searching.documents(20_000, sentences=1)
    searching.static_model(tmp_path / "model", texts[:500], dimensions=1024)
    peaks = []
    for count in (2_000, 20_000):
        docs = write_lines(tmp_path / f"{count}.jsonl", texts[:count])
        line = ["encode", docs, "--model", tmp_path / "model", "-o", tmp_path / f"v{count}", "--shard-size", 1024]
        done = subprocess.run([sys.executable, "-c", MEASURED, *map(str, line)], capture_output=True, check=True)
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] < 1.05 * peaks[0] + 4, peaks
    assert peaks[1] < 512


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_real_small_disk(made, tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        command = [sys.executable, "-m", "pretrieve", *words(made, disk / "v", "--shard-size", "16")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "the disk is full" in done.stderr
        assert str(disk / "v") in done.stderr
        shards = sorted((disk / "v").iterdir())
        assert 0 < len(shards) < 7
        assert all(read_shard(shard).ids for shard in shards)
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f"{len(shards)} found" in done.stdout
    finally:
        subprocess.run(["umount", str(disk)], check=True)
