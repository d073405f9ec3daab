"""The long benchmarks of pre-training, at toy size: they run, go on where they stopped, and leave rows."""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import orjson
import pytest

import labelling
import searching
import teachers
from pretrieve.evaluation.published_results import all_results

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_gpu_pretrain_at_toy_size(tmp_path) -> None:
    """Masked language model, four methods from it, tuning and judging of each; rows that `methods` can print."""
    output = tmp_path / "records" / "gpu-pretrain"
    done = run("gpu_pretrain.py", "--toy", "-o", output, "--work", tmp_path / "work", "--steps", "2")
    assert done.returncode == 0, done.stderr
    rows = all_results(output.parent)
    presets = {"mlm", "condenser", "retromae", "contriever-inbatch", "cocondenser"}
    assert {row["preset"] for row in rows} == presets
    assert len(rows) == 3 * len(presets)
    assert (tmp_path / "work" / "models" / "condenser" / "heads.safetensors").is_file()
    assert "from condenser" in next(row["base"] for row in rows if row["preset"] == "cocondenser")
    assert (output / "README.md").read_text().count("\n| ") == 1 + len(presets)
    (output / "mlm.json").unlink()
    late = run("gpu_pretrain.py", "--toy", "-o", output, "--work", tmp_path / "work", "--budget", "0")
    assert late.returncode == 1
    assert late.stdout.splitlines() == ["LEFT OUT mlm: no time is left"], late.stderr


@pytest.mark.slow
def test_pretraining_signals_goes_on_and_reports_what_fails(tmp_path) -> None:
    sys.path.insert(0, str(BENCHMARKS))
    from gpu_pretrain import generated

    output = tmp_path / "records" / "signals"
    data = generated(tmp_path / "texts") / "texts.jsonl"
    small = ("--work", tmp_path / "work", "--base", "new:layers=1,hidden=32", "--steps", "2", "--seeds", "0")
    done = run("pretraining_signals.py", data, "-o", output, *small, "--presets", "mlm", "no-such-preset")
    assert done.returncode == 1
    assert "FAILED no-such-preset seed 0" in done.stdout
    (row,) = [row for row in all_results(output.parent) if row["metric"] == "mlm"]
    kept = orjson.loads((output / "mlm-0.json").read_bytes())
    assert row["value"] == pytest.approx(kept["after"]["mlm"], abs=1e-6)
    assert row["start"] == pytest.approx(kept["before"]["mlm"], abs=1e-6)
    before = (output / "mlm-0.json").stat().st_mtime_ns
    assert run("pretraining_signals.py", data, "-o", output, *small, "--presets", "mlm").returncode == 0
    assert (output / "mlm-0.json").stat().st_mtime_ns == before, "what is done is not done again"


@pytest.mark.slow
def test_finetuning_compares_negatives_and_goes_on(tmp_path) -> None:
    labelling.beir(tmp_path / "toy", 80, 30)
    small = ("--work", tmp_path / "work", "--starts", "static", "--labels", "0", "--negatives", "none", "bm25", "mined")
    command = ("finetuning.py", tmp_path / "toy", "-o", tmp_path / "out", *small, "--seeds", "0", "1", "--steps", "2")
    done = run(*command)
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "work" / "runs").glob("*.json"))
    assert len(runs) == 1 + 2 * (1 + 3), "BM25, and for each seed the start and three models"
    (table,) = [orjson.loads(line) for line in (tmp_path / "out" / "tables.jsonl").read_bytes().splitlines()]
    kept = orjson.loads((tmp_path / "work" / "runs" / "toy-static-0-mined-1.json").read_bytes())["values"]["dense"]
    (cell,) = [cell for cell in table["cells"] if (cell["method"], cell["mode"]) == ("mined", "dense")]
    assert cell["seeds"][1] == pytest.approx(sum(kept) / len(kept))
    assert "mined − bm25" in (tmp_path / "out" / "tables.md").read_text()
    times = [path.stat().st_mtime_ns for path in runs]
    assert run(*command).returncode == 0
    assert [path.stat().st_mtime_ns for path in runs] == times, "what is done is not done again"


@pytest.mark.slow
def test_mining_is_the_same_after_kills(tmp_path) -> None:
    labelling.beir(tmp_path / "toy", 4000, 100)
    command = ("mining.py", tmp_path / "toy", "--by", "bm25", "--kills", "1", "-o", tmp_path / "mining.json")
    done = run(*command, "--work", tmp_path / "work")
    assert done.returncode == 0, done.stderr
    found = orjson.loads((tmp_path / "mining.json").read_bytes())
    assert (found["codes"], found["equal"], found["kills"]) == ([0, 0], True, 1)
    assert 20 < found["peak_mb"] < 1000


def test_a_symmetric_task_out_of_shared_documents(tmp_path) -> None:
    from pretrieve.text.beir import load_collection

    folder = tmp_path / "asymmetric"
    (folder / "qrels").mkdir(parents=True)
    labelling.lines(folder / "corpus.jsonl", [{"_id": f"d{n}", "text": f"text {n}"} for n in range(4)])
    labelling.lines(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"question {n}"} for n in range(5)])
    pairs = [("q0", "d0", 1), ("q1", "d0", 1), ("q2", "d0", 0), ("q2", "d1", 1), ("q1", "d1", 1), ("q3", "d3", 1)]
    rows = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in pairs)
    (folder / "qrels" / "dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    done = run("symmetric.py", folder, "-o", tmp_path / "out", "--split", "dev")
    assert done.returncode == 0, done.stderr
    made = load_collection(tmp_path / "out", "test")
    assert {name: set(judged) for name, judged in made.qrels.items()} == {
        "q0": {"q1"}, "q1": {"q0", "q2"}, "q2": {"q1"}
    }  # fmt: skip
    assert [document.id for document in made.documents] == ["q0", "q1", "q2", "q3"]


@pytest.mark.slow
def test_scale_model_at_toy_size(tmp_path) -> None:
    """Every stage has its cost for a million passages, and an error at sizes that were held out."""
    model = teachers.teacher(tmp_path / "model", searching.documents(40))
    done = run("scale_model.py", "--toy", "--rounds", "1", "--transformer", model, "-o", tmp_path / "scale")
    assert done.returncode == 0, done.stderr
    facts = orjson.loads((tmp_path / "scale" / "scale.json").read_bytes())
    assert set(facts["model"]) == {"read", "tokenize", "encode, static", "encode, transformer", "index"}
    for row in facts["model"].values():  # of a toy, the slope of a busy machine's times may be anything
        assert math.isfinite(row["seconds_per_million"])
        assert row["gigabytes_per_million"] > 0
    assert done.stdout.count("\n| ") == 1 + len(facts["model"])


@pytest.mark.slow
def test_scale_index_at_toy_size(tmp_path) -> None:
    """An index of each size is built and searched by the command line; what is known is not measured again."""
    output, work = tmp_path / "records", tmp_path / "work"
    common = ("scale_index.py", "-o", output, "--work", work, "--sizes", "200")
    done = run(*common, "--keep", "--steps", "build", "recall", "peers")
    assert done.returncode == 0, done.stderr
    facts = orjson.loads((output / "results.json").read_bytes())["200"]
    assert facts["build"]["peak"] >= facts["build"]["own"] > 1e7
    assert facts["build"]["disk"] > sum(facts["build"]["disk_of"].values()) > 200 * 1024  # vectors of 256 dimensions
    assert facts["recall"] == {"recall": 1.0, "queries": 200}
    assert facts["peer flat"]["recall"] == 1.0
    assert "| build, CPU s |" in (output / "README.md").read_text()
    again = run(*common, "--steps", "build", "recall", "peers")
    assert again.returncode == 0, again.stderr
    assert again.stdout == ""
    assert not (work / "200").exists()
    assert "give more text" in run(*common, "--text", output, "--model", "none").stderr


def test_gpu_speed_at_toy_size(tmp_path) -> None:
    """Every system has a row, or a reason why not; shares of the peak are of the work of packed rows."""
    output = tmp_path / "speed.json"
    done = run("gpu_speed.py", "--toy", "-o", output, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    found = orjson.loads(output.read_bytes())
    assert found["precision"] == "float32"
    rows = {(row["model"], row["system"]): row for row in found["rows"]}
    for model in ("bert-base", "modernbert-base"):
        for system in ("packed", "padded loop", "sentence-transformers", "gradient cache"):
            assert 0 < rows[model, system]["share_of_peak"] < 1, rows[model, system]
        assert {"tokens_per_second", "left_out"} & rows[model, "packed, compiled"].keys()
        assert rows[model, "sentence-transformers' trainer"]["tokens_per_second"] > 0
    assert rows["static", "static"]["tokens_per_second"] > 0
    late = run("gpu_speed.py", "--toy", "-o", output, "--device", "cpu", "--minutes", "0")
    assert {row["left_out"] for row in orjson.loads(output.read_bytes())["rows"]} == {"no time is left"}, late.stderr


def test_gpu_speed_keeps_its_time_and_what_it_has_measured(tmp_path, monkeypatch) -> None:
    sys.path.insert(0, str(BENCHMARKS))
    import gpu_speed
    import torch

    bench = gpu_speed.Bench(
        scale=gpu_speed.TOY, device=torch.device("cpu"), deadline=time.monotonic() + 2.0, batches={}
    )
    output, seen = tmp_path / "folder" / "speed.json", []

    def rows(_):
        yield "a", "works", 8, lambda: {"tokens_per_second": 1.0}
        yield "b", "fails", 8, lambda: [][0]
        seen.extend(orjson.loads(output.read_bytes())["rows"])
        yield "c", "never ends", 8, lambda: time.sleep(60) or {}
        yield "d", "is late", 8, lambda: {"tokens_per_second": 1.0}

    monkeypatch.setattr(gpu_speed, "rows_of", rows)
    began = time.monotonic()
    gpu_speed.table(bench, output)
    assert time.monotonic() - began < 20
    found = orjson.loads(output.read_bytes())["rows"]
    assert found[:2] == seen
    reasons = ["IndexError: list index out of range", "no time is left", "no time is left"]
    assert [row.get("left_out") for row in found] == [None, *reasons]


def test_speed_of_some_rows_is_merged(tmp_path) -> None:
    """Rows are measured in turns; a second run adds its row, and the page has the goals of both."""
    output = tmp_path / "speed"
    small = ("--toy", "--rounds", "2", "-o", output)
    done = run("speed.py", *small, "--only", "read-csv")
    assert done.returncode == 0, done.stderr
    before = orjson.loads((output / "results.json").read_bytes())["rows"]["read-csv"]
    assert run("speed.py", *small, "--only", "crops").returncode == 0
    rows = orjson.loads((output / "results.json").read_bytes())["rows"]
    assert rows["read-csv"] == before
    assert {side: len(runs) for side, runs in rows["crops"]["runs"].items()} == {
        "pretrieve": 2, "a loader of items": 2
    }  # fmt: skip
    rate, share = before["lines"]
    amount, (first, second) = before["amounts"]["pretrieve"]["MB"], before["runs"]["pretrieve"]
    assert rate["values"] == pytest.approx([amount / first["cpu"], amount / second["cpu"]])
    assert rate["met"] is (rate["value"] >= rate["goal"] == 100)
    other = before["runs"]["parser alone"]
    assert share["values"][1] == pytest.approx(other[1]["cpu"] / second["cpu"])
    page = (output / "README.md").read_text()
    assert page.count("≥ 100") == 1
    assert "toy size, 2 rounds" in page


def test_figures_of_a_toy_are_no_records() -> None:
    done = run("speed.py", "--toy", "-o", BENCHMARKS.parent / "records" / "speed")
    assert done.returncode == 2
    assert "figures of a toy are no records" in done.stderr


@pytest.mark.slow
def test_speed_beside_the_trainer_of_sentence_transformers(tmp_path) -> None:
    """Sides of a trainer run at toy size, and memory is measured in a process for each side."""
    pytest.importorskip("datasets")
    names = ["training", "cache", "moco", "static"]
    done = run("speed.py", "--toy", "--rounds", "1", "-o", tmp_path, "--only", *names)
    assert done.returncode == 0, done.stderr
    rows = orjson.loads((tmp_path / "results.json").read_bytes())["rows"]
    assert list(rows) == names
    for row in rows.values():
        assert all(line["value"] > 0 for line in row["lines"])
    assert all(runs[0]["added_mb"] > 0 for runs in rows["cache"]["runs"].values())


@pytest.mark.slow
@pytest.mark.parametrize("row", ["encoding", "bfloat16", "denormals", "query", "cold", "store", "methods", "search"])
def test_speed_of_a_row_without_a_trainer(tmp_path, row: str) -> None:
    done = run("speed.py", "--toy", "--rounds", "1", "-o", tmp_path, "--only", row)
    assert done.returncode == 0, done.stderr
    found = orjson.loads((tmp_path / "results.json").read_bytes())["rows"][row]
    assert found.get("missing") or all(line["value"] > 0 for line in found["lines"])


def test_goals_are_met_by_the_median() -> None:
    measure = speed_rows("measure")
    rounds = {
        "ours": [{"cpu": cpu, "wall": 2 * cpu, "added_mb": 10.0} for cpu in (1.0, 2.0, 4.0)],
        "theirs": [{"cpu": 4.0, "wall": 4.0, "added_mb": 50.0}] * 3,
    }
    amounts = {"ours": {"tokens": 10.0}, "theirs": {"tokens": 5.0}}
    line = partial(measure.Line, what="", side="ours", other="theirs")
    lines = (
        line(name="fast", unit="tokens", goal=4.0),  # 8, 4, 2 times as many tokens a second
        line(name="faster", unit="tokens", goal=4.1),
        line(name="time", kind="time", unit="tokens", goal=0.25),  # a token takes an eighth, a quarter, a half
        line(name="memory", kind="memory", goal=5.0),
        line(name="wait", kind="seconds", goal=3.9),
        line(name="rate", kind="rate", unit="tokens"),
    )
    found = measure.results(measure.Row(name="", what="", sides=lambda work: {}, lines=lines), rounds, amounts)
    assert [(row["value"], row["met"]) for row in found] == [
        (4.0, True), (4.0, False), (0.25, True), (5.0, True), (4.0, False), (5.0, None)
    ]  # fmt: skip
    assert (found[0]["low"], found[0]["high"]) == (2.0, 8.0)


def test_sides_take_turns() -> None:
    measure, order = speed_rows("measure"), []
    sides = {name: measure.Side(prepare=lambda name=name: lambda: order.append(name)) for name in "ab"}
    found = measure.in_turns(sides, rounds=3)
    assert "".join(order) == "ba" + "ab" + "ba" + "ab", "the first round is not counted"
    assert [len(runs) for runs in found.values()] == [3, 3]


def test_the_pages_show_the_recorded_speeds() -> None:
    """``python benchmarks/speed.py -o records/speed --table`` writes both."""
    table, rows = speed_rows("table"), speed_rows("").ROWS
    root = BENCHMARKS.parent
    found = orjson.loads((root / "records" / "speed" / "results.json").read_bytes())
    assert not any(row.get("toy") for row in found["rows"].values())
    assert table.shown_in((root / "README.md").read_text()) == table.readme(rows, found)
    assert (root / "records" / "speed" / "README.md").read_text() == table.page(rows, found)


def test_plain_moco_has_the_losses_of_the_method(tmp_path) -> None:
    """Without dropout, steps of the plain algorithm, the sides of one row, are those of the method."""
    work = speed_rows("measure").Work(tmp_path, toy=True)
    batches, make, plain = speed_rows("plain_moco").both(work, "transformer-0", steps=3)
    trainer, losses = make(), []
    trainer.on_step = lambda progress: losses.append(progress.loss)
    expected = [float(plain.step(batches(step))) for step in range(3)]
    trainer.run()
    assert losses == pytest.approx(expected, rel=1e-4)
    assert len(set(losses)) == 3


def speed_rows(module: str) -> ModuleType:
    """A module of the rows of ``benchmarks/speed.py``."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.insert(0, str(BENCHMARKS))
    return importlib.import_module(f"speed_rows.{module}" if module else "speed_rows")
