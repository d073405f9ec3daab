"""Published checkpoints that are easily used wrongly, with what their authors use.

Many repositories hold bare transformer weights, for which sentence-transformers falls back to mean pooling and cosine:
wrong pooling for CLS models, and 7 to 8 points of nDCG@10 lost for Contriever, whose vectors are compared by dot
product. Values are those of the authors' code and model cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Similarity

Pooling = Literal["mean", "cls", "lasttoken", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How a checkpoint is used.

    Attributes:
        pooling: of the last hidden states.
        similarity: similarity function of the vectors.
        normalise: bring vectors to length one (the same ranking as cosine, other scores).
        query_prompt: prompt of a query.
        document_prompt: prompt of a document.
        max_length: tokens kept of a text, special tokens included; None leaves it to the model.
        query_length: the same for queries, where they are cut shorter.
        separator: separator of title and text.
        query_model: name of the query encoder's model, if this is the document encoder's.
        document_model: name of the document encoder's model, if this is the query encoder's.
        remote_code: the repository's own model code is needed, where transformers has none.
        tuned: whether the model is fine-tuned for search; otherwise it needs fine-tuning first.
    """

    pooling: Pooling
    similarity: Similarity
    normalise: bool = False
    query_prompt: str = ""
    document_prompt: str = ""
    max_length: int | None = 512
    query_length: int | None = None
    separator: str = " "
    query_model: str | None = None
    document_model: str | None = None
    remote_code: bool = False
    tuned: bool = True


def _untied(query: str, document: str, usage: Checkpoint) -> dict[str, Checkpoint]:
    """Two untied encoders; each name loads both."""
    return {query: replace(usage, document_model=document), document: replace(usage, query_model=query)}


_SEP = " [SEP] "  # between title and text: they are a pair, both in BERT's first segment
_CONTRIEVER = Checkpoint(pooling="mean", similarity="dot")
_CLS = Checkpoint(pooling="cls", similarity="dot")
_DPR = replace(_CLS, max_length=256, separator=_SEP)
_SPIDER = replace(_CLS, max_length=240, separator=_SEP)
_MARCO = replace(_CLS, max_length=128, query_length=32, separator=_SEP)
_RETROMAE_MARCO = replace(_MARCO, max_length=140)
# SimLM's authors give the text the second segment; here it has the first.
_SIMLM = Checkpoint(pooling="cls", similarity="cosine", normalise=True, max_length=144, query_length=32, separator=_SEP)
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

CHECKPOINTS: dict[str, Checkpoint] = {
    "facebook/contriever": _CONTRIEVER,
    "facebook/contriever-msmarco": _CONTRIEVER,
    "facebook/mcontriever": _CONTRIEVER,
    "facebook/mcontriever-msmarco": _CONTRIEVER,
    **{f"BAAI/bge-{size}-en{version}": _BGE for size in ("small", "base", "large") for version in ("", "-v1.5")},
    **{
        f"intfloat/{name.format(size)}": _E5
        for name in ("e5-{}", "e5-{}-v2", "e5-{}-unsupervised", "multilingual-e5-{}")
        for size in ("small", "base", "large")
    },
    "nomic-ai/nomic-embed-text-v1": _NOMIC,
    "nomic-ai/nomic-embed-text-v1-unsupervised": _NOMIC,
    "nomic-ai/nomic-embed-text-v1.5": _NOMIC,
    "Luyu/condenser": replace(_CLS, tuned=False),
    "Luyu/co-condenser-wiki": replace(_DPR, query_length=32, tuned=False),
    "Luyu/co-condenser-marco": replace(_MARCO, tuned=False),
    "Luyu/co-condenser-marco-retriever": _MARCO,
    "OpenMatch/cocodr-base-msmarco": _CLS,
    "intfloat/simlm-base-msmarco": replace(_SIMLM, tuned=False),
    "intfloat/simlm-base-wiki100w": replace(_SIMLM, max_length=192, tuned=False),
    "intfloat/simlm-base-msmarco-finetuned": _SIMLM,
    "Shitao/RetroMAE": replace(_CLS, tuned=False),
    "Shitao/RetroMAE_MSMARCO": replace(_RETROMAE_MARCO, tuned=False),
    "Shitao/RetroMAE_MSMARCO_finetune": _RETROMAE_MARCO,
    "Shitao/RetroMAE_MSMARCO_distill": _RETROMAE_MARCO,
    "Shitao/RetroMAE_BEIR": _CLS,
    "tau/spider": _SPIDER,
    **_untied("tau/spider-nq-question-encoder", "tau/spider-nq-ctx-encoder", _SPIDER),
    **_untied("tau/spider-trivia-question-encoder", "tau/spider-trivia-ctx-encoder", _SPIDER),
    **_untied("facebook/dpr-question_encoder-single-nq-base", "facebook/dpr-ctx_encoder-single-nq-base", _DPR),
    **_untied("facebook/dpr-question_encoder-multiset-base", "facebook/dpr-ctx_encoder-multiset-base", _DPR),
    **_untied(
        "facebook/dragon-plus-query-encoder", "facebook/dragon-plus-context-encoder", replace(_CLS, separator=_SEP)
    ),
    **_untied(
        "facebook/dragon-roberta-query-encoder",
        "facebook/dragon-roberta-context-encoder",
        replace(_CLS, separator=" </s> "),
    ),
}

_CONTEXTUAL = ("jxm/cde-small-v1", "jxm/cde-small-v2")  # conditioned on documents of the corpus
_BY_NAME = {name.lower(): checkpoint for name, checkpoint in CHECKPOINTS.items()}


def find_checkpoint(name: str) -> Checkpoint | None:
    """Return how a published checkpoint is used, by its hub name (case does not matter), or None.

    Raises:
        UsageError: it needs more than texts to make vectors, which is not done here.
    """
    if name.lower() in _CONTEXTUAL:
        raise UsageError(
            f"{name} makes vectors in view of 512 documents of the corpus, which pretrieve does not give it: use it "
            "by its own model card, or take another model, such as BAAI/bge-base-en-v1.5."
        )
    return _BY_NAME.get(name.lower())


def known_as(name: str, like: str | None) -> Checkpoint | None:
    """How a model is used: by its own entry, or else by that of the checkpoint which it is said to be like.

    Raises:
        UsageError: as ``find_checkpoint``.
    """
    return find_checkpoint(name) or (find_checkpoint(like) if like else None)


def wrong_uses(name: str, known: Checkpoint, said: Mapping[str, object]) -> list[str]:
    """What the user says of a checkpoint against its authors, in a line each with what to do instead.

    Args:
        name: of the model, as the user calls it.
        known: how its authors use it.
        said: what the user says: pooling, similarity, query_prompt, document_prompt; None where nothing.
    """
    lines = []
    for key in ("pooling", "similarity"):
        true, asked = getattr(known, key), said.get(key)
        if asked not in (None, true):
            lines.append(f"{name} was trained with {key} {true!r}, and {asked!r} costs accuracy: leave {key} out.")
    for key, side in (("query_prompt", "query"), ("document_prompt", "document")):
        true, asked = getattr(known, key), said.get(key)
        if asked not in (None, true):
            before = f"{true!r} before every {side}" if true else f"nothing before a {side}"
            lines.append(f"{name} was trained with {before}, and {asked!r} costs accuracy: leave {key} out.")
    return lines
