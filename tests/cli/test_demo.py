"""The demonstration, small: it ends with a table, three searches, and a command to go on with."""

from __future__ import annotations

import orjson


def test_demo(run, tmp_path, documents) -> None:
    out, result = tmp_path / "demo", tmp_path / "result.json"
    outcome = run("demo", "-o", out, "--minutes", "0.02", "--source", documents, "--output-json", result)
    assert outcome.code == 0, outcome.err
    for words in ("random start", "trained", "BM25", f"pretrieve search {out}", "split a string into words"):
        assert words in " ".join(outcome.out.split())
    said = orjson.loads(result.read_bytes())
    assert {row["system"] for row in said["rows"]} == {"BM25", "random start", "trained"}
    assert said["queries"] <= 20, "only held-out documents ask"
    queries = [orjson.loads(line)["text"] for line in (out / "pairs" / "queries.jsonl").read_bytes().splitlines()]
    corpus = (out / "pairs" / "corpus.jsonl").read_text()
    assert queries
    assert not any(query in corpus for query in queries), "what asks is taken out of what is searched"
    assert run("search", out / "index", "glacier").code == 0
    assert run("verify", out / "model").code == 0
    assert f"Its report is {out / 'report.html'}." in "".join(outcome.out.splitlines())
    report = (out / "report.html").read_text()
    assert report.index("trained (hybrid) is") < report.index("<table"), "the verdict has what was evaluated"
    assert said["report"] == str(out / "report.html")
