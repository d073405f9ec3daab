"""Checkpoints of other people's code: SimCSE's extra layer, and ``checkpoint.pth`` of the original Contriever."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import stock
from pretrieve.core.errors import CorruptError, PretrieveWarning, UsageError
from pretrieve.core.types import Rows
from pretrieve.models.original_contriever import convert, main
from pretrieve.models.pretrained import resolve
from pretrieve.models.restore import load_encoder
from pretrieve.models.text_encoder import ModelOptions, open_encoder


@torch.no_grad()
def vectors(folder: Path) -> torch.Tensor:
    return load_encoder(folder, pooling="mean").eval()(Rows.of([[2, 7, 9, 11, 3], [2, 30, 3]]))


def test_simcse_s_layer_is_dropped_with_a_note_and_the_encoder_is_strict(tmp_path: Path) -> None:
    stock.checkpoint("bert", tmp_path)
    expected = vectors(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    layer = {"mlp.dense.weight": torch.randn(16, 16), "mlp.dense.bias": torch.randn(16)}
    save_file({**weights, **layer}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.warns(PretrieveWarning, match=r"layer that SimCSE trains with \(mlp\.dense\.bias\) is left out"):
        assert torch.equal(vectors(tmp_path), expected)
    with pytest.warns(PretrieveWarning, match="SimCSE"):
        open_encoder(str(tmp_path), ModelOptions(pooling="cls", similarity="cosine")).encode_queries(["a word"])
    name = next(name for name in weights if "layer.1.output.dense.weight" in name)
    save_file({**{k: v for k, v in weights.items() if k != name}, **layer}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="lacks 1 weights"):
        load_encoder(tmp_path)


def original(folder: Path, base: Path, prefix: str, **changes: Any) -> torch.Tensor:
    """A file as the original code's ``utils.save`` writes it; returns what its encoder gives."""
    model = stock.checkpoint("bert", base)
    inner = {name: values + 0.01 for name, values in model.bert.state_dict().items()}
    state = {f"{prefix}.{name}": values for name, values in inner.items()}
    state[f"{prefix}.embeddings.position_ids"] = torch.arange(72)[None]
    if prefix == "encoder_q":
        state |= {f"encoder_k.{name}": values - 1 for name, values in inner.items()}
        state |= {"queue": torch.randn(16, 8), "queue_ptr": torch.zeros(1, dtype=torch.long)}
    folder.mkdir()
    options = argparse.Namespace(retriever_model_id=str(base), pooling="average", temperature=0.05)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    checkpoint = {"step": 3, "model": state, "optimizer": optimizer.state_dict(), "scheduler": {"last_epoch": 3}}
    torch.save({**checkpoint, "opt": options, **changes}, folder / "checkpoint.pth")
    model.bert.load_state_dict(inner)
    model.bert.save_pretrained(base / "as-it-is")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / "as-it-is" / name).write_bytes((base / name).read_bytes())
    return vectors(base / "as-it-is")


@pytest.mark.parametrize("prefix", ["encoder_q", "encoder"])
def test_a_checkpoint_of_the_original_contriever_is_converted(prefix: str, tmp_path: Path) -> None:
    """The command that the refusal prints makes a model whose vectors are those of the checkpoint's encoder."""
    expected = original(tmp_path / "theirs", tmp_path / "base", prefix)
    for attempt in (
        lambda: load_encoder(tmp_path / "theirs"),
        lambda: resolve(str(tmp_path / "theirs" / "checkpoint.pth")),
        lambda: open_encoder(str(tmp_path / "theirs")),
        lambda: open_encoder(str(tmp_path / "theirs" / "checkpoint.pth")),
        lambda: open_encoder(str(tmp_path / "theirs"), ModelOptions(pooling="mean", similarity="dot")),
    ):
        with pytest.raises(UsageError, match="original Contriever code") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    words = shlex.split(str(caught.value).partition("convert it with")[2].replace("NEW_FOLDER", str(tmp_path / "ours")))
    subprocess.run([sys.executable, *words[1:]], check=True)
    found = vectors(tmp_path / "ours")
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-7)
    opened = open_encoder(str(tmp_path / "ours"))
    assert opened.similarity == "dot"


def test_what_cannot_be_converted_is_refused(tmp_path: Path, capsys) -> None:
    original(tmp_path / "theirs", tmp_path / "base", "encoder_q")
    assert main([]) == 2
    assert main([str(tmp_path / "base"), str(tmp_path / "out")]) == 2
    assert "there is no" in capsys.readouterr().err
    stock.checkpoint("bert", tmp_path / "other", layers=2)
    with pytest.raises(CorruptError, match="does not fit"):
        convert(tmp_path / "theirs", tmp_path / "out", base=str(tmp_path / "other"))
    torch.save({"model": {"x": torch.ones(1)}}, tmp_path / "theirs" / "checkpoint.pth")
    with pytest.raises(UsageError, match="give a base"):
        convert(tmp_path / "theirs", tmp_path / "out")
    with pytest.raises(CorruptError, match="no weights of an encoder"):
        convert(tmp_path / "theirs", tmp_path / "out", base=str(tmp_path / "base"))
    torch.save({"model": print}, tmp_path / "theirs" / "checkpoint.pth")
    with pytest.raises(CorruptError, match="weights alone"):
        convert(tmp_path / "theirs", tmp_path / "out")
    assert not (tmp_path / "out").exists()
