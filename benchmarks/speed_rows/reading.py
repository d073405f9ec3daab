"""Rows about texts: reading files, building a token store, and sampling crops."""

from __future__ import annotations

import csv
import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from speed_rows.measure import Line, Row, Side, Work

ALONE, LOADER = "parser alone", "a loader of items"
FORMATS = {"jsonl": "orjson", "parquet": "pyarrow", "csv": "the module csv"}


def write(path: Path, records: list[dict[str, str]]) -> None:
    """Write records in the format of the suffix."""
    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    else:
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))


def drain(items: Iterable[object]) -> None:
    """Take all items and keep none."""
    deque(items, maxlen=0)


def parse(path: Path) -> None:
    """Read a file by its format's parser alone, without any check."""
    import orjson
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches(1024, use_threads=False):
            batch.to_pylist()
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            drain(csv.reader(file))
    else:
        with path.open("rb") as file:
            drain(map(orjson.loads, file))


def reading(work: Work, suffix: str) -> dict[str, Side]:
    """From file to cleaned and deduplicated documents."""
    from pretrieve.text.corpus import read
    from speed_rows import inputs

    path = work.folder / f"documents.{suffix}"
    records = [{"id": d.id, "title": d.title, "text": d.text} for d in inputs.prose(work.pick(30.0, 0.05))]
    write(path, records)
    amounts = {"MB": sum(len(record["text"]) for record in records) / 1e6}
    return {
        "pretrieve": Side(prepare=lambda: lambda: drain(read([path])), amounts=amounts),
        ALONE: Side(prepare=lambda: lambda: parse(path), amounts=amounts),
    }


def reading_row(suffix: str, library: str) -> Row:
    """Reading one format."""
    name = f"read-{suffix}"
    return Row(
        name=name,
        what=f"30 MB of prose in documents of 1.5 kB, from {suffix} to cleaned and deduplicated documents",
        sides=partial(reading, suffix=suffix),
        lines=(
            Line(name=name, what=f"reading {suffix}, MB of text a second", kind="rate", unit="MB", goal=100.0,
                 why="of a rate, unlike a ratio, the processor decides: one core reads 58 to 125 MB/s; the module csv "
                 "takes a third of the time of its row."),
            Line(name=f"{name}-share", what=f"reading {suffix}: {library} alone, without any check", other=ALONE,
                 unit="MB"),
        ),
    )  # fmt: skip


def store(work: Work) -> dict[str, Side]:
    """Documents to a token store, beside the tokenizer on the same texts."""
    from pretrieve.text.documents import Documents
    from pretrieve.text.store import Store
    from pretrieve.text.tokenizer import train
    from speed_rows import inputs

    documents = Documents.write(work.folder / "documents", inputs.prose(work.pick(4.0, 0.05)), replace=True)
    texts = [text for document in documents for text in (document.title, document.text)]
    tokenizer = train((document.text for document in documents), vocabulary_size=work.pick(16_384, 500))
    batches = [texts[first : first + 1024] for first in range(0, len(texts), 1024)]

    def alone() -> None:
        for batch in batches:
            tokenizer.backend.encode_batch_fast(batch, add_special_tokens=False)

    def build(sentences: bool) -> None:
        Store.build(work.folder / "store", documents, tokenizer, sentences=sentences, replace=True)

    amounts = {"MB": sum(map(len, texts)) / 1e6}
    return {
        "pretrieve": Side(prepare=lambda: partial(build, False), amounts=amounts),
        "with sentence starts": Side(prepare=lambda: partial(build, True), amounts=amounts),
        "the tokenizer": Side(prepare=lambda: alone, amounts=amounts),
    }


def crops(work: Work) -> dict[str, Side]:
    """Contriever's pairs: two crops of 5 to 50 % of 256 tokens, 10 % of their tokens deleted."""
    from pretrieve.core.memory import keep_freed_memory
    from pretrieve.core.types import SpecialTokens
    from pretrieve.methods import contriever
    from pretrieve.sampling.batches import Batches
    from speed_rows.item_loader import loader, tokens

    keep_freed_memory()  # as the trainer does
    size, ours, theirs = work.pick((1024, 40, 2), (16, 2, 2))
    store, random_state = tokens(work.pick(5_000, 50)), random.Random(0)
    specials = SpecialTokens(cls=101, sep=102, mask=103, pad=0, unknown=100, vocabulary=30_000, first_ordinary=999)
    options = contriever.Options(concat=True)
    batches = Batches(sampler=contriever.sampler(store, specials, options), batch_size=size, seed=0)
    plain = loader(store.tokens, size, theirs, specials, random_state)

    def draw() -> Callable[[], Any]:
        return lambda: [batches(step) for step in range(ours)]

    return {
        "pretrieve": Side(prepare=draw, amounts={"pairs": float(size * ours)}),
        LOADER: Side(prepare=lambda: lambda: drain(plain), amounts={"pairs": float(size * theirs)}),
    }


ROWS = (
    *(reading_row(suffix, library) for suffix, library in FORMATS.items()),
    Row(
        name="store",
        what="4 MB of prose to a token store",
        sides=store,
        lines=(
            Line(name="store", what="building a token store: share of the tokenizer's own speed",
                 other="the tokenizer", unit="MB", goal=0.8),
            Line(name="store-sentences", what="the same with sentence starts", side="with sentence starts",
                 other="the tokenizer", unit="MB", goal=0.5),
        ),
    ),
    Row(
        name="crops",
        what="pairs of crops of 5 to 50 % of 256 tokens, 10 % of their tokens deleted",
        sides=crops,
        lines=(Line(name="crops", what="sampling Contriever's crops: a loader of one pair at a time, as published",
                    other=LOADER, unit="pairs", in_readme=True),),
    ),
)  # fmt: skip
