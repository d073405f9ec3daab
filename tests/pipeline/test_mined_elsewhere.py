"""What ``mine_hard_negatives`` of sentence-transformers writes is read as it is meant, in each of its formats."""

from __future__ import annotations

import math

import pytest

import labelling
from pretrieve.pipeline.finetune.label_report import LabelReport
from pretrieve.pipeline.finetune.read_labels import LabelSource, read_source

pytest.importorskip("datasets")


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("output_format", ["triplet", "n-tuple", "labeled-pair", "labeled-list"])
@pytest.mark.parametrize("names", [("query", "positive"), ("question", "answer"), ("anchor", "passage")])
def test_formats_of_sentence_transformers(tmp_path, output_format, scores, names) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    if scores and output_format.startswith("labeled"):
        pytest.skip("similarities stand in the place of labels: which document was the positive is lost")
    documents, queries = labelling.toy(12)
    pairs = {query["text"]: document["text"] for query, document in zip(queries, documents, strict=True)}
    mined = mine_hard_negatives(
        Dataset.from_dict({names[0]: [*pairs], names[1]: [*pairs.values()]}),
        SentenceTransformer(str(labelling.static_model(tmp_path / "model")), device="cpu"),
        num_negatives=3, output_format=output_format, output_scores=scores, verbose=False,
    )  # fmt: skip
    path, report = labelling.lines(tmp_path / "labels.jsonl", mined.to_list()), LabelReport()
    labels = read_source(LabelSource(path=path), tmp_path / "records", report)
    assert labels.texts() == [*pairs]
    for row, positive in enumerate(pairs.values()):
        assert [labels.records[int(n)].text for n in labels.positives.row(row)] == [positive]
        assert len(labels.negatives.row(row)) == 3
    assert not report.unused
    assert (labels.teacher is not None) == scores
    if labels.teacher is not None:
        assert not any(math.isnan(score) for side in labels.teacher for score in side)
        owners = [query for query in pairs for _ in range(3)]
        by_row = dict(zip(zip(owners, texts(labels), strict=True), labels.teacher[1].tolist(), strict=True))
        for record in mined.to_list():
            negatives = [record[name] for name in sorted(record) if name.startswith("negative")]
            assert [by_row[record[names[0]], text] for text in negatives] == pytest.approx(record["scores"][1:])


def texts(labels) -> list[str]:
    return [labels.records[int(n)].text for n in labels.negatives.tokens]
