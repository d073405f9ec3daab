"""Cross-lingual evaluation: layout, values of every pair against the plain benchmark, parts, tests, tables, command."""

from __future__ import annotations

import gzip

import numpy as np
import orjson
import pytest

from pretrieve.core.errors import DataError, UsageError
from pretrieve.evaluation.benchmark import evaluate
from pretrieve.evaluation.crosslingual import evaluate_pairs, is_cross_lingual, load_languages
from pretrieve.evaluation.crosslingual_result import ACROSS, POOLED, WITHIN, pair_tables
from pretrieve.evaluation.significance import paired_permutation
from pretrieve.index.index import IndexOptions
from pretrieve.models.bag import Bag
from searching import static_model

ENGLISH = IndexOptions(languages=("en",), dense=1.0)
CODES = ("aa", "bb", "cc")
WORDS = [f"word{number}" for number in range(120)]


def translated(text: str, code: str) -> str:
    """Half of the words are common to all languages, the others have the language's ending."""
    return " ".join(word if int(word[4:]) % 2 else f"{word}{code}" for word in text.split())


def write(folder, codes=CODES, size=30, asked=20, seed=0):
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, size=30)) for _ in range(size)]
    queries = [" ".join(rng.choice(texts[number].split(), size=4)) for number in range(asked)]
    for part in ("corpus", "queries", "qrels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for code in codes:
        for part, items in (("corpus", texts), ("queries", queries)):
            lines = [{"_id": f"{part[0]}{n}", "text": translated(text, code)} for n, text in enumerate(items)]
            data = b"\n".join(map(orjson.dumps, lines)) + b"\n"
            if code == "bb":
                (folder / part / f"{code}.jsonl.gz").write_bytes(gzip.compress(data))
            else:
                (folder / part / f"{code}.jsonl").write_bytes(data)
    rows = "".join(f"q{number}\tc{number}\t1\n" for number in range(asked))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("languages") / "parallel")


@pytest.fixture(scope="module")
def models(folder, tmp_path_factory):
    documents = load_languages(folder).documents["aa"]
    made = [Bag.load(static_model(tmp_path_factory.mktemp(name) / name, documents, seed=seed))
            for seed, name in enumerate(("start", "model"))]  # fmt: skip
    return dict(zip(("start", "model"), made, strict=True))


@pytest.fixture(scope="module")
def result(folder, models):
    heard = []
    found = evaluate_pairs(load_languages(folder), models, options=ENGLISH, on_progress=heard.append)
    assert heard == [*CODES, "all languages"]
    return found


def test_every_pair_is_what_the_plain_benchmark_says(folder, models, result) -> None:
    collection = load_languages(folder)
    assert collection.codes == result.languages == CODES
    for q, query in enumerate(CODES):
        for d, document in enumerate(CODES):
            plain = evaluate(collection.pair(query, document), models, options=ENGLISH)
            assert [(row.system, row.mode) for row in plain.rows] == [(row.system, row.mode) for row in result.rows]
            for one, row in zip(plain.rows, result.rows, strict=True):
                for metric, values in one.values.items():
                    assert np.array_equal(row.values[metric][q, d], values), (query, document, row.system, metric)


def test_parts_are_the_diagonal_and_the_other_pairs(result) -> None:
    for row in result.rows:
        values = row.values["nDCG@10"]
        same = np.mean([values[n, n] for n in range(3)], axis=0)
        other = np.mean([values[q, d] for q in range(3) for d in range(3) if q != d], axis=0)
        assert np.allclose(row.by_query("nDCG@10", WITHIN), same)
        assert np.allclose(row.by_query("nDCG@10", ACROSS), other)
    words = result.rows[0]
    assert words.by_query("nDCG@10", WITHIN).mean() > words.by_query("nDCG@10", ACROSS).mean()  # half the words


def test_the_pool_holds_all_translations_and_shows_the_bias(folder, models, result) -> None:
    collection = load_languages(folder)
    for q, query in enumerate(CODES):
        pooled = collection.pooled(query)
        assert len(pooled.documents) == 90
        assert set(pooled.qrels["q3"]) == {f"{code}/c3" for code in CODES}
        plain = evaluate(pooled, models, options=ENGLISH)
        for one, row in zip(plain.rows, result.rows, strict=True):
            assert np.array_equal(row.pooled["R@100"][q], one.values["R@100"])
    assert (result.rows[0].own_share > 0.5).all()  # a third without a bias


def test_tests_are_over_questions_and_corrected_over_pairs(result) -> None:
    model, start = (
        next(r for r in result.rows if (r.system, r.mode) == (name, "dense")) for name in ("model", "start")
    )
    for part in (WITHIN, ACROSS, POOLED):
        tests = [test for test in result.tests[part] if test.metric == "nDCG@10"]
        (test,) = [test for test in tests if (test.a, test.b) == ("model (dense)", "start (dense)")]
        a, b = model.by_query("nDCG@10", part), start.by_query("nDCG@10", part)
        assert len(a) == 20
        assert test.p == paired_permutation(a, b)
        assert test.difference == pytest.approx(float(a.mean() - b.mean()))
        assert test.p_holm >= test.p
    (pair,) = [pair for pair in result.pair_tests if pair.a == "model (dense)"]
    plain = [[paired_permutation(model.values["nDCG@10"][q, d], start.values["nDCG@10"][q, d])
              for d in range(3)] for q in range(3)]  # fmt: skip
    assert pair.p_holm.min() == pytest.approx(min(1.0, 9 * np.min(plain)))
    assert np.allclose(pair.differences, model.matrix("nDCG@10") - start.matrix("nDCG@10"))


def test_tables_and_json_hold_every_pair(result) -> None:
    text = result.markdown()
    assert text.count("queries down, documents across") == len(result.rows) == 5
    value = result.rows[1].matrix("nDCG@10")[0, 2]
    assert f"{value:.3f} / {result.rows[1].matrix('R@100')[0, 2]:.3f}" in text
    assert len(pair_tables(result)) == 2 + 5
    found = orjson.loads(orjson.dumps(result.to_json()))
    assert found["rows"][1]["matrices"]["nDCG@10"][0][2] == pytest.approx(value)
    low, high = found["rows"][1]["parts"]["other_languages"]["ci95"]["nDCG@10"]
    assert low <= found["rows"][1]["parts"]["other_languages"]["metrics"]["nDCG@10"] <= high
    assert set(found["tests"]) == {"same_language", "other_languages", "all_languages_pooled"}


def test_the_command_sees_the_layout(folder, models, tmp_path, capsys, monkeypatch) -> None:
    from pretrieve.cli.app import main

    assert is_cross_lingual(folder)
    names = [tmp_path / "scores.json", tmp_path / "scores.md"]
    arguments = ["evaluate", folder, "--model", models["model"].location, "--mode", "dense"]
    monkeypatch.setattr(
        "sys.argv", list(map(str, ["pretrieve", *arguments, "--output-json", names[0], "--markdown", names[1]]))
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert "documents across" in capsys.readouterr().out
    assert orjson.loads(names[0].read_bytes())["languages"] == list(CODES)
    assert "BM25 (lexical)" in names[1].read_text()


def test_a_retriever_is_judged_as_the_command_judges(folder, models, tmp_path, capsys, monkeypatch) -> None:
    from pretrieve import Retriever
    from pretrieve.cli.app import main

    location = models["model"].location
    monkeypatch.setattr(
        "sys.argv",
        ["pretrieve", "evaluate", str(folder), "--model", location, "--markdown", str(tmp_path / "scores.md")],
    )
    with pytest.raises(SystemExit):
        main()
    found = Retriever.load(location).evaluate(folder, progress=False)
    assert found.markdown() == (tmp_path / "scores.md").read_text()
    dense = Retriever.load(location).evaluate(folder, modes=("dense",), progress=False)
    assert len(found.rows) == 3
    assert len(dense.rows) == 2


def test_what_does_not_fit_is_said(folder, tmp_path) -> None:
    with pytest.raises(UsageError, match="corpus/ has the languages aa and queries/ aa"):
        load_languages(write(tmp_path / "one", codes=("aa",)))
    broken = write(tmp_path / "missing")
    (broken / "queries" / "cc.jsonl").write_text('{"_id": "q0", "text": "x"}\n')
    with pytest.raises(DataError, match=r"cc\.jsonl has no query 'q1'"):
        load_languages(broken)
    (broken / "queries" / "cc.jsonl").unlink()
    with pytest.raises(UsageError, match="queries/ aa, bb: the same two or more are needed"):
        load_languages(broken)
    with pytest.raises(UsageError, match="no split 'dev'"):
        load_languages(folder, "dev")
