"""`pretrieve evaluate` for papers: runs, values by query, LaTeX, CSV, and runs of other systems beside models."""

from __future__ import annotations

import csv
import gzip
import json
import random
from itertools import pairwise
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow.parquet
import pytest

import searching
from cli.conftest import Outcome
from pretrieve.core.errors import UsageError
from pretrieve.evaluation import result as results
from pretrieve.evaluation.paper import letters, marks, to_latex
from pretrieve.text.beir_files import beir_lines
from pretrieve.text.trec_writing import falling_scores

METRICS = ("nDCG@10", "AP(rel=2)", "RR@10", "P@3", "R@1000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BEIR folder of 60 documents and 30 queries, with copies of documents, which tie, and TREC's qrels."""
    made = searching.beir(tmp_path / "tiny")
    for name in ("corpus", "queries"):
        packed = made / f"{name}.jsonl.gz"
        (made / f"{name}.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    records = [json.loads(line) for line in (made / "corpus.jsonl").read_text().splitlines()]
    copies = [{**record, "_id": f"c{record['_id']}"} for record in records]
    (made / "corpus.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in [*records, *copies]))
    lines = [line.split("\t") for line in (made / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    (made / "qrels" / "test.tsv").write_text("".join(f"{q} 0 {d} {grade}\n" for q, d, grade in lines))
    return made


def evaluated(run, *words: object) -> dict:
    outcome = run("evaluate", *words, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def one_line(outcome: Outcome) -> str:
    assert outcome.code in (1, 2), outcome.out
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    return line


def metric_words(names=METRICS) -> list[str]:
    return [word for name in names for word in ("--metric", name)]


def read_back(folder: Path, file: str, names=METRICS) -> dict[str, float]:
    qrels = list(ir_measures.read_trec_qrels(str(folder / "qrels" / "test.tsv")))
    measures = {ir_measures.parse_measure(name): name for name in names}
    found = ir_measures.calc_aggregate([*measures], qrels, list(ir_measures.read_trec_run(file)))
    return {measures[measure]: value for measure, value in found.items()}


def means(found: dict) -> dict[str, dict[str, float]]:
    return {f"{row['system']} ({row['mode']})": row["metrics"] for row in found["rows"]}


def test_a_run_read_back_gives_the_figures(run, folder, things, tmp_path) -> None:
    found = evaluated(run, folder, "--model", things / "static", *metric_words(), "--run", tmp_path / "runs")
    figures = means(found)
    assert set(found["runs"]) == set(figures)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "BM25.run", "static.dense.run", "static.hybrid.run",
    ]  # fmt: skip
    for name, file in found["runs"].items():
        assert read_back(folder, file) == pytest.approx(figures[name], abs=1e-12), name


def test_scores_of_a_run_fall_in_32_bits(run, folder, tmp_path) -> None:
    """Each document has a copy, so that its score ties."""
    assert run("evaluate", folder, "--run", tmp_path / "bm25.run").code == 0
    by_query: dict[str, list[float]] = {}
    for line in (tmp_path / "bm25.run").read_text().splitlines():
        query, _, _, rank, score, tag = line.split()
        by_query.setdefault(query, []).append(np.float32(score))
        assert (int(rank), tag) == (len(by_query[query]), "bm25")
    for scores in by_query.values():
        assert (np.diff(scores) < 0).all()


@pytest.mark.parametrize(
    "scores",
    [[2.0, 2.0, 2.0, 1.9999999], [0.0] * 50, [1e-30, 0.0, 0.0, -1e-31], [3.0, float("-inf")], [], [1e30, 1e30, 1.0]],
)
def test_falling_scores(scores) -> None:
    written = [np.float32(f"{score:.9g}") for score in falling_scores(np.array(scores))]
    assert len(written) == len(scores)
    assert all(a > b for a, b in pairwise(written))
    assert all(not score or abs(score) >= np.finfo(np.float32).tiny for score in written)


def test_names_of_run_files(run, folder, things, tmp_path) -> None:
    other = searching.static_model(tmp_path / "other" / "static", searching.documents(60), seed=1)
    words = ("evaluate", folder, "--model", things / "static")
    outcome = run(*words, "--mode", "dense", "--run", tmp_path / "one" / "a.run")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["a.run"]
    assert f"{tmp_path / 'one' / 'a.run'}: run of {things / 'static'} (dense)" in outcome.err
    run(*words, "--run", tmp_path / "two" / "a.run")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["a.static.dense.run", "a.static.hybrid.run"]
    found = evaluated(run, *words[1:], "--model", other, "--mode", "dense", "--run", tmp_path / "same" / "a.run")
    assert len({*found["runs"].values()}) == 2
    assert all(Path(file).is_file() for file in found["runs"].values())


def test_names_of_packed_run_files(run, folder, things, tmp_path) -> None:
    words = ("evaluate", folder, "--model", things / "static")
    assert run(*words, "--run", tmp_path / "a.run.gz").code == 0
    assert sorted(path.name for path in tmp_path.glob("a.*")) == ["a.static.dense.run.gz", "a.static.hybrid.run.gz"]
    assert run(*words, "--mode", "dense", "--run", tmp_path / "plain.run").code == 0
    line = (tmp_path / "plain.run").read_text().splitlines()[0]
    for ending in ("gz", "zst", "bz2", "xz"):
        path = tmp_path / f"plain.run.{ending}"
        assert run(*words, "--mode", "dense", "--run", path).code == 0
        assert [data.decode() for data, _ in beir_lines(path)] == (tmp_path / "plain.run").read_text().splitlines()
        assert "a TREC run" not in run("evaluate", folder, "--model", path).err
    assert line.endswith(" plain")


def spaced(folder: Path, kind: str, name: str = "a b") -> None:
    """Call the first document or query by a name with a blank."""
    path = folder / f"{kind}.jsonl"
    first = json.loads(path.read_text().splitlines()[0])["_id"]
    path.write_text(path.read_text().replace(f'"_id": "{first}"', f'"_id": "{name}"'))
    lines = [line.split() for line in (folder / "qrels" / "test.tsv").read_text().splitlines()]
    renamed = [[name if one == first else one for one in (q, d)] + [grade] for q, _, d, grade in lines]
    (folder / "qrels" / "test.tsv").write_text("".join("\t".join(line) + "\n" for line in renamed))


@pytest.mark.parametrize("kind", ["corpus", "queries"])
def test_ids_with_spaces_are_escaped_in_a_run(run, folder, tmp_path, kind) -> None:
    """Its figures are those of trec_eval with qrels that are written in the same way, and of ``evaluate`` again."""
    spaced(folder, kind)
    path = tmp_path / "a.run"
    outcome = run("evaluate", folder, "--run", path, "--json", *metric_words())
    assert "1 ids hold white space, which is written as %20; trec_eval's qrels need it too" in outcome.err
    figures = means(json.loads(outcome.out))["BM25 (lexical)"]
    qrels = (folder / "qrels" / "test.tsv").read_text()
    lines = [line.replace("a b", "a%20b").split("\t") for line in qrels.splitlines()]
    (folder / "qrels" / "test.tsv").write_text("".join(f"{q} 0 {d} {grade}\n" for q, d, grade in lines))
    assert " a%20b " in f" {path.read_text()}"
    assert read_back(folder, str(path)) == pytest.approx(figures, abs=1e-12)
    (folder / "qrels" / "test.tsv").write_text(qrels)
    again = evaluated(run, folder, "--model", path, *metric_words())
    assert means(again)[f"{path} (run)"] == pytest.approx(figures, abs=1e-12)
    assert again["notes"][str(path)]["run"]["escaped_ids"] == 1
    assert any("1 ids stand in it with %20 for white space" in line for line in again["warnings"])


def test_two_ids_that_would_be_one_in_a_run(run, folder, tmp_path) -> None:
    text = (folder / "corpus.jsonl").read_text()
    (folder / "corpus.jsonl").write_text(text.replace('"d001"', '"a b"').replace('"d002"', '"a%20b"'))
    line = one_line(run("evaluate", folder, "--run", tmp_path / "a.run", "--metric", "AP"))
    assert "'a b'" in line
    assert "'a%20b'" in line
    assert not (tmp_path / "a.run").exists()


def test_a_run_of_search_is_a_run_of_evaluate(run, folder, things, tmp_path) -> None:
    """The same ids, blanks and all, and the same scores; an index leaves copies out."""
    originals = [line for line in (folder / "corpus.jsonl").read_text().splitlines() if '"_id": "c' not in line]
    (folder / "corpus.jsonl").write_text("\n".join(originals))
    spaced(folder, "corpus")
    model = things / "static"
    assert run("index", folder / "corpus.jsonl", "--model", model, "-o", tmp_path / "index").code == 0
    searched = tmp_path / "searched.run"
    words = ("--queries", folder / "queries.jsonl", "--run", searched, "--mode", "dense", "-k", 100)
    outcome = run("search", tmp_path / "index", *words)
    assert "1 ids hold white space, which is written as %20; trec_eval's qrels need it too" in outcome.out
    figures = evaluated(run, folder, "--model", model, "--mode", "dense", "--run", tmp_path / "a.run", *metric_words())
    runs = [[line.split() for line in path.read_text().splitlines()] for path in (searched, tmp_path / "a.run")]
    assert [line[:5] for line in runs[0] if int(line[3]) <= 100] == [
        line[:5] for line in runs[1] if int(line[3]) <= 100
    ]
    again = means(evaluated(run, folder, "--model", searched, *metric_words()))[f"{searched} (run)"]
    expected = means(figures)[f"{model} (dense)"]
    assert {name: again[name] for name in ("nDCG@10", "RR@10")} == pytest.approx(
        {name: expected[name] for name in ("nDCG@10", "RR@10")}, abs=1e-12
    )


def test_metrics_that_one_run_cannot_give(run, folder, tmp_path) -> None:
    words = ("evaluate", folder, "--metric", "AP", "--metric", "P@2000")
    assert "AP sees 1,000 hits and another metric 2,000" in one_line(run(*words, "--run", tmp_path / "a.run"))
    assert run(*words).code == 0


def test_values_by_query(run, folder, things, tmp_path) -> None:
    words = (folder, "--model", things / "static", *metric_words())
    found = evaluated(run, *words, "--per-query", tmp_path / "values.csv")
    evaluated(run, *words, "--per-query", tmp_path / "values.parquet")
    with (tmp_path / "values.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["query", "system", "mode", *METRICS]
    assert len(lines) == 30 * 3
    for row in found["rows"]:
        own = [line for line in lines if (line["system"], line["mode"]) == (row["system"], row["mode"])]
        assert {line["query"] for line in own} == {f"q{number}" for number in range(30)}
        for metric, mean in row["metrics"].items():
            assert np.mean([float(line[metric]) for line in own]) == pytest.approx(mean, abs=1e-12)
    table = pyarrow.parquet.read_table(tmp_path / "values.parquet").to_pylist()
    assert [{name: str(value) for name, value in line.items()} for line in table] == lines


def test_csv_is_the_printed_table(run, folder, things) -> None:
    words = (folder, "--model", things / "static", *metric_words())
    found = evaluated(run, *words)
    outcome = run("evaluate", *words, "--csv", "-")
    lines = list(csv.DictReader(outcome.out.splitlines()))
    assert [line["row"] for line in lines] == ["a", "b", "c"]
    names = [f"{row['system']} ({row['mode']})" for row in found["rows"]]
    for line, row, name in zip(lines, found["rows"], names, strict=True):
        for metric in METRICS:
            assert float(line[metric]) == row["metrics"][metric]
            assert [float(line[f"{metric} {end}"]) for end in ("low", "high")] == row["ci95"][metric]
            worse = {
                test["b"] if test["a"] == name else test["a"]
                for test in found["tests"]
                if test["metric"] == metric and test["p_holm"] < 0.05
                and name == (test["a"] if test["difference"] > 0 else test["b"])
            }  # fmt: skip
            assert {names["abc".index(letter)] for letter in line[f"{metric} better than"]} == worse
    assert any(line["nDCG@10 better than"] for line in lines)


def test_latex_is_the_printed_table(run, folder, things, tmp_path) -> None:
    odd = tmp_path / r"50% of_a&b #1 {x} ~^$ a---b,,"
    odd.symlink_to(things / "static")
    found = evaluated(run, folder, "--model", odd, "--mode", "dense", "--latex", tmp_path / "t.tex")
    text = (tmp_path / "t.tex").read_text()
    assert run("evaluate", folder, "--model", odd, "--mode", "dense", "--latex", "-").out == text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    bm25, model = [line for line in text.splitlines() if line.startswith(("a & ", "b & "))]
    assert r"50\% of\_a\&b \#1 \{x\} \textasciitilde{}\textasciicircum{}\$ a-{}-{}-b,{}," in model
    assert bm25.replace(r"\&", "").count("&") == model.replace(r"\&", "").count("&") == 5
    first = found["rows"][0]
    low, high = first["ci95"]["nDCG@10"]
    assert rf"\textbf{{{first['metrics']['nDCG@10']:.4f}}}" in bm25
    assert f"({low:.3f} to {high:.3f})" in bm25
    assert r"$^{\mathrm{b}}$" in bm25
    assert r"\mathrm" not in model


def test_marks_name_the_rows_that_are_worse() -> None:
    def test(a: str, b: str, difference: float, p: float, metric: str = "P@1") -> results.Test:
        names = (f"{a} (dense)", f"{b} (dense)")
        return results.Test(a=names[0], b=names[1], metric=metric, difference=difference, p=p / 2, p_holm=p)

    rows = [results.Row(system=name, mode="dense", values={"P@1": np.array([0.5, 1.0])}) for name in "xyzw"]
    tests = [
        test("y", "x", 0.1, 0.01),
        test("z", "x", -0.1, 0.01),
        test("z", "y", -0.2, 0.049),
        test("z", "y", 1, 0, "X"),
        test("w", "z", 0.4, 0.06),  # significant only before the correction
    ]
    result = results.Result(collection="c_1", split="test", queries=["1", "2"], rows=rows, tests=tests)
    assert letters(result) == {"x (dense)": "a", "y (dense)": "b", "z (dense)": "c", "w (dense)": "d"}
    assert marks(result, "P@1") == {"x (dense)": "c", "y (dense)": "ac", "z (dense)": "", "w (dense)": ""}
    assert r"c\_1 (test)" in to_latex(result)
    many = [results.Row(system=str(n), mode="dense", values={"P@1": np.zeros(2)}) for n in range(28)]
    result = results.Result(collection="c", split="t", queries=["1", "2"], rows=many, tests=[])
    assert [*letters(result).values()][25:] == ["z", "aa", "ab"]


def test_a_run_beside_a_model(run, folder, things, tmp_path) -> None:
    """A model's run, judged as a run, has the model's figures and is tested against every row."""
    words = (folder, "--model", things / "static", *metric_words())
    evaluated(run, *words, "--mode", "dense", "--run", tmp_path / "a.run")
    (tmp_path / "a.run.gz").write_bytes(gzip.compress((tmp_path / "a.run").read_bytes()))
    found = evaluated(run, *words, "--model", tmp_path / "a.run", "--model", tmp_path / "a.run.gz")
    figures = means(found)
    for name in (tmp_path / "a.run", tmp_path / "a.run.gz"):
        assert figures[f"{name} (run)"] == pytest.approx(figures[f"{things / 'static'} (dense)"], abs=1e-12)
    tested = {(test["a"], test["b"]) for test in found["tests"]}
    assert {b for a, b in tested if a == f"{tmp_path / 'a.run'} (run)"} == set(list(figures)[:3])
    assert found["warnings"] == evaluated(run, *words)["warnings"]


def test_the_order_of_a_run_is_that_of_trec_eval(run, folder, tmp_path) -> None:
    """Lines are shuffled, ranks are wrong, scores tie, some in 32 bits only; one query is missing, one unknown."""
    rng = random.Random(3)
    lines = [
        f"q{query} Q0 {document} {rank} {rng.choice(['2', '1.5', '1.50000000001', '-1e-3'])} x"
        for query in range(29)
        for rank, document in enumerate(rng.sample([f"d{n:03}" for n in range(60)] + ["strange"], 40), start=1)
    ]
    rng.shuffle(lines)
    lines.append("nobody Q0 d001 1 2.5 x")
    path = tmp_path / "theirs.txt"
    path.write_text("\n".join(lines))
    names = ("nDCG@10", "AP(rel=2)", "RR", "P@3", "R@1000")  # ir-measures orders ties the other way for RR@k
    found = evaluated(run, folder, "--model", path, *metric_words(names))
    assert means(found)[f"{path} (run)"] == pytest.approx(read_back(folder, str(path), names), abs=1e-12)
    facts = found["notes"][str(path)]["run"]
    assert (facts["unknown_documents"], facts["unknown_queries"], facts["queries_without_hits"]) == (1, 1, 1)
    assert facts["lines"] == len(lines)
    assert facts["tied_hits"] == 29 * 40 - 29 * 3
    assert facts["queries_with_other_ranks"] == 29
    told = " ".join(run("evaluate", folder, "--model", path).out.split())
    for line in (
        "1 documents are not in the corpus", "1 queries have no qrels", "no hits for 1 of 30 queries; they count 0",
        "1,073 hits have the score of another", "another order than scores in 29 queries",
    ):  # fmt: skip
        assert f"Note: {path}: {line}" in told or line in told


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q1 Q0 d001 2 1.0", "5 columns; a run has six"),
        ("q1 Q0 d 001 2 1.0 x", "7 columns; a run has six"),
        ("q1 Q0 d001 two 1.0 x", "two numbers were expected"),
        ("q1 Q0 d001 2 nan x", "the score is not a number"),
        ("q1 Q0 d000 2 1.0 x", "has document 'd000' in a line before"),
    ],
)
def test_a_bad_line_of_a_run(run, folder, tmp_path, line, reason) -> None:
    path = tmp_path / "theirs.run"
    path.write_text(f"q1 Q0 d000 1 2.0 x\n{line}\n")
    told = one_line(run("evaluate", folder, "--model", path))
    assert f"{path}:2: " in told
    assert reason in told


def test_passages_in_a_run(run, folder, tmp_path) -> None:
    path = tmp_path / "theirs.run"
    path.write_text("q1 Q0 d000 1 2.0 x\nq1 Q0 d001 2 1.5 x\nq1 Q0 d001 3 3.0 x\n")
    found = evaluated(run, folder, "--model", path, "--max-passage")
    assert found["notes"][str(path)]["run"]["repeated_documents"] == 1


def test_a_run_of_other_queries_and_a_file_that_is_no_run(run, folder, things, tmp_path) -> None:
    path = tmp_path / "theirs.run"
    path.write_text("x1 Q0 d000 1 2.0 x\n")
    assert "none of its 1 queries has qrels" in one_line(run("evaluate", folder, "--model", path))
    path.write_text("q1 d000 2.0\n")
    assert f"{path}: a file that is no TREC run" in one_line(run("evaluate", folder, "--model", path))
    assert "a file that is no TREC run" in one_line(run("evaluate", folder, "--model", things / "static/modules.json"))


def test_drop_same_id_holds_for_runs(run, tmp_path) -> None:
    folder = searching.beir(tmp_path / "tiny")
    path = tmp_path / "theirs.run"
    path.write_text("q1 Q0 q1 1 3.0 x\nq1 Q0 d000 2 2.0 x\nq1 Q0 d001 3 1.0 x\n")
    qrels = (folder / "qrels" / "test.tsv").read_text().splitlines()
    (relevant,) = [line.split("\t")[1] for line in qrels if line.startswith("q1\t") and line.endswith("\t2")]
    path.write_text(f"q1 Q0 q1 1 3.0 x\nq1 Q0 {relevant} 2 2.0 x\n")
    values = [
        means(evaluated(run, folder, "--model", path, "--metric", "RR@10", *words))[f"{path} (run)"]["RR@10"]
        for words in ((), ("--drop-same-id",))
    ]
    assert values == pytest.approx([0.5 / 30, 1 / 30])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--latex", "x.out", "--csv", "x.out"), "would both write"),
        (("--latex", "-", "--csv", "-"), "print to standard output"),
        (("--latex", "-", "--json"), "print to standard output"),
        (("--run", "-"), "give the name of a file"),
        (("--per-query", "."), "it is a folder"),
        (("--html", "x.out"), "--html x.out: a report is an HTML file"),
        (("--csv", "tiny/corpus.jsonl/x.csv"), "is not a folder"),
        (("--csv", "theirs.run", "--model", "theirs.run"), "would be overwritten"),
        (("--run", "theirs.run", "--model", "theirs.run"), "would be overwritten"),
        (("--run", "tiny/corpus.jsonl"), "would be overwritten"),
        (("--csv", "tiny/qrels/test.tsv"), "would be overwritten"),
    ],
)
def test_files_that_cannot_be_written(run, folder, monkeypatch, words, reason) -> None:
    monkeypatch.chdir(folder.parent)
    Path("theirs.run").write_text("q1 Q0 d000 1 2.0 x\n")
    before = (folder / "corpus.jsonl").read_bytes()
    assert reason in one_line(run("evaluate", folder, *words))
    assert Path("theirs.run").read_text() == "q1 Q0 d000 1 2.0 x\n"
    assert (folder / "corpus.jsonl").read_bytes() == before
    assert not Path("x.out").exists()


@pytest.fixture
def languages(folder, tmp_path) -> Path:
    """The same collection in two languages, which are the same words."""
    made = tmp_path / "both"
    for code in ("de", "en"):
        for kind in ("corpus", "queries"):
            (made / kind).mkdir(parents=True, exist_ok=True)
            (made / kind / f"{code}.jsonl").write_bytes((folder / f"{kind}.jsonl").read_bytes())
    (made / "qrels").mkdir()
    (made / "qrels" / "test.tsv").write_bytes((folder / "qrels" / "test.tsv").read_bytes())
    return made


def test_runs_are_of_one_language(run, languages, tmp_path) -> None:
    assert "--run is for one language" in one_line(run("evaluate", languages, "--run", tmp_path / "x.out"))
    (tmp_path / "a.run").write_text("q1 Q0 d000 1 2.0 x\n")
    assert "a run is evaluated in one language" in one_line(run("evaluate", languages, "--model", tmp_path / "a.run"))
    assert run("evaluate", languages, "--markdown", tmp_path / "x.md").code == 0


def test_outputs_of_several_languages(run, languages, things, tmp_path) -> None:
    words = (languages, "--model", things / "static", "--mode", "dense", "--metric", "nDCG@10", "--metric", "P@3")
    found = evaluated(run, *words, "--per-query", tmp_path / "v.csv", "--latex", tmp_path / "t.tex")
    outcome = run("evaluate", *words, "--csv", "-")
    lines = list(csv.DictReader(outcome.out.splitlines()))
    with (tmp_path / "v.csv").open(newline="") as file:
        values = list(csv.DictReader(file))
    assert len(lines) == 2 * (3 + 2 * 3)
    assert len(values) == 2 * 30 * 2 * 3
    for row in found["rows"]:
        own = [line for line in lines if line["system"] == row["system"]]
        for part, line in zip(("same_language", "other_languages", "all_languages_pooled"), own, strict=False):
            assert float(line["P@3"]) == row["parts"][part]["metrics"]["P@3"]
            assert [float(line[f"P@3 {end}"]) for end in ("low", "high")] == row["parts"][part]["ci95"]["P@3"]
        for q, queries in enumerate(("de", "en")):
            for d, documents in enumerate(("de", "en")):
                pair = (row["system"], queries, documents)
                (line,) = [one for one in own if (one["system"], one["queries"], one["documents"]) == pair]
                mean = row["matrices"]["nDCG@10"][q][d]
                assert float(line["nDCG@10"]) == pytest.approx(mean)
                each = [one for one in values if (one["system"], one["queries"], one["documents"]) == pair]
                assert {one["query"] for one in each} == {f"q{number}" for number in range(30)}
                assert np.mean([float(one["nDCG@10"]) for one in each]) == pytest.approx(mean)
    text = (tmp_path / "t.tex").read_text()
    assert text.count(r"\midrule") == 3
    assert sum(line.startswith("a & BM25 & lexical & ") for line in text.splitlines()) == 3
    assert r"$^{\mathrm{b}}$" in text


def test_the_report_is_that_of_the_json(run, folder, languages, things, tmp_path) -> None:
    """With the queries side by side where there are two runs."""
    page, again = tmp_path / "page.html", tmp_path / "again.html"
    ours = ("--run", tmp_path / "a.run")
    for collection, runs in ((folder, ours), (folder, ()), (languages, ())):
        json_file = tmp_path / "e.json"
        words = ("--model", things / "static", "--html", page, "--output-json", json_file, *runs)
        outcome = run("evaluate", collection, *words)
        assert outcome.code == 0, outcome.err
        assert f"{page}: the report" in outcome.err
        written = sorted(tmp_path.glob("a.*.run")) if runs else []
        assert len(written) == (2 if runs else 0)
        two = [word for path in written for word in ("--run", path)] + (["--benchmark", folder] if runs else [])
        assert run("report", json_file, *two, "-o", again).code == 0
        assert page.read_bytes() == again.read_bytes()


def test_binary_grades(run, folder, tmp_path) -> None:
    """Figures are those of qrels that were written so; what is lost is counted."""
    path = folder / "qrels" / "test.tsv"
    lines = [line.split() for line in path.read_text().splitlines()]
    lines = [[q, zero, d, "1" if q == "q0" else grade] for q, zero, d, grade in lines]
    path.write_text("".join(" ".join(line) + "\n" for line in lines))
    found = evaluated(run, folder, "--relevant-from", 2, *metric_words(("nDCG@10", "AP")))
    kept, positive = (sum(int(line[3]) >= least for line in lines) for least in (2, 1))
    said = f"2 and above count 1, which are {kept} of {positive} above 0; 1 queries have no relevant document"
    assert said in found["warnings"][0]
    path.write_text("".join(f"{q} 0 {d} {int(int(grade) >= 2)}\n" for q, _, d, grade in lines))
    expected = evaluated(run, folder, *metric_words(("nDCG@10", "AP")))
    assert means(found) == means(expected)
    assert "leave rel= out" in one_line(run("evaluate", folder, "--relevant-from", 2, "--metric", "AP(rel=2)"))


def test_outputs_in_python(folder, things, tmp_path) -> None:
    from pretrieve import Retriever

    retriever = Retriever.load(things / "static")
    words = {"modes": ["dense"], "metrics": ["P@3"], "progress": False}
    first = retriever.evaluate(folder, run=tmp_path / "a.run", **words)
    name = f"{things / 'static'} (dense)"
    assert first.runs == {name: str(tmp_path / "a.run")}
    second = retriever.evaluate(folder, beside=[tmp_path / "a.run"], relevant_from=1, **words)
    figures = {row.name: row.mean("P@3") for row in second.rows}
    assert figures[f"{tmp_path / 'a.run'} (run)"] == figures[name]
    with pytest.raises(UsageError, match="would be overwritten"):
        retriever.evaluate(folder, run=tmp_path / "a.run", beside=[tmp_path / "a.run"], **words)


def test_a_run_that_is_read_is_not_replaced(run, folder, things, tmp_path) -> None:
    """Names that are made of those of models count too."""
    words = ("evaluate", folder, "--model", things / "static", "--run", tmp_path / "a.run")
    assert run(*words).code == 0
    read = tmp_path / "a.static.dense.run"
    before = read.read_bytes()
    assert f"{read} would be overwritten" in one_line(run(*words, "--model", read, "--metric", "P@1"))
    assert read.read_bytes() == before


def test_notes_are_said_where_a_table_is_printed(run, folder, tmp_path) -> None:
    (tmp_path / "a.run").write_text("q1 Q0 d000 1 2.0 x\n")
    outcome = run("evaluate", folder, "--model", tmp_path / "a.run", "--csv", "-")
    assert "no hits for 29 of 30 queries" in outcome.err
    assert len(outcome.out.splitlines()) == 3
