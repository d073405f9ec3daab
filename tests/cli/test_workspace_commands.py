"""What ``train`` and ``distill`` leave at the output and beside it: finished, stopped, killed while they overwrite."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path

import numpy as np
import orjson
import pytest
from test_kills import Killed, bytes_of, names

import labelling
import teachers
from pretrieve.core.files import MANIFEST
from pretrieve.core.types import Document
from pretrieve.pipeline.run.workspace import workspace_of

SMALL = ("--tracker", "none", "--set", "batch_size=16", "--set", "dimensions=16", "--set", "vocabulary_size=400")
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> tuple[Path, list[bytes]]:
    """Several megabytes of documents, and the long numbers that each has in its title and in its text."""
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(150)]
    lines, numbers = [], []
    for _ in range(300):
        title, body = ("".join(map(str, rng.integers(1, 10, 24))) for _ in range(2))
        text = f"{' '.join(rng.choice(words, 600))} {body}. {' '.join(rng.choice(words, 600))}."
        lines.append(orjson.dumps({"title": f"word1 {title}", "text": text}))
        numbers += [title.encode(), body.encode()]
    path = tmp_path_factory.mktemp("numbered") / "documents.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert path.stat().st_size > 2.2 * MEGABYTE, "a copy would be noticed"
    return path, numbers


def teacher(folder: Path, documents: Path) -> Path:
    """A transformer that reads the words of some documents, but not their long numbers."""
    lines = map(orjson.loads, documents.read_bytes().splitlines()[:40])
    texts = [re.sub(r"\d{9,}", "", line["text"]) for line in lines]
    return teachers.teacher(folder, [Document(id=str(n), text=text) for n, text in enumerate(texts)])


@pytest.mark.parametrize("base", ["static", "retrieval model", "teacher"])
def test_a_finished_model_is_little_more_than_its_weights(run, numbered, tmp_path, base) -> None:
    """And has no text of a document; nothing is left beside it."""
    documents, numbers = numbered
    out = tmp_path / "made" / "out"
    words = ["train", documents, "-o", out, "--steps", "2", *SMALL]
    words += ["--variants", "mix"] if base == "static" else []
    if base == "retrieval model":
        model = labelling.transformer_model(tmp_path / "base")
        (model / MANIFEST).unlink(missing_ok=True)
        words += ["--base", model]
    elif base == "teacher":
        teacher(tmp_path / "teacher", documents)
        words = ["distill", documents, "--teacher", tmp_path / "teacher", "-o", out, "--steps", "2", "--select"]
        words += ["--contrast-steps", "2", "--teacher-tokens", "2000", "--window", "32"]
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    assert names(out.parent) == {"out"}
    found = bytes_of(out)
    weights = sum(len(data) for name, data in found.items() if name.endswith(".safetensors") and "start" not in name)
    assert weights > 0
    assert sum(map(len, found.values())) <= 2 * weights + 2 * MEGABYTE
    for name, data in found.items():
        assert not [number for number in numbers if number in data], name


def test_a_stopped_run_says_where_its_workspace_is(documents, tmp_path) -> None:
    """While the vocabulary is read by a teacher, and while steps are taken."""
    teacher(tmp_path / "teacher", documents)
    for name, words, pattern in (
        ("train", ["--steps", "400", *SMALL, "--set", "save_every=2"], "checkpoints/*/step-*/MANIFEST.json"),
        ("distill", ["--teacher", tmp_path / "teacher"], "vocabulary.jsonl.parts/*.jsonl"),
    ):
        out = tmp_path / name / "out"
        stopped = Killed([name, documents, "-o", out, *words], tmp_path / f"{name}.log")
        code, lines = stopped.until(workspace_of(out), pattern).send(signal.SIGTERM)
        assert code == 143, stopped.log.read_text()
        assert len(lines) == 1
        assert f"{out}.work" in lines[0]
        assert "--resume" in lines[0]
        assert names(out.parent) == {"out.work"}


def test_a_model_that_is_trained_anew_is_searched_until_the_new_one_is_whole(run, documents, tmp_path) -> None:
    """train --overwrite, killed while it takes steps and at random: searches give what they gave."""
    out, index, chance = tmp_path / "out", tmp_path / "index", random.Random(5)
    words = ["train", documents, "-o", out, "--variants", "mix", *SMALL, "--set", "save_every=2"]
    search = ("search", index, "volcano number 8", "--json")
    assert run(*words, "--steps", 2).code == 0
    assert run("index", documents, "--model", out, "-o", index).code == 0
    old, hits = bytes_of(out), run(*search)
    assert hits.code == 0, hits.err
    for kill in (0, 10, *(chance.randrange(10, 60) for _ in range(3))):
        again = Killed([*words, "--steps", 12, "--seed", 1, "--overwrite"], tmp_path / "a.log")
        again.until(workspace_of(out), "checkpoints/mix/step-*/MANIFEST.json") if not kill else again.after(kill)
        assert run(*search).out == hits.out, "while the run works"
        assert again.send(signal.SIGKILL) == (-signal.SIGKILL, [])
        assert bytes_of(out) == old
        assert run(*search).out == hits.out
        assert names(tmp_path) <= {"out", "out.work", "index"}
    assert run(*words, "--steps", 12, "--seed", 1, "--overwrite").code == 0
    assert names(tmp_path) == {"out", "index"}
    assert bytes_of(out)["model.safetensors"] != old["model.safetensors"]
