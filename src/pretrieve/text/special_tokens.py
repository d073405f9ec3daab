"""Special tokens of a tokenizer: by their names, by their spelling, or by what the tokenizer itself puts around a text.

An encoder's tokenizer names [CLS] and [SEP]. That of a decoder (Qwen, Llama, Mistral) names the end of a text alone,
and its rules say what stands around a text: Qwen3-Embedding appends an end, Llama begins with one token. Last-token
pooling needs an end: a language model whose rules add none gets its end of text appended.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import processors

from pretrieve.core.errors import UsageError
from pretrieve.core.types import SpecialTokens

_MODULES = "modules.json"  # of a published embedding model, whose rules are as its authors use it


def is_of_decoder(config: Mapping[str, Any]) -> bool:
    """Whether a tokenizer is that of a decoder: it names an end of text, and neither [CLS] nor [SEP].

    Args:
        config: ``tokenizer_config.json``.
    """
    return bool(config.get("eos_token")) and not (config.get("cls_token") or config.get("sep_token"))


def special_tokens(backend: tokenizers.Tokenizer, config: Mapping[str, Any], where: str) -> SpecialTokens:
    """Find the special tokens of a tokenizer.

    Args:
        backend: the tokenizer.
        config: ``tokenizer_config.json``, which names them; guessed by their spelling where it does not.
        where: what to name in messages.

    Raises:
        UsageError: a decoder's tokenizer puts more than one token before or after a text.
    """
    found = {
        ours: _named(backend, config.get(f"{theirs}_token"), spellings)
        for ours, theirs, spellings in (
            ("cls", "cls", ("[CLS]", "<s>")),
            ("sep", "sep", ("[SEP]", "</s>")),
            ("mask", "mask", ("[MASK]", "<mask>")),
            ("pad", "pad", ("[PAD]", "<pad>")),
            ("unknown", "unk", ("[UNK]", "<unk>")),
        )
    }
    pad = found.pop("pad")
    if is_of_decoder(config):
        found["cls"], found["sep"] = _around(backend, where)
        pad = _named(backend, config["eos_token"], ()) if pad is None else pad
    special = [index for index, token in backend.get_added_tokens_decoder().items() if token.special]
    first = max([index for index in special if index < 1000], default=-1) + 1
    size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
    return SpecialTokens(pad=pad or 0, vocabulary=size, first_ordinary=first, **found)


def names_of(specials: SpecialTokens) -> dict[str, int]:
    """The names of special tokens in ``tokenizer_config.json``; a tokenizer without [CLS] or [SEP] is a decoder's.

    Args:
        specials: the special tokens.
    """
    begin, end = specials.cls, specials.sep
    if begin is None or end is None:
        ends = {"bos_token": begin, "eos_token": specials.pad if end is None else end}
    else:
        ends = {"cls_token": begin, "sep_token": end}
    found = {**ends, "mask_token": specials.mask, "pad_token": specials.pad, "unk_token": specials.unknown}
    return {name: token for name, token in found.items() if token is not None}


def end_texts(backend: tokenizers.Tokenizer, config: Mapping[str, Any], folder: Path) -> None:
    """Let a decoder's tokenizer add what its settings say, and an end of text where a language model's adds none.

    Args:
        backend: the tokenizer, changed in place.
        config: ``tokenizer_config.json``.
        folder: of the tokenizer; an embedding model's is left as its authors use it.
    """
    if not is_of_decoder(config):
        return
    before, after = _added(backend)
    embeds = (folder / _MODULES).is_file() or (folder.parent / _MODULES).is_file()
    begin = None if before or not config.get("add_bos_token") else _text(config.get("bos_token"))
    end = _text(config["eos_token"]) if not after and (config.get("add_eos_token") or not embeds) else None
    known = [(text, backend.token_to_id(text)) for text in (begin, end) if text is not None]
    known = [(text, index) for text, index in known if index is not None]
    if not known:
        return
    words = [backend.id_to_token(index) for index in before] or [text for text, _ in known if text == begin]
    ends = [backend.id_to_token(index) for index in after] or [text for text, _ in known if text == end]
    single = [*words, "$A", *ends]
    pair = [*single, *(f"{part}:1" for part in [*words, "$B", *ends])]
    tokens: list[Any] = [(token, backend.token_to_id(str(token))) for token in dict.fromkeys([*words, *ends])]
    template = processors.TemplateProcessing(single=single, pair=pair, special_tokens=tokens)
    kept = [part for part in _parts(backend.post_processor) if not isinstance(part, processors.TemplateProcessing)]
    backend.post_processor = processors.Sequence([*kept, template]) if kept else template


def _parts(processor: Any) -> list[Any]:
    """The steps of a post-processor."""
    if processor is None:
        return []
    sequence: Any = processor
    return list(sequence) if isinstance(processor, processors.Sequence) else [processor]


def _around(backend: tokenizers.Tokenizer, where: str) -> tuple[int | None, int | None]:
    """The token that the tokenizer puts before a text, and that after it; None where there is none."""
    before, after = _added(backend)
    if len(before) > 1 or len(after) > 1:
        raise UsageError(
            f"{where}: the tokenizer puts {len(before)} tokens before a text and {len(after)} after it; a model "
            "that is trained here has at most one each."
        )
    return next(iter(before), None), next(iter(after), None)


def _added(backend: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer puts before and after a text."""
    encoding = backend.encode("a")
    inner = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    ids = list(encoding.ids)
    if not inner:  # a vocabulary without this letter: nothing is between
        return ids, []
    return ids[: inner[0]], ids[inner[-1] + 1 :]


def _text(named: Any) -> str | None:
    return named.get("content") if isinstance(named, dict) else named


def _named(backend: tokenizers.Tokenizer, named: Any, spellings: tuple[str, ...]) -> int | None:
    text = _text(named)
    for spelling in [text] if text else spellings:
        index = backend.token_to_id(spelling)
        if index is not None:
            return int(index)
    return None
