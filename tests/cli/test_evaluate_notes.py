"""`pretrieve evaluate` refuses what it cannot judge, and says beside its figures what they do not say."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

import labelling
import searching
from cli.conftest import Outcome

QUICK = ("--tracker", "none", "--steps", "2", "--negatives", "none")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain BEIR folder of 60 documents and 30 queries."""
    made = searching.beir(tmp_path / "tiny")
    for name in ("corpus", "queries"):
        packed = made / f"{name}.jsonl.gz"
        (made / f"{name}.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    return made


def append(path: Path, *lines: str) -> None:
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))


def chunked(folder: Path) -> None:
    """A second passage with the id of each document."""
    lines = (folder / "corpus.jsonl").read_text().splitlines()
    passages = [json.dumps({"_id": json.loads(line)["_id"], "text": "of another matter"}) for line in lines]
    (folder / "corpus.jsonl").write_text("".join(f"{a}\n{b}\n" for a, b in zip(lines, passages, strict=True)))


def one_line(outcome: Outcome) -> str:
    assert outcome.code == 1, outcome.out
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    return line


def evaluated(run, *words: object) -> dict:
    outcome = run("evaluate", *words, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_nothing_is_said_of_whole_data(run, folder, things) -> None:
    outcome = run("evaluate", folder, "--model", things / "static")
    assert outcome.code == 0
    assert "Note" not in outcome.out
    found = evaluated(run, folder, "--model", things / "static")
    assert found["warnings"] == []
    assert (found["data"].pop("queries"), found["data"].pop("documents")) == (30, 60)
    assert set(found["data"].values()) == {0}


def test_passages_that_share_an_id(run, folder, things) -> None:
    plain = evaluated(run, folder, "--metric", "AP")
    chunked(folder)
    line = one_line(run("evaluate", folder, "--model", things / "static"))
    assert "corpus.jsonl:2: duplicate id 'd000'" in line
    assert "--max-passage" in line
    words = (folder, "--max-passage", "--model", things / "static")
    alone = evaluated(run, *words, "--metric", "nDCG@10")
    for other in ("R@100", "AP"):
        both = evaluated(run, *words, "--metric", "nDCG@10", "--metric", other)
        assert [row["metrics"]["nDCG@10"] for row in both["rows"]] == [
            row["metrics"]["nDCG@10"] for row in alone["rows"]
        ]
    assert (alone["data"]["repeated_document_ids"], alone["data"]["documents_of_repeated_ids"]) == (60, 120)
    assert "60, of 120 documents; the best place of an id counts (MaxP)" in run("evaluate", *words).out
    assert evaluated(run, *words, "--metric", "AP")["rows"][0]["metrics"]["AP"] == pytest.approx(
        plain["rows"][0]["metrics"]["AP"], abs=0.1
    )


def test_ids_and_judgements_that_contradict_each_other(run, folder) -> None:
    queries, qrels = folder / "queries.jsonl", folder / "qrels" / "test.tsv"
    before = queries.read_text()
    append(queries, '{"_id": "q0", "text": "other words"}')
    assert "queries.jsonl:31: query 'q0' has another text" in one_line(run("evaluate", folder))
    queries.write_text(before + before.splitlines()[0] + "\n")
    _, first, *_ = qrels.read_text().splitlines()
    append(qrels, first)
    found = evaluated(run, folder)
    assert (found["data"]["repeated_queries"], found["data"]["repeated_qrels"]) == (1, 1)
    outcome = run("evaluate", folder)
    assert "Note: Lines of queries that repeat an earlier line: 1." in outcome.out
    assert "Note: Lines of qrels that repeat an earlier line: 1." in outcome.out
    append(qrels, first[:-1] + "9")
    assert "test.tsv:93: document" in one_line(run("evaluate", folder))


def test_what_is_missing_or_empty_is_counted(run, folder, tmp_path) -> None:
    append(folder / "queries.jsonl", '{"_id": "gone", "text": "a b"}', '{"_id": "empty", "text": ""}')
    append(folder / "corpus.jsonl", '{"_id": "blank", "title": " ", "text": null}')
    append(folder / "qrels" / "test.tsv", "gone\tnobody\t1", "gone\td001\t0", "empty\td001\t1", "empty\tno one\t1")
    found = evaluated(run, folder)
    expected = {"missing_documents": 2, "queries_without_relevant": 1, "empty_documents": 1, "empty_queries": 1}
    assert {name: found["data"][name] for name in expected} == expected
    outcome = run("evaluate", folder, "--markdown", tmp_path / "table.md")
    for line in (
        "Judged documents that are not in the corpus: 2.",
        "Queries without a relevant document in the corpus: 1 of 32; they are kept and count 0, as in trec_eval.",
        "Empty documents: 1.",
        "Empty queries: 1 of 32; they are kept.",
    ):
        assert line in found["warnings"]
        assert f"Note: {line}" in outcome.out
        assert f"Note: {line}" in (tmp_path / "table.md").read_text()


def test_queries_that_are_documents(run, folder) -> None:
    line = next(line for line in (folder / "corpus.jsonl").read_text().splitlines() if '"d004"' in line)
    append(folder / "queries.jsonl", line, '{"_id": "d005", "text": "a question"}')
    append(folder / "qrels" / "test.tsv", "d004\td006\t1", "d005\td006\t1")
    found = evaluated(run, folder)
    assert (found["data"]["query_ids_of_documents"], found["data"]["query_ids_of_same_text"]) == (2, 1)
    assert "--drop-same-id" in run("evaluate", folder).out
    assert "Note" not in run("evaluate", folder, "--drop-same-id").out


def test_several_languages_say_the_same(run, tmp_path) -> None:
    for part in ("corpus", "queries", "qrels"):
        (tmp_path / "two" / part).mkdir(parents=True)
    for code in ("de", "en"):
        records = [{"_id": f"d{n}", "text": f"{searching.word(n)} {searching.word(n + 40)} {code}"} for n in range(20)]
        labelling.lines(tmp_path / "two/corpus" / f"{code}.jsonl", records)
        asked = [{"_id": f"q{n}", "text": searching.word(n)} for n in range(5)]
        labelling.lines(tmp_path / "two/queries" / f"{code}.jsonl", asked + asked[:1] * (code == "en"))
    rows = "".join(f"q{n}\td{n}\t1\n" for n in range(5))
    (tmp_path / "two/qrels/test.tsv").write_text(rows + "q0\td99\t1\n")
    found = evaluated(run, tmp_path / "two")
    assert found["data"]["de"]["missing_documents"] == 1
    assert found["warnings"] == [
        "de: Judged documents that are not in the corpus: 1.",
        "en: Judged documents that are not in the corpus: 1.",
        "en: Lines of queries that repeat an earlier line: 1.",
    ]
    assert "Note: en: Lines of queries" in run("evaluate", tmp_path / "two").out
    append(tmp_path / "two/corpus/en.jsonl", '{"_id": "d0", "text": "a further passage"}')
    assert "en.jsonl:21: duplicate id 'd0'" in one_line(run("evaluate", tmp_path / "two"))
    assert evaluated(run, tmp_path / "two", "--max-passage")["data"]["en"]["documents_of_repeated_ids"] == 2


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits train (60 queries), test (20), and dev, which is test again."""
    folder = labelling.beir(tmp_path_factory.mktemp("labelled") / "beir", 80, 20)
    (folder / "qrels" / "dev.tsv").write_bytes((folder / "qrels" / "test.tsv").read_bytes())
    return folder


def test_a_split_that_was_trained_on_is_named(run, things, labelled, tmp_path, monkeypatch) -> None:
    """And a copy of it, elsewhere and with other letters; a model goes on to know what its base was trained on."""
    monkeypatch.chdir(tmp_path)
    tuned = run("finetune", things / "start", labelled, "-o", "tuned", "--split", "test", *QUICK)
    assert f"pretrieve evaluate {labelled} --model tuned --split train" in tuned.out, "dev has the queries of test"
    words = ("--model", "tuned", "--model", things / "start", "--mode", "dense")
    line = f"tuned was fine-tuned on 20 of these 20 queries (split test of {labelled}): its figures are not held out."
    for split in ("test", "dev"):
        found = evaluated(run, labelled, *words, "--split", split)
        assert found["warnings"] == [line]
        assert found["notes"]["tuned"]["fine_tuned_on"]["trained_on"] == 20
        assert "fine_tuned_on" not in found["notes"][str(things / "start")]
    assert f"Note: {line}" in run("evaluate", labelled, *words).out
    assert evaluated(run, labelled, *words, "--split", "train")["warnings"] == []

    again = run("finetune", "tuned", labelled, "-o", "twice", *QUICK)
    assert "has no split whose queries were not trained on: evaluate on others." in again.out
    assert "pretrieve evaluate" not in again.out
    assert run("verify", "twice").code == 0
    text = (labelled / "queries.jsonl").read_text().upper().replace('"_ID"', '"_id"').replace('"TEXT"', '"text"')
    moved = tmp_path / "moved"
    (moved / "qrels").mkdir(parents=True)
    (moved / "corpus.jsonl").write_bytes((labelled / "corpus.jsonl").read_bytes())
    (moved / "queries.jsonl").write_text(text)
    (moved / "qrels" / "test.tsv").write_text((labelled / "qrels/test.tsv").read_text().upper().replace("\tD", "\td"))
    (line,) = evaluated(run, moved, "--model", "twice", "--mode", "dense")["warnings"]
    assert line.startswith("twice was fine-tuned on 20 of these 20 queries (split test of")


def test_held_out_queries_are_told_apart(run, things, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = labelling.beir(tmp_path / "beir", 260, 40)
    assert run("finetune", things / "start", folder, "-o", "tuned", *QUICK).code == 0
    (line,) = evaluated(run, folder, "--model", "tuned", "--split", "train", "--mode", "dense")["warnings"]
    assert "fine-tuned on 198 of these 220 queries" in line
    assert ", and selected on 22 more: its figures are not held out" in line


def test_a_damaged_list_of_queries_is_one_line(run, things, labelled, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("finetune", things / "start", labelled, "-o", "tuned", *QUICK).code == 0
    Path("tuned/MANIFEST.json").unlink()  # or it says first that the file was changed
    for text in ("{", "[]", '{"runs": [{"labels": 1, "split": "", "trained_on": "", "held_out": ""}]}'):
        Path("tuned/training_queries.json").write_text(text)
        line = one_line(run("evaluate", labelled, "--model", "tuned", "--mode", "dense"))
        assert "training_queries.json cannot be read" in line


def test_python_gets_it_too(things, folder) -> None:
    from pretrieve import Retriever
    from pretrieve.core.errors import DataError

    chunked(folder)
    retriever = Retriever.load(str(things / "static"))
    with pytest.raises(DataError, match=r"corpus\.jsonl:2: duplicate id"):
        retriever.evaluate(folder, progress=False)
    result = retriever.evaluate(folder, progress=False, max_passage=True)
    assert result.warnings == ["Ids of several documents: 60, of 120 documents; the best place of an id counts (MaxP)."]


def test_what_is_trained_from_a_tuned_model_knows_its_queries(run, things, labelled, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("finetune", things / "start", labelled, "-o", "tuned", "--split", "test", *QUICK).code == 0
    words = ("--tracker", "none", "--steps", "1", "--set", "batch_size=8")
    assert run("train", labelled / "corpus.jsonl", "-o", "further", "--base", "tuned", *words).code == 0
    told = Path("tuned/training_queries.json").read_bytes()
    for name in ("further", "further/start"):
        assert Path(name, "training_queries.json").read_bytes() == told
    shutil.copytree(things / "teacher", "teacher")
    Path("teacher/training_queries.json").write_bytes(told)
    words = ("--tracker", "none", "--minutes", "0.01", "--steps", "1", "--contrast-steps", "1")
    assert run("distill", things / "docs.jsonl", "--teacher", "teacher", "-o", "distilled", *words).code == 0
    assert Path("distilled/training_queries.json").read_bytes() == told
    Path("static").mkdir()
    Path("static/training_queries.json").write_bytes(told)  # no base: --base static is a kind of encoder
    words = ("--tracker", "none", "--steps", "1", "--set", "vocabulary_size=300", "--set", "batch_size=8")
    assert run("train", labelled / "corpus.jsonl", "-o", "other", "--base", "static", *words).code == 0
    assert not Path("other/training_queries.json").exists()
