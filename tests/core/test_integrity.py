"""What a reader notices: edited MANIFESTs, damaged blocks, files that nobody names; and a verify that never breaks."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pretrieve.cli.app import app
from pretrieve.core import files
from pretrieve.core.arrays import load_array, map_array
from pretrieve.core.blocks import BLOCK, BlockSums
from pretrieve.core.errors import CorruptError, PretrieveError, VersionError

SIZE = 3 * BLOCK // 8  # numbers in 3 MiB


def store(target: Path, kind: str = "store") -> Path:
    with files.create(target, kind, meta={"rate": 0.5}) as folder:
        folder.array("numbers", np.arange(SIZE))
        folder.write("empty", b"")
        folder.json("facts.json", {"a": 1})
    return target


def flip(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data)


def edit(target: Path, **changes: Any) -> None:
    manifest = orjson.loads((target / files.MANIFEST).read_bytes())
    (target / files.MANIFEST).write_bytes(orjson.dumps(manifest | changes))


@pytest.mark.parametrize(
    "changes",
    [{"meta": {"rate": 0.25}}, {"files": {}}, {"kind": "model"}, {"format": 0}, {"checksum": "0" * 64}, {"more": 1},
     {"checksum": None}, {"checksum": 7}],
)  # fmt: skip
def test_an_edited_manifest_is_noticed(tmp_path: Path, changes: dict[str, Any]) -> None:
    target = store(tmp_path / "store")
    edit(target, **changes)
    for look in (files.verify, lambda path: files.read_manifest(path, "store")):
        with pytest.raises(CorruptError, match=r"MANIFEST\.json is damaged"):
            look(target)


def test_every_flipped_bit_of_a_manifest_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    target = store(tmp_path / "store")
    whole = (target / files.MANIFEST).read_bytes()
    before = files.load_manifest(target, "store")
    for place in range(len(whole) * 8):
        if place % 7 == 0:  # a seventh of them, at every bit of a byte
            (target / files.MANIFEST).write_bytes(whole)
            flip(target / files.MANIFEST, place // 8, place % 8)
            with contextlib.suppress(PretrieveError):
                assert files.load_manifest(target, "store") == before


def test_manifests_of_earlier_versions_are_read_but_not_those_of_an_index(tmp_path: Path) -> None:
    for kind in ("store", "model", "documents", "checkpoint", "index"):
        target = store(tmp_path / kind, kind)
        manifest = orjson.loads((target / files.MANIFEST).read_bytes())
        del manifest["checksum"]
        for entry in manifest["files"].values():
            del entry["blocks"]
        (target / files.MANIFEST).write_bytes(orjson.dumps(manifest))
        if kind == "index":
            with pytest.raises(VersionError, match="index the documents again"):
                files.read_manifest(target, kind)
        else:
            assert files.read_manifest(target, kind) == {"rate": 0.5}
        assert files.verify(target)["files"] == 3


def test_a_block_is_checked_before_it_is_first_read(tmp_path: Path) -> None:
    target = store(tmp_path / "store")
    flip(target / "numbers", BLOCK + 500_000)  # the middle: its ends are whole
    assert files.read_manifest(target, "store")
    with files.reading(target, "store"):
        opened = map_array(target / "numbers")
    assert opened[1000:1003].tolist() == [1000, 1001, 1002], "the first block is whole"
    assert opened[SIZE - 2 : SIZE].tolist() == [SIZE - 2, SIZE - 1]
    with pytest.raises(CorruptError, match=r"numbers: bytes 1,048,576 to 2,097,152 have the checksum"):
        opened[1000 : BLOCK // 8 + 1]
    with pytest.raises(CorruptError, match="numbers: bytes"):
        opened.whole()
    with files.reading(target, "store"), pytest.raises(CorruptError, match="numbers: bytes"):
        load_array(target / "numbers")


def test_a_file_that_is_not_named_is_not_read(tmp_path: Path) -> None:
    target = store(tmp_path / "store")
    shutil.copy(target / "numbers", target / "others")
    with files.reading(target, "store"), pytest.raises(CorruptError, match=r"does not name .*others, which is needed"):
        load_array(target / "others")
    (target / "facts.json").unlink()
    with pytest.raises(CorruptError, match=r"facts\.json is missing"), files.reading(target, "store"):
        pass


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(0, 3 * BLOCK), max_size=6))
def test_blocks_do_not_depend_on_how_a_file_is_written(cuts: list[int]) -> None:
    data = bytes(range(256)) * (3 * BLOCK // 256) + b"end"
    whole, pieces = BlockSums(), BlockSums()
    whole.update(data)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        pieces.update(memoryview(data)[start:stop])
    assert pieces.blocks == whole.blocks
    assert len(whole.blocks) == 4 * 16


KEYS = ["format", "kind", "meta", "files", "bytes", "sha256", "ends", "blocks", "numbers", "..", "", "\0"]
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


def damage(target: Path, draw: random.Random) -> None:
    names = sorted(path for path in target.rglob("*") if path.is_file())
    path = draw.choice(names)
    kind = draw.randrange(5)
    if kind == 0 and path.stat().st_size:
        flip(path, draw.randrange(1 << 30), draw.randrange(8))
    elif kind == 1:
        path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size + 1)])
    elif kind == 2:
        path.unlink()
    elif kind == 3:
        path.unlink()
        path.mkdir()
    else:
        path.unlink()
        path.symlink_to(path)


def verified(target: Path) -> None:
    """`pretrieve verify` ends well, or with an error that the command line shows as one line."""
    result = CliRunner().invoke(app, ["verify", str(target)])
    assert result.exception is None or isinstance(result.exception, PretrieveError), repr(result.exception)
    assert "\n" not in str(result.exception)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_verify_never_breaks_whatever_is_damaged(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    target = tmp_path_factory.mktemp("damaged") / "store"
    with files.create(target, "store") as folder:
        folder.array("numbers", np.arange(100))
        folder.json("sub/facts.json", {"a": 1})
    draw = random.Random(seed)
    for _ in range(draw.randrange(1, 4)):
        damage(target, draw)
        if not any(path.is_file() for path in target.rglob("*")):
            break
    verified(target)


@settings(deadline=None, max_examples=150)
@given(value=SHAPES, inner=SHAPES, at=st.sampled_from(["format", "kind", "meta", "files", "entry", "all"]))
def test_verify_never_breaks_on_json_of_any_shape(
    tmp_path_factory: pytest.TempPathFactory, value: Any, inner: Any, at: str
) -> None:
    target = tmp_path_factory.mktemp("shapes") / "store"
    with files.create(target, "store") as folder:
        folder.array("numbers", np.arange(100))
    manifest = orjson.loads((target / files.MANIFEST).read_bytes())
    del manifest["checksum"]
    if at == "entry":
        manifest["files"]["numbers"] = value
        manifest["files"]["more"] = inner
    elif at != "all":
        manifest[at] = value
    try:
        text = orjson.dumps(value if at == "all" else manifest)
    except TypeError:  # integers of more than 64 bits
        text = json.dumps(value if at == "all" else manifest).encode()
    (target / files.MANIFEST).write_bytes(text)
    verified(target)
