"""Tiny decoders as folders: random weights of stock classes, and a tokenizer that names the end of a text alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM

END = "<|endoftext|>"


def tokenizer(folder: Path, texts: list[str], *, begin: bool = False, ends: bool = False, **config: Any) -> int:
    """A byte-level BPE of some texts, which adds a begin or an end of a text on request; its number of entries."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "</s>", END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    parts: list[Any] = [processors.ByteLevel(trim_offsets=False)]
    if begin or ends:
        single = [*(["<s>"] if begin else []), "$A", *([END] if ends else [])]
        known = [(token, backend.token_to_id(token)) for token in ("<s>", END)]
        parts.append(processors.TemplateProcessing(single=single, special_tokens=known))
    backend.post_processor = processors.Sequence(parts)
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "model_max_length": 64, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return int(backend.get_vocab_size())


def decoder(folder: Path, texts: list[str], kind: str = "qwen3", **given: Any) -> Path:
    """A language model of width 32 with two layers, as ``save_pretrained`` leaves it."""
    size = tokenizer(folder, texts, **given)
    shape: dict[str, Any] = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 48, "head_dim": 8, "max_position_embeddings": 256, "initializer_range": 0.2,
    }  # fmt: skip
    if kind == "gpt2":
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=size, bos_token_id=0, eos_token_id=2, pad_token_id=2, **shape)
    AutoModelForCausalLM.from_config(config).eval().save_pretrained(folder)
    return folder
