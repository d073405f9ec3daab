"""A generator of transformers on this machine: doc2query and other seq2seq models, causal models, chat models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from pretrieve.core.errors import UsageError
from pretrieve.generation.asking import Ask, Sampling
from pretrieve.generation.named import identity, longest, opening
from pretrieve.generation.nucleus import Nucleus
from pretrieve.generation.prompts import Kind, Prompt
from pretrieve.models import devices
from pretrieve.models.pretrained import quietly

_WHAT = "generator of transformers"
_USUAL = 512  # tokens that a model reads where nothing says it
_SAMPLING = ("temperature", "top_k", "top_p", "typical_p", "min_p", "max_length", "min_length", "min_new_tokens")


class LocalGenerator:
    """A seq2seq or causal model of transformers; its weights are loaded on first use.

    Attributes:
        kind: "seq2seq"; "chat" for a causal model whose tokenizer has a chat template; "plain" for any other.
        fingerprint: identity of the model.

    Args:
        name: folder, or name of the hub.
        sampling: how it draws.

    Raises:
        UsageError: there is no such model, or it generates no text.
    """

    def __init__(self, name: str, sampling: Sampling) -> None:
        self._name, self._sampling = name, sampling
        self._config, self._tokenizer = _opened(name)
        self._class = _class_of(name, self._config)
        seq2seq = bool(getattr(self._config, "is_encoder_decoder", False))
        self.kind: Kind = "seq2seq" if seq2seq else "chat" if self._tokenizer.chat_template else "plain"
        self._tokenizer.padding_side = "right" if seq2seq else "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.convert_ids_to_tokens(0)
        self.fingerprint = identity(name, self._config)

    @cached_property
    def _model(self) -> Any:
        """The model, its weights whole: one that is missing would be random.

        Raises:
            UsageError: they cannot be loaded, or some are missing.
        """
        device = devices.chosen()
        dtype = "float32" if device.type == devices.CPU else "auto"
        with opening(self._name, _WHAT):
            model, report = self._class.from_pretrained(self._name, dtype=dtype, output_loading_info=True)
        if missing := sorted(report["missing_keys"]):
            raise UsageError(
                f"{self._name} lacks {len(missing)} weights of a generator, first {missing[0]!r}: it would be partly "
                "random. Give a model that was saved whole."
            )
        return model.to(device).eval()

    @torch.inference_mode()
    def complete(self, prompt: Prompt, asks: Sequence[Ask]) -> list[str | None]:
        """Write one text for each request, all in one batch.

        Raises:
            UsageError: the model cannot be loaded, or the prompt alone is longer than it reads.
        """
        drawn = self._sampling
        limit = drawn.max_new_tokens * (prompt.number if prompt.at_once else 1)
        budget = self._prompt_budget(limit)
        texts = [self._fitted(prompt, ask, budget) for ask in asks]
        inputs = self._tokens(texts, return_tensors="pt", padding=True).to(self._model.device)
        uniform = np.stack([ask.uniform(drawn.seed, limit) for ask in asks])
        with quietly():
            made = self._model.generate(
                **inputs,
                generation_config=self._settings(limit),
                logits_processor=[Nucleus(uniform, drawn.temperature, drawn.top_k, drawn.top_p)],
                stopping_criteria=[] if prompt.at_once or self.kind != "plain" else [self._at_line_end],
            )
        first = 0 if self.kind == "seq2seq" else inputs["input_ids"].shape[1]
        answers: list[str] = self._tokenizer.batch_decode(made[:, first:], skip_special_tokens=True)
        return [answer.strip() for answer in answers]

    def _tokens(self, texts: Sequence[str], **also: Any) -> Any:
        # a chat template has put the special tokens into the text already
        found = self._tokenizer(list(texts), add_special_tokens=self.kind != "chat", **also)
        found.pop("token_type_ids", None)  # some tokenizers give them, and no generator takes them
        return found

    def _fitted(self, prompt: Prompt, ask: Ask, budget: int) -> str:
        """The text of a request, the document being cut until all of it fits."""
        words = min(prompt.words, len(ask.document.text.split()))
        while True:
            text = self._framed(prompt.fill(ask.document, words))
            length = len(self._tokens([text])["input_ids"][0])
            if length <= budget:
                return text
            if words <= 1:
                raise UsageError(
                    f"{self._name} reads {budget} tokens beside its answer, and the prompt has {length} with one word "
                    f"of document {ask.document.id!r}: give a shorter --prompt, or a smaller --max-new-tokens."
                )
            words = max(1, min(words - 1, words * budget // length))

    def _framed(self, text: str) -> str:
        if self.kind != "chat":
            return text
        message = [{"role": "user", "content": text}]
        # templates of models that think aloud know the last argument, others ignore it
        framed: str = self._tokenizer.apply_chat_template(
            message, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return framed

    def _prompt_budget(self, limit: int) -> int:
        """Tokens of a prompt at most."""
        names = ("n_positions", "max_position_embeddings", "max_source_positions")
        said = min((number for name in names if (number := getattr(self._config, name, None))), default=_USUAL)
        most = min(said, longest(self._tokenizer, said))
        return most if self.kind == "seq2seq" else max(1, most - limit)

    def _settings(self, limit: int) -> Any:
        """The model's own settings of generation, but for what is drawn and how far."""
        from copy import deepcopy

        settings = deepcopy(self._model.generation_config)
        for name in _SAMPLING:
            setattr(settings, name, None)
        settings.do_sample, settings.num_beams, settings.num_return_sequences = False, 1, 1
        settings.early_stopping, settings.length_penalty = None, None
        settings.max_new_tokens = limit
        settings.pad_token_id = self._tokenizer.pad_token_id
        return settings

    def _at_line_end(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Rows (R,) that have written a line: what follows belongs to no query."""
        last = self._tokenizer.batch_decode(input_ids[:, -1:])
        return torch.tensor(["\n" in text for text in last], device=input_ids.device)


def _opened(name: str) -> tuple[Any, Any]:
    """Configuration and tokenizer of a model."""
    from transformers import AutoConfig, AutoTokenizer

    with opening(name, _WHAT):
        return AutoConfig.from_pretrained(name), AutoTokenizer.from_pretrained(name)


def _class_of(name: str, config: Any) -> Any:
    """The class that loads a generator, or a refusal of a model without a head that writes."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from transformers.models.auto import modeling_auto

    known = set(getattr(config, "architectures", None) or ())
    for kind, mapping in (
        (AutoModelForSeq2SeqLM, modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
        (AutoModelForCausalLM, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
    ):
        names = mapping.get(config.model_type, ())
        if known & ({names} if isinstance(names, str) else set(names)):
            return kind
    what = ", ".join(sorted(known)) or "a model without a named class"
    raise UsageError(
        f"{name} is {what}, which writes no text: give a seq2seq model (T5, BART) or a causal one (GPT-2, Llama, Qwen)."
    )
