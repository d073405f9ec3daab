"""A tiny comparison: stopped, gone on, widened, and its table computed again by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import labelling
from pretrieve.core import files
from pretrieve.core.errors import UsageError
from pretrieve.evaluation.benchmark import evaluate_rankings, parse_metrics
from pretrieve.evaluation.significance import holm, paired_permutation
from pretrieve.pipeline.compare.compare import compare, report
from pretrieve.pipeline.compare.request import FORERUNNERS, CompareRequest
from pretrieve.pipeline.run import sources
from pretrieve.pipeline.run.progress import Silent
from pretrieve.text.beir import load_collection
from pretrieve.text.store import Store
from pretrieve.text.trec_runs import read_trec_run

METHODS = ("none", "mlm", "contriever-inbatch", "cocondenser")
SETTINGS = {"batch_size": "8", "vocabulary_size": "300", "max_length": "300", "condenser.learning_rate": "0.002"}


class _Stop(Silent):
    """Raises at the n-th piece of work of some name."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.count -= name.startswith(self.name)
        if not self.count and name.startswith(self.name):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    labelling.beir(folder / "beir", 80, 30)
    words = [document["text"] for document in labelling.toy(80)[0]]
    text = [{"id": str(n), "text": " ".join(words[n : n + 60])} for n in range(20)]
    labelling.lines(folder / "documents.jsonl", text)
    return folder


def request_of(made: Path, output: Path, **changes: Any) -> CompareRequest:
    values = {
        "sources": (str(made / "documents.jsonl"),), "methods": METHODS, "benchmark": made / "beir", "output": output,
        "base": "new:layers=2,hidden=16,heads=2,intermediate=32", "tokens": 6000, "labels": (20, 0), "seeds": 2,
        "settings": SETTINGS, "tuning": {"steps": "2", "batch_size": "8"},
    }  # fmt: skip
    return CompareRequest(**{**values, **changes})


@pytest.fixture(scope="module")
def whole(made) -> Path:
    """A comparison that was never stopped."""
    output = made / "whole"
    request = request_of(made, output)
    report(request, compare(request))
    return output


def cells(output: Path) -> dict[tuple[str, str, str], dict]:
    """The report without times."""
    said = orjson.loads((output / "report.json").read_bytes())
    return {(cell["method"], cell["labels"], cell["mode"]): cell for cell in said["cells"]}


def test_the_table_by_hand(whole) -> None:
    """Means, spread, tests and their correction from the files of scores."""
    found = cells(whole)
    values: dict[tuple[str, str, str], list] = {}
    for path in sorted((whole / "scores").glob("*.json")):
        said = orjson.loads(path.read_bytes())
        for score in said if isinstance(said, list) else [said]:
            stage = {None: "as it is", 0: "all labels"}.get(score["labels"], f"{score['labels']} labels")
            values.setdefault((score["method"], stage, score["mode"]), []).append((score["seed"], score["values"]))
    assert set(values) == set(found)
    assert len(found) == 1 + 4 * 3 * 2
    for key, entries in values.items():
        table = np.array([numbers for _, numbers in sorted(entries)])
        assert table.shape == ((1 if key[0] == "BM25" else 2), 30)
        assert found[key]["mean"] == pytest.approx(table.mean())
        assert found[key]["seeds"] == pytest.approx(table.mean(axis=1).tolist())
        low, high = found[key]["ci95"]
        assert low <= found[key]["mean"] <= high
    for stage in ("as it is", "20 labels", "all labels"):
        for mode in ("dense", "hybrid"):
            base = np.mean([v for _, v in values["none", stage, mode]], axis=0)
            rivals = [np.mean([v for _, v in values[m, stage, mode]], axis=0) for m in METHODS[1:]]
            expected = holm([paired_permutation(rival, base) for rival in rivals])
            assert [found[m, stage, mode]["p_holm"] for m in METHODS[1:]] == pytest.approx(expected)
            assert found["none", stage, mode]["p_holm"] is None
            for method, rival in zip(METHODS[1:], rivals, strict=True):
                pairs = zip(sorted(values[method, stage, mode]), sorted(values["none", stage, mode]), strict=True)
                signs = np.sign([np.mean(one) - np.mean(other) for (_, one), (_, other) in pairs])
                assert found[method, stage, mode]["side"] == (signs[0] if len(set(signs)) == 1 else 0), rival
    text = (whole / "report.md").read_text()
    for method in METHODS:
        line = next(line for line in text.splitlines() if line.startswith(f"| {method} "))
        assert f"{found[method, 'as it is', 'dense']['mean']:.3f}" in line
    assert text.count("| BM25 |") == 2


def test_rankings_are_kept_beside_the_scores(made, whole) -> None:
    """A run for every score, which names it; read again it gives the values."""
    measures = parse_metrics(["nDCG@10"])
    collection = load_collection(made / "beir", "test")
    named = set()
    for path in sorted((whole / "scores").glob("*.json")):
        for score in orjson.loads(path.read_bytes()):
            assert score["ranking"] == f"rankings/{path.stem}.{score['mode']}.run.gz"
            hits = read_trec_run(whole / score["ranking"], collection.queries).hits
            assert {len(one) for one in hits.values()} == (
                {80} if score["mode"] == "dense" else {*map(len, hits.values())}
            )
            values = evaluate_rankings(iter(hits.items()), collection, measures)["nDCG@10"]
            assert values == pytest.approx(np.array(score["values"]), abs=1e-6)
            named.add(score["ranking"])
    assert named == {f"rankings/{path.name}" for path in (whole / "rankings").iterdir()}
    assert len(named) == 1 + 4 * 2 * 3 * 2


def test_missing_rankings_are_said_and_written_again(made, tmp_path) -> None:
    request = request_of(made, tmp_path / "out", methods=("none",), labels=(), seeds=1, settings=PLAIN)
    heard = _Hearing()
    compare(request, heard)
    assert not any("ranking" in note for note in heard.notes)
    (tmp_path / "out/rankings/none-0-zero.dense.run.gz").unlink()
    compare(request, heard)
    assert "1 of 3 scores have no ranking" in heard.notes[-1]
    shutil.rmtree(tmp_path / "out/scores")
    before = times(tmp_path / "out")
    compare(request, heard)
    assert (tmp_path / "out/rankings/none-0-zero.dense.run.gz").is_file()
    assert before.items() <= times(tmp_path / "out").items()


def test_each_text_is_tokenized_once(made, tmp_path, monkeypatch) -> None:
    """Documents to train on, held-out ones, and labels with their documents: one store each, whatever is compared."""
    built: list[Path] = []
    build = Store.build

    def counting(path: Path, *arguments: Any, **named: Any) -> Store:
        built.append(path)
        return build(path, *arguments, **named)

    monkeypatch.setattr(Store, "build", counting)
    read = sources.read_documents
    monkeypatch.setattr(sources, "read_documents", lambda *a, **k: built.append(Path("read")) or read(*a, **k))
    compare(request_of(made, tmp_path / "out", seeds=1))
    assert built.count(Path("read")) == 1
    stores = [path for path in built if path != Path("read")]
    assert len(stores) == len(set(stores)) == 3
    assert all(path.parent == tmp_path / "out/shared" for path in stores)


def test_the_picture_is_svg(whole) -> None:
    import xml.etree.ElementTree as ElementTree

    pytest.importorskip("matplotlib")
    root = ElementTree.fromstring((whole / "report.svg").read_bytes())
    assert root.tag.endswith("svg")
    text = (whole / "report.svg").read_text()
    assert all(method in text for method in (*METHODS, "BM25", "as it is", "nDCG@10"))


def test_all_start_from_one_base_and_see_as_many_tokens(made, whole) -> None:
    folders = {method: f"runs/{method}-0" for method in METHODS[1:]}
    folders["condenser"] = "runs/condenser-for-cocondenser-0"
    recipes = {
        method: orjson.loads((whole / f"{folder}/recipe.json").read_bytes()) for method, folder in folders.items()
    }
    assert FORERUNNERS["cocondenser"] == "condenser"
    for method, recipe in recipes.items():
        start = "condenser-for-cocondenser" if method == "cocondenser" else "none"
        assert recipe["base"].endswith(f"runs/{start}-0")
    assert recipes["condenser"]["training"]["learning_rate"] == 0.002
    assert recipes["mlm"]["training"]["learning_rate"] != 0.002
    from pretrieve.pipeline.compare.compare import _seen, _steps, _store_of
    from pretrieve.pipeline.pretrain import build as planning
    from pretrieve.pipeline.pretrain.request import TrainRequest

    for method, recipe in recipes.items():
        assert recipe["training"]["batch_size"] == 8
        base = Path(recipe["base"])
        train_request = TrainRequest(sources=("x",), output=whole, method=method, base=str(base), steps=1,
                               shared=whole / "shared",
                               settings={"batch_size": 8, "save_every": 0, "max_length": 300})  # fmt: skip
        plan = planning.make(
            train_request, planning.choose(train_request), _store_of(train_request, whole / "runs/none-0")
        )
        steps = recipe["training"]["steps"]
        seen = sum(len(plan.batches(step).rows.tokens) for step in range(steps))
        share = 3000 if method in ("condenser", "cocondenser") else 6000
        assert seen == pytest.approx(share, rel=0.3), method
        request, parts = request_of(made, whole), 2 if share == 3000 else 1
        assert _steps(request, _seen(train_request, whole / "runs/none-0"), parts) == steps
    report = orjson.loads((whole / "report.json").read_bytes())
    assert report["steps"]["cocondenser"] == sum(
        recipes[name]["training"]["steps"] for name in ("condenser", "cocondenser")
    ), "its forerunner's are its own"
    assert report["steps"]["none"] == report["tokens"]["none"] == 0
    for method in METHODS[1:]:
        assert report["tokens"][method] == pytest.approx(6000, rel=0.3)
    assert "| steps | tokens | training, s |" in (whole / "report.md").read_text()


def test_a_budget_in_steps_is_shared_with_the_forerunner(made, tmp_path) -> None:
    request = request_of(made, tmp_path / "out", steps=6, methods=("none", "mlm", "cocondenser"), labels=(), seeds=1)
    table = report(request, compare(request))
    taken = {}
    for name in ("mlm-0", "condenser-for-cocondenser-0", "cocondenser-0"):
        recipe = orjson.loads((tmp_path / "out/runs" / name / "recipe.json").read_bytes())
        taken[name] = recipe["training"]["steps"]
    assert taken == {"mlm-0": 6, "condenser-for-cocondenser-0": 3, "cocondenser-0": 3}
    assert "6 steps" in table.title


def test_processes_share_a_comparison(made, whole, tmp_path) -> None:
    """Two real processes: each part is trained by one of them, and both end with the report of one alone."""
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command = [
        sys.executable, "-m", "pretrieve", "compare", made / "documents.jsonl", "--benchmark", made / "beir", "-o",
        tmp_path / "out", "--methods", ",".join(METHODS), "--base", "new:layers=2,hidden=16,heads=2,intermediate=32",
        "--tokens", "6000", "--labels", "20,all", "--seeds", "2", *settings, "--tune", "steps=2", "--tune",
        "batch_size=8",
    ]  # fmt: skip
    words = list(map(str, command))
    alike = {**os.environ, "OMP_NUM_THREADS": "1"}  # as `whole` was made: sums over several threads round otherwise
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=alike) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    done = [
        line.strip() for text in said for line in text.splitlines() if line.startswith("note:") and "labels" in line
    ]
    assert len(done) == len(set(done)) == len(METHODS) * 2 * 2
    assert scores(tmp_path / "out") == scores(whole)
    assert cells(tmp_path / "out").keys() == cells(whole).keys()


def test_what_a_method_looks_up_is_counted(made, tmp_path) -> None:
    """REALM reads the blocks that it fetches for a sentence, twice: they are most of its tokens."""
    from pretrieve.pipeline.compare.compare import _request, _seen, _steps, _store_of
    from pretrieve.pipeline.pretrain import build as planning

    bodies = [document["text"].capitalize() for document in labelling.toy(80)[0]]
    text = [{"id": str(n), "text": " ".join(bodies[n : n + 30])} for n in range(40)]
    realm = {"mask": "token", "batch_size": "4", "block": "64", "query": "32", "joint": "64", "candidates": "3"}
    request = request_of(
        made, tmp_path / "out", sources=(str(labelling.lines(tmp_path / "long.jsonl", text)),), tokens=20_000,
        settings={"max_length": "64", "vocabulary_size": "300"} | {f"realm.{key}": realm[key] for key in realm},
        methods=("none",), labels=(), seeds=1,
    )  # fmt: skip
    compare(replace(request, settings={"max_length": "64", "vocabulary_size": "300"}))
    base = tmp_path / "out/runs/none-0"
    train_request = _request(request, "realm", 0, base, tmp_path / "none-yet")
    steps = _steps(request, _seen(train_request, base), 1)
    plan = planning.make(train_request, planning.choose(train_request), _store_of(train_request, base))
    rows = [plan.batches(step) for step in range(4)]
    read = np.mean([len(plan.objective.prepare(batch, 0).rows.tokens) for batch in rows])
    assert read > 4 * np.mean([len(batch.rows.tokens) for batch in rows])
    assert steps == pytest.approx(20_000 / read, abs=1)


NARROW: dict[str, Any] = {
    "methods": ("none", "mlm"), "labels": (20,), "seeds": 1,
    "settings": {key: value for key, value in SETTINGS.items() if "." not in key},
}  # fmt: skip


def scores(output: Path) -> dict[str, list]:
    """The values of every file of scores."""
    found = {}
    for path in (output / "scores").glob("*.json"):
        said = orjson.loads(path.read_bytes())
        found[path.name] = [score["values"] for score in (said if isinstance(said, list) else [said])]
    return found


@pytest.mark.parametrize(("name", "count"), [("train", 1), ("finetune", 2), ("evaluate", 3)])
def test_stopped_and_gone_on_gives_the_same_report(made, whole, tmp_path, name, count) -> None:
    request = request_of(made, tmp_path / "out", **NARROW)
    with pytest.raises(KeyboardInterrupt):
        compare(request, _Stop(name, count))
    done = times(tmp_path / "out")
    report(request, compare(request))
    after, found, expected = times(tmp_path / "out"), scores(tmp_path / "out"), scores(whole)
    assert done == {name: after[name] for name in done}
    assert len(found) == 1 + 2 * 2
    assert found == {name: expected[name] for name in found}
    assert {method for method, _, _ in cells(tmp_path / "out")} == {"BM25", "none", "mlm"}


def times(output: Path) -> dict[str, int]:
    return {
        str(path.relative_to(output)): path.stat().st_mtime_ns
        for kind in ("scores/*.json", "runs/*/MANIFEST.json", "tuned/*/MANIFEST.json")
        for path in output.glob(kind)
    }


def test_settings_are_refused_by_runs_of_the_method_alone(made, tmp_path) -> None:
    """A preset whose name begins as another's has runs of its own; those of a forerunner are the method's."""
    before = request_of(made, tmp_path, methods=("none", "mcontriever", "condenser"), settings={"length": "16"})
    before.begin()
    after = replace(before, settings={"length": "16", "mcontriever.queue": "64", "condenser.length": "32"})
    (tmp_path / "runs" / "mcontriever-29-0").mkdir(parents=True)
    after.begin()
    (tmp_path / "runs" / "condenser-for-cocondenser-0").mkdir()
    with pytest.raises(UsageError, match="has condenser with other settings"):
        before.begin()


def test_widened_by_methods_labels_and_seeds(made, whole, tmp_path) -> None:
    """Nothing is done again, and all scores are those of a comparison that was wide from the start."""
    narrow = request_of(made, tmp_path / "out", **NARROW)
    report(narrow, compare(narrow))
    before = times(tmp_path / "out")
    wide = replace(narrow, methods=("none", "mlm", "condenser"), labels=(20, 0), settings=SETTINGS)
    report(wide, compare(wide))
    wider = replace(narrow, seeds=2)
    report(wider, compare(wider))
    after, found, expected = times(tmp_path / "out"), scores(tmp_path / "out"), scores(whole)
    assert before == {name: after[name] for name in before}
    assert len(found) == 1 + 3 * 3 + 2 * 2
    assert all(found[name] == expected[name] for name in found if "condenser" not in name)
    for changed in (
        {"tokens": 6001},
        {"steps": 4},
        {"metric": "R@100"},
        {"negatives": "none"},
        {"settings": {}},
        {"tuning": {}},
    ):
        name = "steps|tokens" if "steps" in changed else next(iter(changed))
        with pytest.raises(UsageError, match=rf"another comparison \(.*({name})"):
            compare(replace(wide, **changed))
    with pytest.raises(UsageError, match="has condenser with other settings"):
        compare(replace(wide, settings={**SETTINGS, "condenser.learning_rate": "0.1"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ("none", "mlmm")}, "Did you mean 'mlm'"),
        ({"settings": {"learning_rat": "1"}}, "Did you mean 'learning_rate'"),
        ({"settings": {"mlm.views": "1"}}, "mlm.views"),
        ({"settings": {"realm.learning_rate": "1"}}, "realm.learning_rate"),
        ({"tuning": {"temprature": "1"}}, "Did you mean 'temperature'"),
        ({"split": "tset"}, "no split 'tset'"),
        ({"finetune": "dev"}, "no split 'dev'"),
        ({"tokens": 0}, "at least 1"),
        ({"steps": 0}, "at least 1"),
        ({"metric": "nDCC@10"}, "unknown metric"),
        ({"methods": ()}, "no method"),
        ({"labels": (1,)}, "labels"),
        ({"labels": (20, 20)}, "--labels: one of them is given twice"),
        ({"labels": ("20",)}, "whole numbers"),
        ({"methods": ("none", "mlm", "mlm"), "settings": {}}, "--methods: one of them is given twice"),
        ({"finetune": "test"}, "evaluation uses these labels"),
        ({"settings": {"mlm.steps": "9"}}, "give --tokens or --steps"),
        ({"tuning": {"temperature": "abc"}}, "--tune temperature: 'abc' is not a number"),
        ({"tuning": {"loss": "margin_mse"}}, "--tune loss"),
    ],
)
def test_what_cannot_work_is_said_at_once(made, tmp_path, changes, words) -> None:
    with pytest.raises(UsageError) as found:
        compare(request_of(made, tmp_path / "out", **changes))
    assert words in str(found.value)
    assert not list(tmp_path.iterdir())


def test_a_setting_that_does_not_fit_the_documents_is_told_before_the_work(made, tmp_path) -> None:
    """Not after the hours of the methods before it; and it can be mended in a folder that has other work."""
    narrow = request_of(made, tmp_path / "out", **NARROW)
    compare(narrow)
    wrong = replace(
        narrow, methods=("mlm", "condenser", "orqa-ict"), settings={**NARROW["settings"], "orqa-ict.block": "999"}
    )
    with pytest.raises(UsageError, match="lower block"):
        compare(wrong)
    assert not list((tmp_path / "out/runs").glob("condenser*"))
    right = replace(wrong, methods=("orqa-ict",), settings={**NARROW["settings"], "orqa-ict.block": "64"})
    assert {score["method"] for score in compare(right)} == {"BM25", "orqa-ict"}


def test_other_data_is_another_comparison(made, tmp_path) -> None:
    """Changed documents or judgements would stand beside scores of the old ones."""
    shutil.copytree(made / "beir", tmp_path / "beir")
    shutil.copy(made / "documents.jsonl", tmp_path / "documents.jsonl")
    request = request_of(
        tmp_path, tmp_path / "out", methods=("none", "mlm"), labels=(), seeds=1, settings=NARROW["settings"]
    )
    before = report(request, compare(request)).markdown()
    for name, part in (("documents.jsonl", "sources"), ("beir/qrels/test.tsv", "benchmark")):
        path = tmp_path / name
        whole = path.read_bytes()
        path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
        with pytest.raises(UsageError, match=rf"another comparison \({part}: not as before"):
            compare(replace(request, methods=("none", "mlm", "simcse")))
        path.write_bytes(whole)
    assert report(request, compare(request)).markdown() == before
    inside = replace(request, sources=(str(tmp_path),))
    before_it = inside.facts()
    (tmp_path / "out/more.json").write_text("{}")
    assert inside.facts() == before_it, "what a comparison writes into the folder of its documents is none of them"


def test_an_output_of_something_else(made, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no comparison"):
        compare(request_of(made, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


PLAIN = {"vocabulary_size": "300", "max_length": "300"}  # what the base alone has as well


class _Hearing(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_more_labels_than_there_are_and_a_narrower_report(made, tmp_path) -> None:
    request = request_of(made, tmp_path / "out", methods=("none",), labels=(20, 50, 999, 0), seeds=1, settings=PLAIN)
    heard = _Hearing()
    assert {score["labels"] for score in compare(request, heard)} == {None, 20, 0}
    assert sum("has 50 labelled queries; all are used" in note for note in heard.notes) == 2
    alone = replace(request, methods=("mlm",), labels=(20,), tokens=6000)
    table = report(alone, compare(alone, heard))
    assert table.methods == ["none", "mlm"], "the base stands beside, or there is nothing to test against"
    assert table.stages == [None, 20]
    assert table.cells["mlm", 20, "dense"].p is not None


def test_too_few_steps_are_told(made, tmp_path) -> None:
    heard = _Hearing()
    request = request_of(
        made, tmp_path / "out", methods=("mlm",), labels=(), seeds=1, settings=NARROW["settings"], tokens=2000
    )
    compare(request, heard)
    assert any("too few to compare" in note and "--set mlm.batch_size=" in note for note in heard.notes)


def test_the_seconds_of_a_stopped_run_are_added_up(made, tmp_path) -> None:
    request = request_of(made, tmp_path / "out", methods=("mlm",), labels=(), seeds=1, settings=NARROW["settings"])
    path = tmp_path / "out/costs/mlm-0.json"
    with pytest.raises(KeyboardInterrupt):
        compare(request, _Stop("train", 1))
    files.write_file(path, files.to_json(orjson.loads(path.read_bytes()) | {"seconds": 5000.0}))
    compare(request)
    assert 5000 < orjson.loads(path.read_bytes())["seconds"] < 5100


def test_settings_of_one_method(made, tmp_path) -> None:
    request = request_of(
        made, tmp_path, settings={"batch_size": "8", "mlm.batch_size": "16", "views": "3"}, methods=("mlm", "mvr")
    )
    assert request.own("mlm") == {"batch_size": "16"}
    assert request.own("mvr") == {"batch_size": "8", "views": "3"}
    assert request_of(made, tmp_path, methods=("cocondenser",)).order == ["condenser", "cocondenser"]
    assert files.to_json(request.facts()) == files.to_json(replace(request, seeds=5, labels=(7,)).facts())
