"""Documents of labels are encoded by all processes: each a share, all vectors there for the one that indexes them."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

import forks
import labelling
from launching import free_port
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.finetune import document_vectors
from pretrieve.pipeline.finetune.document_vectors import encode_together
from pretrieve.pipeline.finetune.read_labels import LabelSource, read_and_report
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.progress import Silent


class Counts(Silent):
    """Counts the documents of this process."""

    encoded = 0

    def advance(self, count: int, detail: str = "") -> None:
        self.encoded += count


def rank(report: Connection, number: int, world: int, port: int, folder: Path) -> None:
    """One process: sends how many documents it encoded, and all vectors that it sees then."""
    values = {"RANK": number, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in values.items()})
    document_vectors._BLOCK = 16
    labels, _ = read_and_report(LabelSource(path=folder / "labels"), folder / f"records-{world}-{number}", Silent())
    counts, model = Counts(), open_encoder(str(folder / "model"))
    found = encode_together(labels, model, folder / f"vectors-{world}", counts)(labels.records)
    report.send((counts.encoded, np.concatenate([*found])))
    processes.current().leave()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labelling.beir(tmp_path / "labels", 120, 20)
    labelling.static_model(tmp_path / "model")
    return tmp_path


def test_processes_share_the_documents(folder: Path) -> None:
    labels, _ = read_and_report(LabelSource(path=folder / "labels"), folder / "records", Silent())
    texts = [f"{one.title} {one.text}" for one in list(labels.records)[: labels.size]]
    alone = open_encoder(str(folder / "model")).encode_documents(texts)
    for world in (2, 4):
        port = free_port()
        started = [forks.start(rank, number, world, port, folder) for number in range(world)]
        found = [here.recv() for _, here in started]
        for process, _ in started:
            process.join(timeout=60)
            assert process.exitcode == 0
        assert sum(count for count, _ in found) == len(texts)
        assert max(count for count, _ in found) < len(texts)
        for _, vectors in found:
            np.testing.assert_allclose(vectors, alone, atol=1e-6)


def test_what_is_there_is_kept_on_another_number_of_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_vectors, "_BLOCK", 16)
    labels, _ = read_and_report(LabelSource(path=folder / "labels"), folder / "records", Silent())
    model, place = open_encoder(str(folder / "model")), folder / "vectors"
    whole = np.concatenate([*encode_together(labels, model, place, Silent())(labels.records)])
    (place / "000000032").unlink()
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    again = np.concatenate([*encode_together(labels, model, place, Silent())(labels.records)])
    np.testing.assert_array_equal(again, whole)
    assert before.items() < {path: path.stat().st_mtime_ns for path in place.iterdir()}.items()
