"""The road of fine-tuning: from every start, with every kind of negatives, stopped and gone on, and kept."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
import pytest
import torch
from huggingface_hub import ModelCard

import labelling
import stock
from forks import start
from looking import seen
from pretrieve import Retriever
from pretrieve.core.errors import FingerprintError, UsageError
from pretrieve.core.files import MANIFEST
from pretrieve.finetuning.ance import Ance, Refresh
from pretrieve.finetuning.contrastive import Contrastive
from pretrieve.models.bag import Bag
from pretrieve.models.restore import load_encoders
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.finetune import finetune as road
from pretrieve.pipeline.finetune.base_model import open_start
from pretrieve.pipeline.finetune.finetune import finetune
from pretrieve.pipeline.finetune.read_labels import read_labels
from pretrieve.pipeline.finetune.request import FinetuneRequest, values_of
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.workspace import workspace_of

SMALL = {"batch_size": 32}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with the toy, and models to start from."""
    folder = tmp_path_factory.mktemp("made")
    labelling.beir(folder / "beir")
    labelling.static_model(folder / "static")
    labelling.transformer_model(folder / "transformer")
    return folder


def request_of(made: Path, output: Path, start: str = "static", **changes: Any) -> FinetuneRequest:
    settings = {**SMALL, **changes.pop("settings", {})}
    return FinetuneRequest(model=str(made / start), labels=made / "beir", output=output, settings=settings, **changes)


def rows(report) -> dict[tuple[str, str], float]:
    return {(row["system"], row["mode"]): row["metrics"]["nDCG@10"] for row in report.evaluation["rows"]}


@pytest.mark.parametrize("negatives", ["none", "bm25", "mined", "ance"])
def test_a_static_model_learns_with_every_kind_of_negatives(made, tmp_path, negatives) -> None:
    output = tmp_path / "out"
    report = finetune(request_of(made, output, negatives=negatives, epochs=60))
    assert report.queries == {"trained_on": 198, "held_out": 22}
    found = rows(report)
    assert found["model", "dense"] > found["start", "dense"] + 0.25, found
    assert orjson.loads((output / "report.json").read_bytes()) == orjson.loads(orjson.dumps(report.to_json()))
    assert Bag.load(output).weight == report.evaluation["weights"]["model"] >= 1.0, "words find nothing here"
    assert "pretrieve finetune" in (output / "README.md").read_text()
    card = ModelCard.load(output / "README.md").data
    (result,) = card.eval_results
    assert result.metric_value == pytest.approx(found["model", "dense"], abs=1e-6)
    assert result.dataset_name.startswith("22 held-out queries among ")
    assert card.base_model is card.license is None
    assert report.values["negatives"] == negatives


def test_the_index_is_made_anew_whatever_the_number_of_steps(made, tmp_path, monkeypatch) -> None:
    built: list[Any] = []
    monkeypatch.setattr(Ance, "after_step", spying(Ance.after_step, built))
    for steps in (3, 12):
        finetune(request_of(made, tmp_path / str(steps), negatives="ance", steps=steps), evaluate=False)
    assert built == [1, 2, 3, *(2 * (done // 2) for done in range(1, 13))]
    assert Refresh().over(100_000).every == 500

    class Hearing(Silent):
        notes: ClassVar[list[str]] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    request = request_of(made, tmp_path / "out", negatives="ance", steps=4, settings={"every": 4})
    finetune(request, Hearing(), evaluate=False)
    assert any("all negatives come from the starting model" in note for note in Hearing.notes)


def spying(after_step: Any, built: list[Any]) -> Any:
    """The same, noting at which step the vectors in use were made."""

    def spy(self: Any, *arguments: Any) -> None:
        after_step(self, *arguments)
        built.append(int(self.index.built))

    return spy


@pytest.mark.parametrize("negatives", ["none", "bm25", "mined", "ance"])
def test_a_retriever_takes_the_negatives_that_are_asked_for(made, tmp_path, negatives) -> None:
    Retriever.load(str(made / "static")).finetune(
        made / "beir", tmp_path / "out", negatives=negatives, steps=1, progress=False
    )
    assert orjson.loads((tmp_path / "out" / "report.json").read_bytes())["values"]["negatives"] == negatives


@pytest.mark.parametrize("negatives", ["none", "bm25", "mined", "ance"])
def test_a_transformer_with_every_kind_of_negatives(made, tmp_path, negatives) -> None:
    from sentence_transformers import SentenceTransformer

    output = tmp_path / "out"
    report = finetune(request_of(made, output, "transformer", negatives=negatives, steps=3), evaluate=False)
    assert report.evaluation is None
    assert report.queries["trained_on"] == 220
    stock_model, ours = SentenceTransformer(str(output), device="cpu"), open_encoder(str(output))
    texts = [labelling.word(3), f"{labelling.word(5)} {labelling.word(45)}"]
    np.testing.assert_allclose(stock_model.encode_query(texts), ours.encode_queries(texts), atol=1e-6)
    from pretrieve.models.inference import encode
    from pretrieve.text import tokenizer

    again = encode(load_encoders(output)[0], tokenizer.load(output), texts)
    np.testing.assert_allclose(stock_model.encode(texts), again, atol=1e-5)
    before = open_encoder(str(made / "transformer")).encode_queries(texts)
    assert np.abs(before - ours.encode_queries(texts)).max() > 1e-4


def test_held_out_queries_are_seen_by_nobody(made, tmp_path, monkeypatch) -> None:
    """Not by the first model either, whose negatives the second learns from."""
    seen: list[set[str]] = []
    true = road._trained

    def watching(run, request, values, labels, held, start):
        seen.append(set(labels.ids))
        return true(run, request, values, labels, held, start)

    evaluated: list[set[str]] = []

    def evaluating(request, model, labels, listener):
        evaluated.append(set(labels.ids))
        return evaluate(request, model, labels, listener)

    evaluate = road.evaluate_finetuned
    monkeypatch.setattr(road, "_trained", watching)
    monkeypatch.setattr(road, "evaluate_finetuned", evaluating)
    finetune(request_of(made, tmp_path / "out", negatives="mined", steps=2))
    assert len(seen) == 2
    assert len(evaluated) == 1
    assert seen[0] == seen[1]
    assert not seen[0] & evaluated[0]
    assert len(seen[0] | evaluated[0]) == 220
    test = (made / "beir/qrels/test.tsv").read_text()
    assert not any(f"{name}\t" in test for name in seen[0] | evaluated[0])


def test_fewer_labels_are_the_first_of_more(made, tmp_path) -> None:
    few, _ = road._divide(500, request_of(made, tmp_path, limit=50), hold_out=True)
    more, held = road._divide(500, request_of(made, tmp_path, limit=100), hold_out=True)
    assert few.tolist() == more[:50].tolist()
    assert len(held) == 50
    assert not set(held) & set(more)
    other, _ = road._divide(500, replace(request_of(made, tmp_path, limit=50), seed=1), hold_out=True)
    assert set(other) != set(few)
    assert len(road._divide(199, request_of(made, tmp_path), hold_out=True)[1]) == 0


def test_negatives_that_the_labels_bring_are_used(made, tmp_path) -> None:
    """By default; and a teacher's scores with them."""
    documents, queries = labelling.toy(60)
    given = [
        {
            "query": q["text"],
            "pos": [d["text"]],
            "neg": [documents[n - 1]["text"]],
            "pos_scores": [3],
            "neg_scores": [1],
        }
        for n, (q, d) in enumerate(zip(queries, documents, strict=True))
    ]
    source = labelling.lines(tmp_path / "labels.jsonl", given)
    plain = request_of(made, tmp_path / "a", steps=2)
    report = finetune(replace(plain, labels=source))
    assert report.values["negatives"] == "given"
    assert report.negatives == len({q["text"] for q in queries})
    for loss in ("margin-mse", "kl"):
        request = replace(plain, labels=source, output=tmp_path / loss, settings={**SMALL, "loss": loss})
        assert finetune(request).values["loss"]["loss"] == loss
        with pytest.raises(UsageError, match="needs a teacher's scores"):
            finetune(replace(request, output=tmp_path / "no", negatives="bm25"))
    assert not (tmp_path / "no").exists()
    pairs = labelling.lines(tmp_path / "pairs.jsonl", [{k: r[k] for k in ("query", "pos")} for r in given])
    assert finetune(replace(plain, labels=pairs, output=tmp_path / "b")).values["negatives"] == "bm25"


def test_a_file_of_negatives(made, tmp_path) -> None:
    from pretrieve.pipeline.finetune.mine import MineOptions, mine_source

    model = open_encoder(str(made / "static"))
    count, queries = mine_source(made / "beir", model, tmp_path / "n.jsonl", MineOptions(by="model"), Silent())
    assert queries == 220
    assert count == 220 * 30
    report = finetune(request_of(made, tmp_path / "out", negatives_file=tmp_path / "n.jsonl", steps=2))
    assert report.values["negatives"] == "given"
    assert report.negatives == 198 * 30


class _Stop(Silent):
    """Raises as a crash would, at a stage or after a number of steps."""

    def __init__(self, stage: str, after: int = 0) -> None:
        self.at, self.after, self.now = stage, after, ""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.now = name

    def advance(self, count: int, detail: str = "") -> None:
        if self.now == self.at:
            self.after -= count
            if self.after < 0:
                raise KeyboardInterrupt


def weights(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.safetensors")))


def tune_slowly(report: Connection, made: Path, output: Path) -> None:
    """In a process of its own: fine-tune, telling of each step."""

    class Telling(Silent):
        def advance(self, count: int, detail: str = "") -> None:
            report.send(detail)
            time.sleep(0.02)

    finetune(request_of(made, output, negatives="ance", steps=60, settings={"save_every": 5, "every": 7}), Telling())


def test_killed_and_gone_on_is_bit_equal(made, tmp_path) -> None:
    values = {"negatives": "ance", "steps": 60, "settings": {"save_every": 5, "every": 7}}
    finetune(request_of(made, tmp_path / "whole", **values))
    output = tmp_path / "killed"
    process, _ = start(tune_slowly, made, output)
    deadline = time.monotonic() + 60
    while len(seen(workspace_of(output), "checkpoints/step-*")) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (output / MANIFEST).exists()
    with pytest.raises(UsageError, match="--resume"):
        finetune(request_of(made, output, **values))
    for changed, words in (
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"steps": 61}, "steps was 60 and is 61"),
        ({"negatives": "none", "settings": {"save_every": 5}}, "negatives was ance and is none"),
        ({"model": str(made / "transformer")}, "model was"),
        ({"limit": 100}, "limit was not set and is 100"),
    ):
        wrong = replace(request_of(made, output, **values, resume=True), **changed)
        with pytest.raises(FingerprintError, match=words):
            finetune(wrong)
    finetune(request_of(made, output, **values, resume=True))
    assert weights(output) == weights(tmp_path / "whole")
    told: list[str] = []
    listener = Silent()
    listener.note = told.append  # type: ignore[method-assign]
    finetune(request_of(made, output, **values, resume=True), listener)
    assert "already finished" in told[0]


@pytest.mark.parametrize("stage", ["mine", "finetune", "evaluate"])
def test_mined_gone_on_from_any_stage_is_bit_equal(made, tmp_path, stage) -> None:
    values = {"negatives": "mined", "steps": 6, "settings": {"save_every": 2}}
    finetune(request_of(made, tmp_path / "whole", **values))
    after = 4 if stage == "finetune" else 0
    with pytest.raises(KeyboardInterrupt):
        finetune(request_of(made, tmp_path / "out", **values), _Stop(stage, after))
    finetune(request_of(made, tmp_path / "out", **values, resume=True))
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 1, "steps": 1}, "not both"),
        ({"recipe": "dprr"}, "Did you mean 'dpr'"),
        ({"settings": {"temprature": "1"}}, "Did you mean 'temperature'"),
        ({"settings": {"batch_size": "many"}}, "whole number"),
        ({"settings": {"hard": "2"}}, "hard"),
        ({"limit": 1}, "the minimum is two"),
        ({"negatives": "bm25", "negatives_file": Path("x")}, "not both"),
        ({"negatives_file": Path("nowhere")}, "no such file"),
        ({"model": "/nowhere/model"}, "/nowhere/model"),
        ({"split": "dev"}, "no split"),
        ({"negatives": "ance", "settings": {"loss": "kl"}}, "loss=kl"),
        ({"recipe": "dpr", "settings": {"encoders": "both"}}, "not one of"),
        ({"negatives": "given"}, "has no negatives"),
        ({"negatives": "bm25", "settings": {"every": "3"}}, "every: it is for --negatives ance"),
        ({"steps": -5}, "the minimum is 1"),
        ({"epochs": 0}, "the minimum is 1"),
    ],
)
def test_refusals_leave_nothing(made, tmp_path, changes, words) -> None:
    with pytest.raises(UsageError) as found:
        finetune(replace(request_of(made, tmp_path / "out", steps=None), **changes))
    assert words in str(found.value)
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_taken(made, tmp_path) -> None:
    finetune(request_of(made, tmp_path / "out", steps=1))
    with pytest.raises(UsageError, match="overwrite"):
        finetune(request_of(made, tmp_path / "out", steps=1))
    finetune(request_of(made, tmp_path / "out", steps=2, overwrite=True))
    assert orjson.loads((tmp_path / "out/recipe.json").read_bytes())["training"]["steps"] == 2


def test_overwriting_costs_no_model(made, tmp_path) -> None:
    """What the run reads is not overwritten, and a mistyped name leaves what is there."""
    finetune(request_of(made, tmp_path / "out", steps=1), evaluate=False)
    before = weights(tmp_path / "out")
    wrong = (
        ({"model": str(tmp_path / "out")}, "would be overwritten"),
        ({"negatives_file": tmp_path / "out" / "report.json"}, "would be overwritten"),
        ({"labels": made / "typo"}, "no such file"),
    )
    for changes, words in wrong:
        with pytest.raises(UsageError, match=words):
            finetune(replace(request_of(made, tmp_path / "out", overwrite=True), **changes))
    assert weights(tmp_path / "out") == before
    assert Bag.readable(tmp_path / "out")


def test_a_first_model_of_another_command_is_not_taken(made, tmp_path) -> None:
    """Killed after the first model and before the second: the mined negatives would be another command's."""
    values = {"negatives": "mined", "steps": 6}
    with pytest.raises(KeyboardInterrupt):
        finetune(request_of(made, tmp_path / "out", **values), _Stop("mine", 198))
    assert (workspace_of(tmp_path / "out") / "first" / MANIFEST).is_file()
    with pytest.raises(FingerprintError, match=r"learning_rate was not set and is 0\.5"):
        finetune(request_of(made, tmp_path / "out", **values, settings={"learning_rate": 0.5}, resume=True))
    finetune(request_of(made, tmp_path / "out", **values, resume=True))


def test_a_finished_folder_of_another_kind_or_command(made, tmp_path) -> None:
    with pytest.raises(FingerprintError, match=r"command was train and is finetune|does not say which command"):
        finetune(request_of(made, made / "static", steps=1, resume=True))
    finetune(request_of(made, tmp_path / "out", steps=1), evaluate=False)
    with pytest.raises(FingerprintError, match="steps was 1 and is 2"):
        finetune(request_of(made, tmp_path / "out", steps=2, resume=True))
    finetune(request_of(made, tmp_path / "out", steps=1, resume=True), evaluate=False)


def test_train_does_not_take_a_fine_tuned_folder_for_its_own(made, tmp_path) -> None:
    from pretrieve.pipeline.pretrain.request import TrainRequest
    from pretrieve.pipeline.pretrain.train import train

    finetune(request_of(made, tmp_path / "out", steps=1), evaluate=False)
    with pytest.raises(FingerprintError, match="command was finetune and is train"):
        train(TrainRequest(sources=(str(made / "beir"),), output=tmp_path / "out", resume=True))


def test_a_retriever_is_its_own_start(made) -> None:
    with pytest.raises(UsageError, match="model is given by this retriever"):
        Retriever.load(str(made / "static")).finetune(made / "beir", model="another", steps=1)


@pytest.mark.parametrize("kind", ["separate", "dpr"])
def test_separate_towers(made, tmp_path, kind) -> None:
    """A model with two towers keeps them, and dpr makes two of one."""
    from sentence_transformers import SentenceTransformer

    if kind == "separate":
        labelling.transformer_model(tmp_path / "two", documents=True)
        request = replace(request_of(made, tmp_path / "out", steps=2), model=str(tmp_path / "two"))
        with pytest.raises(UsageError, match="encoders=tied"):
            finetune(replace(request, settings={"encoders": "tied"}))
    else:
        request = request_of(made, tmp_path / "out", "transformer", recipe="dpr", steps=2)
    assert finetune(request, evaluate=False).values["loss"]["encoders"] == "untied"
    query, document = load_encoders(tmp_path / "out")
    pairs = list(zip(query.parameters(), document.parameters(), strict=True))
    assert query is not document
    assert any(not torch.equal(a, b) for a, b in pairs)
    model, ours = SentenceTransformer(str(tmp_path / "out"), device="cpu"), open_encoder(str(tmp_path / "out"))
    texts = [labelling.word(3)]
    np.testing.assert_allclose(model.encode_query(texts), ours.encode_queries(texts), atol=1e-6)
    np.testing.assert_allclose(model.encode_document(texts), ours.encode_documents(texts), atol=1e-6)
    assert np.abs(model.encode_query(texts) - model.encode_document(texts)).max() > 1e-4
    if kind == "separate":
        finetune(replace(request, model=str(tmp_path / "out"), output=tmp_path / "again"), evaluate=False)


def test_several_views(made, tmp_path) -> None:
    """A model of MVR is trained on, judged, and keeps its views."""
    from pretrieve.core import files
    from pretrieve.models.export import save_model
    from pretrieve.models.multi_vector import add_viewers

    encoder, known = labelling.transformer(tmp_path / "made", pooling="cls")
    with files.create(tmp_path / "mvr", "model", meta={}) as folder:
        save_model(folder, add_viewers(encoder, 3, 0), known, prompts={"query": "ba do "})
    request = replace(request_of(made, tmp_path / "out", steps=2), model=str(tmp_path / "mvr"))
    report = finetune(replace(request, negatives="mined"))
    assert ("model", "dense") in rows(report)
    before, after = (open_encoder(str(tmp_path / name)) for name in ("mvr", "out"))
    assert after.query_prompt == "ba do "
    views = after.encode_documents([labelling.word(3)])
    assert views.shape == (1, 3, 16)
    assert np.abs(views - before.encode_documents([labelling.word(3)])).max() > 1e-5
    with pytest.raises(UsageError, match="several"):
        finetune(replace(request, output=tmp_path / "no", negatives="ance"))
    with pytest.raises(UsageError, match="encoders=untied"):
        finetune(replace(request, output=tmp_path / "no", recipe="dpr"))


@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_prompts_are_used_and_kept(made, tmp_path, kind, monkeypatch) -> None:
    prompts = {"query": f"{labelling.word(1)} ", "document": f"{labelling.word(2)} {labelling.word(4)} "}
    make = labelling.static_model if kind == "static" else labelling.transformer_model
    make(tmp_path / "start", prompts=prompts)
    seen = []
    true = Contrastive.encode

    def watching(self, batch, step):
        seen.append(batch)
        return true(self, batch, step)

    monkeypatch.setattr(Contrastive, "encode", watching)
    request = replace(request_of(made, tmp_path / "out", steps=1, negatives="bm25"), model=str(tmp_path / "start"))
    finetune(request, evaluate=False)
    config = orjson.loads((tmp_path / "out/config_sentence_transformers.json").read_bytes())
    assert config["prompts"] == prompts
    known, first = labelling.vocabulary(), 0 if kind == "static" else 1
    for number in range(seen[0].shape[1]):
        prompt = known.encode([prompts["query" if number == 0 else "document"]]).row(0).tolist()
        rows_of = seen[0].column(number).rows
        assert all(rows_of.row(b)[first : first + len(prompt)].tolist() == prompt for b in range(len(rows_of)))


def test_a_published_checkpoint_as_it_is_used(made, tmp_path) -> None:
    """A folder of ``save_pretrained`` is no model by itself; as a copy of a known one it is."""
    stock.checkpoint("bert", tmp_path / "copy", layers=1)
    plain = replace(request_of(made, tmp_path / "out", steps=1), model=str(tmp_path / "copy"))
    with pytest.raises(UsageError, match="pools"):
        finetune(plain)
    for like, pooling, similarity in (("intfloat/e5-base-v2", "mean", "cosine"), ("Luyu/condenser", "cls", "dot")):
        output = tmp_path / pooling
        report = finetune(replace(plain, output=output, described=ModelOptions(like=like)))
        assert ("start", "dense") in rows(report)
        config = orjson.loads((output / "config_sentence_transformers.json").read_bytes())
        assert config["similarity_fn_name"] == similarity
        assert orjson.loads((output / "1_Pooling/config.json").read_bytes())["pooling_mode"] == pooling
        expected = "query: " if "e5" in like else ""
        assert config["prompts"]["query"] == expected
        assert f"--like {like}" in (output / "README.md").read_text()
    told = ModelOptions(pooling="max", similarity="dot")
    with pytest.raises(UsageError, match="cannot be trained"):
        finetune(replace(plain, described=told))


def test_a_shorter_query_is_kept(made, tmp_path) -> None:
    """A checkpoint that reads less of a query than of a passage does so after tuning, in stock libraries too."""
    from sentence_transformers import SentenceTransformer

    stock.checkpoint("bert", tmp_path / "copy", layers=1)
    told = ModelOptions(like="Luyu/co-condenser-marco-retriever")
    request = replace(request_of(made, tmp_path / "out", steps=1), model=str(tmp_path / "copy"), described=told)
    finetune(request, evaluate=False)
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    length = model[0].query_length
    assert length < model.max_seq_length
    words = [labelling.word(number) for number in range(model.max_seq_length - 2)]
    whole, opening = " ".join(words), " ".join(words[: length - 2])
    same = np.testing.assert_allclose
    same(model.encode_query(whole), model.encode_query(opening), atol=1e-6)
    same(open_encoder(str(tmp_path / "out")).encode_queries([whole])[0], model.encode_query(whole), atol=1e-6)
    assert np.abs(model.encode_document(whole) - model.encode_document(opening)).max() > 1e-4
    again = replace(request, model=str(tmp_path / "out"), output=tmp_path / "again", described=ModelOptions())
    finetune(again, evaluate=False)
    assert SentenceTransformer(str(tmp_path / "again"), device="cpu")[0].query_length == length


def test_a_static_model_of_others(made, tmp_path) -> None:
    """Stock sentence-transformers keep the tokenizer in a folder of the module."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    known = labelling.vocabulary()
    SentenceTransformer(
        modules=[StaticEmbedding(known.backend, embedding_dim=8)], device="cpu", similarity_fn_name="cosine"
    ).save_pretrained(str(tmp_path / "theirs"))
    report = finetune(
        replace(request_of(made, tmp_path / "out", steps=1), model=str(tmp_path / "theirs")), evaluate=False
    )
    assert report.values["recipe"] == "static"


@pytest.mark.parametrize(
    ("start", "length", "said"),
    [
        ("transformer", 4, True),
        ("transformer", 7, True),
        ("transformer", 8, False),
        ("transformer", 512, False),
        ("static", 512, False),
    ],
)
def test_reading_further_in_search_than_in_training_is_said(made, tmp_path, start, length, said) -> None:
    """The toy's documents are five words and a dot, a token each, between two special tokens; the model reads more."""
    notes: list[str] = []
    listener = Silent()
    listener.note = notes.append  # type: ignore[method-assign]
    settings = {"passage_length": length, "query_length": 8}
    finetune(
        request_of(made, tmp_path / "out", start, steps=1, negatives="none", settings=settings),
        listener,
        evaluate=False,
    )
    found = [note for note in notes if f"passage_length={length}" in note]
    assert bool(found) == said
    assert all("100% of the documents" in note and f"--max-length {length}" in note for note in found)


@pytest.mark.parametrize(
    ("width", "changes", "rate"),
    [
        (768, {}, 2e-5), (384, {}, 8e-5), (128, {}, 7.2e-4), (128, {"settings": {"learning_rate": 3e-5}}, 3e-5),
        (128, {"recipe": "cocondenser"}, 5e-6), (None, {}, 0.01),
    ],
)  # fmt: skip
def test_the_rate_of_a_transformer_follows_its_width(made, tmp_path, width, changes, rate) -> None:
    request = FinetuneRequest(model="x", labels=made, output=tmp_path / "out", **changes)
    assert values_of(request, "none", width=width, queries=100).training.learning_rate == pytest.approx(rate)


def test_the_width_is_that_of_the_hidden_states(made) -> None:
    assert open_start(str(made / "transformer")).width == load_encoders(made / "transformer")[0].dimensions
    assert open_start(str(made / "static")).width is None


def test_steps_follow_from_epochs(made, tmp_path) -> None:
    report = finetune(request_of(made, tmp_path / "out", epochs=2, limit=64), evaluate=False)
    assert report.values["training"]["steps"] == 4
    assert read_labels(made / "beir", tmp_path / "records").size == 260
