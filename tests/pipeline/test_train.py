"""The road of training: transformers from nothing, and the variants of a static encoder, of which one is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from pretrieve import Retriever
from pretrieve.core import files
from pretrieve.core.errors import FingerprintError, UsageError
from pretrieve.methods.structure import VARIANTS
from pretrieve.models.restore import load_encoder, load_encoders
from pretrieve.pipeline.pretrain.report import Report, open_report
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.selection import START
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run import recipe
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.workspace import CHECKPOINTS, workspace_of
from searching import documents

NAMES = list(VARIANTS["structure"])
SMALL = {"batch_size": 8, "vocabulary_size": 300}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(200)]
    path = tmp_path_factory.mktemp("source") / "documents.jsonl"
    lines = []
    for number in range(60):
        sentences = [" ".join(rng.choice(words, 8)) + "." for _ in range(6)]
        lines.append(
            orjson.dumps({"id": str(number), "title": " ".join(rng.choice(words, 3)), "text": " ".join(sentences)})
        )
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.mark.parametrize("method", ["contriever-inbatch", "orqa-ict"])
def test_a_transformer_from_nothing(tmp_path, source, method) -> None:
    """Trains, exports as a stock model, and the exported one gives the same vectors."""
    from sentence_transformers import SentenceTransformer

    settings = {**SMALL, "max_length": 300, "save_every": 2}
    output = tmp_path / "out"
    train(
        TrainRequest(
            sources=(str(source),),
            output=output,
            base="new:layers=1,hidden=32",
            method=method,
            steps=3,
            settings=settings,
        )
    )
    stock = SentenceTransformer(str(output), device="cpu")
    again = load_encoder(output)
    assert stock.similarity_fn_name == again.similarity == "dot"
    texts = ["word1 word2", "word3"]
    from pretrieve.models.inference import encode
    from pretrieve.text import tokenizer

    np.testing.assert_allclose(encode(again, tokenizer.load(output), texts), stock.encode(texts), atol=1e-5)


def test_words_from_static_training_start_the_transformer(tmp_path, source, monkeypatch) -> None:
    monkeypatch.setattr("pretrieve.pipeline.pretrain.warm_start.STEPS", 5)
    weights = {}
    for words in ("random", "static"):
        output = tmp_path / words
        base = f"new:layers=1,hidden=32,words={words}"
        train(
            TrainRequest(
                sources=(str(source),),
                output=output,
                base=base,
                steps=1,
                settings={**SMALL, "batch_size": 16, "max_length": 300},
            )
        )
        weights[words] = load_encoder(output / "start").model.get_input_embeddings().weight.detach()
    assert weights["static"].shape == weights["random"].shape
    assert not torch.allclose(weights["static"][10:], weights["random"][10:])
    assert float(weights["static"][10:].std()) == pytest.approx(float(weights["random"][10:].std()), rel=0.1)


def test_separate_towers_are_both_kept(tmp_path, source) -> None:
    output = tmp_path / "out"
    settings = {**SMALL, "max_length": 300, "encoders": "untied"}
    report = train(
        TrainRequest(
            sources=(str(source),),
            output=output,
            base="new:layers=1,hidden=32",
            method="orqa-ict",
            steps=2,
            settings=settings,
            select=False,
        )
    )
    assert report.saved == "orqa-ict"
    query, document = load_encoders(output)
    assert query.dimensions == document.dimensions
    pairs = zip(query.parameters(), document.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs), "they are two towers"


def test_two_runs_give_the_same_model_and_another_seed_another(tmp_path, source) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(
            TrainRequest(
                sources=(str(source),),
                output=tmp_path / name,
                steps=5,
                seed=seed,
                settings={**SMALL, "dimensions": 16},
                method="structure",
            )
        )
        found.append(
            (tmp_path / name / "start" / "model.safetensors").read_bytes()
            + (tmp_path / name / "model.safetensors").read_bytes()
        )
    assert found[0] == found[1] != found[2]


def test_calibration_writes_the_number_of_steps(tmp_path, source) -> None:
    report = train(
        TrainRequest(
            sources=(str(source),),
            output=tmp_path / "out",
            minutes=0.03,
            settings={**SMALL, "dimensions": 16},
            method="structure",
            keep_workspace=True,
        )
    )
    steps = report.recipe["training"]["steps"]
    assert 1 <= steps < 100_000
    for name in NAMES:
        assert recipe.load(workspace_of(tmp_path / "out") / name / "recipe.json").training["steps"] == steps
    assert orjson.loads((tmp_path / "out" / "recipe.json").read_bytes())["training"]["steps"] == steps


def static(
    source: Path, output: Path, *, steps: int = 10, more: dict[str, object] | None = None, **asked
) -> TrainRequest:
    """The default for a static encoder, small."""
    settings = {"batch_size": 32, "vocabulary_size": 600, "dimensions": 32, **(more or {})}
    return TrainRequest(sources=(str(source),), output=output, steps=steps, settings=settings, **asked)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents with topics to learn, most with a title."""
    path = tmp_path_factory.mktemp("topics") / "documents.jsonl"
    made = documents(240, sentences=6)
    path.write_bytes(b"\n".join(orjson.dumps({"id": d.id, "title": d.title, "text": d.text}) for d in made))
    return path


@pytest.fixture(scope="module")
def judged(topics: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A run of all variants, and its report."""
    output = tmp_path_factory.mktemp("judged") / "model"
    return output, train(static(topics, output, more={"save_every": 4}, keep_workspace=True))


def test_every_variant_is_trained_alike_and_one_is_saved(judged) -> None:
    output, report = judged
    assert report.saved in NAMES
    assert report.recipe["variant"] == report.saved
    assert list(report.probe["gain"]) == [START, *NAMES]
    work = workspace_of(output)
    recipes = {name: recipe.load(work / name / "recipe.json") for name in NAMES}
    for name, found in recipes.items():
        steps = sorted(path.name for path in (work / CHECKPOINTS / name).iterdir())
        assert steps == ["step-000008", "step-000010"], "the two newest of each variant are kept"
        assert found.variant == name
        assert found.training == recipes[NAMES[0]].training
        said = {key: value.value for key, value in VARIANTS["structure"][name].items()}
        assert {key: found.options[key] for key in said} == said
    assert len({found.fingerprint for found in recipes.values()}) == len(NAMES)
    again = open_report(output)
    assert files.to_json(again.to_json()) == files.to_json(report.to_json())
    assert weights(output) != weights(output / "start")


def test_the_saved_weights_are_those_of_the_variant_trained_alone(judged, topics, tmp_path) -> None:
    """In any order, and without the others."""
    output, report = judged
    alone = train(static(topics, tmp_path / "alone", variants=(report.saved,), select=False))
    assert alone.saved == report.saved
    assert weights(tmp_path / "alone") == weights(output)
    assert weights(tmp_path / "alone" / "start") == weights(output / "start")
    others = [name for name in NAMES if name != report.saved]
    last = train(static(topics, tmp_path / "last", variants=(*others, report.saved)))
    assert last.saved == report.saved
    assert weights(tmp_path / "last") == weights(output)
    train(static(topics, tmp_path / "other", variants=(others[0],), select=False))
    assert weights(tmp_path / "other") != weights(output)


@pytest.mark.parametrize(("variants", "select"), [((NAMES[-1],), True), ((), False), ((NAMES[1], NAMES[0]), False)])
def test_only_what_is_asked_for_is_trained(topics, tmp_path, variants, select) -> None:
    """One variant by its name; without a selection the first one alone."""
    output = tmp_path / "out"
    report = train(static(topics, output, steps=3, variants=variants, select=select, keep_workspace=True))
    only = (variants or NAMES)[0]
    assert [path.name for path in (workspace_of(output) / CHECKPOINTS).iterdir()] == [only]
    assert report.recipe["variant"] == only
    if select:
        assert list(report.probe["gain"]) == [START, only]
    else:
        assert (report.saved, report.probe, report.fusion) == (only, None, None)
        assert report.reason == "not compared with its start"


def test_what_the_user_sets_holds_for_every_variant(topics, tmp_path) -> None:
    output = tmp_path / "out"
    train(static(topics, output, steps=2, more={"temperature": 0.123, "batch_size": 16}, keep_workspace=True))
    recipes = [recipe.load(workspace_of(output) / name / "recipe.json") for name in NAMES]
    assert {found.options["temperature"] for found in recipes} == {0.123}
    assert {found.training["batch_size"] for found in recipes} == {16}
    assert len({found.fingerprint for found in recipes}) == len(NAMES), "the rest of each is its own"


def test_a_preset_without_the_variant_says_so(topics, tmp_path) -> None:
    wrong = NAMES[0] + "s"
    with pytest.raises(UsageError, match=f"no variant '{wrong}' here.*Did you mean '{NAMES[0]}'"):
        train(static(topics, tmp_path / "out", variants=(wrong,)))
    with pytest.raises(UsageError, match="no variant"):
        train(static(topics, tmp_path / "out", variants=(NAMES[0],), method="contriever-inbatch"))
    with pytest.raises(UsageError, match="no variant"):
        train(static(topics, tmp_path / "out", variants=(NAMES[0],), base="new:layers=1,hidden=32"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("count", "text", "said"),
    [
        (99, "a long enough text about the number {0} and all of its many friends who live in the town of {0}, " * 3,
         "99 documents are too few to learn from"),
        (130, "list files {0} by size", "too short to learn from"),
    ],
)  # fmt: skip
def test_too_little_text_saves_the_start(tmp_path, count, text, said) -> None:
    source = tmp_path / "documents.jsonl"
    source.write_bytes(b"\n".join(orjson.dumps({"text": text.format(n)}) for n in range(count)))
    output = tmp_path / "out"
    report = train(static(source, output, keep_workspace=True))
    assert report.saved == START
    assert report.probe is None
    assert said in report.reason
    assert report.reason.endswith(": the untrained start is saved")
    assert weights(output) == weights(output / "start")
    assert report.fusion["dense"] > 0
    assert workspace_of(output).is_dir()
    assert not (workspace_of(output) / CHECKPOINTS).exists(), "nothing is trained"
    named = train(static(source, tmp_path / "named", steps=2, method="structure"))
    assert named.probe is not None, "a method that is asked for by name is trained"


@pytest.mark.parametrize("progress", [True, False])
def test_a_program_is_told_why_nothing_is_trained(tmp_path, capfd, caplog, progress) -> None:
    Retriever.train([f"list files {n} by size" for n in range(130)], tmp_path / "out", steps=2, progress=progress)
    said = capfd.readouterr().err + caplog.text
    assert said.count("too short to learn from: the untrained start is saved") == 1


class _StopAt(Silent):
    """Raises as a crash would when a stage begins."""

    def __init__(self, stage: str) -> None:
        self.at = stage

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        if name == self.at:
            raise RuntimeError("a crash")


def test_a_run_goes_on_with_the_same_variants_and_settings_only(topics, tmp_path) -> None:
    output, two = tmp_path / "out", tuple(NAMES[:2])
    train(static(topics, output, steps=4, variants=two))
    refused = [
        ({"variants": (NAMES[0],)}, r"variants was \[.*\] and is \["),
        ({"variants": ()}, r"variants was \[.*\] and is \[\]"),
        ({"variants": two, "select": False}, "select was True and is False"),
        ({"variants": two, "more": {"temperature": 0.3}}, "temperature was not set and is 0.3"),
        ({"variants": two, "more": {"batch_size": 16}}, "batch_size was 32 and is 16"),
        ({"variants": two, "seed": 1}, "seed was 0 and is 1"),
    ]
    for changes, said in refused:
        with pytest.raises(FingerprintError, match=said):
            train(static(topics, output, steps=4, resume=True, **changes))
    before = weights(output)
    assert train(static(topics, output, steps=4, resume=True, variants=two)).reason
    stopped = tmp_path / "stopped"
    with pytest.raises(RuntimeError):
        train(static(topics, stopped, steps=4, variants=two), _StopAt("select"))
    assert not stopped.exists()
    for changes, said in refused:
        with pytest.raises(FingerprintError, match=said):
            train(static(topics, stopped, steps=4, resume=True, **changes))
    train(static(topics, stopped, steps=4, resume=True, variants=two))
    assert weights(stopped) == before
    assert not workspace_of(stopped).exists(), "a run that is done removes what it worked with"


def test_a_static_encoder_takes_the_values_that_suit_it(tmp_path, source) -> None:
    """A preset's values for static encoders replace the published ones; what the user sets replaces both."""
    from pretrieve.pipeline.pretrain.build import choose as chosen

    def queue(base: str, **settings: object) -> object:
        asked = TrainRequest(
            sources=(str(source),), output=tmp_path / "o", method="contriever", base=base, settings=settings
        )
        return chosen(asked).options["queue"]

    assert queue("new:layers=1,hidden=32") == 131072
    assert queue("static") == 8192
    assert queue("static", queue=2048) == 2048


def test_a_slow_encoder_starts_from_the_same_static_words(tmp_path, source, monkeypatch) -> None:
    """Words are started before the objective copies the encoder: momentum contrast begins with two equal encoders."""
    from pretrieve.pipeline.pretrain import train as road

    seen = {}

    def look(run, request, choices, made, *rest):
        both = (made.objective.encoder, made.objective.slow_encoder)
        seen["words"] = [encoder.model.get_input_embeddings().weight.detach().clone() for encoder in both]
        return made_before(run, request, choices, made, *rest)

    made_before = road._with_steps
    monkeypatch.setattr(road, "_with_steps", look)
    monkeypatch.setattr("pretrieve.pipeline.pretrain.warm_start.STEPS", 3)
    settings = {**SMALL, "max_length": 300, "queue": 16}
    base = "new:layers=1,hidden=32,words=static"
    train(
        TrainRequest(
            sources=(str(source),), output=tmp_path / "out", base=base, method="contriever", steps=1, settings=settings
        )
    )
    assert torch.equal(*seen["words"])
