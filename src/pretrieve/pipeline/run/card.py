"""What every model card says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONTENTS = """## What it holds

Weights, the vocabulary, which may be words of the documents, and how the model was made, with the names of the
sources. It holds no document, query or label. An index of it holds the text of all documents.
"""
_TAGS = ("pretrieve", "retrieval")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def front_matter(
    base: str,
    sources: Sequence[str] = (),
    *,
    stock: bool = True,
    tags: Sequence[str] = (),
    evaluation: Mapping[str, Any] | None = None,
) -> str:
    """The metadata of a card, by the schema of the Hugging Face hub.

    Only what is known is said: a base and data sets that are names of the hub, and no licence, which whoever publishes
    the model chooses. The label-free probe is no result: its queries are made of the documents.

    Args:
        base: what training started from, as the command named it.
        sources: sources of the documents.
        stock: whether sentence-transformers loads the model.
        tags: further tags.
        evaluation: ``evaluation.result.Result`` as JSON, with results of the system "model" on held-out queries.
    """
    from huggingface_hub import ModelCardData

    library = "sentence-transformers" if stock else "pretrieve"
    results = _results(evaluation) if evaluation else None
    data = ModelCardData(
        base_model=base if _is_on_hub(base) else None,
        datasets=_data_sets(sources) or None,
        library_name=library,
        pipeline_tag="sentence-similarity",
        tags=list(dict.fromkeys((library, *_TAGS, *tags))),
        model_name="pretrieve" if results else None,
        eval_results=results,
    )
    return f"---\n{data.to_yaml(line_break=chr(10)).rstrip()}\n---\n"


def _is_on_hub(base: str) -> bool:
    """Whether a base is a name of the hub: neither a folder nor a kind of encoder."""
    from pretrieve.models import kinds

    return kinds.find(base) is None and not Path(base).expanduser().exists() and bool(_HUB_NAME.fullmatch(base))


def _data_sets(sources: Sequence[str]) -> list[str]:
    names = (source.removeprefix("hf:").partition("@")[0] for source in sources if source.startswith("hf:"))
    return list(dict.fromkeys(names))


def _results(evaluation: Mapping[str, Any]) -> list[Any]:
    """Results of the model alone: those of hybrid search are BM25's too."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="information-retrieval",
            task_name="Information Retrieval",
            dataset_type="held-out-queries",
            dataset_name=f"{evaluation['queries']:,} held-out queries among {evaluation['documents']:,} documents",
            metric_type=name.lower().replace("@", "_at_"),
            metric_name=name,
            metric_value=round(value, 6),
        )
        for row in evaluation["rows"]
        if row["system"] == "model" and row["mode"] == "dense"
        for name, value in row["metrics"].items()
    ]
