"""Rows of labelled examples: what they hold, and what never stands among the negatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import labelling
import stock
from pretrieve.core.errors import DataError, UsageError
from pretrieve.finetuning.labelled import Draw, Labelled, Texts
from pretrieve.pipeline.finetune.read_labels import read_labels
from pretrieve.sampling.batches import Batches
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.store import Store

PROMPTS = ("ba do ki: ", "lu ma: ")


def records(count: int = 60, seed: int = 0) -> list[dict]:
    """Queries with up to two positives and up to six hard negatives, with scores; some positives have copies."""
    rng = np.random.default_rng(seed)
    documents, queries = labelling.toy(count, seed)
    found = []
    for number, query in enumerate(queries):
        others = rng.choice(np.delete(np.arange(count), number), rng.integers(0, 8), replace=False)
        pos = [documents[number], *[documents[n] for n in others[:1]]]
        found.append(
            {
                "query": query["text"],
                "pos": [{"title": d["title"], "text": d["text"]} for d in pos],
                "neg": [{"title": documents[n]["title"], "text": documents[n]["text"]} for n in others[1:]],
                "pos_scores": [100.0 + number] * len(pos),
                "neg_scores": [float(n) for n in others[1:]],
            }
        )
    return found


def sampler(
    folder: Path, *, prompts=("", ""), separator=" ", bare: bool = False, extra: tuple = (), **draw
) -> Labelled:
    source = labelling.lines(folder / "labels.jsonl", [*records(), *extra])
    labels = read_labels(source, folder / "records")
    known = labelling.vocabulary()
    store = Store.build(folder / "store", Texts(labels, prompts, separator), known, sentences=False, replace=True)
    return Labelled(labels, store, known.bare() if bare else known.specials, Draw(**draw))


@pytest.mark.parametrize("prompts", [("", ""), PROMPTS, (PROMPTS[0], "")])
@pytest.mark.parametrize("separator", [" ", " [SEP] "])
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("length", [64, 4])
def test_rows_equal_a_slow_twin(tmp_path, prompts, separator, bare, length) -> None:
    lengths = {"query_length": length, "passage_length": length + 1}
    found = sampler(tmp_path, prompts=prompts, separator=separator, bare=bare, negatives=3, **lengths)
    known, labels = labelling.vocabulary(), found.labels
    cls, sep = ([], []) if bare else ([known.specials.cls], [known.specials.sep])

    def slow(place: int, query: bool) -> list[int]:
        document = labels.records[place]
        title = f"{document.title}{separator}" if document.title else ""
        text = f"{prompts[0 if query else 1]}{title}{document.text}"
        ids = known.encode([text]).row(0).tolist()
        limit = length if query else length + 1
        return [*cls, *ids[: limit - len(cls) - len(sep)], *sep]

    batches = Batches(sampler=found, batch_size=16, seed=1)
    cut = False
    for step in range(4):
        batch = batches(step)
        assert batch.shape == (16, 5)
        for b, query in enumerate(batch.documents.tolist()):
            expected = [slow(int(labels.places[query]), True)]
            expected += [slow(key, False) for key in batch.per_example["keys"][b].tolist()]
            assert [batch.rows.row(5 * b + n).tolist() for n in range(5)] == expected
            cut |= any(len(row) == length + 1 for row in expected[1:])
            assert batch.per_example["keys"][b, 0] in labels.positives.row(query)
    assert cut == (length == 4)
    numbers = np.array([3, 0, 7])
    assert [found.passages(numbers).row(n).tolist() for n in range(3)] == [slow(n, False) for n in numbers]
    assert found.passage_lengths(numbers).tolist() == found.passages(numbers).lengths.tolist()


def test_a_tokenizer_sees_prompt_title_and_text_in_one_piece(tmp_path) -> None:
    """A byte-level vocabulary has other tokens for a word after a space than for one that begins a text."""
    stock.checkpoint("roberta", tmp_path / "roberta", layers=1)
    known = tokenizers.load(tmp_path / "roberta")
    record = {"query": "aword0 eword1", "pos": {"title": "iword2 oword3", "text": "uword4 aword5"}}
    labels = read_labels(labelling.lines(tmp_path / "labels.jsonl", [record]), tmp_path / "records")
    store = Store.build(tmp_path / "store", Texts(labels, ("ask: ", "say: ")), known, sentences=False)
    rows = Labelled(labels, store, known.specials, Draw()).rows(np.array([0]), np.array([[0]]))
    expected = known.encode(["ask: aword0 eword1", "say: iword2 oword3 uword4 aword5"])
    assert [rows.row(n)[1:-1].tolist() for n in range(2)] == [expected.row(n).tolist() for n in range(2)]
    apart = known.encode(["iword2 oword3", "uword4 aword5"]).tokens
    assert apart.tolist() != known.encode(["iword2 oword3 uword4 aword5"]).tokens.tolist()


def test_negatives_are_no_positives_nor_copies(tmp_path) -> None:
    """Even where the labels themselves say so."""
    first = records()[0]
    wrong = {"query": "lu lu", "pos": first["pos"], "neg": [*first["pos"], *first["neg"], *records()[5]["pos"]]}
    labels_of = sampler(tmp_path, negatives=4, hard=0.7, extra=(wrong,))
    labels = labels_of.labels
    truth = {(q, int(labels.canonical[d])) for q in range(len(labels)) for d in labels.positives.row(q)}
    batches = Batches(sampler=labels_of, batch_size=32, seed=0)
    pairs = 0
    for step in range(60):
        batch = batches(step)
        for query, keys in zip(batch.documents.tolist(), batch.per_example["keys"], strict=True):
            assert not any((query, int(labels.canonical[key])) in truth for key in keys[1:])
            pairs += query == len(labels) - 1
    assert pairs > 10
    queries, documents = np.meshgrid(np.arange(len(labels)), np.arange(labels.size), indexing="ij")
    expected = [[(q, int(labels.canonical[d])) in truth for d in range(labels.size)] for q in range(len(labels))]
    assert labels_of.positive(queries, documents).tolist() == expected


def test_copies_of_positives_are_positives(tmp_path) -> None:
    folder = labelling.beir(tmp_path / "beir", 12, 2)
    twin = {**labelling.toy(12)[0][0], "_id": "twin"}
    labelling.lines(folder / "corpus.jsonl", [*labelling.toy(12)[0], twin])
    labels = read_labels(folder, tmp_path / "records")
    store = Store.build(tmp_path / "store", Texts(labels), labelling.vocabulary(), sentences=False)
    found = Labelled(labels, store, labelling.vocabulary().specials, Draw(negatives=6))
    assert found.positive(np.array([0, 1]), np.array([12, 12])).tolist() == [True, False]
    batches = Batches(sampler=found, batch_size=10, seed=0)
    for step in range(50):
        keys = batches(step).per_example["keys"][batches(step).documents == 0, 1:]
        assert not np.isin(keys, [0, 12]).any()


def test_share_of_hard_negatives(tmp_path) -> None:
    found = sampler(tmp_path, negatives=2, hard=0.3)
    labels = found.labels
    many = np.flatnonzero(found._negatives.lengths >= 2)
    batches = Batches(sampler=found, batch_size=60, seed=3)
    hits = count = 0
    for step in range(80):
        batch = batches(step)
        scores = batch.per_example["teacher"][np.isin(batch.documents, many), 1:]
        hits, count = hits + int(np.isfinite(scores).sum()), count + scores.size
    assert abs(hits - 0.3 * count) < 3 * np.sqrt(0.21 * count)
    assert count > 2000
    assert len(labels) == 60


def test_no_hard_negative_twice_and_all_of_them_in_time(tmp_path) -> None:
    found = sampler(tmp_path, negatives=3)
    negatives = [set(found._negatives.row(q).tolist()) for q in range(60)]
    seen: list[set[int]] = [set() for _ in range(60)]
    batches = Batches(sampler=found, batch_size=60, seed=0)
    for step in range(40):
        batch = batches(step)
        for query, keys, scores in zip(
            batch.documents.tolist(), batch.per_example["keys"], batch.per_example["teacher"], strict=True
        ):
            hard = keys[1:][np.isfinite(scores[1:])]
            assert len(set(hard.tolist())) == len(hard) == min(3, len(negatives[query]))
            assert set(hard.tolist()) <= negatives[query]
            seen[query] |= set(hard.tolist())
    assert seen == negatives


def test_a_teachers_scores_are_those_of_the_rows(tmp_path) -> None:
    found = sampler(tmp_path, negatives=2, hard=0.8)
    documents, _ = labelling.toy(60)
    number = {d["text"] + d["title"]: n for n, d in enumerate(documents)}
    batch = Batches(sampler=found, batch_size=60, seed=0)(0)
    known = 0
    for query, keys, scores in zip(
        batch.documents.tolist(), batch.per_example["keys"], batch.per_example["teacher"], strict=True
    ):
        assert scores[0] == 100.0 + query
        for key, score in zip(keys[1:].tolist(), scores[1:].tolist(), strict=True):
            record = found.labels.records[key]
            if np.isfinite(score):
                known += 1
                assert score == number[record.text + record.title]
    assert known > 30


def test_a_pure_function_of_the_step(tmp_path) -> None:
    one, two = (Batches(sampler=sampler(tmp_path, negatives=3, hard=0.5), batch_size=8, seed=4) for _ in range(2))
    later = [one(step) for step in range(6)][5]
    again = two(5)
    assert (later.rows.tokens == again.rows.tokens).all()
    assert (later.documents == again.documents).all()
    assert (later.per_example["keys"] == again.per_example["keys"]).all()
    other = Batches(sampler=sampler(tmp_path, negatives=3, hard=0.5), batch_size=8, seed=5)(5)
    assert (later.per_example["keys"] != other.per_example["keys"]).any()


@pytest.mark.parametrize("negatives", [0, 3])
def test_labels_without_negatives(tmp_path, negatives) -> None:
    """The batch alone, or documents at random."""
    source = labelling.lines(tmp_path / "x.jsonl", [{"query": q["query"], "pos": q["pos"]} for q in records()])
    labels = read_labels(source, tmp_path / "records")
    store = Store.build(tmp_path / "store", Texts(labels), labelling.vocabulary(), sentences=False)
    found = Labelled(labels, store, labelling.vocabulary().specials, Draw(negatives=negatives))
    batch = Batches(sampler=found, batch_size=8, seed=0)(0)
    assert batch.shape == (8, 2 + negatives)
    assert np.isnan(batch.per_example["teacher"]).all()


def test_texts_without_tokens_are_left_out(tmp_path) -> None:
    """A document or a query of spaces has no tokens; a query whose only positive has none is not learnt from."""
    folder = labelling.beir(tmp_path / "beir", 8, 2)
    documents, queries = labelling.toy(8)
    labelling.lines(folder / "corpus.jsonl", [{**d, "text": " "} if d["_id"] == "d1" else d for d in documents])
    labelling.lines(folder / "queries.jsonl", [{**q, "text": " "} if q["_id"] == "q2" else q for q in queries])
    labels = read_labels(folder, tmp_path / "records")
    store = Store.build(tmp_path / "store", Texts(labels), labelling.vocabulary(), sentences=False)
    found = Labelled(labels, store, labelling.vocabulary().specials, Draw(negatives=5))
    batches = Batches(sampler=found, batch_size=4, seed=0)
    drawn = [batches(step) for step in range(20)]
    assert {n for b in drawn for n in b.documents.tolist()} == {0, 3, 4, 5}
    assert 1 not in {n for b in drawn for n in b.per_example["keys"].reshape(-1).tolist()}


def test_nothing_to_learn_from_is_said(tmp_path) -> None:
    labels = read_labels(labelling.lines(tmp_path / "x.jsonl", [{"query": "a", "pos": "b"}]), tmp_path / "records")
    store = Store.build(tmp_path / "store", Texts(labels), labelling.vocabulary(), sentences=False)
    from dataclasses import replace

    with pytest.raises(DataError, match="no labelled query"):
        Labelled(labels.select(np.zeros(0, np.int64)), store, labelling.vocabulary().specials, Draw())
    assert replace(labels).size == 1


@pytest.mark.parametrize("values", [{"negatives": -1}, {"hard": 1.1}, {"hard": -0.1}, {"query_length": 2}])
def test_nonsense_is_refused(values) -> None:
    with pytest.raises(UsageError):
        Draw(**values)
