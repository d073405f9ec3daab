"""The commands, run as a new user would, on 200 documents."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from looking import seen
from pretrieve import Retriever
from pretrieve.core.errors import FingerprintError, UsageError
from pretrieve.evaluation.published_results import all_results
from pretrieve.pipeline.run.workspace import CHECKPOINTS, workspace_of


def test_every_command_has_help_with_an_example(run) -> None:
    listing = run("--help").out
    for name in ("train", "index", "search", "evaluate", "inspect", "methods", "verify", "demo"):
        assert name in listing
        outcome = run(name, "--help")
        assert outcome.code == 0
        assert f"pretrieve {name}" in outcome.out.split("Example:")[1]


def test_train_report(run, tmp_path, documents) -> None:
    out, report = tmp_path / "out", tmp_path / "report.json"
    small = ("--steps", "5", "--set", "batch_size=16", "--set", "dimensions=16", "--set", "vocabulary_size=300")
    outcome = run("train", documents, "-o", out, *small, "--output-json", report)
    assert outcome.code == 0, outcome.err
    assert "pretrieve index" in outcome.out, "the next step is suggested"
    said = orjson.loads(report.read_bytes())
    assert said["recipe"]["training"]["steps"] == 5
    assert set(said) == {"recipe", "documents", "reading", "saved", "reason", "probe", "fusion", "signal", "device"}
    assert said["saved"] == said["probe"]["saved"]
    assert said["saved"] in said["probe"]["gain"]
    assert said["documents"] == {"read": 200, "trained_on": 180, "held_out": 20}
    card = (out / "README.md").read_text()
    assert "--steps 5" in card
    assert "| BM25 |" in card


def test_the_model_is_a_stock_folder(model, documents) -> None:
    from sentence_transformers import SentenceTransformer

    stock = SentenceTransformer(str(model), device="cpu")
    assert stock.similarity_fn_name == "cosine"
    texts = [orjson.loads(line)["text"] for line in documents.read_bytes().splitlines()[:8]]
    mine = Retriever.load(model).model.encode_documents(texts)
    np.testing.assert_allclose(mine, stock.encode(texts), atol=1e-6)


def test_index_search_and_json(run, tmp_path, documents, model) -> None:
    index = tmp_path / "index"
    outcome = run("index", documents, "--model", model, "-o", index)
    assert outcome.code == 0, outcome.err
    assert "200 documents" in outcome.out
    assert "BM25 1, vectors" in outcome.out, "the weight of fusion is shown"
    again = run("index", documents, "--model", model, "-o", index, "--overwrite", "--json")
    assert orjson.loads(again.out)["fusion"]["dense"] > 0
    for mode in ("hybrid", "dense", "lexical"):
        outcome = run("search", index, "volcano number 8", "-k", "3", "--mode", mode, "--json")
        hits = orjson.loads(outcome.out)["hits"]
        assert [hit["rank"] for hit in hits] == [1, 2, 3]
        assert all(a["score"] >= b["score"] for a, b in itertools.pairwise(hits))
    first = orjson.loads(run("search", index, "volcano number 8", "--mode", "lexical", "--json").out)["hits"][0]
    assert first["title"].startswith("Volcano")
    assert {first["sentence"][a:b].lower() for a, b in first["marks"]} >= {"volcano", "number", "8"}
    assert "Volcano" in run("search", index, "volcano number 8").out
    assert run("verify", index).code == 0


def test_an_index_takes_the_weight_that_held_out_documents_chose(run, tmp_path, documents, model) -> None:
    chosen = orjson.loads((model / "report.json").read_bytes())["fusion"]
    outcome = run("index", documents, "--model", model, "-o", tmp_path / "index")
    said = " ".join(outcome.out.split())
    assert f"BM25 1, vectors {chosen['dense']:g}" in said
    assert "saved by the model's training" in said
    again = run("index", documents, "--model", model, "-o", tmp_path / "index", "--overwrite", "--json")
    fusion = orjson.loads(again.out)["fusion"]
    assert (fusion["dense"], fusion["passages"]) == (chosen["dense"], chosen["passages"])


def test_an_index_remembers_how_its_model_was_described(run, tmp_path, documents) -> None:
    """A plain transformer says neither pooling nor similarity: the user does, once."""
    from transformers import BertConfig, BertModel

    from pretrieve.core import files
    from pretrieve.text import tokenizer

    folder = tmp_path / "plain"
    vocabulary = tokenizer.train([line.decode() for line in documents.read_bytes().splitlines()], vocabulary_size=400)
    with files.create(folder, "model") as target:
        vocabulary.save(target)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=vocabulary.specials.vocabulary, **sizes)).save_pretrained(folder)
    index = tmp_path / "index"
    refused = run("index", documents, "--model", folder, "-o", index)
    assert refused.code == 2
    assert "pooling" in refused.err
    outcome = run("index", documents, "--model", folder, "-o", index, "--pooling", "cls", "--similarity", "dot")
    assert outcome.code == 0, outcome.err
    assert run("search", index, "river", "--mode", "dense").code == 0


def test_search_asks_when_no_query_is_given(tmp_path, run, documents, model) -> None:
    run("index", documents, "--model", model, "-o", tmp_path / "index")
    command = [
        sys.executable,
        "-c",
        "from pretrieve.cli.app import main; main()",
        "search",
        str(tmp_path / "index"),
        "-k",
        "1",
    ]
    done = subprocess.run(command, input="glacier\nviolin\n", capture_output=True, text=True, check=True)
    assert "Glacier" in done.stdout
    assert "Violin" in done.stdout


def test_evaluate_json(run, tmp_path, documents, model) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_bytes(documents.read_bytes().replace(b'"id"', b'"_id"'))
    queries = [{"_id": f"q{n}", "text": f"letter of the year {1200 + n * 7}"} for n in range(30)]
    (folder / "queries.jsonl").write_bytes(b"\n".join(map(orjson.dumps, queries)))
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(30))
    )
    result = tmp_path / "result.json"
    outcome = run("evaluate", folder, "--model", model, "--model", model / "start", "--output-json", result)
    assert outcome.code == 0, outcome.err
    said = orjson.loads(result.read_bytes())
    assert said["queries"] == 30
    assert {(row["system"], row["mode"]) for row in said["rows"]} == {
        ("BM25", "lexical"), *((str(name), mode) for name in (model, model / "start") for mode in ("dense", "hybrid")),
    }  # fmt: skip
    for row in said["rows"]:
        assert set(row["metrics"]) == {"nDCG@10", "R@100", "RR@10"}
        low, high = row["ci95"]["nDCG@10"]
        assert low <= row["metrics"]["nDCG@10"] <= high
    assert {"a", "b", "metric", "difference", "p", "p_holm"} <= set(said["tests"][0])


def test_methods_cards(run) -> None:
    listing = run("methods").out
    for name in ("contriever", "contriever-inbatch", "mcontriever", "orqa-ict", "structure"):
        assert name in listing
        card = run("methods", name).out
        assert "paper" in card
    facts = orjson.loads(run("methods", "contriever", "--json").out)["contriever"]
    assert facts["options"]["temperature"]["value"] == 0.05
    assert facts["options"]["temperature"]["source"] in ("paper", "code")
    assert "Did you mean" in run("methods", "contreiver").err


def test_a_card_says_that_nothing_was_measured_yet(run, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(
        "pretrieve.evaluation.published_results.all_results", lambda folder=tmp_path: all_results(folder)
    )
    assert orjson.loads(run("methods", "contriever", "--json").out)["contriever"]["results"] == []
    assert "None in records/ yet" in run("methods", "contriever").out


def test_a_card_prints_what_was_measured(run, monkeypatch) -> None:
    """Every row of records/, with its spread over seeds, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    rows = orjson.loads(run("methods", "structure", "--json").out)["structure"]["results"]
    assert rows
    card = run("methods", "structure").out
    for row in rows:
        start, value, low, high = (
            "-" if number is None else f"{number:.{4 if abs(number) < 1 else 3}f}"
            for number in (row["start"], row["value"], row["low"], row["high"])
        )
        spread = f"({low} to {high})" if len(row["seeds"]) > 1 else ""
        assert f"{start} {value} {spread}".strip() in " ".join(card.split())
        assert f"records/{row['record']}" in card
    assert max(len(line.rstrip()) for line in card.splitlines()) <= 80
    assert "pre-training only" in run("methods", "mlm").out.lower()


def test_resume_after_a_signal_gives_the_same_model(tmp_path, documents) -> None:
    """SIGTERM to a real process leaves a checkpoint and exit code 143; --resume ends with the same bytes."""
    import signal
    import time

    settings = (
        "--steps",
        "300",
        "--seed",
        "3",
        "--set",
        "batch_size=32",
        "--set",
        "dimensions=32",
        "--set",
        "vocabulary_size=400",
        "--set",
        "save_every=50",
    )

    def command(out: Path, *more: str) -> list[str]:
        code = "from pretrieve.cli.app import main; main()"
        return [sys.executable, "-c", code, "train", str(documents), "-o", str(out), *settings, *more]

    straight, broken = tmp_path / "straight", tmp_path / "broken"
    subprocess.run(command(straight), check=True, capture_output=True)
    process = subprocess.Popen(command(broken), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    checkpoints = workspace_of(broken) / CHECKPOINTS
    while process.poll() is None and not seen(checkpoints, "*/step-*/MANIFEST.json"):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert str(workspace_of(broken)) in line, "where the run can be resumed from"
    assert "--resume" in line
    assert not broken.exists()
    subprocess.run(command(broken, "--resume"), check=True, capture_output=True)
    assert (straight / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()
    refused = subprocess.run(command(broken, "--resume"), capture_output=True, text=True, check=True)
    assert "already finished" in refused.stderr
    other = subprocess.run(command(broken, "--resume", "--seed", "4"), capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "seed was 3 and is 4" in other.stderr


def test_resume_with_other_documents_is_refused(tmp_path, documents) -> None:
    from pretrieve.pipeline.pretrain.request import TrainRequest
    from pretrieve.pipeline.pretrain.train import train

    source = tmp_path / "documents.jsonl"
    source.write_bytes(documents.read_bytes())
    output = tmp_path / "out"
    settings = {"batch_size": 16, "dimensions": 16, "vocabulary_size": 300, "save_every": 2}
    request = TrainRequest(sources=(str(source),), output=output, steps=4, settings=settings)
    train(request)
    source.write_bytes(documents.read_bytes().replace(b"river", b"brook"))
    with pytest.raises(FingerprintError, match="the documents are not those of before"):
        train(TrainRequest(sources=(str(source),), output=output, steps=4, settings=settings, resume=True))
    source.write_bytes(documents.read_bytes())
    with pytest.raises(FingerprintError, match="seed"):
        train(TrainRequest(sources=(str(source),), output=output, steps=4, settings=settings, resume=True, seed=1))


def test_retriever_in_python(tmp_path, documents) -> None:
    settings = {"batch_size": 16, "dimensions": 16, "vocabulary_size": 300}
    retriever = Retriever.train(documents, tmp_path / "m", steps=5, settings=settings, progress=False)
    assert len(retriever.search("glacier", top_k=3)) == 3
    retriever.save(tmp_path / "index")
    again = Retriever.load(tmp_path / "index")
    assert [hit.id for hit in again.search("glacier")] == [hit.id for hit in retriever.search("glacier")]
    alone = Retriever.load(tmp_path / "m")
    hits = alone.search("a loud engine", ["the quiet garden", "a loud engine", "nothing"], top_k=2)
    assert hits[0].id == "1"
    with pytest.raises(UsageError, match="no documents"):
        alone.search("engine")


def test_bibtex_of_a_method_and_of_all(run) -> None:
    one = run("methods", "orqa-ict", "--bibtex")
    assert one.code == 0, one.err
    assert one.out.startswith("@inproceedings{lee2019latent,\n")
    assert one.out.count("\n@") == 1  # Contriever's, whose ICT is a preset of the same file
    every = run("methods", "--bibtex").out
    assert every.count("@article{izacard2022unsupervised,") == 1
    assert every.count("@inproceedings{") == 12
    assert run("methods", "mlm").out.rstrip().endswith("pretrieve methods mlm --bibtex")
    facts = orjson.loads(run("methods", "mlm", "--json").out)["mlm"]["card"]["papers"]
    assert list(facts) == ["devlin2019bert", "gururangan2020dont"]
    both = run("methods", "mlm", "--bibtex", "--json")
    assert both.code == 2
    assert "not both" in both.err


def test_a_card_without_papers_says_how_to_add_them(run, tmp_path, monkeypatch) -> None:
    (tmp_path / "own.py").write_text(OWN_METHOD)
    monkeypatch.setenv("PRETRIEVE_METHODS", str(tmp_path))
    alone = run("methods", "ours", "--bibtex")
    assert alone.code == 2
    assert "no papers on the card of ours: add papers=(Paper(...),)" in alone.err
    every = run("methods", "--bibtex")
    assert every.code == 0
    assert "note: no papers on the card of ours" in every.err


OWN_METHOD = """
from dataclasses import dataclass
from pretrieve.methods import Card, Preset

CARD = Card(title="a", paper="none", idea="c")
PRESETS = {"ours": Preset(summary="d")}

@dataclass(frozen=True, kw_only=True)
class Options:
    pass

def sampler(store, specials, options, provenance=False): ...
def objective(encoder, options, seed, store): ...
def explain(batch, store, specials): ...
"""
