"""A model that cannot be loaded whole is refused in one line by every command that opens one, and in Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from test_bad_input import one_line

import faults
import labelling
import searching
import teachers
from pretrieve import Retriever
from pretrieve.core.errors import PretrieveError
from pretrieve.models.text_encoder import ModelOptions, open_encoder

DESCRIBED = ("--pooling", "mean", "--similarity", "cosine")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model of sentence-transformers."""
    return teachers.teacher(tmp_path_factory.mktemp("good") / "model", searching.documents(40))


@pytest.fixture(scope="module")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelling.beir(tmp_path_factory.mktemp("labels") / "beir", 40, 10)


@pytest.fixture
def broken(good: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = Path(shutil.copytree(good, tmp_path / "model"))
    faults.FAULTS[request.param][0](folder)
    return folder


COMMANDS = {
    "index": "index {documents} --model {model} -o {out}",
    "encode": "encode {documents} --model {model} -o {out}",
    "evaluate": "evaluate {beir} --model {model} --output-json {out}",
    "train": "train {documents} --base {model} --method mlm --steps 1 --tracker none -o {out}",
    "finetune": "finetune {model} {beir} --steps 1 --negatives none --tracker none -o {out}",
    "mine": "mine {beir} --model {model} -o {out}",
    "distill": "distill {documents} --teacher {model} --minutes 0.1 --tracker none -o {out}",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("broken", faults.FAULTS, indirect=True)
def test_every_command_refuses_it_in_one_line(run, documents, beir, broken, tmp_path, command, request) -> None:
    words = faults.FAULTS[request.node.callspec.params["broken"]][1]
    bare = not (broken / "modules.json").exists()
    line = COMMANDS[command].format(documents=documents, beir=beir, model=broken, out=tmp_path / "out")
    described = DESCRIBED if bare and command in ("index", "encode", "evaluate", "finetune", "distill") else ()
    outcome = run(*line.split(), *described)
    assert str(broken) in one_line(outcome.err)
    assert words in one_line(outcome.err)
    assert outcome.code == 1, outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("broken", faults.FAULTS, indirect=True)
def test_python_says_the_same(broken, request) -> None:
    words = faults.FAULTS[request.node.callspec.params["broken"]][1]
    described = {} if (broken / "modules.json").exists() else {"pooling": "mean", "similarity": "cosine"}
    with pytest.raises(PretrieveError) as caught:
        Retriever.load(broken, **described)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_generator_without_pooling_is_named(run, documents, good, tmp_path) -> None:
    folder = Path(shutil.copytree(good, tmp_path / "model"))
    faults.FAULTS["generator"][0](folder)
    outcome = run("index", documents, "--model", folder, "-o", tmp_path / "out", "--similarity", "dot")
    assert outcome.code == 1
    assert "is a generative model (LlamaForCausalLM)" in one_line(outcome.err)


@pytest.mark.parametrize("name", ["cls.predictions.bias", "pooler.dense.weight", "lm_head.bias", "qa_outputs.bias"])
def test_a_head_that_is_not_used_is_no_fault(good, tmp_path, name) -> None:
    folder = Path(shutil.copytree(good, tmp_path / "model"))

    def edit(found: dict[str, torch.Tensor]) -> None:
        if name.startswith("pooler"):
            del found[name], found["pooler.dense.bias"]
        else:
            found[name] = torch.ones(2)

    faults.weights(edit)(folder)
    options = ModelOptions(similarity="cosine", device="cpu")
    texts = ["ka lo", "mi ten"]
    found, expected = (open_encoder(str(path), options).encode_documents(texts) for path in (folder, good))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_two_routes_are_searched_as_stock_does(good, tmp_path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = Path(shutil.copytree(good, tmp_path / "model"))
    faults.router("query", "document")(folder)
    opened = open_encoder(str(folder), ModelOptions(similarity="cosine", device="cpu"))
    expected = SentenceTransformer(str(folder), device="cpu").encode_query(["ka lo"])
    np.testing.assert_allclose(opened.encode_queries(["ka lo"]), expected, atol=1e-6)


def test_a_width_that_does_not_fit_is_found_before_documents_are_read(run, documents, good, tmp_path) -> None:
    folder = Path(shutil.copytree(good, tmp_path / "model"))
    faults.modules(*(f"{faults.STOCK}{kind}" for kind in ("Transformer", "Pooling", "Dense")))(folder)
    layer = {"linear.weight": torch.ones(8, 20), "linear.bias": torch.ones(8)}
    faults.save_file(layer, folder / "2_Dense" / "model.safetensors")
    faults.write(folder / "2_Dense" / "config.json", faults.DENSE | {"in_features": 20})
    outcome = run("index", documents, "--model", folder, "-o", tmp_path / "out", "--similarity", "dot")
    assert outcome.code == 1
    assert "sentence-transformers cannot use it" in one_line(outcome.err)
