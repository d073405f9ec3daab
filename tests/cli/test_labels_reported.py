"""Labels on the command line: each family of formats is read, and what is not used as it stands is said, once."""

from __future__ import annotations

import shlex
from pathlib import Path

import orjson
import pytest

import labelling

NUMBER = 40


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    return labelling.static_model(tmp_path_factory.mktemp("start") / "model")


def toy() -> list[tuple[str, str, str, str]]:
    """Query, positive, negative and the negative's id."""
    documents, queries = labelling.toy(NUMBER)
    text = [document["text"] for document in documents]
    return [(query["text"], text[n], text[n - 1], f"d{(n - 1) % NUMBER}") for n, query in enumerate(queries)]


def family(folder: Path, name: str) -> tuple[Path, list[object]]:
    """The toy as labels of a family of formats, and further arguments."""
    rows, path = toy(), folder / "labels.jsonl"
    if name == "n-tuples":
        records = [{"anchor": q, "positive": p, "negative_1": n, "negative_2": n, "tag": "t"} for q, p, n, _ in rows]
    elif name == "labelled":
        pairs = [
            {"sentence1": q, "sentence2": t, "label": label} for q, p, n, _ in rows for t, label in ((p, 1), (n, 0))
        ]
        return labelling.lines(path, pairs), []
    elif name == "tevatron":
        records = [
            {"query_id": f"q{k}", "query": q, "positive_passages": [{"docid": f"p{k}", "title": "", "text": p}],
             "negative_passages": [{"docid": f"n{k}", "title": "", "text": n}]}
            for k, (q, p, n, _) in enumerate(rows)
        ]  # fmt: skip
    elif name == "flag":
        records = [{"query": q, "pos": [p], "neg": [n], "prompt": "find: ", "type": "x"} for q, p, n, _ in rows]
    elif name == "csv":
        path = folder / "labels.csv"
        path.write_text("Query,Positive,Negative\n" + "".join(f'"{q}","{p}","{n}"\n' for q, p, n, _ in rows))
        return path, []
    elif name == "tsv":
        path = folder / "labels.tsv"
        path.write_text("".join(f"{q}\t{p}\t{n}\n" for q, p, n, _ in rows))
        return path, []
    elif name == "llamaindex":
        documents = {f"d{k}": p for k, (_, p, _, _) in enumerate(rows)}
        value = {
            "queries": {f"q{k}": q for k, (q, *_) in enumerate(rows)},
            "corpus": documents,
            "relevant_docs": {f"q{k}": [f"d{k}"] for k in range(len(rows))},
            "mode": "text",
        }
        path = folder / "labels.json"
        path.write_bytes(orjson.dumps(value))
        return path, []
    else:
        assert name == "ids"
        documents = [{"id": f"d{k}", "text": p} for k, (_, p, _, _) in enumerate(rows)]
        more = labelling.lines(folder / "docs.jsonl", documents)
        records = [{"query": q, "positive": f"d{k}", "negatives": [n]} for k, (q, _, _, n) in enumerate(rows)]
        return labelling.lines(path, records), ["--documents", more]
    return labelling.lines(path, records), []


SAID = {
    "n-tuples": ["'tag' is not used (records: 40)", "documents given again for the same query, merged: 40"],
    "labelled": [
        "positives (a label of at least 0.5): 40; negatives (0): 40",
        "records merged with an earlier one of the same query text: 40",
    ],
    "flag": ["'prompt' is not used (records: 40): a prompt for each query", "'type' is not used"],
    "tsv": ["no header: 3 columns are read as query, positive, negative, the first row too"],
    "ids": ["documents given by an id of --documents: 80"],
}


@pytest.mark.parametrize("name", ["n-tuples", "labelled", "tevatron", "flag", "csv", "tsv", "llamaindex", "ids"])
def test_a_family_of_formats(run, start, tmp_path, name) -> None:
    labels, more = family(tmp_path, name)
    output = tmp_path / "out"
    outcome = run("finetune", start, labels, "-o", output, *more, "--steps", 2, "--tracker", "none")
    assert outcome.code == 0, outcome.err
    report = orjson.loads((output / "report.json").read_bytes())
    assert report["queries"]["trained_on"] == NUMBER
    words = "bm25 (for 0 of 40 queries)" if name == "llamaindex" else "given"  # no query shares a word with a document
    assert f"negatives: {words}; a stock model" in " ".join(outcome.out.split())
    notes = [line for line in outcome.err.splitlines() if line.startswith(f"note: {labels}")]
    assert len(notes) == len(SAID.get(name, ()))
    for words in SAID.get(name, ()):
        assert len([line for line in notes if words in line]) == 1, notes
    assert not [
        line
        for line in outcome.err.splitlines()
        if line.startswith("note: ") and "device: " not in line and line not in notes
    ]


def mixed(folder: Path) -> Path:
    """Good records, half of them with a negative, and three bad ones."""
    records: list[object] = [
        {"query": q, "positive": p, **({"negative": n} if k % 2 else {})} for k, (q, p, n, _) in enumerate(toy())
    ]
    bad = [{"query": "", "positive": "x y"}, {"query": "x", "positive": "x y", "label": 3}, ["only one"]]
    return labelling.lines(folder / "labels.jsonl", [*records[:5], *bad, *records[5:]])


@pytest.mark.parametrize("command", ["finetune", "mine"])
@pytest.mark.parametrize("policy", ["fail", "skip", "quarantine"])
def test_bad_records(run, start, tmp_path, command, policy) -> None:
    labels, output = mixed(tmp_path), tmp_path / "out"
    first = (start,) if command == "finetune" else ()
    few = ("--steps", 2, "--tracker", "none") if command == "finetune" else ("--number", 2)
    outcome = run(command, *first, labels, "-o", output, *few, "--on-bad", policy)
    put = tmp_path / "out.quarantine.jsonl"
    assert put.exists() == (policy == "quarantine")
    if policy == "fail":
        assert outcome.code == 1
        assert "labels.jsonl:6: no query (query is empty): fix it, or skip such records" in outcome.err
        assert not output.exists()
        return
    assert outcome.code == 0, outcome.err
    assert "left out: bad records: 3 (no query: 1, wrong label: 1, not a record: 1)" in outcome.err
    assert "labels.jsonl:7: wrong label (label: a label is from 0 to 1, found 3" in outcome.err
    if policy == "quarantine":
        assert [orjson.loads(line)["where"] for line in put.read_bytes().splitlines()] == [
            f"{labels}:{n}" for n in (6, 7, 8)
        ]
        assert f"bad records of the labels are in {put}" in outcome.err


def test_negatives_of_some_queries(run, start, tmp_path) -> None:
    """Those that are given are used, and the summary says of how many queries."""
    output = tmp_path / "out"
    few = ("--steps", 2, "--tracker", "none", "--on-bad", "skip")
    outcome = run("finetune", start, mixed(tmp_path), "-o", output, *few)
    assert outcome.code == 0, outcome.err
    assert "negatives: given; 20 of 40 queries have none, and get random documents" in outcome.err
    assert "negatives: given (for 20 of 40 queries)" in " ".join(outcome.out.split())
    report = orjson.loads((output / "report.json").read_bytes())
    assert (report["labels"]["trained_with_negatives"], report["labels"]["with_negatives"]) == (20, 20)
    assert report["labels"]["bad"] == {"no query": 1, "wrong label": 1, "not a record": 1}
    assert "--on-bad skip" in (output / "README.md").read_text()
    outcome = run("finetune", start, tmp_path / "labels.jsonl", "-o", tmp_path / "no", *few, "--negatives", "none")
    assert "negatives: none; the labels have some for 20 of 40 queries, not used" in outcome.err
    assert "negatives: none; a stock model" in " ".join(outcome.out.split())


def test_a_first_model_says_nothing_again(run, start, tmp_path) -> None:
    labels, _ = family(tmp_path, "flag")
    outcome = run("finetune", start, labels, "-o", tmp_path / "out", "--negatives", "mined", "--steps", 2,
                  "--tracker", "none")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("'prompt' is not used") == 1


def test_the_next_command_reads_the_labels_as_this_one(run, start, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    mixed(tmp_path)
    outcome = run("mine", "labels.jsonl", "-o", "n.jsonl", "--number", 2, "--on-bad", "skip", "--model", start)
    assert outcome.code == 0, outcome.err
    words = shlex.split(outcome.out.split("Next:\n")[1].strip())
    outcome = run(*words[1:], "--steps", 2, "--tracker", "none")
    assert outcome.code == 0, outcome.err


def test_questions_of_a_reader(run, things, tmp_path) -> None:
    """``read`` names what it does not use of its questions, and knows the same policies."""
    records = [orjson.loads(line) for line in (things / "questions.jsonl").read_bytes().splitlines()]
    records = [{**record, "topic": "towns"} for record in records]
    questions = labelling.lines(tmp_path / "questions.jsonl", [*records, {"question": "no answer"}])
    arguments = (
        "read", things / "towns.jsonl", "--questions", questions, "--model", things / "towers", "-o", tmp_path / "out",
        *["--steps", "1", "--tracker", "none", "--set", "batch_size=12", "--set", "block=48", "--set", "read=2"],
    )  # fmt: skip
    outcome = run(*arguments)
    assert outcome.code == 1
    assert "questions.jsonl:13: no list of answers" in outcome.err
    outcome = run(*arguments, "--on-bad", "skip")
    assert outcome.code == 0, outcome.err
    assert "questions.jsonl: the field 'topic' is not used (lines: 12)" in outcome.err
    assert "left out: bad lines: 1 (no list of answers: 1)" in outcome.err
    outcome = run("answer", tmp_path / "out", "--questions", labelling.lines(tmp_path / "q.jsonl", records))
    assert outcome.code == 0, outcome.err
    assert "q.jsonl: the field 'topic' is not used (lines: 12)" in outcome.err


def test_a_warning_on_documents_is_a_warning(run, start, tmp_path) -> None:
    """With ``--quiet`` too, where notes are left out."""
    path, (_, documents) = family(tmp_path, "ids")
    (folder := tmp_path / "folder").mkdir()
    documents.rename(folder / "docs.jsonl")
    for number in range(9):
        (folder / f"{number}.exe").write_bytes(bytes(50))
    few = ("--steps", 1, "--tracker", "none", "--negatives", "none", "--quiet")
    outcome = run("finetune", start, path, "--documents", folder, "-o", tmp_path / "out", *few)
    assert outcome.code == 0, outcome.err
    assert "arning: --documents: only 10% of the files were read." in outcome.err
    assert "not used" not in outcome.err
