"""Rows about a static model: training, one query at a time, and a cold process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

from speed_rows.measure import Line, Row, Side, Work, no_trainer

PEER, STOCK = "sentence-transformers' trainer", "SentenceTransformer"
_COLD = {
    "pretrieve": "from pretrieve.models.bag import Bag; Bag.load(Path(sys.argv[1])).encode(['a query'])",
    STOCK: "from sentence_transformers import SentenceTransformer as Stock\n"
    "Stock(sys.argv[1], device='cpu').encode(['a query'])",
}


def training(work: Work, epochs: int) -> dict[str, Side]:
    """Batches of 1,024 pairs, 4 to an epoch."""
    from speed_rows import ours, peers

    size = work.pick(1024, 16)
    steps = epochs * (len(work.texts) // (2 * size))
    amounts = ours.amounts(work, "static", size, steps)
    return {
        "pretrieve": Side(prepare=ours.training(work, "static", size, steps), amounts=amounts),
        PEER: Side(prepare=peers.trainer(work, "static", size, steps), amounts=amounts),
    }


def query(work: Work) -> dict[str, Side]:
    """Texts one by one."""
    from sentence_transformers import SentenceTransformer

    from pretrieve.models.bag import Bag

    path, texts = work.model("static"), work.texts[: work.pick(500, 4)]
    bag, stock = Bag.load(path), SentenceTransformer(str(path), device="cpu")

    def one_by_one(encode: Callable[[list[str]], object]) -> None:
        for text in texts:
            encode([text])

    amounts = {"texts": float(len(texts))}
    return {
        "pretrieve": Side(prepare=lambda: partial(one_by_one, bag.encode), amounts=amounts),
        STOCK: Side(prepare=lambda: partial(one_by_one, stock.encode), amounts=amounts),
    }


def cold(work: Work) -> dict[str, Side]:
    """Import, load and one query in a process that ends."""
    path = str(work.model("static"))

    def process(load: str) -> None:
        script = f"import sys; from pathlib import Path\n{load}"
        subprocess.run([sys.executable, "-c", script, path], check=True, capture_output=True)

    return {name: Side(prepare=lambda load=load: partial(process, load)) for name, load in _COLD.items()}


ROWS = (
    Row(
        name="static",
        what="5 epochs over 4,096 pairs of texts in batches of 1,024, a table of 16,384 x 256; texts are tokenized by "
        "pretrieve once, by the peer in every epoch",
        sides=partial(training, epochs=5),
        missing=no_trainer,
        lines=(Line(name="static", what=f"training a static model, 5 epochs: {PEER}", other=PEER, unit="pairs",
                    goal=7.0, in_readme=True,
                    why="a third of our time is the tokenizer, and half of a step the products and the softmax of "
                    "1,024 x 1,024 scores, which both sides have; the sweeps over the table are a ninth of a step."),),
    ),
    Row(
        name="static-one-epoch",
        what="the same for one epoch, most of which is the tokenizer",
        sides=partial(training, epochs=1),
        missing=no_trainer,
        lines=(Line(name="static-one-epoch", what=f"training a static model, one epoch: {PEER}", other=PEER,
                    unit="pairs"),),
    ),
    Row(
        name="query",
        what="500 texts, one call each, through a static model",
        sides=query,
        lines=(Line(name="query", what="one query through a static model: `SentenceTransformer.encode`", other=STOCK,
                    unit="texts", in_readme=True),),
    ),
    Row(
        name="cold",
        what="a process that imports, loads a static model and encodes one query",
        sides=cold,
        lines=(
            Line(name="cold", what="a cold process with a static model: the same with `SentenceTransformer`",
                 other=STOCK),
            Line(name="cold-seconds", what="a cold process with a static model, seconds", kind="seconds"),
        ),
    ),
)  # fmt: skip
