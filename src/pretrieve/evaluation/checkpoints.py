"""Published checkpoints that are easily used wrongly, with what their authors use.

Many repositories hold bare transformer weights, for which sentence-transformers falls back to mean pooling and cosine:
wrong pooling for CLS models, and 7 to 8 points of nDCG@10 lost for Contriever, whose vectors are compared by dot
product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pretrieve.index.dense import Similarity

Pooling = Literal["mean", "cls", "lasttoken", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How a checkpoint is used.

    Attributes:
        pooling: of the last hidden states.
        similarity: how vectors are compared.
        normalise: bring vectors to length one (the same ranking as cosine, other scores).
        query_prompt: put before every query.
        document_prompt: put before every document.
        max_length: tokens kept of a text, special tokens included; None leaves it to the model.
        separator: between title and text.
        document_model: name of the other tower, where documents have their own.
        remote_code: the repository's own model code is needed.
        note: what the user should be told.
    """

    pooling: Pooling
    similarity: Similarity
    normalise: bool = False
    query_prompt: str = ""
    document_prompt: str = ""
    max_length: int | None = 512
    separator: str = " "
    document_model: str | None = None
    remote_code: bool = False
    note: str = ""


_CONTRIEVER = Checkpoint(pooling="mean", similarity="dot")
_CLS = Checkpoint(pooling="cls", similarity="dot")
_BGE = Checkpoint(
    pooling="cls",
    similarity="cosine",
    normalise=True,
    query_prompt="Represent this sentence for searching relevant passages: ",
)
_E5 = Checkpoint(
    pooling="mean", similarity="cosine", normalise=True, query_prompt="query: ", document_prompt="passage: "
)
_NOMIC = Checkpoint(
    pooling="mean",
    similarity="cosine",
    normalise=True,
    query_prompt="search_query: ",
    document_prompt="search_document: ",
    max_length=2048,
    remote_code=True,
)
_UNTUNED = "it was pre-trained only and has to be fine-tuned before it can search"
_DPR = replace(_CLS, max_length=256, separator=" [SEP] ")  # title and text are a pair
_DRAGON = replace(_CLS, document_model="facebook/dragon-plus-context-encoder")

CHECKPOINTS: dict[str, Checkpoint] = {
    "facebook/contriever": _CONTRIEVER,
    "facebook/contriever-msmarco": _CONTRIEVER,
    "facebook/mcontriever": _CONTRIEVER,
    "facebook/mcontriever-msmarco": _CONTRIEVER,
    "BAAI/bge-small-en-v1.5": _BGE,
    "BAAI/bge-base-en-v1.5": _BGE,
    "BAAI/bge-large-en-v1.5": _BGE,
    "intfloat/e5-small-v2": _E5,
    "intfloat/e5-base-v2": _E5,
    "intfloat/e5-large-v2": _E5,
    "nomic-ai/nomic-embed-text-v1.5": _NOMIC,
    "Luyu/condenser": replace(_CLS, note=_UNTUNED),
    "Luyu/co-condenser-wiki": replace(_CLS, note=_UNTUNED),
    "Luyu/co-condenser-marco": replace(_CLS, max_length=128, note=_UNTUNED),
    "Luyu/co-condenser-marco-retriever": replace(_CLS, max_length=128),
    "facebook/dpr-question_encoder-single-nq-base": replace(
        _DPR, document_model="facebook/dpr-ctx_encoder-single-nq-base"
    ),
    "facebook/dpr-question_encoder-multiset-base": replace(
        _DPR, document_model="facebook/dpr-ctx_encoder-multiset-base"
    ),
    "facebook/dragon-plus-query-encoder": _DRAGON,
    "tau/spider": replace(_CLS, max_length=240, separator=" [SEP] "),
    "Shitao/RetroMAE": replace(_CLS, note=_UNTUNED),
    "Shitao/RetroMAE_MSMARCO_finetune": _CLS,
}


def find_checkpoint(name: str) -> Checkpoint | None:
    """Return how a published checkpoint is used, by its hub name (case does not matter), or None."""
    lowered = {known.lower(): checkpoint for known, checkpoint in CHECKPOINTS.items()}
    return lowered.get(name.lower())
