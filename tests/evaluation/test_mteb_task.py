"""MTEB takes a model folder as it is; run where mteb is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

import searching
from pretrieve.evaluation.benchmark import evaluate
from pretrieve.models.text_encoder import open_encoder
from pretrieve.text.beir import Collection

mteb = pytest.importorskip("mteb")


def task_of(collection: Collection):
    """A task of mteb on a collection in memory."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Toy(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="PretrieveToy", description="Toy.", reference=None, dataset={"path": "none", "revision": "0"},
            type="Retrieval", category="t2t", modalities=["text"], eval_splits=["test"], eval_langs=["eng-Latn"],
            main_score="ndcg_at_10", date=None, domains=None, task_subtypes=None, license=None,
            annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, **kwargs) -> None:
            corpus = [{"id": one.id, "title": one.title, "text": one.text} for one in collection.documents]
            queries = [{"id": name, "text": text} for name, text in collection.queries.items()]
            relevant = {query: dict(grades) for query, grades in collection.qrels.items()}
            self.dataset = {"default": {"test": {
                "corpus": Dataset.from_list(corpus), "queries": Dataset.from_list(queries), "relevant_docs": relevant,
                "top_ranked": None,
            }}}  # fmt: skip
            self.data_loaded = True

    return Toy()


@pytest.mark.filterwarnings("ignore")
def test_a_task_of_mteb_gives_our_figure(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    documents = searching.documents(40)
    searching.static_model(tmp_path / "model", documents)
    queries = {f"q{number}": " ".join(documents[number].text.split()[:4]) for number in range(20)}
    qrels = {f"q{number}": {documents[number].id: 1, documents[number + 1].id: 1} for number in range(20)}
    collection = Collection(name="toy", split="test", documents=documents, queries=queries, qrels=qrels)
    model = SentenceTransformer(str(tmp_path / "model"))
    found = mteb.evaluate(model, task_of(collection), cache=None, show_progress_bar=False)
    (scores,) = found.task_results[0].scores["test"]
    encoder = open_encoder(str(tmp_path / "model"))
    ours = evaluate(collection, {"model": encoder}, modes=["dense"], metrics=["nDCG@10"])
    assert scores["ndcg_at_10"] == pytest.approx(ours.rows[-1].mean("nDCG@10"), abs=1e-3)
