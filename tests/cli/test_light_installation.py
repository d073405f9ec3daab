"""An installation without extras: the wheel and what it requires, nothing else of this environment, in a venv.

It indexes, searches and evaluates with a static model; what needs torch says in one line how to get it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import orjson
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cli.conftest import Outcome

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
HEAVY = {"torch", "transformers", "sentence-transformers", "accelerate", "scikit-learn", "pyarrow", "safetensors"}
ONE_LINE = re.compile(r'error: .* needs pretrieve\'s training extra: pip install "\.\[train\]" .*\n')


def requirements(package: Distribution, extra: str = "") -> list[str]:
    """Names of what a distribution requires here."""
    found = map(Requirement, package.requires or [])
    return [item.name for item in found if item.marker is None or item.marker.evaluate({"extra": extra})]


def closure(names: list[str]) -> dict[str, Distribution]:
    """Distributions by name, with all that they require."""
    found: dict[str, Distribution] = {}
    while names:
        if (name := canonicalize_name(names.pop())) not in found:
            found[name] = distribution(name)
            names += requirements(found[name])
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages' folder of a venv with the wheel alone."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder / "venv")
    (site,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    return site


@pytest.fixture(scope="module")
def wheel(site: Path) -> Distribution:
    (metadata,) = site.glob("pretrieve-*.dist-info")
    return PathDistribution(metadata)


@pytest.fixture(scope="module")
def required(site: Path, wheel: Distribution) -> set[str]:
    """Names of what the wheel requires, put into the venv."""
    packages = closure(requirements(wheel))
    for package in packages.values():
        for part in {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / part).exists():
                (site / part).symlink_to(package.locate_file(part))
    return set(packages)


@pytest.fixture(scope="module")
def light(site: Path, required: set[str]):
    """Run Python with arguments in the venv, in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    python = site.parents[2] / "bin" / "python"

    def go(folder: Path, *arguments: object, **more: str) -> Outcome:
        command = [python, *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=environment | more, capture_output=True, text=True)
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return Outcome(done.returncode, done.stdout, done.stderr)

    return go


@pytest.fixture(scope="module")
def pretrieve(light):
    """The same for the command line."""
    return lambda folder, *arguments, **more: light(folder, "-m", "pretrieve", *arguments, **more)


@pytest.fixture(scope="module")
def beir(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light") / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_bytes(documents.read_bytes().replace(b'"id"', b'"_id"'))
    queries = [{"_id": f"q{n}", "text": f"letter of the year {1200 + n * 7}"} for n in range(30)]
    (folder / "queries.jsonl").write_bytes(b"\n".join(map(orjson.dumps, queries)))
    lines = "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(30))
    for split in ("train", "test"):
        (folder / "qrels" / f"{split}.tsv").write_text(lines)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outside of a transformer's folder."""
    folder = tmp_path_factory.mktemp("light") / "transformer"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


def test_the_core_is_light(wheel, required) -> None:
    assert not required & HEAVY
    assert {canonicalize_name(name) for name in requirements(wheel, "train")} >= HEAVY - {"scikit-learn"}


def test_a_static_model_is_all_that_search_needs(pretrieve, tmp_path, documents, model, beir) -> None:
    made = pretrieve(tmp_path, "index", documents, "--model", model, "-o", "index")
    assert made.code == 0, made.err
    for mode in ("hybrid", "dense", "lexical"):
        found = pretrieve(tmp_path, "search", "index", "volcano number 8", "--mode", mode, "--json")
        assert found.code == 0, found.err
        assert len(orjson.loads(found.out)["hits"]) == 10
    judged = pretrieve(
        tmp_path, "evaluate", beir, "--model", model, "--lexical", "bm25s", "--output-json", "result.json"
    )
    assert judged.code == 0, judged.err
    assert len(orjson.loads((tmp_path / "result.json").read_bytes())["rows"]) == 4
    assert pretrieve(tmp_path, "mine", beir, "-o", "negatives.jsonl", "--model", model).code == 0
    assert pretrieve(tmp_path, "verify", "index").code == 0
    prompted = pretrieve(tmp_path, "index", documents, "--model", model, "-o", "prompted", "--query-prompt", "asks: ")
    assert prompted.code == 0, prompted.err
    assert pretrieve(tmp_path, "search", "prompted", "volcano").code == 0


def test_help_version_and_the_list_of_methods(pretrieve, tmp_path) -> None:
    assert pretrieve(tmp_path, "--version").out.startswith("pretrieve ")
    assert pretrieve(tmp_path, "inspect", "--help").code == 0
    card = pretrieve(tmp_path, "methods", "contriever")
    assert card.code == 0, card.err
    assert "temperature" in card.out
    listed = pretrieve(tmp_path, "methods")
    assert listed.code == 0, listed.err
    for name in ("structure", "contriever", "condenser"):
        assert re.search(rf"^ *{name} ", listed.out, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    [
        "train {documents} -o out",
        "finetune {model} {beir} -o out",
        "distill {documents} --teacher {plain} -o out",
        "generate {documents} -o out --generator {plain}",
        "read {documents} --questions {documents} --model {plain} -o out",
        "answer {plain} when?",
        "compare {documents} --benchmark {beir} -o out",
        "inspect {documents} --method contriever",
        "demo -o out",
        "export {plain} -o out",
        "index {documents} --model {plain} -o out",
        "index {documents} --model facebook/contriever -o out",
        "evaluate {beir} --model {plain}",
        "mine {beir} --model {plain} -o out",
    ],
)
def test_what_needs_torch_says_so_in_one_line(pretrieve, tmp_path, command, documents, model, beir, plain) -> None:
    named = {"documents": documents, "model": model, "beir": beir, "plain": plain}
    outcome = pretrieve(tmp_path, *(word.format(**named) for word in command.split()))
    assert outcome.code == 1
    assert ONE_LINE.fullmatch(outcome.err.splitlines(keepends=True)[-1]), outcome.err
    assert not (tmp_path / "out").exists()


def test_python_says_the_same(light, tmp_path, documents, model, beir, plain) -> None:
    script = f"""
from pretrieve import Retriever
from pretrieve.core.errors import MissingExtraError
mine = Retriever.load({str(model)!r})
assert len(mine.search("river", ["a river", "an engine"])) == 2
assert mine.evaluate({str(beir)!r}, progress=False).markdown()
for call in (
    lambda: Retriever.train({str(documents)!r}),
    lambda: Retriever.distill({str(documents)!r}, {str(plain)!r}),
    lambda: Retriever.load({str(plain)!r}),
    lambda: Retriever.load("facebook/contriever"),
    lambda: Retriever.compare({str(documents)!r}, {str(beir)!r}, "out"),
    lambda: mine.finetune({str(beir)!r}),
    lambda: mine.generate("out", {str(documents)!r}, generator={str(plain)!r}),
    lambda: mine.generate("out", {str(documents)!r}, generator="x", endpoint="http://127.0.0.1:9", cross_encoder="y"),
):
    try:
        call()
    except MissingExtraError as error:
        print("error:", error)
"""
    outcome = light(tmp_path, "-c", script)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines(keepends=True)
    assert len(lines) == 8
    assert all(map(ONE_LINE.fullmatch, lines)), outcome.out


def test_other_extras_are_named_too(pretrieve, tmp_path, model) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    for source, extra in (("a.parquet", "parquet"), ("hf:BeIR/scifact", "hub")):
        outcome = pretrieve(tmp_path, "index", source, "--model", model, "-o", "out")
        assert outcome.code == 1
        assert f'pip install ".[{extra}]"' in outcome.err
        assert not (tmp_path / "out").exists()


def test_a_method_of_ones_own_that_needs_torch(pretrieve, tmp_path) -> None:
    (tmp_path / "mine.py").write_text('import torch\nPRESETS = {"mine": torch.preset()}\n')
    outcome = pretrieve(tmp_path, "methods", PRETRIEVE_METHODS=str(tmp_path))
    assert outcome.code == 1
    assert ONE_LINE.fullmatch(outcome.err), outcome.err


def test_texts_name_what_can_be_installed() -> None:
    """The package is on no index: it is installed from a checkout, with extras that exist."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]:
        text = path.read_text()
        assert not re.search(r"pip install .?pretrieve", text), path
        for names in re.findall(r'pip install "\.\[([\w,]+)\]"', text):
            assert set(names.split(",")) <= EXTRAS.keys(), path
