"""Tiny generators and a cross-encoder made on the spot, and an endpoint that answers well, slowly, or badly."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

import searching
from pretrieve.core.types import Document

CHAT = (
    "{% for m in messages %}<user> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<model>{% endif %}"
)
_SPECIALS = ["<pad>", "</s>", "<unk>", "<s>", "<user>", "<end>", "<model>"]


def collection(path: Path, size: int = 40) -> list[Document]:
    """Documents with a title each, in a JSONL file."""
    made = searching.documents(size, sentences=2)
    lines = [{"id": d.id, "title": d.title, "text": d.text} for d in made]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return made


def words_of(documents: Iterable[Document]) -> list[str]:
    """All words of some documents."""
    return sorted({word for d in documents for word in re.findall(r"\w+", f"{d.title} {d.text}".lower())})


def tokenizer(documents: Iterable[Document], *, chat: bool = False, pair: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the words of the documents."""
    vocabulary = {word: number for number, word in enumerate([*_SPECIALS, *words_of(documents)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if pair:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 3), ("</s>", 1)]
        )
    found = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<s>",
        cls_token="<s>", sep_token="</s>", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    if chat:
        found.chat_template = CHAT
    return found


def _kept(folder: Path, model: Any, words: PreTrainedTokenizerFast) -> Path:
    model.eval().save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def generator(folder: Path, documents: list[Document], kind: str = "t5") -> Path:
    """A random generator of width 16, whose texts are words of the documents: t5, bart, gpt2, llama, or chat."""
    words = tokenizer(documents, chat=kind == "chat")
    size, ends = len(words), {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 3}
    torch.manual_seed(0)
    if kind in ("t5", "bart"):
        shapes = {
            "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0},
            "bart": {
                "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
                "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
                "max_position_embeddings": 64, "decoder_start_token_id": 1,
            },
        }  # fmt: skip
        config = AutoConfig.for_model(kind, vocab_size=size, **shapes[kind], **ends)
        return _kept(folder, AutoModelForSeq2SeqLM.from_config(config), words)
    if kind == "gpt2":
        config = AutoConfig.for_model("gpt2", vocab_size=size, n_embd=16, n_layer=1, n_head=2, n_positions=128, **ends)
    else:
        config = AutoConfig.for_model(
            "llama", vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, intermediate_size=24, max_position_embeddings=256, **ends,
        )  # fmt: skip
    return _kept(folder, AutoModelForCausalLM.from_config(config), words)


def encoder(folder: Path, documents: list[Document], *, labels: int = 1) -> Path:
    """A BERT of width 16 that classifies pairs into so many labels; with 0 labels a language model."""
    words = tokenizer(documents, pair=True)
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        "bert", vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=96, initializer_range=0.5, type_vocab_size=2,
        pad_token_id=0, **({"num_labels": labels} if labels else {}),
    )  # fmt: skip
    kind = AutoModelForSequenceClassification if labels else AutoModelForMaskedLM
    return _kept(folder, kind.from_config(config), words)


@dataclass
class Server:
    """An OpenAI-compatible endpoint on loopback.

    Attributes:
        replies: what is answered to the next requests, before it answers well: an HTTP status, raw bytes, or an object
            to answer with.
        delay: seconds before each answer.
        requests: bodies that came, in order.
        headers: of the requests.
    """

    replies: list[Any] = field(default_factory=list)
    delay: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    refused: str = ""  # a document with this word in it is refused with status 400
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> Any:
        """Note a request, and say what is answered."""
        with self.lock:
            self.requests.append(body)
            self.headers.append(headers)
            reply = self.replies.pop(0) if self.replies else None
        if reply is None and self.refused and self.refused in body["messages"][0]["content"]:
            return 400
        return reply if reply is not None else completion(answer(body))


def answer(body: dict[str, Any]) -> str:
    """A sensible answer: three lines of words of the document, drawn by the seed of the request."""
    document = body["messages"][0]["content"].rsplit("Document: ", 1)[-1].lower()
    words = re.findall(r"\w+", document)
    rng = random.Random(f"{body['seed']}")
    lines = [" ".join(rng.sample(words, 3)) for _ in range(3)]
    return f'Here are three queries:\n1. {lines[0]}\n2. "{lines[1]}"\n- {lines[2]}\n'


def completion(text: Any) -> dict[str, Any]:
    """A chat completion."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


@contextmanager
def serving(**settings: Any) -> Iterator[Server]:
    """Serve on a free port of loopback while the block runs."""
    state = Server(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = state.take(body, dict(self.headers))
            time.sleep(state.delay)
            status, headers, data = 200, {}, reply
            if isinstance(reply, tuple):
                status, headers, data = reply
            elif isinstance(reply, int):
                status, data = reply, {"error": {"message": "this is not to be"}}
            data = data if isinstance(data, bytes) else json.dumps(data).encode()
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client is gone

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
