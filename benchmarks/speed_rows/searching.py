"""Rows about what a user waits for: the command line's start, and a warm search."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from speed_rows.measure import Line, Row, Side, Work


def methods(work: Work) -> dict[str, Side]:
    """``pretrieve methods`` as a process."""
    command = [sys.executable, "-m", "pretrieve", "methods"]
    return {"pretrieve": Side(prepare=lambda: partial(subprocess.run, command, check=True, capture_output=True))}


def search(work: Work) -> dict[str, Side]:
    """An open index of prose, hybrid search of ten documents, with and without their snippets."""
    from pretrieve.index.index import Index, IndexOptions
    from pretrieve.models.bag import Bag
    from speed_rows import inputs

    documents = list(inputs.prose(work.pick(25.0, 0.05)))
    options = IndexOptions(languages=("en",))
    index = Index.build(work.folder / "index", documents, Bag.load(work.model("static")), options, replace=True)
    chosen = documents[:: max(1, len(documents) // work.pick(100, 4))]
    queries = [" ".join(document.text.split()[3:9]) for document in chosen]
    amounts = {"queries": float(len(queries))}

    def with_snippets() -> None:
        for query in queries:
            index.search(query, 10)

    def ranking() -> None:
        for query in queries:
            list(index.rank([query], 10))

    return {
        "search": Side(prepare=lambda: with_snippets, amounts=amounts),
        "ranking": Side(prepare=lambda: ranking, amounts=amounts),
    }


ROWS = (
    Row(
        name="methods",
        what="the whole process",
        sides=methods,
        lines=(Line(name="methods", what="`pretrieve methods`, seconds", kind="seconds", goal=0.4,
                    why="wall seconds of a process, so that a busy machine counts (0.36 to 0.39 on an idle one)."),),
    ),
    Row(
        name="search",
        what="100 queries of six words, ten hits each, one at a time; an open index of 25 MB of prose, a static model",
        sides=search,
        lines=(Line(name="search", what="warm hybrid search with snippets: times the CPU time of its ranking",
                    kind="time", side="search", other="ranking", unit="queries", goal=1.3,
                    why="ten snippets cost the same however many documents are ranked."),),
    ),
)  # fmt: skip
