"""Tiny checkpoints of the three families, as ``save_pretrained`` leaves them, each with a tokenizer of its kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForMaskedLM

from pretrieve.text import tokenizer as ours

FAMILIES = ("bert", "roberta", "modernbert")
_NAMES = {
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "roberta": ("<pad>", "<unk>", "<s>", "</s>", "<mask>"),
    "modernbert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
}


def texts(count: int = 60, seed: int = 0) -> list[str]:
    """Made-up sentences."""
    rng = np.random.default_rng(seed)
    words = [f"{'aeiou'[number % 5]}word{number}" for number in range(150)]
    return [" ".join(" ".join(rng.choice(words, 6)) + "." for _ in range(5)) for _ in range(count)]


def _tokenizer(family: str) -> bytes:
    if family == "bert":
        return ours.train(texts(), vocabulary_size=200).to_bytes()
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts(),
        trainers.BpeTrainer(
            vocab_size=340, special_tokens=list(_NAMES[family]), initial_alphabet=alphabet, show_progress=False
        ),
    )
    return backend.to_str().encode()


def checkpoint(family: str, folder: Path, *, layers: int = 4, **changes: Any) -> Any:
    """Write a model with its language head and its tokenizer into a folder; returns the stock model, in evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes(_tokenizer(family))
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), _NAMES[family], strict=True))
    (folder / "tokenizer_config.json").write_text(json.dumps({f"{key}_token": text for key, text in names.items()}))
    found = ours.load(folder).specials
    values = {
        "vocab_size": found.vocabulary, "hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2,
        "intermediate_size": 24, "max_position_embeddings": 72, "initializer_range": 0.2,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        "pad_token_id": found.pad, "bos_token_id": found.cls, "cls_token_id": found.cls,
        "eos_token_id": found.sep, "sep_token_id": found.sep,
        **({"local_attention": 8, "global_attn_every_n_layers": 2} if family == "modernbert" else {}), **changes,
    }  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(family, **values))
    with torch.no_grad():  # norms and biases start as ones and zeros, which would hide one that is lost
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape)
    model.eval().save_pretrained(folder)
    return model
