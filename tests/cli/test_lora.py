"""Adapters through the command line: what is trained, saved, resumed and published, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

import decoders
import searching
from launching import assert_one_line, distance, launch
from pretrieve import methods
from pretrieve.models.text_encoder import open_encoder

TEXTS = [f"{document.title}. {document.text}" for document in searching.documents(30, sentences=2)]
FEW = ("--set", "batch_size=8", "--steps", "4", "--tracker", "none", "--set", "learning_rate=0.01", "--no-select")
LORA = ("--set", "lora=4")
CASES = {
    "moco": ("train", "docs.jsonl", "--base", "qwen", "--method", "contriever", "--set", "queue=16", *FEW),
    "cached": ("train", "docs.jsonl", "--base", "qwen", "--method", "contriever-inbatch", "--set", "cache=true",
               "--set", "chunk=2", "--set", "precision=bfloat16", *FEW),
    "bert": ("train", "docs.jsonl", "--base", "bert", "--method", "contriever-inbatch", *FEW),
    "retromae": ("train", "docs.jsonl", "--base", "bert", "--method", "retromae", *FEW),
    "finetune": ("finetune", "qwen", "pairs.jsonl", "--pooling", "lasttoken", "--similarity", "cosine", "--negatives",
                 "none", *FEW[:-1], "--keep-workspace"),
    "untied": ("finetune", "bert", "pairs.jsonl", "--set", "encoders=untied", "--negatives", "none", *FEW[:-1],
               "--keep-workspace"),
}  # fmt: skip


@pytest.fixture(scope="module")
def room(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, pairs, a language model, and a BERT that has trained its head."""
    from pretrieve.pipeline.pretrain.request import TrainRequest
    from pretrieve.pipeline.pretrain.train import train

    folder = tmp_path_factory.mktemp("lora")
    for name in ("docs.jsonl", "pairs.jsonl"):
        shutil.copy(things / name, folder / name)
    shutil.copytree(things / "static", folder / "static")
    decoders.decoder(folder / "qwen", TEXTS)
    settings = {"batch_size": 8, "vocabulary_size": 300, "max_length": 128}
    base = "new:layers=2,hidden=32,heads=2,dropout=0.1"
    train(TrainRequest(sources=(str(folder / "docs.jsonl"),), output=folder / "bert", base=base, method="mlm", steps=2,
                       settings=settings, select=False))  # fmt: skip
    return folder


def merged(base: Path, adapters: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The weights of a base with the adapters of a checkpoint, whose rank is their scale's divisor."""
    weights = {name.removeprefix("model."): values for name, values in load_file(base / "model.safetensors").items()}
    count = 0
    for name, first in adapters.items():
        if name.startswith(prefix) and ".lora_A." in name:
            count += 1
            own = name.removeprefix(prefix).replace(".lora_A.default", "")
            weights[own] = weights[own] + adapters[name.replace("lora_A", "lora_B")] @ first
    assert count >= 12
    return weights


@pytest.mark.parametrize("name", CASES)
def test_adapters_alone_are_trained_and_the_stock_model_has_them(
    run, room: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(room)
    base = room / ("qwen" if "qwen" in CASES[name] else "bert")
    words = (*CASES[name], *LORA, *(("--keep-workspace",) if "--keep-workspace" not in CASES[name] else ()))
    made = run(*words, "-o", name)
    assert made.code == 0, made.err
    (last,) = room.glob(f"{name}.work/**/checkpoints/**/step-000004")
    saved = load_file(last / "weights.safetensors")
    assert not [key for key in saved if "base_layer" in key or "embed" in key or "norm.weight" in key.lower()
                and key.startswith("encoder.")]  # fmt: skip
    assert any(values.abs().max() > 0 for key, values in saved.items() if "lora_B" in key)
    folder = room / name
    if name == "untied":
        pairs = (("encoder.", "document_0_Transformer"), ("query_encoder.", "query_0_Transformer"))
    else:
        pairs = (("encoder.", "."),)
    for prefix, place in pairs:
        expected = merged(base, saved, f"{prefix}model.")
        found = load_file(folder / place / "model.safetensors")
        assert found.keys() <= expected.keys()
        for key, values in found.items():
            torch.testing.assert_close(values, expected[key], rtol=1e-5, atol=1e-6)
    assert "Trained by LoRA of rank 4 and merged" in (folder / "README.md").read_text()
    assert json.loads((folder / "recipe.json").read_text())["encoder"]["lora"] == 4
    stock = SentenceTransformer(str(folder), device="cpu")
    if name != "untied":
        expected = open_encoder(str(folder)).encode_documents(TEXTS)
        assert abs(stock.encode(TEXTS) - expected).max() < 1e-5 * abs(expected).max()
