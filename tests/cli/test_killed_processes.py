"""A process of a run is killed (SIGKILL): the others end within seconds, and the run resumes on any number."""

from __future__ import annotations

from pathlib import Path

import pytest

import labelling
from launching import distance, kill_one, launch, room_of, torchrun, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes in /proc")
COMPARE = ("compare", "docs.jsonl", "--benchmark", "beir", "--methods", "contriever-inbatch", "--steps", "100",
           "--base", "new:layers=1,hidden=32,heads=2,dropout=0", "--set", "batch_size=8", "--set",
           "vocabulary_size=300", "--labels", "all", "--tune", "batch_size=8", "--tune", "steps=4",
           "-o", "table", "--seeds", "1")  # fmt: skip
FINETUNE = ("finetune", "start", "large", "--negatives", "mined", "--set", "batch_size=8", "--steps", "20",
            "--tracker", "none")  # fmt: skip
READ = ("read", "towns.jsonl", "--questions", "questions.jsonl", "--model", "towers", "--set", "batch_size=4",
        "--set", "block=48", "--set", "read=2", "--steps", "120", "--set", "save_every=10",
        "--tracker", "none")  # fmt: skip


@pytest.fixture(scope="module")
def room(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = room_of(things, tmp_path_factory.mktemp("killed") / "things")
    labelling.beir(folder / "large", 3000, 2000)
    return folder


def test_in_a_comparison(room: Path) -> None:
    started = torchrun(room, 2, *COMPARE)
    wait_for(room, "table/runs/contriever-inbatch-0.work/run/**/recipe.json", started)
    kill_one(started, 1, room / "launcher.log", "run the same command again to resume")
    assert not (room / "table" / "report.md").exists()
    codes, logs = launch(room, 4, *COMPARE)
    assert codes == [0] * 4, logs
    assert (room / "table" / "report.md").is_file()


@pytest.mark.parametrize("number", [0, 1])
def test_while_the_first_process_mines(room: Path, number: int) -> None:
    """The one that mines is killed, or one that waits for it."""
    output = f"tuned-{number}"
    started = torchrun(room, 2, *FINETUNE, "-o", output)
    wait_for(room, f"{output}.work/run/negatives-bm25.jsonl.parts/run.json", started)
    kill_one(started, number, room / "launcher.log", "stopped by SIGTERM: ")
    assert not (room / output).exists()
    codes, logs = launch(room, 4, *FINETUNE, "-o", output, "--resume") if number else ([0] * 4, [])
    assert codes == [0] * 4, logs


def test_while_a_reader_trains(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    whole = run(*READ, "-o", "whole")
    assert whole.code == 0, whole.err
    started = torchrun(room, 2, *READ, "-o", "broken")
    wait_for(room, "broken.work/run/checkpoints/step-*", started)
    kill_one(started, 1, room / "launcher.log", "add --resume to continue")
    assert not (room / "broken").exists()
    codes, logs = launch(room, 4, *READ, "-o", "broken", "--resume")
    assert codes == [0] * 4, logs
    assert distance(room / "whole", room / "broken") < 1e-4
