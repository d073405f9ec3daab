"""Adapters through the command line: what is trained, saved, resumed and published, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

import decoders
import forks
import searching
import tiny
from launching import assert_one_line, distance, launch
from looking import seen
from pretrieve import methods
from pretrieve.models.text_encoder import open_encoder

TEXTS = [f"{document.title}. {document.text}" for document in searching.documents(30, sentences=2)]
FEW = ("--set", "batch_size=8", "--steps", "4", "--tracker", "none", "--set", "learning_rate=0.01", "--no-select")
LORA = ("--set", "lora=4")
CASES = {
    "moco": ("train", "docs.jsonl", "--base", "qwen", "--method", "contriever", "--set", "queue=16", *FEW),
    "cached": ("train", "docs.jsonl", "--base", "qwen", "--method", "contriever-inbatch", "--set", "cache=true",
               "--set", "chunk=2", "--set", "precision=bfloat16", *FEW),
    "in-batch": ("train", "docs.jsonl", "--base", "bert", "--method", "contriever-inbatch", "--set",
                 "window=32", *FEW),
    "retromae": ("train", "docs.jsonl", "--base", "bert", "--method", "retromae", "--set", "length=64", *FEW),
    "finetune": ("finetune", "qwen", "pairs.jsonl", "--pooling", "lasttoken", "--similarity", "cosine", "--negatives",
                 "none", *FEW[:-1], "--keep-workspace"),
    "ance": ("finetune", "qwen", "pairs.jsonl", "--pooling", "lasttoken", "--similarity", "cosine", "--negatives",
             "ance", "--set", "refresh.every=2", *FEW[:-1], "--keep-workspace"),
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
    encoders = ("encoder.", "query_encoder.", "slow_encoder.")
    assert not [key for key in saved if key.startswith(encoders) and ".lora_" not in key]
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


REFUSED = {
    "mvr": "several vectors per document need word vectors of their own",
    "realm": "of the base's own weights (reader",
}


@pytest.mark.parametrize("method", sorted(set(methods.presets()) - {"mcontriever-29"}))  # which needs its languages
def test_every_method_trains_adapters_or_says_why_not(
    run, room: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.chdir(room)
    known = methods.find(method)[0].Options.__dataclass_fields__
    small = {name: value for name, value in tiny.SMALL.items() if name in known and value != ()}
    settings = [word for name, value in small.items() for word in ("--set", f"{name}={value}")]
    made = run("train", "docs.jsonl", "--base", "bert", "--method", method, *LORA, *settings, "--set", "batch_size=8",
               "--steps", "2", "--tracker", "none", "--no-select", "-o", f"preset-{method}")  # fmt: skip
    assert (made.code != 0) == (method in REFUSED), made.err
    if method in REFUSED:
        assert_one_line([made.err], REFUSED[method])


def command(report: Connection, folder: Path, words: list[str]) -> None:
    """In a process of its own: the command line, with its output in a file."""
    os.chdir(folder)
    printed = os.open("broken.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    from pretrieve.cli.app import main

    sys.argv = ["pretrieve", *words]
    main()


def stopped(room: Path, words: list[str]) -> None:
    """Start a command and stop it once it has saved a step."""
    saved = room / f"{words[-1]}.work" / "run" / "checkpoints"
    process, _ = forks.start(command, room, words)
    deadline = time.monotonic() + 300  # seconds: a machine may be busy
    while process.is_alive() and not seen(saved, "step-*/MANIFEST.json") and time.monotonic() < deadline:
        time.sleep(0.002)
    assert list(saved.glob("step-*/MANIFEST.json")), (room / "broken.log").read_text()
    os.kill(process.pid, signal.SIGINT)
    process.join(120)
    assert process.exitcode == 130, (room / "broken.log").read_text()


@pytest.mark.parametrize("name", ["moco", "finetune"])
def test_a_stopped_run_resumes_bit_by_bit(run, room: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(room)
    longer = [word if word != "4" else "40" for word in CASES[name] if word != "--keep-workspace"]
    words = [*longer, *LORA, "--set", "save_every=1", "--set", "evaluate_every=5"]
    words = words if name == "moco" else words[:-2]
    whole = run(*words, "-o", f"whole-{name}")
    assert whole.code == 0, whole.err
    stopped(room, [*words, "-o", f"broken-{name}"])
    other = run(*[word.replace("lora=4", "lora=8") for word in words], "--resume", "-o", f"broken-{name}")
    assert other.code != 0
    assert "lora was 4 and is 8" in other.err
    resumed = run(*words, "--resume", "-o", f"broken-{name}")
    assert resumed.code == 0, resumed.err
    assert distance(room / f"whole-{name}", room / f"broken-{name}") == 0


def test_a_run_does_not_resume_on_another_base(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint has no weights of the base, so it is of no other one."""
    monkeypatch.chdir(room)
    shutil.copytree("qwen", "changed")
    words = [word if word not in ("4", "qwen") else {"4": "40", "qwen": "changed"}[word] for word in CASES["cached"]]
    words = [*words, *LORA, "--set", "save_every=1", "-o", "on-another"]
    stopped(room, words)
    weights = load_file("changed/model.safetensors")
    save_file({name: values + 0.01 for name, values in weights.items()}, "changed/model.safetensors", {"format": "pt"})
    resumed = run(*words, "--resume")
    assert resumed.code != 0
    assert_one_line([resumed.err], "cannot resume")


def test_two_sharded_processes_train_the_adapters_of_one(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    words = ["train", "docs.jsonl", "--base", "qwen", "--method", "contriever", "--set", "queue=16", *LORA, "--set",
             "batch_size=8", "--steps", "4", "--tracker", "none", "--no-select", "--keep-workspace"]  # fmt: skip
    assert run(*words, "-o", "alone").code == 0
    codes, logs = launch(room, 2, *words, "--set", "sharding=full", "-o", "two")
    assert codes == [0, 0], logs
    assert "each of 2 processes holds a part of every layer" in logs[0]
    assert not [name for path in (room / "two.work").rglob("step-*/**/*.safetensors") for name in load_file(path)
                if "base_layer" in name]  # fmt: skip
    assert distance(room / "alone", room / "two") < 1e-5


def test_the_gradient_cache_trains_the_same_adapters(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    words = ["precision=float32" if word == "precision=bfloat16" else word for word in CASES["cached"]]
    for name, value in (("with-cache", "cache=true"), ("without-cache", "cache=false")):
        made = run(*[value if word == "cache=true" else word for word in words], *LORA, "-o", name)
        assert made.code == 0, made.err
    assert distance(room / "with-cache", room / "without-cache") < 1e-5


def test_the_folder_loads_without_peft(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    assert run(*CASES["in-batch"], *LORA, "-o", "stock").code == 0
    program = (
        "import sys; sys.modules['peft'] = None\n"
        "from sentence_transformers import SentenceTransformer\n"
        "print(SentenceTransformer('stock', device='cpu').encode(['a river']).shape)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "(1, 32)" in found.stdout


def test_selection_weighs_merged_models(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    words = [word for word in CASES["in-batch"] if word != "--no-select"]
    made = run(*words, *LORA, "-o", "selected")
    assert made.code == 0, made.err
    for folder in ("selected", "selected/start"):
        assert load_file(f"{folder}/model.safetensors").keys() == load_file("bert/model.safetensors").keys()


def test_what_cannot_be_adapted_is_one_line(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    new = "new:layers=2,hidden=32"
    for base in ((), ("--base", "static"), ("--base", new, "--method", "mlm")):
        made = run("train", "docs.jsonl", *base, *LORA, "-o", "refused")
        assert made.code != 0
        assert_one_line([made.err], "has no trained transformer to adapt; set lora=0.")
    tuned = run("finetune", "static", "pairs.jsonl", *LORA, "-o", "refused")
    assert tuned.code != 0
    assert_one_line([tuned.err], "static has no trained transformer to adapt; set lora=0.")
    below = run("train", "docs.jsonl", "--base", "bert", "--set", "lora=-1", "-o", "refused")
    assert below.code != 0
    assert_one_line([below.err], "lora")
    assert not (room / "refused").exists()


def test_without_peft_a_line_says_how_to_install_it(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    monkeypatch.setitem(sys.modules, "peft", None)
    for name in ("in-batch", "finetune"):
        made = run(*CASES[name], *LORA, "-o", "missing")
        assert made.code != 0
        assert_one_line([made.err], 'lora=4 needs pretrieve\'s extra for LoRA: pip install ".[lora]"')
        assert "done" not in made.err, "before anything is read"


def test_the_learning_rate_is_told(run, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    words = [word for word in CASES["finetune"] if word not in ("learning_rate=0.01",)]
    words = [word for at, word in enumerate(words) if word != "--set" or "=" in words[at + 1]]
    made = run(*words, *LORA, "--steps", "1", "-o", "told")
    assert made.code == 0, made.err
    assert "parameters are trained; learning_rate is 0.012, a value for training all weights" in made.err
    assert "learning_rate is 0.01." in run(*CASES["finetune"], *LORA, "--overwrite", "-o", "told").err
