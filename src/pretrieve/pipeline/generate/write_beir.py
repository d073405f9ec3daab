"""Labels as a BEIR folder, for ``evaluate`` and for other tools."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core import files
from pretrieve.sampling.labels import Labels

_SPLIT = "train"


def write_beir(target: Path, labels: Labels, *, replace: bool = False) -> None:
    """Write documents, queries and qrels; negatives and scores are left out.

    Args:
        target: output folder.
        labels: labels to write.
        replace: replace an existing folder of this kind.

    Raises:
        UsageError: ``target`` exists.
        StorageError: writing to disk failed.
    """
    names: list[str] = []
    with files.create(target, "beir", replace=replace) as folder:
        with folder.open("corpus.jsonl") as file:
            for batch in labels.records.batches(select=np.arange(labels.size)):
                names += [item.id for item in batch]
                file.write(_lines({"_id": item.id, "title": item.title, "text": item.text} for item in batch))
        texts = zip(labels.ids, labels.texts(), strict=True)
        folder.write("queries.jsonl", _lines({"_id": name, "text": text} for name, text in texts))
        rows = [
            f"{name}\t{names[document]}\t1\n"
            for query, name in enumerate(labels.ids)
            for document in labels.positives.row(query).tolist()
        ]
        folder.write(f"qrels/{_SPLIT}.tsv", f"query-id\tcorpus-id\tscore\n{''.join(rows)}".encode())


def _lines(values: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(value) + b"\n" for value in values)
