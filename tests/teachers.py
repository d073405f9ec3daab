"""A tiny transformer that a static model can learn from: its texts lie near where the mean of their words lies."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

from pretrieve.core.types import Document
from pretrieve.text import tokenizer as ours

_TYPES = {"0": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}


def teacher(folder: Path, documents: list[Document], *, width: int = 32) -> Path:
    """A random BERT with long word vectors, as a stock folder with mean pooling."""
    folder.mkdir(parents=True)
    words = ours.train([f"{document.title} {document.text}" for document in documents], vocabulary_size=400)
    (folder / "tokenizer.json").write_bytes(words.to_bytes())
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = AutoModel.from_config(
        AutoConfig.for_model(
            "bert", vocab_size=words.specials.vocabulary, hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=160, pad_token_id=0, initializer_range=0.1,
        )
    )  # fmt: skip
    with torch.no_grad():
        model.embeddings.word_embeddings.weight *= 20
    model.eval().save_pretrained(folder)
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": path if index else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, (path, kind) in enumerate(_TYPES.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128, "do_lower_case": False}))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A teacher\n")
    return folder
