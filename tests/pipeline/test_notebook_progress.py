"""Progress in a notebook: one output of a cell, which is updated in place, in a real kernel."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from pretrieve.pipeline.run import notebook
from pretrieve.pipeline.run.lines import Lines
from pretrieve.pipeline.run.progress import on_screen

CELLS = (
    """
import os
os.environ["OMP_NUM_THREADS"] = "1"
from pretrieve import Retriever
texts = [f"The river number {n} is long. Many people visit river {n} in spring." for n in range(80)]
retriever = Retriever.train(texts, "model", steps=2, progress=True, settings={"batch_size": 8, "dimensions": 8})
""",
    """
import time
from pretrieve.pipeline.run.progress import shown
with shown(True) as listener:
    listener.stage("training <b>", 400, "steps")
    for _ in range(200):
        listener.advance(1, "loss 1.5")
        time.sleep(.002)
    raise ValueError("x")
""",
    """
Retriever.train(texts, "quiet", steps=2, progress=False, settings={"batch_size": 8, "dimensions": 8})
None
""",
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[str]]:
    """The outputs of each cell, and the kinds of messages that the second one sent."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    sent: list[str] = []

    class Client(nbclient.NotebookClient):
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            if cell_index == 1:
                sent.append(msg["msg_type"])
            return super().process_message(msg, cell, cell_index)

    folder: Path = tmp_path_factory.mktemp("notebook")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = nbformat.v4.new_notebook(cells=cells)
        client = Client(page, kernel_name="python3", timeout=300, allow_errors=True, shutdown_kernel="immediate",
                        resources={"metadata": {"path": str(folder)}})  # fmt: skip
        client.execute()
    return [cell["outputs"] for cell in page["cells"]], sent


def places(outputs: list[Any]) -> list[dict[str, str]]:
    return [one["data"] for one in outputs if one["output_type"] == "display_data"]


def test_training_is_one_output_in_text_and_html(ran) -> None:
    (data,) = places(ran[0][0])
    assert not [one for one in ran[0][0] if one["output_type"] == "error"]
    assert "note: device: cpu" in data["text/plain"]
    assert "read: 80 documents" in data["text/plain"]
    assert data["text/plain"].count("encode: ") == 1
    assert "read: 80 documents" in data["text/html"]


def test_it_is_updated_in_place_and_not_at_every_step(ran) -> None:
    assert ran[1].count("display_data") == 1
    assert 2 <= ran[1].count("update_display_data") < 50


def test_an_error_keeps_how_far_it_came_and_text_is_no_markup(ran) -> None:
    (data,) = places(ran[0][1])
    assert "training <b>: 200 of 400 steps (50%)" in data["text/plain"]
    assert "training &lt;b&gt;: 200 of 400" in data["text/html"]
    assert "<progress" not in data["text/html"]
    assert data["text/plain"].endswith("stopped")


def test_without_progress_nothing_is_displayed(ran) -> None:
    assert places(ran[0][2]) == []


def test_elsewhere_it_is_text(capsys) -> None:
    assert not notebook.is_here()
    with on_screen() as listener:
        assert isinstance(listener, Lines)
