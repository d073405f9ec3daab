"""``pretrieve read`` and ``pretrieve answer`` from end to end on invented towns."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "finetuning"))
from quiz import quiz, store

from pretrieve.core.errors import FingerprintError, UsageError
from pretrieve.core.files import create
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.export import save_model
from pretrieve.pipeline.qa.request import ReadRequest
from pretrieve.pipeline.qa.train_reader import train_reader
from pretrieve.pipeline.run.progress import Silent

QUICK = ("--set", "batch_size=24", "--set", "learning_rate=0.005", "--set", "block=48", "--set", "read=2")


def jsonl(path: Path, records) -> Path:
    path.write_bytes(b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> dict[str, Path]:
    """Documents, questions, and a small retriever with separate towers."""
    folder = tmp_path_factory.mktemp("towns")
    documents, questions = quiz()
    corpus = jsonl(folder / "towns.jsonl", [{"id": d.id, "title": d.title, "text": d.text} for d in documents])
    asked = [{"question": q.text, "answers": list(q.answers)} for q in questions]
    towns = store(documents, folder)
    base = "new:layers=1,hidden=64,heads=2,dropout=0"
    encoder = build_encoder(base, store=towns, options=EncoderOptions(max_length=96), seed=1)
    with create(folder / "model", "model") as model:
        save_model(model, encoder, towns.tokenizer, documents=deepcopy(encoder))
    return {
        "corpus": corpus,
        "model": folder / "model",
        "train": jsonl(folder / "train.jsonl", asked),
        "test": jsonl(folder / "test.jsonl", asked[::5]),
        "reader": folder / "reader",
    }


def test_read_then_answer_then_judge(run, place, tmp_path) -> None:
    report = tmp_path / "report.json"
    common = (place["corpus"], "--questions", place["train"], "--model", place["model"], *QUICK)
    outcome = run(
        "read", *common, "-o", place["reader"], "--steps", 40, "--held-out", place["test"], "--output-json", report
    )
    assert outcome.code == 0, outcome.err
    assert "exact match" in outcome.out
    found = orjson.loads(report.read_bytes())
    assert found["questions"] == {"read": 72, "answered_in_documents": 72}
    assert found["held_out"]["exact_match"] > 0.1
    assert found["held_out"]["answer_recall"]["5"] > 0.8
    again = orjson.loads(run("answer", place["reader"], "--questions", place["test"], "--json").out)
    assert again["exact_match"] == found["held_out"]["exact_match"], "what is kept answers as what was trained"
    documents, questions = quiz()
    answer = orjson.loads(run("answer", place["reader"], questions[0].text, "--json").out)
    assert answer["question"] == questions[0].text
    assert answer["text"] in answer["block"]
    assert answer["block"] == next(d.text for d in documents if d.id == answer["id"])
    assert answer["text"] in run("answer", place["reader"], questions[0].text).out
    taken = run("read", *common, "-o", place["reader"])
    assert taken.code == 2
    assert "--overwrite" in taken.err


def test_a_stopped_run_is_begun_anew_or_gone_on_with(place, tmp_path) -> None:
    class Stop(Silent):
        """Interrupts at the third step."""

        now, left = "", 2

        def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
            self.now = name

        def advance(self, count: int, detail: str = "") -> None:
            if self.now == "train reader":
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt

    asked = ReadRequest(
        sources=(str(place["corpus"]),), questions=place["train"], model=str(place["model"]), output=tmp_path / "out",
        steps=4, settings={"batch_size": "24", "block": "48", "read": "2", "save_every": "1"},
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        train_reader(asked, Stop())
    with pytest.raises(UsageError, match="--resume"):
        train_reader(asked)
    anew = train_reader(replace(asked, overwrite=True))
    assert train_reader(replace(asked, resume=True)) == anew, "finished: nothing is done again"
    with pytest.raises(FingerprintError, match="steps was 4 and is 5"):
        train_reader(replace(asked, resume=True, steps=5))
    with pytest.raises(UsageError, match="would be overwritten"):
        train_reader(replace(asked, model=str(tmp_path / "out"), overwrite=True))


def test_the_retriever_is_a_stock_model(place) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(place["reader"] / "retriever"), device="cpu")
    assert model.encode_query(["Which river?"]).shape == model.encode_document(["A river."]).shape == (1, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questions": "missing.jsonl"}, "no such file with questions"),
        ({"questions": b'{"question": "Who?"}\n'}, "1: no list of answers"),
        ({"questions": b'{"question": "Who?", "answers": ["nobody at all"]}\n'}, "no answer of"),
        ({"more": ("--set", "blok=3")}, "unknown option 'blok'"),
        ({"more": ("--set", "block=4000")}, "lower block"),
        ({"more": ("--reader", "./missing")}, "not a folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, place, tmp_path, change, message) -> None:
    questions = change.get("questions", place["train"])
    if isinstance(questions, bytes):
        (tmp_path / "questions.jsonl").write_bytes(questions)
        questions = tmp_path / "questions.jsonl"
    outcome = run(
        "read", place["corpus"], "--questions", questions, "--model", place["model"], "-o", tmp_path / "out",
        "--steps", 1, *QUICK, *change.get("more", ()),
    )  # fmt: skip
    assert outcome.code in (1, 2)
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_static_model_cannot_read(run, model, documents, place, tmp_path) -> None:
    outcome = run("read", documents, "--questions", place["train"], "--model", model, "-o", tmp_path / "out")
    assert outcome.code == 2
    assert "not a transformer" in outcome.err


def test_answer_needs_a_question_or_a_file(run, place) -> None:
    assert "give a question" in run("answer", place["model"]).err
    assert run("answer", place["model"], "Who?").code != 0, "a model is no reader"
