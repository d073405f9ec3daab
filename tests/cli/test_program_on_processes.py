"""A Python program under a launcher: ``Retriever`` works on all processes as the command does."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import labelling
from launching import distance, torchrun
from pretrieve import Retriever

SETTINGS = {"batch_size": 8, "dimensions": 16, "vocabulary_size": 200, "evaluate_every": 2}
PROGRAM = """
import os, sys, time
from pathlib import Path
import orjson
from pretrieve import Retriever
from pretrieve.core.errors import PretrieveError
from pretrieve.text.store import Store

if os.environ["RANK"] == "1":  # the first process trains nothing on so few documents, and is far ahead
    opened = Store.open
    Store.open = lambda path: (time.sleep(2), opened(path))[1]
texts, settings = orjson.loads(Path("texts.json").read_bytes())
trained = Retriever.train(texts, steps=4, settings=settings, progress=False)
tuned = trained.finetune("many", "tuned", steps=4, settings={"batch_size": 8}, negatives="bm25", progress=False)
said = {"place": trained.location, "documents": len(tuned.documents)}
said["hits"] = [hit.id for hit in tuned.search(texts[3])]
for name, call in {
    "save": lambda: tuned.save("index"),
    "mine": lambda: tuned.mine("many", "negatives.jsonl", progress=False),
    "distill": lambda: Retriever.distill(texts, "tuned", "distilled", progress=False),
    "unread": lambda: tuned.finetune("many", "other", split="spring", steps=4, progress=False),
}.items():
    try:
        said[name] = str(call())
    except PretrieveError as error:
        said[name] = f"{type(error).__name__}: {error}"
Path(f"said-{os.environ['RANK']}.json").write_bytes(orjson.dumps(said))
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    labelling.beir(folder / "many")
    documents, _ = labelling.toy(60)
    texts = [f"{one['title']} {one['text']}" for one in documents]
    (folder / "texts.json").write_bytes(orjson.dumps([texts, SETTINGS]))
    (folder / "program.py").write_text(PROGRAM)
    return folder


def test_a_program_trains_on_all_processes(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = torchrun(room, 2, script=room / "program.py")
    assert started.wait(timeout=180) == 0, (room / "launcher.log").read_text()
    first, second = (orjson.loads((room / f"said-{rank}.json").read_bytes()) for rank in (0, 1))
    said = (room / "launcher.log").read_text()
    assert "Traceback" not in said
    assert "device: cpu, float32, 2 processes\n" in said
    for name in ("place", "documents", "hits"):
        assert first[name] == second[name], "each process has the result"
    assert first["documents"] == 60

    monkeypatch.chdir(room)
    texts, settings = orjson.loads((room / "texts.json").read_bytes())
    alone = Retriever.train(texts, "alone", steps=4, settings=settings, progress=False)
    tuned = alone.finetune("many", "alone-tuned", steps=4, settings={"batch_size": 8}, negatives="bm25", progress=False)
    assert distance(room / "alone", Path(first["place"])) < 1e-5
    assert distance(room / "alone-tuned", room / "tuned") < 1e-5
    assert [hit.id for hit in tuned.search(texts[3])] == first["hits"]

    for name in ("save", "mine"):
        assert "Error" not in first[name], "the first process writes alone"
        assert "call it in the first one alone" in second[name]
    assert len(Retriever.load(room / "index").documents or ()) == 60
    assert "Retriever.distill works in one process" in first["distill"]
    assert first["distill"] == second["distill"]
    assert "Error: " in first["unread"]
    assert "spring" in first["unread"]
    assert second["unread"].startswith("EndedError: the first process of this run met an error: "), "all hear of it"
    assert second["unread"].endswith(first["unread"].partition(": ")[2])
