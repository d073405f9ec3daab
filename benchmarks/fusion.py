"""What does fusion on candidates lose against fusion over all documents? Every labelled collection, in one table.

    python benchmarks/fusion.py DATA -o records/fusion --models FOLDER

DATA holds BEIR folders, FOLDER the default model of each collection by its name; one that is missing is trained,
without labels. The same index, weights and queries are ranked by the standardised scores of all documents, by
``Index.rank``, and by two usual fusions of the same candidates: scores between 0 and the best (TM2C2; Bruch et al.
2023, arXiv 2210.11934), and reciprocal ranks. A collection that has its JSON in the output is not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import label_free
import numpy as np
import orjson

from pretrieve import Retriever
from pretrieve.core.types import FloatArray, IntArray
from pretrieve.index.candidates import CANDIDATES
from pretrieve.index.fuse import standardise
from pretrieve.index.index import Index
from pretrieve.index.ranking import id_ranks, top_k
from pretrieve.models.bag import Bag
from pretrieve.text.beir import load_collection

EXACT, OURS = "all documents", "candidates"
TM2C2, RRF = "TM2C2, vectors .5", "reciprocal ranks, 60"
SAME = 0.005  # a difference that does not count
BLOCK = 50
Weights = dict[str, float]


def judged(folder: Path, models: Path) -> dict[str, object]:
    """nDCG@10 of each fusion on one collection."""
    source = label_free.without_titles(folder, models) if folder.name in label_free.WITHOUT_TITLES else folder
    model = models / folder.name
    if not (model / "MANIFEST.json").is_file():
        Retriever.train(source, model)
    collection = load_collection(source, label_free.split_of(folder) or "")
    index = Index.of(collection.documents, Bag.load(model))
    judge = label_free.Judge(collection)
    ranks = id_ranks([document.id for document in collection.documents])
    weights = {"dense": index.fusion.dense, "passages": index.fusion.passages}
    found: dict[str, list[FloatArray]] = {EXACT: [], OURS: [], TM2C2: [], RRF: []}
    for start in range(0, len(judge.queries), BLOCK):
        queries = judge.queries[start : start + BLOCK]
        scores = scores_of(index, queries, weights)
        rankings = {
            EXACT: tops(exact(scores, weights), ranks),
            OURS: [numbers for numbers, _ in index.rank(queries, 10)],
            TM2C2: tops(convex(scores, weights), ranks),
            RRF: tops(reciprocal(scores), ranks),
        }
        for name, hits in rankings.items():
            found[name].append(gains(judge, hits, start))
    values = {name: np.concatenate(parts) for name, parts in found.items()}
    gap = values[OURS] - values[EXACT]
    return {
        "collection": folder.name,
        "documents": len(ranks),
        "queries": len(gap),
        "weights": weights,
        "nDCG@10": {name: float(value.mean()) for name, value in values.items()},
        "difference": float(gap.mean()),
        "deviation": float(gap.std()),
        "queries that differ": int((gap != 0).sum()),
    }


def scores_of(index: Index, queries: Sequence[str], weights: Weights) -> dict[str, FloatArray]:
    """Scores (Q, R) of every ranker that counts."""
    assert index.dense is not None
    scores = {"lexical": index.lexical.scores(queries), "dense": index.dense.scores(queries)}
    if weights["passages"] and index.lexical.passages is not None:
        scores["passages"] = index.lexical.passages.scores(queries)
    return {name: np.asarray(values, np.float64) for name, values in scores.items()}


def exact(scores: dict[str, FloatArray], weights: Weights) -> FloatArray:
    """Standardised over all documents, as hybrid search was before candidates."""
    return np.asarray(sum(weights.get(name, 1.0) * standardise(values) for name, values in scores.items()))


def convex(scores: dict[str, FloatArray], weights: Weights) -> FloatArray:
    """Scores between the least (0; of vectors that of the last candidate) and the best, added; vectors count half."""
    total = np.zeros_like(scores["lexical"])
    for name, values in scores.items():
        size = min(CANDIDATES, values.shape[1])
        last = np.partition(values, values.shape[1] - size, axis=1)[:, values.shape[1] - size][:, None]
        low = last if name == "dense" else 0.0
        scaled = (values - low) / np.maximum(values.max(axis=1, keepdims=True) - low, 1e-9)
        total += (0.5 if name == "dense" else weights.get(name, 1.0)) * scaled
    return total


def reciprocal(scores: dict[str, FloatArray]) -> FloatArray:
    """Sum of 1 / (60 + rank) over the rankers' candidates; BM25 ranks documents that share a word with the query."""
    total = np.zeros_like(scores["lexical"])
    for name, values in scores.items():
        ranks = (-values).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") + 1
        counted = (ranks <= CANDIDATES) & ((values > 0) | (name == "dense"))
        total += np.where(counted, 1 / (60 + ranks), 0.0)
    return total


def tops(scores: FloatArray, ranks: IntArray) -> list[IntArray]:
    """The ten best documents of each query."""
    return [top_k(row, ranks, 10) for row in scores]


def gains(judge: label_free.Judge, hits: Sequence[IntArray], start: int) -> FloatArray:
    """nDCG@10 of each ranking."""
    values = np.zeros(len(hits))
    for row, best in enumerate(hits):
        grades = judge.grades[start + row]
        values[row] = np.dot([grades.get(hit, 0.0) for hit in best.tolist()], label_free.DISCOUNTS[: len(best)])
    return values / judge.ideal[start : start + len(hits)]


def table(found: Sequence[dict[str, object]]) -> str:
    """The page of the record."""
    names = (EXACT, OURS, TM2C2, RRF)
    figure: Callable[[dict[str, object], str], float] = lambda row, name: row["nDCG@10"][name]  # type: ignore[index] # noqa: E731
    lines = [
        "# Fusion on candidates beside fusion over all documents",
        "",
        "nDCG@10 of the label-free default on splits that may be tuned on, 1,000 queries at most, one seed,",
        "without the titles of `squad_dev`; by `python benchmarks/fusion.py DATA -o records/fusion --models",
        f"FOLDER`, which writes one JSON a collection and this page. *{EXACT}*: standardised scores of all",
        f"documents, added; *{OURS}*: what hybrid search does, the same sum for the best {CANDIDATES:,} documents",
        "of each ranker, with means and deviations that are known without scoring all. The other two are usual",
        "fusions. `xquad` has 240 documents a language, all of which are candidates, and is left out.",
        "",
        f"| collection | documents | {' | '.join(names)} | candidates - all | queries that differ |",
        "|---|---|" + "---|" * (len(names) + 2),
    ]
    for row in found:
        cells = [f"{figure(row, name):.4f}" for name in names]
        differ = f"{row['queries that differ']} of {row['queries']}"
        gap = f"{row['difference']:+.4f}"
        lines.append(f"| {row['collection']} | {row['documents']:,} | {' | '.join(cells)} | {gap} | {differ} |")
    means = [f"**{np.mean([figure(row, name) for row in found]):.4f}**" for name in names]
    gaps = np.array([row["difference"] for row in found], float)
    lines += [f"| **mean** | | {' | '.join(means)} | {gaps.mean():+.4f} | |", ""]
    lines.append(
        f"Largest difference: {np.abs(gaps).max():.4f}; {(np.abs(gaps) <= SAME).sum()} of {len(gaps)} within {SAME}."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the collections that have no JSON yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in sorted(
        {*label_free.collections(arguments.data), *(["debdesc_x"] if (arguments.data / "debdesc_x").is_dir() else [])}
    ):
        path = arguments.output / f"{name}.json"
        if not path.is_file() and (not arguments.only or name in arguments.only):
            result = judged(arguments.data / name, arguments.models)
            path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
            print(orjson.dumps(result).decode(), flush=True)
    found = [orjson.loads(path.read_bytes()) for path in sorted(arguments.output.glob("*.json"))]
    (arguments.output / "README.md").write_text(table(found))


if __name__ == "__main__":
    main()
