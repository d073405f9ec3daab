"""Mine, fine-tune and compare on the command line and from Python; bad labels give one line."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import labelling
from pretrieve import Retriever
from pretrieve.core.errors import UsageError
from pretrieve.text.documents import Documents


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    labelling.beir(folder / "beir", 240, 20)
    labelling.static_model(folder / "model")
    return folder


def test_mine_then_finetune(run, made, tmp_path) -> None:
    outcome = run("mine", made / "beir", "-o", tmp_path / "n.jsonl", "--model", made / "model", "--number", "5")
    assert outcome.code == 0, outcome.err
    assert "220 queries" in outcome.out
    assert "--negatives-file" in outcome.out
    record = orjson.loads((tmp_path / "n.jsonl").read_bytes().splitlines()[0])
    assert set(record) == {"id", "query", "positives", "negatives"}
    outcome = run(
        "finetune", made / "model", made / "beir", "-o", tmp_path / "out", "--negatives-file", tmp_path / "n.jsonl",
        "--steps", "5", "--set", "batch_size=32", "--output-json", tmp_path / "report.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    for words in ("22 held-out queries", "Against its start", "negatives: given", f"pretrieve evaluate {made}/beir"):
        assert words in " ".join(outcome.out.split()), words
    said = orjson.loads((tmp_path / "report.json").read_bytes())
    assert said["values"]["training"]["steps"] == 5
    assert set(said["evaluation"]["weights"]) == {"start", "model"}


@pytest.mark.parametrize("command", ["finetune", "mine"])
@pytest.mark.parametrize(
    ("content", "words", "code"),
    [
        ('{"query": "a", "positive": "b"}\n{broken\n', ["labels.jsonl:2", "malformed JSON"], 1),
        ('{"query": "a"}\n', ["labels.jsonl:1", "no positive document"], 1),
        ("", ["no query"], 1),
        (None, ["labels.jsonl", "no such file"], 2),
    ],
)
def test_bad_labels(run, made, tmp_path, command, content, words, code) -> None:
    path = tmp_path / "labels.jsonl"
    if content is not None:
        path.write_text(content)
    start = (made / "model",) if command == "finetune" else ()
    outcome = run(command, *start, path, "-o", tmp_path / "out")
    lines = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    assert (outcome.code, len(lines)) == (code, 1), outcome.err
    assert all(word in lines[0] for word in words), lines[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ([] if content is None else ["labels.jsonl"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--labels", "1,all"), "numbers from 2"),
        (("--labels", "many"), "numbers from 2"),
        (("--methods", "mlmm"), "Did you mean 'mlm'"),
        (("--tune", "hrad=1"), "Did you mean 'hard'"),
        (("--tokens", "5000", "--steps", "7"), "--tokens or --steps"),
    ],
)
def test_bad_comparisons(run, made, tmp_path, arguments, words) -> None:
    outcome = run("compare", made / "beir", "--benchmark", made / "beir", "-o", tmp_path / "out", *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert not list(tmp_path.iterdir())


def test_compare(run, made, tmp_path) -> None:
    outcome = run(
        "compare", made / "beir", "--benchmark", made / "beir", "-o", tmp_path / "out", "--methods", "none",
        "--base", "static", "--labels", "50", "--set", "dimensions=8", "--set", "vocabulary_size=300",
        "--tune", "steps=2", "--seeds", "1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "| BM25 |" in outcome.out
    assert "50 labels" in outcome.out
    assert {"report.md", "report.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_documents_of_a_comparison_are_read_as_told(run, made, tmp_path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("not of this comparison")
    lines = [f'{{"identity": "{n}", "said": "word{n} of a line"}}' for n in range(40)]
    (folder / "records.jsonl").write_text("\n".join([*lines, "{broken", ""]))
    words = ("compare", folder, "--benchmark", made / "beir", "-o", tmp_path / "out", "--methods", "none",
             "--base", "static", "--labels", "20", "--set", "dimensions=8", "--set", "vocabulary_size=300",
             "--tune", "steps=2", "--seeds", "1", "--include", "*.jsonl", "--text-field", "said",
             "--id-field", "identity")  # fmt: skip
    refused = run(*words, "--on-bad", "fail")
    assert (refused.code, "records.jsonl:41" in refused.err) == (1, True), refused.err
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    assert len(Documents.open(tmp_path / "out" / "shared" / "documents")) == 40
    outcome = run(*words, "--without-titles")
    assert outcome.code == 2
    assert "reading: not as before" in outcome.err


def test_from_python(made, tmp_path, capsys) -> None:
    retriever = Retriever.load(made / "model")
    count = retriever.mine(made / "beir", tmp_path / "n.jsonl", by="model", number=4, progress=False)
    assert count == 220 * 4
    tuned = retriever.finetune(
        made / "beir",
        tmp_path / "out",
        negatives_file=str(tmp_path / "n.jsonl"),
        epochs=40,
        settings={"batch_size": 32},
    )
    assert "finetune" in capsys.readouterr().err, "progress is shown"
    before, after = (found.evaluate(made / "beir", metrics=("nDCG@10",)) for found in (retriever, tuned))
    assert "| BM25 | lexical |" in after.markdown()
    assert after.rows[1].mean("nDCG@10") > before.rows[1].mean("nDCG@10") + 0.1
    query = " ".join(labelling.word(n + labelling.WORDS) for n in (1, 2))
    texts = [" ".join(labelling.word(n) for n in pair) for pair in ((30, 31), (1, 2), (12, 13))]
    assert tuned.search(query, texts, top_k=1, mode="dense")[0].id == "1"
    again = retriever.finetune(made / "beir", steps=1, limit=50, progress=False)
    assert Path(again.location).is_dir()
    assert again.location != str(tmp_path / "out")
    for call, words in (
        (lambda: retriever.finetune(made / "beir", tmp_path / "no", stepps=1), "Did you mean 'steps'"),
        (lambda: retriever.mine(made / "beir", tmp_path / "no", numbr=1), "Did you mean 'number'"),
        (lambda: Retriever.compare(made / "beir", made / "beir", tmp_path / "no", seed=1), "Did you mean 'seeds'"),
    ):
        with pytest.raises(UsageError) as found:
            call()
        assert words in str(found.value)


def test_compare_from_python(made, tmp_path) -> None:
    table = Retriever.compare(
        made / "beir", made / "beir", tmp_path / "out", methods=("none",), base="static", labels=(), progress=False,
        settings={"dimensions": 8, "vocabulary_size": 300},
    )  # fmt: skip
    assert table.methods == ["none"]
    assert table.stages == [None]
    assert (tmp_path / "out/report.json").is_file()


def test_what_was_said_of_a_model_is_said_again(tmp_path, made) -> None:
    """A model that had to be described is fine-tuned as it was described."""
    import stock

    stock.checkpoint("bert", tmp_path / "copy", layers=1)
    retriever = Retriever.load(tmp_path / "copy", pooling="cls", similarity="dot", query_prompt="ask: ")
    retriever.finetune(made / "beir", tmp_path / "out", steps=1, limit=10, progress=False)
    config = orjson.loads((tmp_path / "out/config_sentence_transformers.json").read_bytes())
    assert config["similarity_fn_name"] == "dot"
    assert config["prompts"]["query"] == "ask: "


def test_wrong_uses_of_a_published_checkpoint_are_said(run, made, tmp_path) -> None:
    """In a line of standard error each, on every command that takes a model; done they are all the same."""
    import stock

    stock.checkpoint("bert", tmp_path / "copy", layers=1)
    said = ("--like", "Luyu/co-condenser-marco", "--pooling", "mean")
    lines = {
        "evaluate": ("evaluate", made / "beir", "--model", tmp_path / "copy", "--mode", "dense", *said),
        "index": ("index", made / "beir/corpus.jsonl", "--model", tmp_path / "copy", "-o", tmp_path / "index", *said),
        "finetune": ("finetune", tmp_path / "copy", made / "beir", "-o", tmp_path / "tuned", "--steps", "1",
                     "--negatives", "none", "--limit", "10", *said),
    }  # fmt: skip
    for name, line in lines.items():
        outcome = run(*line)
        assert outcome.code == 0, outcome.err
        heard = " ".join(outcome.err.split())
        assert heard.count("was trained with pooling 'cls', and 'mean' costs accuracy: leave pooling out.") == 1
        assert ("fine-tune it first" in heard) == (name != "finetune")
