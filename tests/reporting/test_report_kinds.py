"""Reports of what is no model that was trained: across languages, generated queries, readers, distilled models."""

from __future__ import annotations

import re
import shutil

import numpy as np
import orjson
import pytest

from cli.conftest import things as things
from evaluation.test_crosslingual import CODES, write
from pretrieve.models.text_encoder import open_encoder
from reporting.test_report_command import page_of, section


@pytest.fixture
def reported(run, tmp_path, monkeypatch):
    """Writes a report, and gives its words and data."""
    monkeypatch.chdir(tmp_path)

    def go(*words: object):
        outcome = run("report", *words, "-o", tmp_path / "r.html")
        assert outcome.code == 0, outcome.err
        text, data = page_of(tmp_path / "r.html")
        assert all(line.replace("`", "") in text.text and line in outcome.out for line in data["verdict"])
        assert sum(line.startswith("What was done: ") for line in data["verdict"]) == 1
        assert sum(line.startswith("How sure: ") for line in data["verdict"]) == 1
        size = (tmp_path / "r.html").stat().st_size
        assert re.search(rf"r\.html \({size / 1000:,.0f} kB, \d+\.\d s\), and its data", outcome.out)
        return text, data

    return go


@pytest.fixture
def across(run, things, tmp_path):
    """JSON of an evaluation across languages, of two models."""
    write(tmp_path / "parallel")
    words = ("evaluate", tmp_path / "parallel", "--model", things / "static", "--model", things / "start")
    outcome = run(*words, "--output-json", tmp_path / "e.json")
    assert outcome.code == 0, outcome.err
    return tmp_path / "e.json"


def test_across_languages(reported, run, across, things, tmp_path) -> None:
    facts = orjson.loads(across.read_bytes())
    text, data = reported(across)
    assert f"20 questions in {', '.join(CODES)}: 3 pairs of one language, 6 of two" in text.text
    for row in facts["rows"]:
        for part in row["parts"].values():
            (low, high), mean = part["ci95"]["nDCG@10"], part["metrics"]["nDCG@10"]
            assert f"{mean:.4f} ({low:.3f} to {high:.3f})" in text.text
        assert f"{row['system']} ({row['mode']}) {np.mean(row['own_language_in_first_ten']):.0%}" in text.text
    tables = {table["title"]: table["rows"] for table in section(data, "Every pair of languages")["tables"]}
    assert len(tables) == 3 * len(facts["rows"])
    for row in facts["rows"]:
        found = tables[f"{row['system']} ({row['mode']}): nDCG@10; queries down, documents across"]
        assert found == [[code, *(f"{value:.3f}" for value in values)]
                         for code, values in zip(CODES, row["matrices"]["nDCG@10"], strict=True)]  # fmt: skip
    pairs = section(data, "Models against each other, pair by pair")["tables"]
    assert len(pairs) == len(facts["pair_tests"]) > 0
    assert pairs[0]["rows"][0][1].startswith(f"{facts['pair_tests'][0]['differences'][0][0]:+.3f} (p ")
    for words in (("--run", "a"), ("--benchmark", tmp_path)):
        assert "in one language" in run("report", across, "-o", tmp_path / "x.html", *words).err
    outcome = run("report", things / "static", "--evaluation", across, "-o", tmp_path / "x.html")
    assert "has a report of its own" in outcome.err or "has no report" in outcome.err


@pytest.mark.parametrize(("p", "difference", "line"), [
    (0.01, 0.3, "Better than BM25 on parallel, queries and documents in different languages (20 queries): "),
    (0.01, -0.3, "BM25 is better than every model on parallel, queries and documents in different languages"),
    (0.2, 0.3, "No model is shown to be better than BM25 on parallel, queries and documents in different languages"),
])  # fmt: skip
def test_the_first_sentence_is_of_pairs_of_two_languages(reported, across, p, difference, line) -> None:
    facts = orjson.loads(across.read_bytes())
    for test in facts["tests"]["other_languages"]:
        test |= {"p_holm": p, "difference": difference}
    across.write_bytes(orjson.dumps(facts))
    assert reported(across)[1]["verdict"][0].startswith(line)


@pytest.mark.parametrize("hurt", [
    {"rows": []}, {"languages": ["aa"]}, {"tests": []}, {"queries": None}, {"rows": [{"system": "a", "mode": "dense"}]},
])  # fmt: skip
def test_a_damaged_one_is_refused_in_one_line(run, across, tmp_path, hurt) -> None:
    across.write_bytes(orjson.dumps(orjson.loads(across.read_bytes()) | hurt))
    outcome = run("report", across, "-o", tmp_path / "r.html")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "across languages that is damaged" in outcome.err


def test_generated_queries(reported, run, things, tmp_path) -> None:
    words = ("generate", things / "docs.jsonl", "--generator", things / "t5", "--cross-encoder", things / "cross",
             "--max-documents", "12", "--keep-within", "60", "-o", tmp_path / "q.jsonl")  # fmt: skip
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    facts = orjson.loads((tmp_path / "q.jsonl.report.json").read_bytes())
    counts = facts["counts"]
    for source in ("q.jsonl", "q.jsonl.report.json"):
        _, data = reported(source)
        assert data["verdict"][0].startswith(
            f"{counts['kept']:,} of {counts['generated']:,} generated queries were kept"
        )
        rows = dict(section(data, "What was kept")["tables"][0]["rows"])
        dropped = sum(int(rows[name.replace("_", " ")]) for name in counts["dropped"])
        assert int(rows["kept"]) + dropped == int(rows["generated"]) == 36
        (table,) = section(data, "Examples")["tables"]
        assert [row[:2] for row in table["rows"]] == [[one["query"], one["document"]] for one in facts["examples"]]
    assert "are for an evaluation" in run("report", "q.jsonl", "--run", "a", "-o", "x.html").err
    for hurt in (b"[]", b"{", orjson.dumps({**facts, "counts": {}}), orjson.dumps({**facts, "documents": 3})):
        (tmp_path / "q.jsonl.report.json").write_bytes(hurt)
        outcome = run("report", "q.jsonl", "-o", "x.html")
        assert (outcome.code, outcome.err.count("\n")) == (1, 1)
        assert "no facts of generated queries" in outcome.err


def test_a_reader(reported, run, things, tmp_path) -> None:
    facts = orjson.loads((things / "reader" / "report.json").read_bytes())
    text, data = reported(things / "reader")
    assert data["verdict"][0].startswith("Whether it answers well is not known")
    assert f"on {facts['questions']['answered_in_documents']} questions whose answer is in" in data["verdict"][1]
    for name, value in facts["last_step"].items():
        assert [name.replace("_", " "), f"{value:.4f}"] in section(data, "The last step")["tables"][0]["rows"]
    assert "learning_rate" in text.text
    assert "that searches" in run("report", things / "reader", "--examples", "2", "-o", "x.html").err
    copy = tmp_path / "reader"
    shutil.copytree(things / "reader", copy)
    (copy / "report.json").write_bytes(b"{")
    outcome = run("report", copy, "-o", "x.html")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1


def test_a_distilled_model(reported, run, things, tmp_path) -> None:
    words = ("distill", things / "docs.jsonl", "--teacher", things / "teacher", "-o", tmp_path / "m", "--steps", "2",
             "--set", "batch_size=16", "--tracker", "none")  # fmt: skip
    assert run(*words).code == 0
    facts = orjson.loads((tmp_path / "m" / "report.json").read_bytes())
    _, data = reported(tmp_path / "m")
    done = next(line for line in data["verdict"] if line.startswith("What was done"))
    assert "a static model was distilled for 2 steps" in done
    assert "teacher" in done
    before, after = (facts["signal"][when]["agreement"] for when in ("before", "after"))
    assert any(f"{before:.3f} before training, {after:.3f} after it" in line for line in data["verdict"])
    assert "draws no examples" in section(data, "What the sampler draws")["notes"][0]


@pytest.mark.parametrize(("source", "error"), [
    ("index", "has no report: it is an artefact of kind 'index'"), ("start", "has no report.json"),
    ("reader/documents", "has no report"), ("beir", "no model, comparison or evaluation"), ("docs.jsonl", "no JSON"),
    ("reader/retriever", "has no report.json"),
])  # fmt: skip
def test_what_has_no_report_is_refused_in_one_line(run, things, tmp_path, source, error) -> None:
    outcome = run("report", things / source, "-o", tmp_path / "r.html")
    assert outcome.code in (1, 2)
    assert error in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "r.html").exists()


def test_a_large_evaluation_query_by_query_stays_below_the_limit(reported, tmp_path) -> None:
    beir, count, rng = tmp_path / "beir", 20_000, np.random.default_rng(0)
    (beir / "qrels").mkdir(parents=True)
    texts = [{"_id": f"d{n}", "title": f"Title {n} " * 20, "text": "word " * 200} for n in range(50)]
    asked = [{"_id": f"q{n}", "text": f"question {n} " * 30} for n in range(count)]
    for name, lines in (("corpus", texts), ("queries", asked)):
        (beir / f"{name}.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    relevant = rng.integers(50, size=count).tolist()
    rows = "".join(f"q{n}\td{one}\t1\n" for n, one in enumerate(relevant))
    (beir / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    for name in ("a.run", "b.run"):
        hits = ((n, rank, one) for n in range(count) for rank, one in enumerate(rng.permutation(50)[:10].tolist(), 1))
        (tmp_path / name).write_text("".join(f"q{n} Q0 d{one} {rank} {20 - rank} x\n" for n, rank, one in hits))
    row = {"metrics": {"nDCG@10": 0.1}, "ci95": {"nDCG@10": [0.0, 0.2]}, "mode": "dense"}
    facts = {"collection": "beir", "split": "test", "queries": count, "tests": [],
             "rows": [{"system": name, **row} for name in "ab"]}  # fmt: skip
    (tmp_path / "e.json").write_bytes(orjson.dumps(facts))
    words = ("e.json", "--benchmark", beir, "--run", "a.run", "--run", "b.run")
    page, data = reported(*words)
    single = section(data, "Query by query")
    assert len(single["charts"][0]["points"]) < count
    assert any(f"of {count:,} queries" in note for note in single["notes"])
    assert (tmp_path / "r.html").stat().st_size < 2_000_000
    assert len(single["tables"]) == 22
    assert page.tags.count("circle") >= len(single["charts"][0]["points"])


def test_the_vector_that_answers_a_query_stands_in_the_document(reported, run, documents, tmp_path) -> None:
    settings = ("views=3", "queries_per_document=2", "block=64", "query=32", "max_length=64", "batch_size=8",
                "vocabulary_size=300")  # fmt: skip
    words = ("train", documents, "-o", tmp_path / "m", "--method", "mvr", "--steps", "2",
             "--tracker", "none", "--base", "new:layers=1,hidden=32,heads=2,intermediate=32")  # fmt: skip
    outcome = run(*words, *(part for one in settings for part in ("--set", one)))
    assert outcome.code == 0, outcome.err
    text, data = reported(tmp_path / "m")
    drawn = section(data, "What the sampler draws")
    assert any("gives a block 3 vectors" in note for note in drawn["notes"])
    encoder = open_encoder(str(tmp_path / "m"))
    for example in drawn["examples"]:
        *queries, (_, pieces) = example["rows"]
        (vectors,) = encoder.encode_documents([" ".join(one["seen"] for one in pieces if one["seen"])])
        marks = example["documents"][0]["marks"]
        assert len(queries) == 2
        for number, (name, pieces) in enumerate(queries):
            (query,) = encoder.encode_queries([" ".join(one["seen"] for one in pieces)])
            best = int((vectors @ query).argmax()) + 1
            assert name.endswith(f", answered by vector {best} of 3")
            assert marks[number] == f"{number + 1} → vector {best}"
            assert marks[number] in text.text
        assert marks[2] == "3"
