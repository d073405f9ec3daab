"""The long benchmarks of pre-training, at toy size: they run, go on where they stopped, and leave rows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

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
    assert all(row["seconds_per_million"] > 0 and row["gigabytes_per_million"] > 0 for row in facts["model"].values())
    assert done.stdout.count("\n| ") == 1 + len(facts["model"])


@pytest.mark.slow
def test_speed_beside_sentence_transformers_at_toy_size(tmp_path) -> None:
    """Both sides of every row run; the trainer of sentence-transformers needs datasets."""
    rows = ["encoding"] if find_spec("datasets") is None else ["training", "cached", "static", "encoding"]
    done = run("speed_peers.py", "--toy", "--rounds", "1", "-o", tmp_path / "speed.json")
    assert done.returncode == 0, done.stderr
    found = orjson.loads((tmp_path / "speed.json").read_bytes())
    assert [row["row"] for row in found] == rows
    for row in found:
        assert row["ratio"] > 0
        assert all(len(runs) == 1 and runs[0]["peak_mb"] > 0 for runs in row["runs"].values())


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
