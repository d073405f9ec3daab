"""`pretrieve compare` for papers: LaTeX, CSV and values by query beside its report and rankings."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import labelling
from cli.conftest import Outcome
from pretrieve.evaluation.fair import fair_table
from pretrieve.evaluation.fair_paper import fair_csv, fair_latex


@pytest.fixture(scope="module")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers") / "beir"
    labelling.beir(folder, 80, 30)
    return folder


def words_of(beir: Path) -> tuple[object, ...]:
    """The base alone with the three seeds that are usual."""
    return ("compare", beir, "--benchmark", beir, "--methods", "none", "--base", "static", "--finetune", "",
            "--set", "dimensions=8", "--set", "vocabulary_size=300")  # fmt: skip


def one_line(outcome: Outcome) -> str:
    assert outcome.code == 2, outcome.out
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    return line


def test_all_outputs_in_one_call(run, beir, tmp_path) -> None:
    words = (*words_of(beir), "-o", tmp_path / "out")
    outcome = run(*words, "--per-query", tmp_path / "v.csv", "--latex", tmp_path / "t.tex", "--csv", "-",
                  "--html", tmp_path / "r.html")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert f"{tmp_path / 'r.html'}: the report" in outcome.err
    assert run("report", tmp_path / "out", "-o", tmp_path / "same.html").code == 0
    assert (tmp_path / "r.html").read_bytes() == (tmp_path / "same.html").read_bytes()
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert "3 seeds" in report["title"]
    assert (tmp_path / "out" / "report.svg").is_file(), "the picture, in the same call"
    table = list(csv.DictReader(outcome.out.splitlines()))
    assert [(line["method"], line["mode"]) for line in table] == [
        ("BM25", "lexical"), ("none", "dense"), ("none", "hybrid"),
    ]  # fmt: skip
    for line, cell in zip(table, report["cells"], strict=True):
        assert float(line["nDCG@10"]) == cell["mean"]
        assert [float(line[f"nDCG@10 {end}"]) for end in ("low", "high")] == cell["ci95"]
        assert int(line["seeds"]) == len(cell["seeds"]) == (1 if line["method"] == "BM25" else 3)
    with (tmp_path / "v.csv").open(newline="") as file:
        values = list(csv.DictReader(file))
    assert len(values) == 30 * (1 + 3 * 2)
    assert f"{tmp_path / 'v.csv'}: 210 lines" in outcome.err
    queries = [line.split("\t")[0] for line in (beir / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    assert {line["query"] for line in values} == set(queries)
    dense = [float(line["nDCG@10"]) for line in values if line["mode"] == "dense"]
    assert np.mean(dense) == pytest.approx(report["cells"][1]["mean"])
    again = run(*words, "--per-query", tmp_path / "v.parquet", "--latex", "-")
    assert again.out == (tmp_path / "t.tex").read_text()
    rows = pyarrow.parquet.read_table(tmp_path / "v.parquet").to_pylist()
    assert [{name: str(value) for name, value in line.items()} for line in rows] == values


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--latex", "-", "--json"), "print to standard output"),
        (("--csv", "x.out", "--per-query", "x.out"), "would both write"),
        (("--csv", "{}/qrels/test.tsv"), "would be overwritten"),
        (("--latex", "."), "it is a folder"),
        (("--html", "x.pdf"), "--html x.pdf: a report is an HTML file"),
        (("--html", "x.html", "--output-json", "x.data.json"), "would both write"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(run, beir, tmp_path, monkeypatch, words, reason) -> None:
    monkeypatch.chdir(tmp_path)
    given = [word.format(beir) for word in words]
    assert reason in one_line(run(*words_of(beir), "-o", "out", *given))
    assert not list(tmp_path.iterdir())


def test_marks_of_the_tables() -> None:
    """A method above the base with all seeds is marked; one that is better on the mean alone is not."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.4, size=200)
    gains = {"none": (0.0, 0.0), "a_b": (0.2, 0.25), "worse": (-0.1, -0.1), "torn": (0.2, -0.01)}
    scores = [
        {"method": method, "seed": seed, "labels": 50, "mode": "dense", "values": (base + gain).tolist()}
        for method, pair in gains.items()
        for seed, gain in enumerate(pair)
    ]
    scores.append({"method": "BM25", "seed": 0, "labels": None, "mode": "lexical", "values": base.tolist()})
    table = fair_table(scores, title="c_1 & d (test)", metric="RR@10", base="none")
    text = fair_latex(table)
    marked = dict(re.findall(r"^(\S+) & dense & (.*) \\\\$", text, flags=re.MULTILINE))
    assert marked.keys() == {"BM25", "none", r"a\_b", "worse", "torn"}
    assert r"\textbf{" in marked[r"a\_b"]
    assert "$^{*}$" in marked[r"a\_b"]
    assert r"$^{\dagger}$" in marked["worse"]
    assert not any("$^" in marked[name] for name in ("BM25", "none", "torn"))
    assert r"c\_1 \& d (test)" in text
    sides = {line["method"]: line["against none"] for line in csv.DictReader(fair_csv(table).splitlines())}
    assert sides == {"BM25": "", "none": "", "a_b": "above", "worse": "below", "torn": ""}
