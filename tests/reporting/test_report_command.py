"""``pretrieve report``: what its page says, that it is one file, what it refuses, and how a browser shows it."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from itertools import permutations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import orjson
import pytest

import labelling
from pretrieve.core import files
from pretrieve.models.bag import Bag
from pretrieve.pipeline.pretrain.data import split

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>alert(1)</script>\x1b[2J\u202eevil & \u05d0\u05d1"


class Words(HTMLParser):
    """The tags and the text of a page, and every address in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.text, self.addresses = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text += data


def page_of(path: Path) -> tuple[Words, dict]:
    text = path.read_text()
    assert len(text.encode()) < 2_000_000
    words = Words(text)
    assert "script" not in words.tags
    assert words.addresses == ["data:,"], "nothing from the network"
    assert not re.search(r"url\(|@import", text)
    return words, orjson.loads(path.with_suffix(".data.json").read_bytes())


def section(data: dict, title: str) -> dict:
    return next(one for one in data["sections"] if one["title"] == title)


def test_a_model(run, model, tmp_path) -> None:
    outcome = run("report", model, "-o", tmp_path / "report.html")
    assert outcome.code == 0, outcome.err
    words, data = page_of(tmp_path / "report.html")
    said = orjson.loads((model / "report.json").read_bytes())
    assert all(line.replace("`", "") in words.text and line in outcome.out for line in data["verdict"])
    assert "helped" in data["verdict"][0] or "label-free probe" in data["verdict"][0]
    assert data["verdict"][1].startswith("What was done: `structure` was trained for 30 steps, without labels, on 180 ")
    assert sum(line.startswith("How sure:") for line in data["verdict"]) == 1
    assert words.text.index(data["verdict"][-1]) < words.text.index("Label-free probe\n")
    assert said["reason"][1:] in words.text
    curves = {chart["title"]: chart["curves"] for chart in section(data, "Curves")["charts"]}
    assert {"loss of a step", "learning rate"} <= curves.keys()
    assert all(xs == sorted(xs) and xs[-1] == 30 for _, xs, _ in curves["loss of a step"])
    drawn = section(data, "What the sampler draws")
    assert len(drawn["examples"]) == 3
    assert all(example["documents"] and example["others"] for example in drawn["examples"])
    (table,) = section(data, "Alignment and uniformity")["tables"]
    assert [row[0] for row in table["rows"]] == ["start", "trained"]
    assert table["rows"] == [["start", *numbers_of(model, "start")], ["trained", *numbers_of(model, ".")]]
    assert len(section(data, "Neighbours before and after")["tables"]) == 4
    assert sum(count for _, count in drawn["charts"][0]["bins"]) == 200
    strips = sum(len(example["documents"]) for example in drawn["examples"])
    assert words.tags.count("figure") == sum(len(one["charts"]) for one in data["sections"]) + strips
    for value in (said["recipe"]["fingerprint"], said["recipe"]["corpus"], said["recipe"]["versions"]["torch"], "cpu"):
        assert value in words.text
    assert run("verify", model).code == 0


def numbers_of(model: Path, part: str) -> list[str]:
    """Alignment and uniformity of the held-out documents of ``documents``, pair by pair."""
    recipe = orjson.loads((model / "recipe.json").read_bytes())
    lines = [orjson.loads(line) for line in Path(recipe["sources"][0]).read_bytes().splitlines()]
    held = [lines[index] for index in split(200, recipe["seed"])[1]]
    encoder = Bag.load((model / part).resolve())
    titles, texts = encoder.encode_queries([one["title"] for one in held]), encoder.encode_documents(
        [one["text"] for one in held])  # fmt: skip
    titles, texts = (found / np.linalg.norm(found, axis=1, keepdims=True) for found in (titles, texts))
    near = np.mean([((a - b) ** 2).sum() for a, b in zip(titles, texts, strict=True)])
    spread = np.log(np.mean([np.exp(-2 * ((a - b) ** 2).sum()) for a, b in permutations(texts, 2)]))
    return [f"{near:.3f}", f"{spread:.3f}"]


def test_a_report_in_the_folder_of_its_model_leaves_the_models_own(run, model, tmp_path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    before = (copy / "report.json").read_bytes()
    assert run("report", copy, "-o", copy / "report.html").code == 0
    assert (copy / "report.json").read_bytes() == before
    assert run("report", copy, "-o", copy / "report.html").code == 0


def test_examples_of_other_documents_are_not_shown(run, model, documents, tmp_path) -> None:
    copy, kept = tmp_path / "model", documents.read_bytes()
    shutil.copytree(model, copy)
    try:
        documents.write_bytes(kept.replace(b"glacier", b"iceberg"))
        assert run("report", copy, "-o", tmp_path / "a.html").code == 0
        documents.unlink()
        assert run("report", copy, "-o", tmp_path / "b.html").code == 0
    finally:
        documents.write_bytes(kept)
    for name, words in (("a", "have changed since the run"), ("b", "its sources are not in this place")):
        _, data = page_of(tmp_path / f"{name}.html")
        found = section(data, "What the sampler draws")
        assert words in found["notes"][0]
        assert not found["examples"]


def test_a_comparison(run, compared, tmp_path) -> None:
    folder, target = tmp_path / "comparison", tmp_path / "report.html"
    shutil.copytree(compared / "comparison", folder, ignore=shutil.ignore_patterns("rankings"))
    outcome = run("report", folder, "-o", target, "--benchmark", compared / "beir")
    assert outcome.code == 0, outcome.err
    words, data = page_of(target)
    scores = {}
    for path in (folder / "scores").glob("*.json"):
        for one in orjson.loads(path.read_bytes()):
            scores[one["method"], one["labels"], one["mode"]] = np.array(one["values"])
    a, b = scores["contriever-inbatch", None, "dense"], scores["none", None, "dense"]
    assert (a != b).any(), "a comparison that shows nothing tests nothing"
    rows = {row[0]: row[1:] for row in section(data, "Wins, ties and losses")["charts"][0]["rows"]}
    counts = [int((a > b).sum()), int((a == b).sum()), int((a < b).sum())]
    assert rows["contriever-inbatch, as it is, dense"] == counts
    single = section(data, "Query by query")
    (scatter,) = single["charts"]
    mode = "dense" if a.mean() >= scores["contriever-inbatch", None, "hybrid"].mean() else "hybrid"
    a, b = scores["contriever-inbatch", None, mode], scores["none", None, mode]
    assert scatter["points"] == [list(point) for point in zip(b.tolist(), a.tolist(), strict=True)]
    queries = [orjson.loads(line) for line in (compared / "beir" / "queries.jsonl").read_bytes().splitlines()]
    texts = {query["_id"]: query["text"] for query in queries}
    ids = [f"q{number}" for number in range(50, 80)]
    assert not any(table["folded"] for table in single["tables"]), "lists that are not kept are not shown"
    for table in single["tables"]:
        gaps = [float(row[-1]) for row in table["rows"]]
        assert len(gaps) <= 10
        assert gaps == sorted(gaps, reverse="wins" in table["title"])
        for row in table["rows"]:
            place = ids.index(row[0])
            assert row[1] == texts[row[0]]
            assert row[-3:] == [f"{a[place]:.3f}", f"{b[place]:.3f}", f"{a[place] - b[place]:+.3f}"]
    assert single["tables"]
    assert "The ranked lists of the queries are not kept." in words.text
    for cell in orjson.loads((folder / "report.json").read_bytes())["cells"]:
        assert f"{cell['mean']:.4f} ({cell['ci95'][0]:.3f} to {cell['ci95'][1]:.3f})" in words.text


def check_lists(tables: list[dict], runs: list[Path], compared: Path) -> None:
    """Each list is that of its run, with what is relevant marked."""
    shown = [table for table in tables if table["folded"]]
    assert shown
    assert len(shown) == sum(len(table["rows"]) for table in tables if not table["folded"])
    qrels = [line.split("\t") for line in (compared / "beir" / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    relevant = {(query, document) for query, document, grade in qrels if int(grade) > 0}
    for table in shown:
        query = table["title"].split(":")[0]
        for column, path in enumerate(runs, 1):
            text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
            hits = [line.split()[2] for line in text.splitlines() if line.split()[0] == query][:10]
            expected = [("✓ " if (query, hit) in relevant else "") + f"{hit}:" for hit in hits]
            cells = [row[column] for row in table["rows"] if row[column]]
            assert len(cells) == len(expected)
            assert all(cell.startswith(start) for cell, start in zip(cells, expected, strict=True))


def test_both_lists_of_a_comparison_are_shown_where_they_are_kept(run, compared, tmp_path) -> None:
    kept = compared / "comparison" / "rankings"
    outcome = run("report", kept.parent, "-o", tmp_path / "r.html", "--benchmark", compared / "beir")
    assert outcome.code == 0, outcome.err
    _, data = page_of(tmp_path / "r.html")
    single = section(data, "Query by query")
    assert "not kept" not in " ".join(single["notes"])
    mode = single["charts"][0]["y"].split(", ")[-1][:-1]
    sides = [kept / f"{name}-0-zero.{mode}.run.gz" for name in ("contriever-inbatch", "none")]
    check_lists(single["tables"], sides, compared)
    assert "<details>" in (tmp_path / "r.html").read_text()


def test_two_runs_of_an_evaluation_query_by_query(run, compared, rankings, tmp_path) -> None:
    facts = orjson.loads((compared / "e.json").read_bytes())
    sides = [rankings / "contriever-inbatch-0.dense.run", rankings / "none-0.dense.run"]
    words = ("report", compared / "e.json", "-o", tmp_path / "r.html", "--benchmark", compared / "beir")
    outcome = run(*words, "--run", sides[0], "--run", sides[1])
    assert outcome.code == 0, outcome.err
    _, data = page_of(tmp_path / "r.html")
    single = section(data, "Query by query")
    check_lists(single["tables"], sides, compared)
    means = {row["system"]: row["metrics"]["nDCG@10"] for row in facts["rows"] if row["mode"] == "dense"}
    (scatter,) = single["charts"]
    for side, name in enumerate(("none-0", "contriever-inbatch-0")):
        expected = means[str(compared / "comparison" / "runs" / name)]
        assert np.mean([point[side] for point in scatter["points"]]) == pytest.approx(expected, abs=1e-9)
        assert f"the nDCG@10 of {compared / 'comparison' / 'runs' / name} (dense)" in single["notes"][0]
    (row,) = section(data, "Wins, ties and losses")["charts"][0]["rows"]
    gaps = [y - x for x, y in scatter["points"]]
    assert row[1:] == [sum(gap > 0 for gap in gaps), sum(gap == 0 for gap in gaps), sum(gap < 0 for gap in gaps)]
    for more, error in (
        (("--run", sides[0]), "1 given"),
        (("--run", sides[0], "--run", "nothing"), "no such file"),
        ((), "both, or"),
    ):
        assert error in run(*words, *more).err


def test_a_comparison_beside_other_data_is_refused(run, compared, tmp_path) -> None:
    copy = tmp_path / "compared"
    shutil.copytree(compared, copy)
    words = ("report", copy / "comparison", "-o", tmp_path / "r.html")
    corpus = copy / "beir" / "queries.jsonl"
    corpus.write_bytes(corpus.read_bytes().replace(b"ba", b"be"))
    outcome = run(*words, "--benchmark", copy / "beir")
    assert outcome.code == 1
    assert "not the data of this comparison" in outcome.err
    score = copy / "comparison" / "scores" / "none-0-zero.json"
    score.write_bytes(re.sub(rb'"values": \[\s*[\d.]+', b'"values": [\n 0.777', score.read_bytes()))
    outcome = run(*words)
    assert outcome.code == 1
    assert "differ" in outcome.err
    score.write_bytes(b"[")
    assert "is damaged" in run(*words).err
    score.unlink()
    assert "has not all of" in run(*words).err
    assert not (tmp_path / "r.html").exists()


def test_an_evaluation_alone_and_with_its_model(run, model, evaluated, tmp_path) -> None:
    facts = orjson.loads(evaluated.read_bytes())
    assert run("report", evaluated, "-o", tmp_path / "a.html").code == 0
    assert run("report", model, "--evaluation", evaluated, "-o", tmp_path / "b.html").code == 0
    for name in "ab":
        words, data = page_of(tmp_path / f"{name}.html")
        for row in facts["rows"]:
            assert f"{row['metrics']['nDCG@10']:.4f}" in words.text
        test = next(one for one in facts["tests"] if one["b"].startswith("BM25") and one["metric"] == "nDCG@10")
        better = test["p_holm"] < 0.05 and test["difference"] > 0
        side = "better than" if better else "not shown to differ from"
        assert any(f"{test['a']} is {side} {test['b']}" in line for line in data["verdict"])
        assert "30 queries" in words.text


def test_a_difference_that_chance_explains_is_no_gain(run, evaluated, tmp_path) -> None:
    facts = orjson.loads(evaluated.read_bytes())
    for p, difference, words in ((0.2, 0.3, "not shown to differ from"), (0.01, -0.3, "worse than"),
                                 (0.01, 0.3, "better than")):  # fmt: skip
        for test in facts["tests"]:
            a, b = (test["a"], test["b"]) if test["b"].startswith("BM25") else (test["b"], test["a"])
            test |= {"p_holm": p, "difference": difference, "a": a, "b": b}
        (tmp_path / "e.json").write_bytes(orjson.dumps(facts))
        out = run("report", tmp_path / "e.json", "-o", tmp_path / "e.html").out
        assert f"(dense) is {words}" in out
        assert (
            sum(f"(dense) is {other}" in out for other in ("not shown to differ from", "worse than", "better than"))
            == 1
        )


@pytest.mark.parametrize(("p", "difference", "line"), [
    (0.01, 0.3, "Better than BM25 on beir (30 queries): "), (0.01, -0.3, "BM25 is better than every model on beir"),
    (0.2, -0.3, "No model is shown to be better than BM25 on beir"),
])  # fmt: skip
def test_the_first_sentence_is_the_verdict(run, evaluated, tmp_path, p, difference, line) -> None:
    facts = orjson.loads(evaluated.read_bytes())
    for test in facts["tests"]:
        a, b = (test["a"], test["b"]) if test["b"].startswith("BM25") else (test["b"], test["a"])
        test |= {"p_holm": p, "difference": difference, "a": a, "b": b}
    (tmp_path / "e.json").write_bytes(orjson.dumps(facts))
    for _ in range(2):
        assert run("report", tmp_path / "e.json", "-o", tmp_path / "e.html").code == 0
        _, data = page_of(tmp_path / "e.html")
        assert data["verdict"][0].startswith(line)
        for test in facts["tests"]:  # a test that is kept the other way round says the same
            test |= {"a": test["b"], "b": test["a"], "difference": -test["difference"]}
        (tmp_path / "e.json").write_bytes(orjson.dumps(facts))


@pytest.mark.parametrize(("over", "line"), [
    ({"gain": 0.02, "error": 0.005, "p": 0.0004}, "Training helped on the label-free probe, by more than chance"),
    ({"gain": 0.02, "error": 0.02, "p": 0.2}, "The label-free probe does not show that training helped"),
    ({"gain": -0.02, "error": 0.005, "p": 1.0}, "The label-free probe does not show that training helped"),
    (None, "The label-free probe ranks the trained model first; whether training helped is not known"),
])  # fmt: skip
def test_the_probe_says_how_sure_it_is_that_training_helped(run, model, tmp_path, over, line) -> None:
    """None: the report of an earlier version."""
    said = orjson.loads((model / "report.json").read_bytes())
    assert set(said["probe"]["above_start"]) == {"mix", "spans", "exact"}
    said["saved"], said["probe"]["above_start"] = "mix", {} if over is None else {"mix": over}
    manifest = orjson.loads((model / "MANIFEST.json").read_bytes())
    with files.create(tmp_path / "model", manifest["kind"], meta=manifest["meta"]) as folder:
        for name in manifest["files"]:
            folder.write(name, orjson.dumps(said) if name == "report.json" else (model / name).read_bytes())
    done = run("report", tmp_path / "model", "-o", tmp_path / "report.html")
    assert done.code == 0, done.err
    verdict = page_of(tmp_path / "report.html")[1]["verdict"]
    assert verdict[0].startswith(line)
    assert ("± is a standard error" in verdict[-1]) == (over is not None)


@pytest.mark.parametrize(("p", "words"), [(0.01, "Training helped"), (0.3, "Training is not shown to help")])
def test_an_evaluation_beside_the_start_decides_whether_training_helped(
    run, model, evaluated, tmp_path, p, words
) -> None:
    facts = orjson.loads(evaluated.read_bytes())
    rows = [{**row, "system": f"{row['system']}/start"} for row in facts["rows"] if row["mode"] == "dense"]
    tests = [{"a": f"{model} (dense)", "b": f"{model}/start (dense)", "metric": "nDCG@10", "difference": 0.1, "p": p,
              "p_holm": p}]  # fmt: skip
    facts |= {"rows": [*facts["rows"], *rows], "tests": [*facts["tests"], *tests]}
    (tmp_path / "e.json").write_bytes(orjson.dumps(facts))
    words_of_it = ("report", model, "--evaluation", tmp_path / "e.json", "-o", tmp_path / "r.html", "--examples", "0")
    assert run(*words_of_it).code == 0
    _, data = page_of(tmp_path / "r.html")
    assert data["verdict"][0].startswith(f"{words}: on 30 queries of beir {model} (dense) is ")


def test_what_was_recorded_once_is_no_curve(run, documents, tmp_path) -> None:
    trained = run("train", documents, "-o", tmp_path / "m", "--steps", "1", "--set", "batch_size=16", "--set",
                  "dimensions=8", "--method", "contriever-inbatch")  # fmt: skip
    assert trained.code == 0, trained.err
    assert run("report", tmp_path / "m", "-o", tmp_path / "r.html", "--examples", "0").code == 0
    _, data = page_of(tmp_path / "r.html")
    found = section(data, "Curves")
    assert found["charts"] == []
    assert ["loss of a step", "run", "1"] in [row[:3] for row in found["tables"][0]["rows"]]


def test_a_fine_tuned_model(run, compared, tmp_path) -> None:
    labelling.beir(tmp_path / "beir", 260, 20)
    words = ("finetune", compared / "comparison" / "runs" / "none-0", tmp_path / "beir", "-o", tmp_path / "tuned",
             "--steps", "3", "--tracker", "none", "--set", "batch_size=8")  # fmt: skip
    assert run(*words).code == 0
    outcome = run("report", tmp_path / "tuned", "-o", tmp_path / "r.html")
    assert outcome.code == 0, outcome.err
    text, data = page_of(tmp_path / "r.html")
    assert "model (hybrid)" in text.text
    assert "start (hybrid)" in " ".join(data["verdict"])
    assert "kept no curves" in text.text
    assert "pretrieve finetune" in text.text


def test_hostile_text_is_text(run, evaluated, tmp_path) -> None:
    facts = orjson.loads(evaluated.read_bytes())
    facts["collection"] = HOSTILE
    facts["rows"][1]["system"] = HOSTILE
    facts["warnings"] = [HOSTILE]
    (tmp_path / "e.json").write_bytes(orjson.dumps(facts))
    text = f"{HOSTILE} {HOSTILE} number {{}} and more words. A second sentence {{}}."
    texts = [{"id": f"d{n}", "title": HOSTILE, "text": text.format(n, n)} for n in range(120)]
    (tmp_path / "d.jsonl").write_bytes(b"\n".join(map(orjson.dumps, texts)))
    trained = run("train", tmp_path / "d.jsonl", "-o", tmp_path / "m", "--method", "structure", "--steps", "2", "--set",
                  "batch_size=8", "--tracker", "none")  # fmt: skip
    assert trained.code == 0, trained.err
    for source, name in ((tmp_path / "e.json", "e"), (tmp_path / "m", "m")):
        outcome = run("report", source, "-o", tmp_path / f"{name}.html")
        assert outcome.code == 0, outcome.err
        assert "\x1b" not in outcome.out
        words, _ = page_of(tmp_path / f"{name}.html")
        assert "script" in words.text.lower()
        assert "\x1b" not in words.text
        assert "\u202e" not in words.text
        assert "\u05d0\u05d1" in words.text
    assert "<script>alert(1)</script>\\x1b[2J\\u202eevil & " in page_of(tmp_path / "e.html")[0].text


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("nothing", "-o", "r.html"), "no such folder or file"),
        (("{model}", "-o", "r.txt"), "ends in .html"),
        (("{model}/recipe.json", "-o", "r.html"), "not an evaluation"),
        (("{model}/model.safetensors", "-o", "r.html"), "no JSON"),
        (("{tmp}", "-o", "r.html"), "no model, comparison or evaluation"),
        (("{model}", "-o", "r.html", "--benchmark", "{tmp}"), "--benchmark is for a comparison"),
        (("{model}", "-o", "r.html", "--run", "{tmp}/a.run"), "--run is for an evaluation"),
        (("{model}", "-o", "r.html", "--evaluation", "nothing"), "no such file"),
        (("{evaluated}", "-o", "r.html", "--examples", "2"), "are for a model"),
        (("{model}/start", "-o", "r.html"), "has no report.json"),
    ],
)
def test_refused_in_one_line(run, model, evaluated, tmp_path, monkeypatch, words, error) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("report", *(word.format(model=model, evaluated=evaluated, tmp=tmp_path) for word in words))
    assert outcome.code in (1, 2)
    assert error in outcome.err
    assert outcome.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_charts_are_written_as_pictures(run, compared, tmp_path) -> None:
    words = ("report", compared / "comparison", "-o", tmp_path / "r.html", "--pictures", tmp_path / "pictures")
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    _, data = page_of(tmp_path / "r.html")
    count = sum(len(one["charts"]) for one in data["sections"])
    found = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert len(found) == 2 * count == 6
    assert "3 charts as SVG and PNG" in outcome.out
    for path in (tmp_path / "pictures").iterdir():
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
            continue
        picture_of = ElementTree.parse(path).getroot()
        text = path.read_text()
        assert picture_of.tag.endswith("svg")
        assert "var(" not in text, "it has its own colours"
        used = {kind for one in picture_of.iter() for kind in (one.get("class") or "").split()} - {"name"}
        assert all(f".{kind}" in text for kind in used), "every class has a rule"


def test_a_damaged_file_of_curves_is_counted(run, model, tmp_path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    paths = sorted((copy / "curves").rglob("events.out.tfevents.*"))
    assert paths
    for path in paths:
        path.write_bytes(path.read_bytes()[:-3])
    assert run("report", copy, "-o", tmp_path / "r.html", "--examples", "0").code == 0
    _, data = page_of(tmp_path / "r.html")
    notes = " ".join(section(data, "Curves")["notes"])
    assert f"{len(paths)} of {len(paths)} files of curves are damaged" in notes


def test_without_the_extra_it_says_how_to_get_it(run, evaluated, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    outcome = run("report", evaluated, "-o", tmp_path / "r.html")
    assert outcome.code == 1
    assert 'pip install ".[report]"' in outcome.err


def test_the_wheel_has_templates_and_style(tmp_path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"pretrieve/reporting/templates/report.html", "pretrieve/reporting/static/report.css"} <= names
    package = ROOT / "src" / "pretrieve"
    pages = [path for folder in ("templates", "static") for path in (package / "serving" / folder).iterdir()]
    assert len(pages) == 7
    assert {f"pretrieve/{path.relative_to(package)}" for path in pages} <= names


def test_json_is_what_the_file_beside_the_page_has(run, evaluated, tmp_path) -> None:
    outcome = run("report", evaluated, "-o", tmp_path / "r.html", "--json")
    assert outcome.code == 0
    assert outcome.out.encode() == (tmp_path / "r.data.json").read_bytes()
    assert files.to_json(orjson.loads(outcome.out)) == outcome.out.encode()
