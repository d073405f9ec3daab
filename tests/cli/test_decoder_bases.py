"""Language models as bases, through the command line: trained, fine-tuned, and searched as stock folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

import decoders
import searching
from pretrieve import methods
from pretrieve.models.text_encoder import open_encoder

TEXTS = [f"{document.title}. {document.text}" for document in searching.documents(30, sentences=2)]
FEW = ("--set", "batch_size=8", "--steps", "2", "--tracker", "none", "--no-select")


@pytest.fixture
def base(tmp_path: Path, things: Path) -> Path:
    shutil.copy(things / "docs.jsonl", tmp_path / "docs.jsonl")
    return decoders.decoder(tmp_path / "base", TEXTS)


@pytest.mark.parametrize("method", ["contriever", "contriever-inbatch"])
def test_a_language_model_is_trained(run, base: Path, method: str) -> None:
    queue = ("--set", "queue=16") if method == "contriever" else ()
    output = base.parent / "out"
    made = run("train", base.parent / "docs.jsonl", "--base", base, "--method", method, *FEW, *queue, "-o", output)
    assert made.code == 0, made.err
    assert f"the vector of a text is that of its last token, which is {decoders.END}" in made.err
    before, after = load_file(base / "model.safetensors"), load_file(output / "model.safetensors")
    moved = [name for name, values in after.items() if not values.equal(before.get(f"model.{name}", values))]
    assert len(moved) > 15, "what is trained is what was given, under the names of its own class"
    stock = SentenceTransformer(str(output), device="cpu")
    assert "lasttoken" in str(stock[1])
    expected = open_encoder(str(output)).encode_documents(TEXTS)
    assert abs(stock.encode(TEXTS) - expected).max() < 1e-6 * abs(expected).max()
    ids = stock.tokenizer("a river")["input_ids"]
    assert stock.tokenizer.convert_ids_to_tokens(ids)[-1] == decoders.END
    found = run("index", base.parent / "docs.jsonl", "--model", output, "-o", base.parent / "index")
    assert found.code == 0, found.err


def test_a_language_model_is_fine_tuned(run, base: Path, things: Path) -> None:
    output = base.parent / "tuned"
    words = ("finetune", base, things / "pairs.jsonl", "--set", "batch_size=4", "--steps", "2", "-o", output)
    unsaid = run(*words)
    assert unsaid.code != 0
    assert "give pooling (lasttoken) and similarity" in unsaid.err
    made = run(*words, "--pooling", "lasttoken", "--similarity", "cosine", "--tracker", "none")
    assert made.code == 0, made.err
    stock = SentenceTransformer(str(output), device="cpu")
    assert abs(stock.encode(TEXTS) - open_encoder(str(output)).encode_documents(TEXTS)).max() < 1e-6
    again = run("finetune", output, things / "pairs.jsonl", "--set", "batch_size=4", "--steps", "1", "--tracker",
                "none", "-o", base.parent / "twice")  # fmt: skip
    assert again.code == 0, again.err


@pytest.mark.parametrize("method", sorted(methods.presets()))
def test_every_method_trains_it_or_says_why_not(run, base: Path, method: str) -> None:
    made = run("train", base.parent / "docs.jsonl", "--base", base, "--method", method, *FEW,
               "-o", base.parent / "out")  # fmt: skip
    assert made.code == 0 or len([line for line in made.err.splitlines() if line.startswith("error:")]) == 1, made.err
