"""``pretrieve generate`` on the command line: the next command runs, kills and signals lose nothing, one line each."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

import searching
import writers


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    documents = writers.collection(folder / "documents.jsonl")
    writers.collection(folder / "many.jsonl", 80)
    for kind in ("t5", "llama"):
        writers.generator(folder / kind, documents, kind)
    for name, labels in (("teacher", 1), ("three", 3), ("language", 0)):
        writers.encoder(folder / name, documents, labels=labels)
    searching.static_model(folder / "model", documents)
    return folder


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    return lines[0]


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_generate_then_finetune_by_the_printed_command(run, made, tmp_path, monkeypatch, kind) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(
        "generate", made / "documents.jsonl", "-o", "labels.jsonl", "--generator", made / kind, "--model",
        made / "model", "--cross-encoder", made / "teacher", "--max-new-tokens", "5", "--keep-within", "15",
        "--negatives", "4", "--output-json", "report.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    report = orjson.loads(Path("report.json").read_bytes())
    assert report == orjson.loads(Path("labels.jsonl.report.json").read_bytes())
    assert f"labels.jsonl: {report['queries']} queries for" in outcome.out
    assert f"Generated 120, kept {report['counts']['kept']}, dropped: " in outcome.out
    shown = outcome.out.split("Examples:\n")[1].split("\n\n")[0].splitlines()
    assert len(shown) == 5
    assert all(item["query"] in line for item, line in zip(report["examples"], shown, strict=True))
    command = outcome.out.split("Next:\n")[1].strip()
    words = shlex.split(command)
    assert words[:2] == ["pretrieve", "finetune"]
    outcome = run(*words[1:])
    assert outcome.code == 0, outcome.err
    tuned = orjson.loads(Path("tuned/report.json").read_bytes())
    assert tuned["values"]["loss"]["loss"] == "margin-mse"
    assert tuned["values"]["negatives"] == "given"
    assert tuned["queries"]["trained_on"] == report["queries"]
    before, after = ((made / "model" / "model.safetensors").read_bytes(), Path("tuned/model.safetensors").read_bytes())
    assert before != after


def test_a_beir_folder_to_evaluate_on(run, made, tmp_path) -> None:
    usual = ("--generator", made / "t5", "--max-new-tokens", "5", "--keep-within", "15", "--negatives", "2")
    arguments = ("generate", made / "documents.jsonl", "-o", tmp_path / "l.jsonl", *usual, "--beir", tmp_path / "beir")
    assert run(*arguments).code == 0
    records = [orjson.loads(line) for line in (tmp_path / "l.jsonl").read_bytes().splitlines()]
    rows = (tmp_path / "beir" / "qrels" / "train.tsv").read_text().splitlines()[1:]
    wanted = {(record["id"], item["id"]) for record in records for item in record["positives"]}
    assert {tuple(row.split("\t")[:2]) for row in rows} == wanted
    outcome = run("evaluate", tmp_path / "beir", "--model", made / "model", "--split", "train")
    assert outcome.code == 0, outcome.err
    assert "BM25" in outcome.out
    assert "exists already" in one_line(run(*arguments, "-o", tmp_path / "other.jsonl").err)
    assert run(*arguments, "--overwrite").code == 0


def test_without_scores_the_softmax_is_next(run, made, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    usual = ("--max-new-tokens", "5", "--keep-within", "15", "--negatives", "2")
    outcome = run("generate", made / "documents.jsonl", "-o", "l.jsonl", "--generator", made / "t5", *usual)
    assert outcome.code == 0, outcome.err
    assert "no scores" in outcome.err
    train, finetune = outcome.out.split("Next:\n")[1].splitlines()
    assert train.strip() == f"pretrieve train {made / 'documents.jsonl'} -o my-model"
    assert finetune.strip() == "pretrieve finetune my-model l.jsonl -o tuned --negatives given"


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--generator", "no/such/model"), ["no/such/model", "no such folder"], 2),
        (("--generator", "no-such-model"), ["no-such-model", "could be opened"], 2),
        (("--generator", "{}/language"), ["BertForMaskedLM", "writes no text", "seq2seq"], 2),
        (("--generator", "{}/t5", "--cross-encoder", "{}/three"), ["three", "3 labels"], 2),
        (("--generator", "{}/t5", "--cross-encoder", "{}/language"), ["scores no pairs"], 2),
        (("--generator", "{}/t5", "--model", "{}/nothing"), ["nothing", "no such folder"], 2),
        (("--generator", "m", "--endpoint", "http://127.0.0.1:9/v1", "--retries", "0"), ["127.0.0.1:9", "refused"], 1),
        (("--generator", "m", "--endpoint", "http://192.0.2.1/v1"), ["another machine", "--allow-remote"], 2),
        (("--generator", "m", "--endpoint", "localhost:8000"), ["such as http"], 2),
        (("--generator", "{}/t5", "--prompt", "{{documents}}"), ["Did you mean 'document'"], 2),
        (("--generator", "{}/t5", "--text-field", "txt"), ["txt"], 2),
    ],
)
def test_bad_input(run, made, tmp_path, arguments, words, code) -> None:
    arguments = [word.format(made) if "{" in word else word for word in arguments]
    outcome = run("generate", made / "documents.jsonl", "-o", tmp_path / "labels.jsonl", *arguments)
    assert outcome.code == code, outcome.err
    line = one_line(outcome.err)
    assert all(word in line for word in words), line
    assert not list(tmp_path.iterdir())


def test_bad_documents(run, made, tmp_path) -> None:
    source = tmp_path / "bad.jsonl"
    source.write_bytes((made / "documents.jsonl").read_bytes() + b"{not json\n")
    usual = ("-o", tmp_path / "out.jsonl", "--generator", made / "t5", "--max-new-tokens", "5", "--keep-within", "20")
    assert "bad.jsonl:41" in one_line(run("generate", source, *usual).err)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]
    assert run("generate", source, *usual, "--on-bad", "quarantine").code == 0
    assert b"not json" in (tmp_path / "out.jsonl.quarantine.jsonl").read_bytes()


def started(made: Path, output: Path, server: writers.Server) -> subprocess.Popen:
    command = [
        sys.executable, "-c", "from pretrieve.cli.app import main; main()", "generate", str(made / "many.jsonl"),
        "-o", str(output), *options(made, server),
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def options(made: Path, server: writers.Server) -> list[str]:
    return ["--generator", "m", "--endpoint", server.url, "--concurrency", "2", "--cross-encoder",
            str(made / "teacher"), "--negatives", "3"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_goes_on_to_the_same_bytes(run, made, tmp_path, number) -> None:
    """Stopped while the endpoint answers: the documents that were done are not asked for again."""
    with writers.serving() as server:
        expected = tmp_path / "expected.jsonl"
        assert run("generate", made / "many.jsonl", "-o", expected, *options(made, server)).code == 0
        assert len(server.requests) == 80
        output = tmp_path / "labels.jsonl"
        server.requests.clear()
        server.delay = 0.05
        process = started(made, output, server)
        deadline = time.monotonic() + 120
        while len(server.requests) < 40:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert not output.exists()
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 128 + number
            assert "--resume" in one_line(err)
            assert "Traceback" not in err
        server.delay = 0.0
        time.sleep(0.3)
        server.requests.clear()
        assert "--resume" in one_line(run("generate", made / "many.jsonl", "-o", output,
                                          *options(made, server)).err)  # fmt: skip
        again = [*options(made, server), "--concurrency", "7", "--resume"]  # how many at once may change
        outcome = run("generate", made / "many.jsonl", "-o", output, *again)
        assert outcome.code == 0, outcome.err
        assert len(server.requests) == 80 - 32, "one block was done"
        assert output.read_bytes() == expected.read_bytes()
        assert not output.with_name("labels.jsonl.parts").exists()
