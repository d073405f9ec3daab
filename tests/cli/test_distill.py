"""``pretrieve distill`` on the command line: a kill costs nothing, and every mistake is one line."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import searching
import teachers
import writers
from looking import seen
from pretrieve.pipeline.run.workspace import workspace_of

FEW = ("--steps", "40", "--contrast-steps", "10", "--teacher-tokens", "20000", "--set", "batch_size=32",
       "--set", "save_every=5")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distilled")
    documents = writers.collection(folder / "documents.jsonl", 120)
    teachers.teacher(folder / "teacher", documents)
    searching.static_model(folder / "static", documents)
    for name in ("sparse", "several", "bare", "broken", "wordless"):
        teachers.teacher(folder / name, documents)
    kind = {"sparse": "SparseEncoder", "several": "MultiVectorEncoder"}
    for name, value in kind.items():
        (folder / name / "config_sentence_transformers.json").write_text(json.dumps({"model_type": value}))
    (folder / "bare" / "modules.json").unlink()
    (folder / "broken" / "model.safetensors").unlink()
    (folder / "wordless" / "tokenizer.json").unlink()
    return folder


def command(made: Path, *more: str) -> list[str]:
    code = "from pretrieve.cli.app import main; main()"
    return [sys.executable, "-c", code, "distill", str(made / "documents.jsonl"), "--teacher", str(made / "teacher"),
            *FEW, *more]  # fmt: skip


def sha(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_killed_run_gives_the_same_bytes(made, tmp_path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(command(made, "-o", str(tmp_path / "whole")), check=True, capture_output=True, env=environment)
    killed = tmp_path / "killed"
    work = workspace_of(killed)
    for pattern in ("vocabulary.jsonl.parts/*.jsonl", "checkpoints/distil/step-*/MANIFEST.json",
                    "checkpoints/contrast/step-*/MANIFEST.json"):  # fmt: skip
        resume = ("--resume",) if work.exists() else ()
        run = subprocess.Popen(command(made, "-o", str(killed), *resume), stderr=subprocess.DEVNULL, env=environment)
        while run.poll() is None and not seen(work, pattern):
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL, f"the run was over before it was killed at {pattern}"
    subprocess.run(command(made, "-o", str(killed), "--resume"), check=True, capture_output=True, env=environment)
    assert sha(killed) == sha(tmp_path / "whole")


def test_the_road(made, run, tmp_path) -> None:
    model = tmp_path / "model"
    outcome = run("distill", made / "documents.jsonl", "--teacher", made / "teacher", "-o", model, *FEW)
    assert outcome.code == 0, outcome.err
    assert "contrast is saved" in outcome.out
    assert run("index", made / "documents.jsonl", "--model", model, "-o", tmp_path / "index").code == 0
    assert run("search", tmp_path / "index", "lomi").code == 0
    assert run("verify", model).code == 0
    again = run("distill", made / "documents.jsonl", "--teacher", made / "teacher", "-o", model, *FEW, "--resume")
    assert again.code == 0
    assert "already finished" in again.err
    taken = run("distill", made / "documents.jsonl", "--teacher", made / "teacher", "-o", model, *FEW)
    assert taken.code == 2


@pytest.mark.parametrize(
    ("teacher", "more", "words"),
    [
        ("nothing/at/all", (), ["nothing/at/all", "no such folder"]),
        ("{}/static", (), ["static model already"]),
        ("{}/sparse", (), ["sparse model"]),
        ("{}/several", (), ["several vectors"]),
        ("{}/bare", (), ["modules.json", "pooling"]),
        ("{}/broken", (), ["broken"]),
        ("{}/wordless", (), ["wordless", "tokenizer.json"]),
        ("{}/documents.jsonl", (), ["not a folder"]),
        ("{}/teacher", ("--stages", "contrast"), ["nothing of the teacher"]),
        ("{}/teacher", ("--minutes", "1"), ["not both"]),
        ("{}/teacher", ("--dimensions", "99"), ["ask for 1 to 32"]),
        ("{}/teacher", ("--set", "temprature=1"), ["Did you mean 'temperature'"]),
        ("{}/teacher", ("--text-field", "body"), ["body"]),
    ],
)
def test_bad_input(made, run, tmp_path, teacher, more, words) -> None:
    output = tmp_path / "model"
    outcome = run("distill", made / "documents.jsonl", "--teacher", teacher.format(made), "-o", output, *FEW, *more)
    assert outcome.code in (1, 2)
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, outcome.err
    for word in words:
        assert word in outcome.err, outcome.err
    assert not output.exists()


def test_a_teacher_of_another_script_is_one_line(made, run, tmp_path) -> None:
    documents = tmp_path / "greek.jsonl"
    documents.write_text("\n".join(json.dumps({"text": "το ποτάμι κυλά αργά προς τη θάλασσα " * 6}) for _ in range(30)))
    output = tmp_path / "model"
    outcome = run("distill", documents, "--teacher", made / "teacher", "-o", output, *FEW)
    assert outcome.code == 1
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "choose a teacher that reads their language" in lines[0]
    assert not output.exists()


def test_help_is_fast_and_has_an_example() -> None:
    code = (
        "import sys; sys.argv = ['pretrieve', 'distill', '--help']\nfrom pretrieve.cli.app import main\n"
        "try: main()\nexcept SystemExit: print('LOADED', *{m.split('.')[0] for m in sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pretrieve distill docs/ --teacher" in found
    assert not {"torch", "numpy", "transformers", "scipy"} & set(found.split("LOADED")[1].split())
