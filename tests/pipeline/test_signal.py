"""The method's own signal on held-out documents: in the report, the card and the reason; without effect on the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from pretrieve.core.errors import CorruptError
from pretrieve.evaluation.published_results import NEEDED, all_results
from pretrieve.pipeline.pretrain.held_out_loss import Gain
from pretrieve.pipeline.pretrain.report import open_report
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run.workspace import workspace_of
from pretrieve.training.signals import StoppedError

BASE = "new:layers=1,hidden=32"
SMALL = {"batch_size": 8, "vocabulary_size": 300, "learning_rate": 3e-3, "length": 48, "save_every": 2}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(60)]
    path = tmp_path_factory.mktemp("source") / "documents.jsonl"
    lines = []
    for number in range(60):
        own = rng.choice(words, 6)
        text = " ".join(" ".join(rng.choice(own, 8)) + "." for _ in range(6))
        lines.append(orjson.dumps({"id": str(number), "text": text}))
    path.write_bytes(b"\n".join(lines))
    return path


def request(source: Path, output: Path, method: str, **more: object) -> TrainRequest:
    values = {"base": BASE, "steps": 25, "settings": SMALL, **more}
    return TrainRequest(sources=(str(source),), output=output, method=method, **values)


def test_a_pretraining_only_method_reports_what_it_learned(tmp_path, source) -> None:
    report = train(request(source, tmp_path / "out", "mlm"))
    signal = report.signal
    assert signal is not None
    assert 0 < signal["after"]["mlm"] < signal["before"]["mlm"] < 7
    assert signal["documents"] == 6
    assert f"held-out mlm: {signal['before']['mlm']:.3f} -> {signal['after']['mlm']:.3f}" in report.reason
    assert "not measured" not in report.reason
    assert open_report(tmp_path / "out").signal == signal
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| mlm | {signal['before']['mlm']:.4f} | {signal['after']['mlm']:.4f} |" in card


def test_it_is_measured_on_documents_that_were_held_out(tmp_path, source) -> None:
    """And in the same words: the store of the held-out ones has the run's tokenizer."""
    from pretrieve.text.store import Store

    train(request(source, tmp_path / "out", "mlm", steps=1, keep_workspace=True))
    trained_on = Store.open(workspace_of(tmp_path / "out") / "store")
    held_out = Store.open(workspace_of(tmp_path / "out") / "held-out")
    assert held_out.tokenizer.fingerprint == trained_on.tokenizer.fingerprint
    assert len(held_out) == 6
    assert not set(held_out.origins) & set(trained_on.origins)


def test_measuring_changes_nothing_and_resuming_gives_the_same(tmp_path, source, monkeypatch) -> None:
    """The model is the same without it, and after a stop in the middle the report is the same too."""
    whole = train(request(source, tmp_path / "whole", "mlm", steps=6))
    with monkeypatch.context() as patch:
        patch.setattr("pretrieve.pipeline.pretrain.train.signal_of", lambda *arguments, **named: None)
        plain = train(request(source, tmp_path / "plain", "mlm", steps=6))
    assert plain.signal is None
    stop_after(4, monkeypatch)
    with pytest.raises(StoppedError):
        train(request(source, tmp_path / "parts", "mlm", steps=6))
    monkeypatch.undo()
    parts = train(request(source, tmp_path / "parts", "mlm", steps=6, resume=True))
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "plain", "parts")]
    assert models[0] == models[1] == models[2]
    assert parts.signal == whole.signal


def stop_after(step: int, monkeypatch) -> None:
    """Stop a run as a signal does."""
    from pretrieve.training.trainer import Trainer

    before = Trainer.take

    def take(self, batch):
        before(self, batch)
        if self.step == step:
            self.save()
            raise StoppedError(15, self.step, self.checkpoints.folder)

    monkeypatch.setattr(Trainer, "take", take)


def test_retrievers_have_it_beside_the_probe(tmp_path, source) -> None:
    settings = {"batch_size": 8, "vocabulary_size": 300, "max_length": 300}
    report = train(request(source, tmp_path / "out", "contriever-inbatch", steps=2, settings=settings))
    assert report.probe is not None
    assert set(report.signal["after"]) >= {"loss", "accuracy"}


@pytest.mark.parametrize(("method", "base"), [("structure", "static"), ("contriever", BASE)])
def test_what_cannot_be_compared_is_not_measured(tmp_path, source, method, base) -> None:
    """A static encoder is judged by searching; a queue is noise before the first step."""
    settings = {"batch_size": 8, "vocabulary_size": 300, "max_length": 300} | ({"queue": 16} if base == BASE else {})
    report = train(request(source, tmp_path / "out", method, base=base, steps=2, settings=settings))
    assert report.signal is None


def test_without_held_out_documents_nothing_is_said_of_them(tmp_path, source) -> None:
    few = tmp_path / "few.jsonl"
    few.write_bytes(b"\n".join(source.read_bytes().splitlines()[:12]))
    report = train(request(few, tmp_path / "out", "mlm", steps=2))
    assert report.signal is None
    assert "too few documents to hold any out" in report.reason


def test_the_line_names_the_methods_own_statistics() -> None:
    values = {"documents": 3, "examples": 8}
    gain = Gain(before={"loss": 2.0, "mlm": 1.0}, after={"loss": 1.0, "mlm": 0.25, "new": 3.0}, **values)
    assert gain.line() == "held-out mlm: 1.000 -> 0.250"
    assert Gain(before={"loss": 2.0}, after={"loss": 1.0}, **values).line() == "held-out loss: 2.000 -> 1.000"


def test_every_row_of_the_records_is_whole_and_a_damaged_one_is_named(tmp_path) -> None:
    from pretrieve.methods import names

    rows = all_results()
    assert rows
    for row in rows:
        assert set(NEEDED) <= set(row)
        assert row["preset"] in names()
        assert row["low"] <= row["value"] <= row["high"]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "results.jsonl").write_text('{"method": "mlm"}\n')
    with pytest.raises(CorruptError, match=r"results\.jsonl:1 lacks preset"):
        all_results(tmp_path)


def test_the_rows_of_label_free_are_those_of_its_runs() -> None:
    """Made again from the runs they are the same, and agree with the table of the record's README."""
    import sys

    root = Path(__file__).parent.parent.parent
    sys.path.insert(0, str(root / "benchmarks"))
    import records as script

    folder = root / "records" / "label-free"
    made = script.label_free(folder)
    kept = [orjson.loads(line) for line in (folder / "results.jsonl").read_bytes().splitlines()]
    assert [row["value"] for row in kept] == pytest.approx([row["value"] for row in made], abs=1e-6)
    text = (folder / "README.md").read_text()
    for row in kept:
        line = next(line for line in text.splitlines() if line.startswith(f"| {row['data']} |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        dense = row["metric"].endswith("dense")
        shown, wanted = (cells[6].split()[0], row["value"]) if dense else (cells[-1], row["value"] - row["bm25"])
        assert float(shown) == pytest.approx(wanted, abs=6e-4 if dense else 1e-4)
