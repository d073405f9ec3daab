"""The teacher of ``distill``: any transformer that gives one dense vector for a text, and its tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pretrieve.core.errors import UsageError
from pretrieve.core.types import FloatArray, TextEncoder
from pretrieve.models.text_encoder import TorchTextEncoder, open_encoder, usage_of
from pretrieve.pipeline.distill.request import DistillRequest
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.tokenizer import Tokenizer

_LICENCE = re.compile(r"^license:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """An open teacher.

    Attributes:
        queries: encodes queries.
        documents: encodes documents.
        tokenizer: of its documents' side; the student gets it.
        fingerprint: identity of its weights, tokenizer and usage.
        dimensions: of its vectors.
        licence: as the front matter of its card names it; empty where it does not.
    """

    queries: Callable[[Sequence[str]], FloatArray]
    documents: Callable[[Sequence[str]], FloatArray]
    tokenizer: Tokenizer
    fingerprint: str
    dimensions: int
    licence: str = ""


def open_teacher(request: DistillRequest, encoder: TextEncoder | None = None) -> Teacher:
    """Open the teacher.

    Args:
        request: names the teacher and its usage.
        encoder: the teacher, if it is already open.

    Raises:
        UsageError: there is none, it has no fast tokenizer, it does not give one dense vector for a text, or its
            vectors are too small.
    """
    _, documents, _ = usage_of(request.teacher, request.described)
    tokenizer = tokenizers.load(documents)
    found = encoder if encoder is not None else open_encoder(request.teacher, request.described)
    if request.bfloat16 and isinstance(found, TorchTextEncoder):
        found.query_model.bfloat16()
        found.document_model.bfloat16()
    seen = found.encode_documents(["a text"])
    if seen.ndim != 2:
        raise UsageError(f"{request.teacher} gives several vectors for a text: a teacher gives one.")
    width = seen.shape[1]
    if "tokens" in request.stages and (request.dimensions or 1) > width:
        raise UsageError(
            f"--dimensions {request.dimensions}: the teacher's vectors have {width}; ask for 1 to {width}."
        )
    card = documents / "README.md"
    said = _LICENCE.search(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    return Teacher(
        queries=found.encode_queries,
        documents=found.encode_documents,
        tokenizer=tokenizer,
        fingerprint=found.fingerprint,
        dimensions=width,
        licence=said[1] if said else "",
    )
