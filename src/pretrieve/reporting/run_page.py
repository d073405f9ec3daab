"""The report of a model: one of ``pretrieve train`` or of ``pretrieve finetune``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import CorruptError
from pretrieve.core.shown import shown
from pretrieve.evaluation.guard import LEVEL
from pretrieve.pipeline.finetune.report import FinetuneReport
from pretrieve.pipeline.pretrain.report import Report
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.run import RECORD
from pretrieve.reporting.curves import curves_section
from pretrieve.reporting.examples import drawn_sections
from pretrieve.reporting.page import Page, Section, Table
from pretrieve.reporting.provenance import made_by
from pretrieve.reporting.scores import against, against_start, certainty, evaluation_verdict, helped, scores_section

_START = "start"
DISTILLED = "distill"


def trained_page(
    folder: Path, report: Report, evaluations: Sequence[Mapping[str, Any]], examples: int | None, listener: Listener
) -> Page:
    """The report of a model of ``pretrieve train``.

    Args:
        folder: of the model.
        report: its report.
        evaluations: JSON of evaluations to show with it.
        examples: number of training examples; None: the usual one.
        listener: receives progress.
    """
    recipe = report.recipe
    shown_to = [line for facts in evaluations for line in against_start(facts)]
    verdict = _trained(report, shown_to)
    for facts in evaluations:
        verdict += evaluation_verdict(facts)
    record = _read(folder / RECORD)
    sections = [scores_section(facts, f"Evaluation on {facts['collection']}") for facts in evaluations]
    sections += [_probe(report), *_signal(report), curves_section(folder)]
    sections += drawn_sections(folder, report, record.get("request", {}), examples, listener)
    names = ("fingerprint", "corpus", "tokenizer", "store")
    values = {part: recipe[part] for part in ("method", "variant", "base", "seed", "options", "training", "encoder")}
    sections.append(made_by(
        recipe.get("command", ""), recipe=values,
        environment={"device": report.device, **recipe.get("versions", {})},
        fingerprints={name: recipe.get(name) for name in names},
    ))  # fmt: skip
    return Page(
        kind="run", title=f"{shown(folder.absolute().name)}: {recipe['method']}", verdict=verdict, sections=sections
    )


def tuned_page(folder: Path, report: FinetuneReport, evaluations: Sequence[Mapping[str, Any]]) -> Page:
    """The report of a model of ``pretrieve finetune``.

    Args:
        folder: of the model.
        report: its report.
        evaluations: JSON of evaluations to show with it.
    """
    recipe = _read(folder / "recipe.json")
    start = recipe.get("model", "its base")
    done = (f"What was done: {start} was fine-tuned on {report.queries['trained_on']:,} labelled queries over "
            f"{report.documents:,} documents.")  # fmt: skip
    sections = []
    if report.evaluation is None:
        lines = ["Whether fine-tuning helped is not known: no query was held out.", done]
    else:
        first, *rest = _tuned(report.evaluation)
        lines = [first, done, *rest]
        sections.append(scores_section(report.evaluation, "Held-out queries"))
    for facts in evaluations:
        lines += evaluation_verdict(facts)
        sections.append(scores_section(facts, f"Evaluation on {facts['collection']}"))
    sections.append(curves_section(folder))
    record = _read(folder / RECORD)
    sections.append(made_by(
        recipe.get("command", ""), recipe=dict(report.values),
        environment={"device": report.device, **recipe.get("versions", {})},
        fingerprints={"labels": record.get("labels"), "base": record.get("request", {}).get("model")},
    ))  # fmt: skip
    return Page(kind="run", title=f"{shown(folder.absolute().name)}: fine-tuned", verdict=lines, sections=sections)


def _tuned(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    for mode in ("dense", "hybrid"):
        a, b = f"model ({mode})", f"{_START} ({mode})"
        sentence = against(facts, a, b)
        if sentence:
            words = {True: "Fine-tuning helped", False: "Fine-tuning made it worse", None: "No gain is shown"}
            lines.append(f"{words[helped(facts, a, b)]}, {mode}: on queries held out from training {sentence}")
    return [*lines, certainty(facts["queries"])]


def _headline(report: Report) -> str:
    """Whether training helped, in a sentence, where there is no evaluation with labels."""
    probe = report.probe
    if report.saved == _START:
        return ("Nothing was trained: what is saved is the start." if probe is None else
                "Training did not help on the label-free probe: the untrained start is saved.")  # fmt: skip
    if probe is None:
        return "Whether training helped is not known: nothing was measured."
    over = _above(report)
    if over is None and "score" in probe:
        return "The label-free probe ranks the trained model first; whether training helped is not known."
    if over is None or (over["gain"] > 0 and over["p"] < LEVEL):
        return "Training helped on the label-free probe, by more than chance; labels have not been asked."
    return "The label-free probe does not show that training helped: the difference from the start may be chance."


def _above(report: Report) -> Mapping[str, float] | None:
    """The gain of the saved system over its start with standard error and p-value, if the probe has it."""
    found: Mapping[str, float] | None = (report.probe or {}).get("above_start", {}).get(report.saved)
    return found


def _trained(report: Report, shown_to: Sequence[str]) -> list[str]:
    recipe, probe = report.recipe, report.probe
    count = recipe["training"]["steps"]
    steps = f"for {count:,} step{'' if count == 1 else 's'}, without labels"
    nothing = report.saved == _START and probe is None
    what = "was not trained" if nothing else f"was trained {steps}"
    who, base = f"`{recipe['method']}`", f"base: {recipe['base']}"
    if recipe["method"] == DISTILLED:
        who, what, base = "a static model", f"was distilled {steps}", f"teacher: {recipe['base']}"
    done = f"What was done: {who} {what}, on {report.documents['trained_on']:,} documents; {base}."
    lines = [*(shown_to or [_headline(report)]), done, *_agreement(report)]
    lines.append(f"{report.reason[:1].upper()}{report.reason[1:]}.")
    if probe is None:
        return [*lines, "How sure: not at all, nothing was measured. Evaluate it on labelled queries."]
    queries = ", ".join(f"{count:,} {kind}" for kind, count in probe["queries"].items())
    signs = "" if _above(report) is None else "± is a standard error, p one-sided and for the best of several. "
    return [*lines, (
        f"How sure: the label-free probe asked queries made of {report.documents['held_out']:,} held-out documents "
        f"({queries}). {signs}It ranks systems; it does not predict scores on real queries, and another seed may "
        "differ."
    )]  # fmt: skip


def _agreement(report: Report) -> list[str]:
    """How near a distilled model is to its teacher, where that was measured."""
    signal = report.signal
    if report.recipe["method"] != DISTILLED or signal is None:
        return []
    before, after = (signal[when]["agreement"] for when in ("before", "after"))
    return [f"Its rank correlation with the teacher on {signal['documents']:,} texts that it was not trained on: "
            f"{before:.3f} before training, {after:.3f} after it."]  # fmt: skip


def _probe(report: Report) -> Section:
    title, probe = "Label-free probe", report.probe
    if probe is None:
        return Section(title=title, notes=["Nothing was probed in this run."])
    notes = [f"nDCG@10 among {probe['pool']:,} documents: means."]
    kinds = list(probe["queries"])
    head = ["system", *(f"{kind} ({probe['queries'][kind]:,})" for kind in kinds)]
    if "gain" in probe:
        notes.append(f"Gains of fused search over BM25, at weights {_listed(probe['at'])}.")
        places = [probe["weights"].index(weight) for weight in probe["at"]]
        rows = [["BM25", *(f"{probe['BM25'][kind]:.3f}" for kind in kinds)]]
        for name, gain in probe["gain"].items():
            cells = (", ".join(f"{gain[kind][place]:+.3f}" for place in places) for kind in kinds)
            rows.append([_saved(name, report), *cells])
    else:
        rows = [[_saved(name, report), *(f"{found[kind]:.4f}" for kind in kinds)]
                for name, found in probe["nDCG@10"].items()]  # fmt: skip
    return Section(
        title=title, notes=notes, tables=[Table(title="nDCG@10", head=head, rows=rows), *_over_start(report)]
    )


def _over_start(report: Report) -> list[Table]:
    """What the vectors of each system gain over those of the start, if the probe has it."""
    found = (report.probe or {}).get("above_start", {})
    rows = [[_saved(name, report), f"{one['gain']:+.3f}", f"{one['error']:.3f}", f"{one['p']:.4f}"]
            for name, one in found.items()]  # fmt: skip
    title = "Gain over the start at the same weights"
    return [Table(title=title, head=["system", "nDCG@10", "standard error", "p, one side"], rows=rows)] if rows else []


def _saved(name: str, report: Report) -> str:
    return f"{name} (saved)" if name == report.saved else name


def _listed(values: Sequence[float]) -> str:
    return " and ".join(f"{value:g}" for value in values)


def _signal(report: Report) -> list[Section]:
    signal = report.signal
    if signal is None:
        return []
    rows = [[name, _four(signal["before"].get(name)), _four(after)] for name, after in signal["after"].items()]
    note = f"On {signal['examples']:,} examples of {signal['documents']:,} held-out documents."
    table = Table(title="Before and after training", head=["signal", "before", "after"], rows=rows)
    return [Section(title="The method's own signal", notes=[note], tables=[table])]


def _four(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _read(path: Path) -> dict[str, Any]:
    """A JSON file of a model; nothing where it is not there."""
    if not path.is_file():
        return {}
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise CorruptError(f"{path} is damaged ({error}): restore it from a copy.") from None
    return found if isinstance(found, dict) else {}
