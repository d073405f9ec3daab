"""Ways in which the folder of a model is not whole, or is of another kind: each changes a good folder in place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
STOCK = "sentence_transformers.models."
Fault = Callable[[Path], None]


def write(path: Path, value: Any) -> None:
    """Write JSON, or text as it is."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON object."""
    write(path, (json.loads(path.read_text()) if path.exists() else {}) | values)


def weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Fault:
    """Change the tensors of the weights."""

    def fault(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        edit(found)
        save_file(found, folder / WEIGHTS, {"format": "pt"})

    return fault


def cut(name: str, part: float) -> Fault:
    """Keep the beginning of a file."""

    def fault(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(part * len(data))])

    return fault


def replaced(name: str, value: Any) -> Fault:
    """Another content of a file."""
    return lambda folder: write(folder / name, value)


def without(*names: str, then: Fault | None = None) -> Fault:
    """Remove files and folders."""

    def fault(folder: Path) -> None:
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if then:
            then(folder)

    return fault


def other_weights(name: str) -> Fault:
    """Weights in a format that pretrieve does not read, alone."""
    return without(WEIGHTS, then=replaced(name, "x"))


def modules(*kinds: str) -> Fault:
    """Other modules, given by full path; the first is the folder's own transformer."""
    entries = [
        {"idx": n, "name": str(n), "path": f"{n}_{kind.rsplit('.', 1)[-1]}" if n else "", "type": kind}
        for n, kind in enumerate(kinds)
    ]

    def fault(folder: Path) -> None:
        write(folder / "modules.json", entries)
        for entry in entries[1:]:
            (folder / str(entry["path"])).mkdir(exist_ok=True)

    return fault


def settings(**values: Any) -> Fault:
    """What sentence-transformers keeps of a model."""
    return lambda folder: change(folder / "config_sentence_transformers.json", **values)


def config(**values: Any) -> Fault:
    """Configuration of the transformer."""
    return lambda folder: change(folder / "config.json", **values)


def both(*faults: Fault) -> Fault:
    """Several changes."""

    def fault(folder: Path) -> None:
        for one in faults:
            one(folder)

    return fault


def sharded(folder: Path) -> None:
    """Two shards, of which the second is not there."""
    found = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(found)
    files = {name: f"model-0000{1 + (n > 3)}-of-00002.safetensors" for n, name in enumerate(names)}
    save_file({name: found[name] for name in names[:4]}, folder / "model-00001-of-00002.safetensors", {"format": "pt"})
    write(folder / f"{WEIGHTS}.index.json", {"metadata": {}, "weight_map": files})


def cut_archive(folder: Path) -> None:
    """Weights of torch.save whose end is missing."""
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    cut("pytorch_model.bin", 0.7)(folder)


def router(*routes: str, lost: bool = False) -> Fault:
    """A Router with some routes, each of the folder's transformer and pooling."""

    def fault(folder: Path) -> None:
        types, structure = {}, {}
        for route in routes:
            shutil.copytree(folder / "1_Pooling", folder / f"{route}_1_Pooling")
            (folder / f"{route}_0_Transformer").mkdir()
            for path in (
                folder / "config.json",
                folder / WEIGHTS,
                *folder.glob("tokenizer*"),
                *folder.glob("sentence_*"),
            ):
                shutil.copy(path, folder / f"{route}_0_Transformer")
            structure[route] = [f"{route}_0_Transformer", f"{route}_1_Pooling"]
            types |= {f"{route}_0_Transformer": f"{STOCK}Transformer", f"{route}_1_Pooling": f"{STOCK}Pooling"}
        if lost:
            shutil.rmtree(folder / f"{routes[0]}_1_Pooling")
        facts = {"types": types, "structure": structure, "parameters": {"default_route": routes[0]}}
        write(folder / "router_config.json", facts)
        write(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": f"{STOCK}Router"}])

    return fault


def _pop(found: dict[str, torch.Tensor]) -> None:
    del found["encoder.layer.0.output.dense.weight"]


def _add(found: dict[str, torch.Tensor]) -> None:
    found["encoder.layer.7.output.dense.weight"] = torch.ones(2, 2)


def _reshape(found: dict[str, torch.Tensor]) -> None:
    found["encoder.layer.0.output.dense.bias"] = torch.ones(3)


BARE = without("modules.json", "1_Pooling", "2_Normalize")
SPLADE = (
    "sentence_transformers.sparse_encoder.models.MLMTransformer",
    "sentence_transformers.sparse_encoder.models.SpladePooling",
)
DENSE = {"in_features": 32, "out_features": 8, "bias": True, "activation_function": "torch.nn.modules.linear.Identity"}

# A name, the change, and words of the one line that says it.
FAULTS: dict[str, tuple[Fault, str]] = {
    "a weight is missing": (weights(_pop), "lacks 1 weights"),
    "a weight is left over": (weights(_add), "has left over 1 weights"),
    "a weight has another shape": (weights(_reshape), "wrong shape for 1 weights"),
    "no tokenizer": (without("tokenizer.json", "tokenizer_config.json"), "no tokenizer"),
    "half a tokenizer": (without("tokenizer.json", then=replaced("vocab.json", {"a": 0})), "merges.txt"),
    "weights are a pointer": (replaced(WEIGHTS, POINTER), "model.safetensors is a Git LFS pointer"),
    "tokenizer is a pointer": (replaced("tokenizer.json", POINTER), "tokenizer.json is a Git LFS pointer"),
    "config is a pointer": (replaced("config.json", POINTER), "config.json is a Git LFS pointer"),
    "weights are empty": (replaced(WEIGHTS, ""), "model.safetensors is empty"),
    "weights are cut": (cut(WEIGHTS, 0.8), "bytes of"),
    "weights are cut in the header": (cut(WEIGHTS, 0.01), "is cut, or no safetensors file"),
    "weights are a page": (replaced(WEIGHTS, "<!DOCTYPE html><html>Not found</html>"), "no safetensors file"),
    "archive is cut": (cut_archive, "pytorch_model.bin is cut"),
    "no weights": (without(WEIGHTS), "has no weights"),
    "ONNX alone": (other_weights("onnx/model.onnx"), "ONNX alone"),
    "OpenVINO alone": (other_weights("openvino/openvino_model.xml"), "OpenVINO alone"),
    "TensorFlow alone": (other_weights("tf_model.h5"), "TensorFlow alone"),
    "a shard is missing": (sharded, "1 of 2 files of its weights are missing, first model-00002-of-00002"),
    "shards without a map": (without(WEIGHTS, then=replaced(f"{WEIGHTS}.index.json", {})), "no weight_map"),
    "no pooling folder": (without("1_Pooling"), "1_Pooling/config.json of its module Pooling"),
    "a dense layer without weights": (
        both(modules(*(f"{STOCK}{kind}" for kind in ("Transformer", "Pooling", "Dense"))),
             replaced("2_Dense/config.json", DENSE)),
        "2_Dense has no weights",
    ),
    "module of nobody": (modules(f"{STOCK}Transformer", f"{STOCK}Poolings"), "Poolings, which sentence-transformers"),
    "module of the repository": (modules(f"{STOCK}Transformer", "custom_st.Pooling"), "custom_st.Pooling, and"),
    "module outside": (
        replaced("modules.json", [{"idx": 0, "name": "0", "path": "../x", "type": f"{STOCK}Transformer"}]), "a path in",
    ),
    "modules without type": (replaced("modules.json", [{"idx": 0}]), "needs a type"),
    "modules are no JSON": (replaced("modules.json", "[{"), "modules.json cannot be read"),
    "config is no JSON": (replaced("config.json", "{'a'}"), "config.json cannot be read"),
    "pooling is no JSON": (replaced("1_Pooling/config.json", "{"), "1_Pooling/config.json cannot be read"),
    "sparse by its modules": (modules(*SPLADE), "is a sparse model"),
    "sparse by its settings": (settings(model_type="SparseEncoder"), "is a sparse model"),
    "PyLate": (modules(f"{STOCK}Transformer", "pylate.models.Dense.Dense"), "is a multi-vector model"),
    "a dense layer without pooling": (modules(f"{STOCK}Transformer", f"{STOCK}Dense"), "is a multi-vector model"),
    "late interaction by its settings": (settings(similarity_fn_name="MaxSim"), "is a multi-vector model"),
    "stock multi-vector model": (settings(model_type="MultiVectorEncoder"), "is a multi-vector model"),
    "ColBERT": (both(BARE, config(architectures=["HF_ColBERT"])), "is a multi-vector model"),
    "cross-encoder": (settings(model_type="CrossEncoder"), "is a cross-encoder or classifier"),
    "classifier": (
        both(BARE, config(architectures=["BertForSequenceClassification"])), "is a cross-encoder or classifier",
    ),
    "generator": (both(BARE, config(architectures=["LlamaForCausalLM"], model_type="llama")), ""),
    "code of its own": (
        config(model_type="xnew", auto_map={"AutoModel": "modeling_x.X"}), "the architecture xnew, and pretrieve runs",
    ),
    "unknown architecture": (config(model_type="xnew"), "the architecture xnew, which the installed"),
    "adapter": (replaced("adapter_config.json", {"base_model_name_or_path": "a/base"}), "an adapter (LoRA) of a/base"),
    "one route": (router("document"), "no route 'query'"),
    "a lost route": (router("query", "document", lost=True), "query_1_Pooling/config.json of its module Pooling"),
    "a Router without a file": (modules(f"{STOCK}Router"), "router_config.json of its module Router"),
    "tokens without vectors": (
        both(config(vocab_size=50), weights(lambda found: found.update(
            {"embeddings.word_embeddings.weight": found["embeddings.word_embeddings.weight"][:50].clone()}))),
        "the model 50 vectors",
    ),
}  # fmt: skip
