"""``pretrieve index --update`` and its kin, as users meet them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from test_bad_input import one_line

import labelling
from pretrieve.pipeline.update_index import _state

QUERY = "bamu kine lusi doki"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    labelling.static_model(folder / "model")
    labelling.static_model(folder / "other", prompts={"query": "doba ", "document": "nepo "})
    return folder


def texts(folder: Path, numbers: range, ending: str = "") -> Path:
    """A file for each document."""
    folder.mkdir(exist_ok=True)
    found = labelling.toy(40)[0]
    for number in numbers:
        (folder / f"{number}.txt").write_text(f"{found[number]['text']} {ending}")
    return folder


def hits(run, index: Path, *more: object) -> list[tuple[str, float]]:
    outcome = run("search", index, QUERY, "--json", "-k", 50, *more)
    assert outcome.code == 0, outcome.err
    return [(hit["id"], hit["score"]) for hit in json.loads(outcome.out)["hits"]]


def test_an_index_is_brought_up_to_date(run, made: Path, tmp_path: Path) -> None:
    docs, index = texts(tmp_path / "docs", range(30)), tmp_path / "index"
    fixed = ("--k1", "0.9", "--b", "0.4")
    assert run("index", docs, "--model", made / "model", "-o", index, *fixed).code == 0
    (docs / "3.txt").unlink()
    (docs / "4.txt").unlink()
    texts(docs, range(5, 6), "another end")
    texts(docs, range(30, 33))
    outcome = run("index", docs, "-o", index, "--update")
    assert outcome.code == 0, outcome.err
    assert "3 new, 1 changed, 2 removed, 27 unchanged; 4 encoded." in outcome.out
    assert run("index", docs, "--model", made / "model", "-o", tmp_path / "again", *fixed).code == 0
    assert hits(run, index, "--mode", "dense") == hits(run, tmp_path / "again", "--mode", "dense")
    assert hits(run, index, "--mode", "lexical") == hits(run, tmp_path / "again", "--mode", "lexical")
    outcome = run("index", docs, "-o", index, "--update", "--json")
    assert json.loads(outcome.out)["changes"] == {"new": 0, "changed": 0, "removed": 0, "unchanged": 31, "encoded": 0}
    more = texts(tmp_path / "more", range(33, 36))
    assert "3 new, 0 changed, 0 removed, 0 unchanged; 3 encoded." in run("index", more, "-o", index, "--add").out
    names = [name for name, _ in hits(run, index, "--mode", "dense") if "33" in name or "34" in name]
    (tmp_path / "ids").write_text("\n".join(names))
    outcome = run("index", "--delete", tmp_path / "ids", "-o", index)
    assert (outcome.code, outcome.out.strip()) == (0, "2 removed, 32 unchanged."), outcome.err
    said = run("index", "--compact", "-o", index).out
    assert "4 parts merged into one. 32 documents; 3 deleted ones dropped." in said
    assert len(hits(run, index, "--mode", "dense")) == 32
    assert run("verify", index).code == 0
    assert len(list((index / "parts").iterdir())) == 1


REFUSED = {
    "another model": (["--update", "--model", "{made}/other"], "was built with another configuration"),
    "usage of the model": (["--update", "--query-prompt", "x"], "knows how its model is used"),
    "fields": (["--update", "--text-field", "body"], "was read with no options of fields, and this update with"),
    "k1": (["--update", "--k1", "1"], "--k1 and --b: chosen when an index is built"),
    "stop words": (["--add", "--stop-words", "none"], "--stop-words: chosen when an index is built"),
    "vectors": (["--add", "--vectors", "v"], "--vectors: chosen when an index is built"),
    "overwrite": (["--update", "--overwrite"], "--overwrite: chosen when an index is built"),
    "passages": (["--update", "--passages"], "has whole documents, and this update asks for passages of 200 words"),
    "two commands": (["--update", "--add"], "--update and --add are two commands"),
    "watch alone": (["--model", "{made}/model", "--watch", "1"], "--watch is for --update"),
    "sources to delete": (["--delete", "ids"], "--delete reads no documents"),
    "no model": ([], "Missing option '--model'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(run, made: Path, tmp_path: Path, name: str) -> None:
    docs, index = texts(tmp_path / "docs", range(8)), tmp_path / "index"
    assert run("index", docs, "--model", made / "model", "-o", index).code == 0
    before = (index / "MANIFEST.json").read_bytes()
    options, said = REFUSED[name]
    outcome = run("index", docs, "-o", index, *(option.format(made=made) for option in options))
    assert outcome.code in (1, 2)
    assert said in one_line(outcome.err)
    assert (index / "MANIFEST.json").read_bytes() == before


def test_the_command_that_built_an_index_updates_it(run, made: Path, tmp_path: Path) -> None:
    docs, index = texts(tmp_path / "docs", range(8)), tmp_path / "index"
    words = ["index", docs, "-o", index, "--model", made / "model", "--passages", "--passage-words", 20]
    assert run(*words).code == 0
    texts(docs, range(8, 9))
    outcome = run(*words, "--update")
    assert outcome.code == 0, outcome.err
    assert "0 changed, 0 removed" in outcome.out
    assert "0 new" not in outcome.out
    assert "0 removed" in run(*words[:4], "--update").out, "without --passages it is the same"
    line = one_line(run(*words[:-1], 30, "--update").err)
    assert "has passages of 20 words, and this update asks for passages of 30 words: leave --passages out" in line


def test_an_update_that_reads_other_files_says_so(run, made: Path, tmp_path: Path) -> None:
    docs, index = texts(tmp_path / "docs", range(8)), tmp_path / "index"
    name = sorted(path.name for path in docs.iterdir())[0]
    assert run("index", docs, "-o", index, "--model", made / "model", "--exclude", name).code == 0
    same = run("index", docs, "-o", index, "--update", "--exclude", name)
    assert "was built with" not in same.err
    other = run("index", docs, "-o", index, "--update")
    said = (
        f"was built with --exclude {name}, this update has no --include or --exclude: what it does not read is removed."
    )
    assert said in other.err
    assert "1 new" in other.out
    assert "was built with" not in run("index", docs, "-o", index, "--add").err


def test_an_update_needs_an_index_and_sources(run, made: Path, tmp_path: Path) -> None:
    docs = texts(tmp_path / "docs", range(3))
    assert "no such folder" in one_line(run("index", docs, "-o", tmp_path / "none", "--update").err)
    assert "the documents are missing" in one_line(run("index", "-o", tmp_path / "none", "--update").err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs"]


def test_index_and_model_move_together_or_alone(run, made: Path, tmp_path: Path) -> None:
    docs, place = texts(tmp_path / "docs", range(20)), tmp_path / "a"
    for kind in ("static", "transformer"):
        for link in ((), ("--link-model",)):
            place.mkdir()
            model = (
                labelling.static_model(place / "model")
                if kind == "static"
                else labelling.transformer_model(place / "model")
            )
            assert run("index", docs, "--model", model, "-o", place / "index", *link).code == 0
            before = hits(run, place / "index")
            place.rename(tmp_path / "b")
            assert hits(run, tmp_path / "b" / "index") == before
            shutil.copytree(tmp_path / "b" / "index", tmp_path / "alone")
            outcome = run("search", tmp_path / "alone", QUERY)
            assert outcome.code == (2 if link else 0)
            if link:
                assert "no longer exists: put it back, give `pretrieve search` its new place" in one_line(outcome.err)
                moved = hits(run, tmp_path / "alone", "--model", tmp_path / "b" / "model")
                assert moved == before
                assert hits(run, tmp_path / "alone", "--mode", "lexical")
            else:
                assert hits(run, tmp_path / "alone") == before
            for folder in ("alone", "b"):
                shutil.rmtree(tmp_path / folder)


def test_a_trained_transformer_lies_in_the_index_without_its_start(run, tmp_path: Path) -> None:
    docs = texts(tmp_path / "docs", range(30))
    outcome = run(
        "train", docs, "-o", tmp_path / "model", "--method", "contriever-inbatch", "--steps", 1, "--tracker", "none",
        "--base", "new:layers=1,hidden=16,heads=2", "--set", "batch_size=8", "--set", "vocabulary_size=200",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "model" / "start" / "model.safetensors").is_file()
    outcome = run("index", docs, "--model", tmp_path / "model", "-o", tmp_path / "index")
    assert outcome.code == 0, outcome.err
    shutil.rmtree(tmp_path / "model")
    assert hits(run, tmp_path / "index")
    outcome = run("index", texts(docs, range(30, 33)), "-o", tmp_path / "index", "--update")
    assert outcome.code == 0, outcome.err
    assert "3 encoded" in outcome.out


def test_lexical_search_needs_no_model(made: Path, run, tmp_path: Path) -> None:
    """Nor torch, though the index was built with a transformer."""
    docs, index = texts(tmp_path / "docs", range(20)), tmp_path / "index"
    model = labelling.transformer_model(tmp_path / "model")
    assert run("index", docs, "--model", model, "-o", index).code == 0
    shutil.rmtree(model)
    code = (
        "import sys; sys.argv = ['pretrieve', 'search', sys.argv[1], sys.argv[2], '--mode', 'lexical', '--json']\n"
        "from pretrieve.cli.app import main\n"
        "try:\n    main()\nfinally:\n    assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(index), QUERY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hits"]


def test_a_folder_is_watched(run, made: Path, tmp_path: Path) -> None:
    docs, index = texts(tmp_path / "docs", range(10)), tmp_path / "index"
    assert run("index", docs, "--model", made / "model", "-o", index).code == 0
    command = [sys.executable, "-m", "pretrieve", "index", str(docs), "-o", str(index), "--update", "--watch", "0.2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None
        assert "0 new, 0 changed, 0 removed, 10 unchanged" in process.stdout.readline()
        texts(docs, range(10, 12))
        (docs / "0.txt").unlink()
        seen = [0, 0]
        while seen != [2, 1]:  # in one update, or in several
            words = process.stdout.readline().split()
            seen = [seen[0] + int(words[0]), seen[1] + int(words[4])]
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert len(hits(run, index, "--mode", "dense")) == 11


def test_a_watcher_is_killed_again_and_again(run, made: Path, tmp_path: Path) -> None:
    """At any moment: the index is whole, and the next watcher brings it to what the folder holds."""
    docs, index = texts(tmp_path / "docs", range(6)), tmp_path / "index"
    assert run("index", docs, "--model", made / "model", "-o", index).code == 0
    command = [sys.executable, "-m", "pretrieve", "index", str(docs), "-o", str(index), "--update", "--watch", "0.05"]
    chance = random.Random(3)
    for turn in range(6):
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it has looked once
            texts(docs, range(6 + 4 * turn, 10 + 4 * turn), f"turn {turn}")
            (docs / f"{turn}.txt").unlink()
            time.sleep(chance.random() * 0.6)
            process.kill()
        assert hits(run, index, "--mode", "lexical")
        outcome = run("verify", index)
        assert outcome.code == 0, outcome.err
    outcome = run("index", docs, "-o", index, "--update")
    assert outcome.code == 0, outcome.err
    assert run("index", docs, "--model", made / "model", "-o", tmp_path / "again").code == 0
    assert hits(run, index, "--mode", "dense") == hits(run, tmp_path / "again", "--mode", "dense")
    assert {path.name for path in tmp_path.iterdir()} == {"docs", "index", "again"}


def test_a_watcher_looks_while_folders_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.md").write_text("a")
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for number in range(20):
                (tmp_path / f"{number}" / "below").mkdir(parents=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"{number}")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(300):
            assert str(tmp_path / "kept" / "a.md") in [name for name, *_ in _state([str(tmp_path)])]
    finally:
        ended.set()
        other.join()
