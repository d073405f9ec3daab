"""Folders that are no model of transformers, on the command line: one clear line, and notes as notes."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_bad_input import one_line

import labelling
import stock

SAID = ("--pooling", "mean", "--similarity", "dot")


@pytest.mark.parametrize("said", [SAID, ()])
@pytest.mark.parametrize("kind", ["empty", "weights", "contriever"])
def test_a_folder_without_config(run, documents: Path, tmp_path: Path, kind: str, said: tuple[str, ...]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    if kind == "weights":
        save_file({"x": torch.ones(2)}, folder / "model.safetensors")
    if kind == "contriever":
        torch.save({"model": {}}, folder / "checkpoint.pth")
    labels = labelling.beir(tmp_path / "beir", 60, 20)
    for command in (
        ("index", documents, "--model", folder, "-o", tmp_path / "index"),
        ("evaluate", labels, "--model", folder),
    ):
        outcome = run(*command, *said)
        assert outcome.code == 2, outcome.err
        line = one_line(outcome.err)
        assert ("original Contriever code" if kind == "contriever" else "it has no config.json") in line
    outcome = run("train", documents, "-o", tmp_path / "out", "--base", folder, "--method", "mlm")
    assert outcome.code == 2
    assert "config.json" in one_line(outcome.err) or "original Contriever code" in one_line(outcome.err)


def test_what_starts_at_random_and_what_is_dropped_is_a_note(tmp_path: Path) -> None:
    base = tmp_path / "base"
    stock.checkpoint("bert", base)
    weights = load_file(base / "model.safetensors")
    layer = {"mlp.dense.weight": torch.randn(16, 16), "mlp.dense.bias": torch.randn(16)}
    save_file({**weights, **layer}, base / "model.safetensors", {"format": "pt"})
    texts = [orjson.dumps({"id": str(n), "text": text}) for n, text in enumerate(stock.texts())]
    (tmp_path / "documents.jsonl").write_bytes(b"\n".join(texts))
    words = ["train", str(tmp_path / "documents.jsonl"), "-o", str(tmp_path / "out"), "--base", str(base)]
    words += ["--method", "condenser", "--steps", "2", "--set", "batch_size=4", "--set", "length=24", "--no-select"]
    done = subprocess.run(
        [sys.executable, "-m", "pretrieve", *words, "--tracker", "none"],
        capture_output=True, text=True, env={**os.environ, "COLUMNS": "400"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stderr + done.stdout
    assert "note: " in said
    assert "the Condenser head: randomly initialised" in said
    assert "layer that SimCSE trains with" in said
    assert "Warning" not in said
