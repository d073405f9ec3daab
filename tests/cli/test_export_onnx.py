"""``pretrieve export``: the graph is the model, int8 says what it costs, and nothing is left of what fails."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import labelling
import stock
from looking import seen
from pretrieve.core.errors import ModelError
from pretrieve.models.model_options import ModelOptions
from pretrieve.models.stock_model import load_stock
from pretrieve.pipeline.export import cost
from pretrieve.pipeline.export.source import open_source

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="the extra `onnx` is not installed"
)
OTHER_PYTHON = "PRETRIEVE_ONNX_PYTHON"  # an interpreter whose sentence-transformers has the backend onnx
TEXTS = ["a", "What is the alpha of the beta?", "the alpha river " * 60, "beta", "x " * 9]


def pretrieve(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """``pretrieve export`` as a process."""
    command = [sys.executable, "-m", "pretrieve", "export", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def vectors(folder: Path, graph: str) -> np.ndarray:
    """Vectors of the texts by the graph, with masked means by NumPy: nothing of what exports."""
    model = SentenceTransformer(str(folder), device="cpu")
    features = model.preprocess(TEXTS)
    run = session(folder / "onnx" / graph)
    (states,) = run.run(["last_hidden_state"], {one.name: features[one.name].numpy() for one in run.get_inputs()})
    mask = features["attention_mask"].numpy()[:, :, None]
    found = (states * mask).sum(axis=1) / mask.sum(axis=1)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def mine(folder: Path) -> Path:
    """A transformer of pretrieve's with mean pooling, compared by cosine, beside what a run leaves in its folder."""
    from pretrieve.core import files
    from pretrieve.models.export import save_model

    encoder, words = labelling.transformer(folder.with_name("made"))
    encoder.similarity = "cosine"
    with files.create(folder, "model", meta={"recipe": "abc", "weight": 0.5}) as made:
        save_model(made, encoder, words, prompts={"query": "alpha "}, query_length=40)
        made.json("recipe.json", {"method": "none"})
    for name in ("start/model.safetensors", "onnx/model.onnx", ".cache/a", "curves/events"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("old")
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, subprocess.CompletedProcess[str]]:
    """A model, its export with int8, the labels that it was measured on, and what was printed."""
    folder = tmp_path_factory.mktemp("export")
    model, beir = mine(folder / "model"), labelling.beir(folder / "beir", 60, 20)
    words = ("-o", folder / "out", "--to", "onnx", "--int8", "--benchmark", beir)
    done = pretrieve(model, *words, "--output-json", folder / "out.json")
    assert done.returncode == 0, done.stderr
    return model, folder / "out", beir, done


def test_the_graph_gives_the_vectors_of_the_model(exported) -> None:
    model, out, _, _ = exported
    right = SentenceTransformer(str(model), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(SentenceTransformer(str(out), device="cpu").encode(TEXTS), right, atol=1e-6)
    np.testing.assert_allclose(vectors(out, "model.onnx"), right, atol=2e-6)
    near = (vectors(out, "model_qint8.onnx") * right).sum(axis=1)
    assert 0.9 < near.min() < 0.999999, "int8 is near, and is not fp32"


def test_any_number_of_texts_of_any_length(exported) -> None:
    run = session(exported[1] / "onnx" / "model.onnx")
    assert {one.name for one in run.get_inputs()} == {"input_ids", "attention_mask", "token_type_ids"}
    assert [one.name for one in run.get_outputs()] == ["last_hidden_state"]
    assert {tuple(one.shape) for one in run.get_inputs()} == {("batch", "length")}
    for rows, length in ((1, 1), (1, 64), (7, 3)):
        given = {one.name: np.ones((rows, length), np.int64) for one in run.get_inputs()}
        assert run.run(None, given)[0].shape == (rows, length, 16)


def test_the_folder_is_the_model_with_its_graphs(exported, run) -> None:
    model, out, _, done = exported
    own = {"export.json", "onnx/model.onnx", "onnx/model_qint8.onnx"}
    copied = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} - own
    left_out = {"start/model.safetensors", "onnx/model.onnx", ".cache/a", "curves/events"}
    assert copied == {p.relative_to(model).as_posix() for p in model.rglob("*") if p.is_file()} - left_out
    for name in copied - {"MANIFEST.json", "sentence_bert_config.json", "modules.json"}:
        assert (out / name).read_bytes() == (model / name).read_bytes(), name
    kinds = [one["type"] for one in json.loads((out / "modules.json").read_text())]
    assert kinds == [f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Normalize")]
    before, after = (json.loads((place / "sentence_bert_config.json").read_text()) for place in (model, out))
    assert before == {**after, "query_length": 40}
    assert "loses query_length (40)" in done.stderr
    meta = json.loads((out / "MANIFEST.json").read_text())["meta"]
    assert meta["recipe"] == "abc"
    assert meta["weight"] == 0.5
    assert run("verify", out).code == 0
    for line in ("1 files of the model before training", "1 files of the tracker", "1 files (other formats)"):
        assert f"not copied: {line}" in done.stderr


def test_what_int8_costs_is_printed(exported, run) -> None:
    model, out, beir, done = exported
    facts = json.loads((out.parent / "out.json").read_text())
    small, large = (facts["files"][f"onnx/{name}.onnx"] for name in ("model_qint8", "model"))
    assert small < large
    assert (out / "onnx/model_qint8.onnx").stat().st_size == small
    found = facts["cost"]
    judged = run("evaluate", beir, "--model", model, "--mode", "dense", "--json")
    (row,) = [row for row in json.loads(judged.out)["rows"] if row["mode"] == "dense"]
    assert found["fp32"] == pytest.approx(row["metrics"]["nDCG@10"], abs=1e-6)
    assert found["difference"] == pytest.approx(found["int8"] - found["fp32"])
    assert found["ci95"][0] <= found["difference"] <= found["ci95"][1]
    assert f"{found['fp32']:.4f} to {found['int8']:.4f}, {found['difference']:+.4f}" in done.stdout
    assert f"{found['queries']} queries (labels)" in done.stdout
    assert facts["difference"] < 1e-5
    assert f"largest difference {facts['difference']:.1e}" in done.stdout
    assert set(facts["texts_per_second"]) == {"torch", "fp32", "int8"}
    assert facts["tokens"][1] == 64, "the longest text is cut"
    assert json.loads((out / "export.json").read_text()).items() <= facts.items()


def test_an_export_is_there_already(exported) -> None:
    model, out, _, _ = exported
    before = (out / "MANIFEST.json").read_bytes()
    done = pretrieve(model, "-o", out)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{out} exists already" in done.stderr
    assert "--overwrite" in done.stderr
    assert (out / "MANIFEST.json").read_bytes() == before


def test_without_labels_documents_give_queries(exported, tmp_path) -> None:
    _, out, beir, _ = exported
    done = pretrieve(out, "-o", tmp_path / "again", "--int8", "--documents", beir / "corpus.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["cost"]
    assert found["on"] == "pseudo-queries"
    assert found["queries"] >= 20
    assert 0 < found["int8"] <= 1
    assert not (tmp_path / "again" / "onnx" / "onnx").exists()


def test_a_stopped_export_leaves_nothing(exported, tmp_path) -> None:
    """Also not of one that was killed, once another begins."""
    model = exported[0]
    command = [sys.executable, "-m", "pretrieve", "export", str(model), "-o", str(tmp_path / "out")]
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        before = set(tmp_path.rglob("modules.json"))
        while not set(seen(tmp_path, "**/modules.json")) - before:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert not (tmp_path / "out").exists()
    assert list(tmp_path.iterdir()) == []
    assert "stopped by SIGINT" in err


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that are not exported."""
    from pretrieve.core import files
    from pretrieve.models.export import save_model
    from pretrieve.models.multi_vector import add_viewers

    folder = tmp_path_factory.mktemp("others")
    labelling.static_model(folder / "static")
    labelling.transformer_model(folder / "untied", documents=True)
    encoder, words = labelling.transformer(folder / "made", pooling="cls")
    with files.create(folder / "several", "model", meta={}) as made:
        save_model(made, add_viewers(encoder, 2, seed=0), words)
    stock.checkpoint("bert", folder / "bare", layers=1)
    for name, changes in (("cross", {"architectures": ["BertForSequenceClassification"]}), ("adapter", {})):
        shutil.copytree(folder / "bare", folder / name)
        config = folder / name / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    (folder / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "a/base"}')
    return folder


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("static", "is a static model, a table of vectors without a graph: it needs no export"),
        ("untied", "has untied encoders for queries and documents"),
        ("several", "has several vectors per document (MVR)"),
        ("cross", "is a cross-encoder or classifier"),
        ("adapter", "is an adapter (LoRA) of a/base"),
        ("bare", "has no modules.json, so that a loader of the export would guess its pooling"),
        ("nothing", "no such folder"),
    ],
)
def test_what_has_no_graph_is_refused_in_a_line(others, run, tmp_path, name, text) -> None:
    outcome = run("export", others / name, "-o", tmp_path / "out")
    assert outcome.code in (1, 2)
    assert text in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--int8", "--split", "dev"), "--split is of --benchmark"),
        (("--benchmark", "beir"), "--benchmark measures what --int8 costs"),
        (("--documents", "docs"), "--documents measures what --int8 costs"),
        (("--int8", "--benchmark", "beir", "--documents", "docs"), "give one of them"),
        (("--int8", "--benchmark", "nowhere"), "nowhere"),
        (("--to", "openvino"), "'openvino' is not one of 'onnx'"),
    ],
)
def test_options_that_cannot_be(exported, run, tmp_path, words, text) -> None:
    outcome = run("export", exported[0], "-o", tmp_path / "out", *words)
    assert outcome.code == 2
    assert text in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(exported, tmp_path) -> None:
    """A folder before all others, in which the package is not one."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = pretrieve(exported[0], "-o", tmp_path / "out", PYTHONPATH=path)
    assert done.returncode == 1
    assert 'pretrieve export needs pretrieve\'s extra for ONNX: pip install ".[onnx]"' in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_graph_of_another_model_is_an_error(exported) -> None:
    from pretrieve.models.onnx_encoder import onnx_encoder, torch_encoder

    model, out, _, _ = exported
    source = open_source(str(model))
    opened = load_stock(source.folder, source.usage, ModelOptions(device="cpu"))
    graph = onnx_encoder(opened, source.usage, out / "onnx" / "model.onnx", "model")
    reference = torch_encoder(opened, source.usage, "model")
    texts = cost.check_texts(opened)
    assert cost.largest_difference(graph, reference, texts) < 1e-5
    with torch.no_grad():
        opened[0].model.embeddings.word_embeddings.weight.mul_(2)
    with pytest.raises(ModelError, match=r"model: its graph gives other vectors than torch does .* nothing is written"):
        cost.largest_difference(graph, reference, texts)


LOADED = """
import sys
import numpy as np
from sentence_transformers import SentenceTransformer

def encode(name, texts):
    given = {} if name is None else {"backend": "onnx", "model_kwargs": {"file_name": name}}
    return SentenceTransformer(sys.argv[1], device="cpu", **given).encode(texts, normalize_embeddings=True)

texts = sys.argv[2:]
right = encode(None, texts)
print(np.abs(encode("model.onnx", texts) - right).max(), (encode("model_qint8.onnx", texts) * right).sum(axis=1).min())
"""


@pytest.mark.skipif(OTHER_PYTHON not in os.environ, reason=f"{OTHER_PYTHON} names no interpreter (docs/howto/onnx.md)")
def test_sentence_transformers_loads_it(exported) -> None:
    command = [os.environ[OTHER_PYTHON], "-c", LOADED, str(exported[1]), *TEXTS]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    assert "Exporting" not in done.stderr
    difference, cosine = map(float, done.stdout.split())
    assert difference < 1e-5
    assert cosine > 0.9
