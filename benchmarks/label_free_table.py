"""The tables of `label_free.py`: what the default gains, whether constants hold where they were not fitted, the choice.

Used by `label_free.py`; it needs the values of every query that a run leaves in its work folder.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy.stats import spearmanr

from pretrieve.evaluation.choice import PASSAGES, TITLED_WEIGHT, WEIGHT, choose
from pretrieve.evaluation.fused_probe import FusedScores
from pretrieve.evaluation.significance import holm, paired_permutation
from pretrieve.evaluation.tables import markdown

START_WEIGHT = 0.25  # of an untrained start
INTRO = """# The default, without labels, on collections in one language

`pretrieve train FOLDER` with a static encoder: three variants of `structure` trained for 200 steps each, one of them
(or the untrained start) saved by the label-free selection, fused with BM25 and BM25's best passage. Judged on the
labels of a split that may be tuned on (`dev`, or else `train`), of which nothing was read while training; at most 1,000
queries; nDCG@10; means of three seeds. BM25 is that of `records/lexical`, the strongest that was found. Tests are
paired permutation tests over queries (means over seeds), corrected by Holm over collections; ▲ and ▼: p < .05.

What was looked at: the recipe, the probe and the constants were made with one seed on these same collections
(`docs/log.md`). The weights in the first table are fitted on all other collections of the same kind (whose titles
repeat, or do not); the mixtures of pairs and the rule of choice are not refitted, so the table flatters them: other
collections have to be the judge.

```console
python benchmarks/label_free.py DATA -o records/label-free --seeds 0 1 2
python benchmarks/label_free.py DATA -o records/label-free --seeds 0 --models FOLDER ...
```
"""

MODELS = """## Beside downloaded models

Weights: BM25 1, model 2, ours as a third ranker .5; one seed. Nothing was fitted for these tables. `pretrieve train
--base MODEL` keeps a retrieval model and adds ours with this weight.

"""

Setting = tuple[float, float]  # weights of the vectors and of the best passage


@dataclass(frozen=True)
class Run:
    """One collection and seed: the figures, and nDCG@10 of every query by system."""

    facts: dict[str, Any]
    values: dict[str, np.ndarray]

    @property
    def saved(self) -> str:
        return str(self.facts["saved"])

    @property
    def titled(self) -> bool:
        return self.facts["probe"] is not None and "titled" in self.facts["probe"]["queries"]

    def default(self) -> Setting:
        """The weights that the run saved."""
        dense, passages = self.facts["weights"]
        return dense, passages

    def fused(self, system: str, setting: Setting) -> np.ndarray:
        return self.values[f"{system}@{setting[0]}+p{setting[1]}"]

    @property
    def variants(self) -> list[str]:
        names = dict.fromkeys(name.partition("@")[0] for name in self.values if "@" in name and "|" not in name)
        return [name for name in names if not name.startswith(("start", "model:"))]

    def settings(self) -> list[Setting]:
        found = {name.partition("@")[2] for name in self.values if name.startswith("start@")}
        return sorted((float(a), float(b)) for a, b in (name.split("+p") for name in found))


def load(output: Path, works: Iterable[Path]) -> dict[str, list[Run]]:
    """Runs by collection, in the order of their seeds."""
    found: dict[str, list[Run]] = {}
    for path in sorted(output.glob("*-*.json")):
        kept = next(work / f"{path.stem}.npz" for work in works if (work / f"{path.stem}.npz").is_file())
        facts = orjson.loads(path.read_bytes())
        with np.load(kept) as values:
            found.setdefault(facts["collection"], []).append(Run(facts, dict(values)))
    return found


def choose_again(output: Path, works: Iterable[Path]) -> None:
    """Apply the rule of choice of today to what the probes of all runs saw."""
    for path in sorted(output.glob("*-*.json")):
        kept = next(work / f"{path.stem}.npz" for work in works if (work / f"{path.stem}.npz").is_file())
        facts = orjson.loads(path.read_bytes())
        if facts["probe"] is None:
            continue
        with np.load(kept) as found:
            seen = {tuple(name.split("|")[1:]): found[name] for name in found.files if name.startswith("probe|")}
        kinds = [name[0] for name in seen if len(name) == 1]
        systems = list(dict.fromkeys(name[1] for name in seen if len(name) == 2))
        scores = FusedScores(
            bm25={kind: seen[kind,] for kind in kinds},
            fused={system: {kind: seen[kind, system] for kind in kinds} for system in systems},
            pool=facts["probe"]["pool"],
        )
        choice = choose(scores, "start", [system for system in systems if system != "start"])
        facts |= {"saved": choice.system, "reason": choice.sentence, "probe": choice.to_json()}
        facts["weights"][0] = choice.weight
        path.write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2))


def mean(values: Iterable[float]) -> float:
    return statistics.mean(list(values))


def gain(run: Run, setting: Setting) -> float:
    return float((run.fused(run.saved, setting) - run.values["BM25"]).mean())


def left_out(runs: dict[str, list[Run]], name: str) -> Setting:
    """The weights that are best on average on the other collections of the same kind (titles repeat, or not)."""
    mine = runs[name][0]
    others = [found for other, found in runs.items() if other != name and found[0].titled == mine.titled]
    others = [found for found in others if found[0].saved != "start"]
    if mine.saved == "start" or not others:
        return mine.default()
    return max(mine.settings(), key=lambda setting: mean(mean(gain(run, setting) for run in found) for found in others))


def averaged(found: list[Run], pick: Any) -> np.ndarray:
    """Value of every query, as the mean over seeds."""
    return np.asarray(np.mean([pick(run) for run in found], axis=0))


def main_table(runs: dict[str, list[Run]]) -> str:
    """What is saved, alone and fused, against BM25 and against its start."""
    settings = {name: left_out(runs, name) for name in runs}
    bm25 = {name: averaged(found, lambda run: run.values["BM25"]) for name, found in runs.items()}
    fused = {
        name: averaged(found, lambda run, at=settings[name]: run.fused(run.saved, at)) for name, found in runs.items()
    }
    product = {name: averaged(found, lambda run: run.fused(run.saved, run.default())) for name, found in runs.items()}
    start = {name: averaged(found, lambda run: run.values["start"]) for name, found in runs.items()}
    dense = {name: averaged(found, lambda run: run.values[run.saved]) for name, found in runs.items()}
    p_fused = dict(zip(runs, holm([paired_permutation(fused[name], bm25[name]) for name in runs]), strict=True))
    p_dense = dict(zip(runs, holm([paired_permutation(dense[name], start[name]) for name in runs]), strict=True))
    lines = []
    for name, found in runs.items():
        facts = found[0].facts
        gains = [gain(run, settings[name]) for run in found]
        saved = ", ".join(dict.fromkeys(run.saved for run in found))
        lines.append([
            name, f"{facts['documents']:,}", f"{facts['queries']:,}", f"{bm25[name].mean():.4f}", saved,
            f"{start[name].mean():.3f}", f"{dense[name].mean():.3f}{mark(dense[name] - start[name], p_dense[name])}",
            f"{settings[name][0]:g}, {settings[name][1]:g}", f"{fused[name].mean():.4f}",
            f"{mean(gains):+.4f}{mark(fused[name] - bm25[name], p_fused[name])}",
            f"{min(gains):+.4f} to {max(gains):+.4f}",
            f"{p_fused[name]:.4f}", f"{(product[name] - bm25[name]).mean():+.4f}",
        ])  # fmt: skip
    head = ["collection", "documents", "queries", "BM25", "saved", "start, dense", "saved, dense", "weights, left out",
            "fused", "gain", "seeds", "p (Holm)", "gain with the shipped weights"]  # fmt: skip
    above = sum((fused[name] - bm25[name]).mean() > 0 and p_fused[name] < 0.05 for name in runs)
    below = sum((fused[name] - bm25[name]).mean() < 0 and p_fused[name] < 0.05 for name in runs)
    dense_above = sum((dense[name] - start[name]).mean() > 0 and p_dense[name] < 0.05 for name in runs)
    dense_below = sum((dense[name] - start[name]).mean() < 0 and p_dense[name] < 0.05 for name in runs)
    total = mean(float((fused[name] - bm25[name]).mean()) for name in runs)
    closing = (
        f"Fused: significantly above BM25 on {above} of {len(runs)}, below on {below}; mean gain {total:+.4f}. "
        f"Dense: significantly above its start on {dense_above}, below on {dense_below}."
    )
    return f"{markdown(head, lines)}\n\n{closing}\n"


def mark(differences: np.ndarray, p: float) -> str:
    """An arrow where the difference is significant."""
    return "" if p >= 0.05 else " ▲" if differences.mean() > 0 else " ▼"


def parts_table(runs: dict[str, list[Run]]) -> str:
    """Gains of parts: the start, every variant and the best of them, the best passage, at the shipped weights."""
    rows = {name: parts_of(found) for name, found in runs.items()}
    lines = [[name, *(f"{value:+.4f}" for value in row)] for name, row in rows.items()]
    lines.append(["**mean**", *(f"{value:+.4f}" for value in np.mean(list(rows.values()), axis=0))])
    variants = next(iter(runs.values()))[0].variants
    head = ["collection", "BM25 + best passage", "start", *variants, "saved, no best passage", "saved", "best variant"]
    return markdown(head, lines) + "\n"


def parts_of(found: list[Run]) -> list[float]:
    """The cells of one collection, as means over seeds."""
    weight = TITLED_WEIGHT if found[0].titled else WEIGHT

    def over(pick: Any) -> float:
        return mean(float((pick(run) - run.values["BM25"]).mean()) for run in found)

    variants = [over(lambda run, v=v: run.fused(v, (weight, PASSAGES))) for v in found[0].variants]
    return [
        over(lambda run: run.values[f"BM25+p{PASSAGES}"]),
        over(lambda run: run.fused("start", (START_WEIGHT, PASSAGES))),
        *variants,
        over(lambda run: run.fused(run.saved, (run.default()[0], 0.0))),
        over(lambda run: run.fused(run.saved, run.default())),
        max(variants),
    ]


def choice_table(runs: dict[str, list[Run]]) -> str:
    """How well the label-free choice ranks the systems, and what it costs against the best one."""
    lines, all_correlations, all_regrets = [], [], []
    for name, found in runs.items():
        correlations, regrets = [], []
        for run in found:
            if run.facts["probe"] is None or "score" not in run.facts["probe"]:
                continue
            score = run.facts["probe"]["score"]
            truth = {system: float(run.fused(system, run.default()).mean()) for system in score}
            order = list(score)
            correlations.append(float(spearmanr([score[s] for s in order], [truth[s] for s in order])[0]))
            regrets.append(max(truth.values()) - truth[run.saved])
        if correlations:
            all_correlations.append(mean(correlations))
            all_regrets.append(mean(regrets))
            lines.append([name, f"{mean(correlations):.2f}", f"{mean(regrets):.4f}", f"{max(regrets):.4f}"])
    lines.append(["**mean**", f"{mean(all_correlations):.2f}", f"{mean(all_regrets):.4f}", f"{max(all_regrets):.4f}"])
    return markdown(["collection", "Spearman", "regret", "largest regret of a seed"], lines) + "\n"


def seconds_table(runs: dict[str, list[Run]]) -> str:
    """Wall-clock seconds of reading and training all variants, and of choosing."""
    lines = []
    for name, found in runs.items():
        parts = [[run.facts["seconds"][part] for run in found] for part in ("training", "selection")]
        lines.append([name, f"{found[0].facts['documents']:,}", *(f"{min(p):.0f} to {max(p):.0f}" for p in parts)])
    return markdown(["collection", "documents", "reading and training, s", "choosing, s"], lines) + "\n"


def model_tables(runs: dict[str, list[Run]]) -> str:
    """Downloaded models alone, with BM25, and with the static model as a third ranker; empty without any."""
    names = {key for found in runs.values() for run in found for key in run.values if key.startswith("model:")}
    models = sorted({key.partition("@")[0] for key in names})
    return "\n".join(f"### {model.removeprefix('model:')}\n\n{model_table(runs, model)}" for model in models)


def model_table(runs: dict[str, list[Run]], model: str) -> str:
    """One downloaded model, on the collections that it was run on."""
    here = {name: [run for run in found if model in run.values] for name, found in runs.items()}
    here = {name: found for name, found in here.items() if found}
    two = {name: averaged(found, lambda run: run.values[f"{model}@2.0"]) for name, found in here.items()}
    three = {name: averaged(found, lambda run: run.values[f"{model}@2.0+0.5"]) for name, found in here.items()}
    ps = holm([paired_permutation(three[name], two[name]) for name in here])
    lines = []
    for (name, found), p in zip(here.items(), ps, strict=True):
        alone = [averaged(found, lambda run, key=key: run.values[key]).mean() for key in ("BM25", model)]
        own = averaged(found, lambda run: run.fused(run.saved, run.default())).mean()
        gap = three[name] - two[name]
        figures = [*alone, own, two[name].mean(), three[name].mean()]
        lines.append([name, *(f"{x:.4f}" for x in figures), f"{gap.mean():+.4f}{mark(gap, p)}", f"{p:.4f}"])
    head = ["collection", "BM25", "model", "BM25 + ours", "BM25 + model", "and ours, third", "difference", "p (Holm)"]
    return markdown(head, lines) + "\n"


def readme(runs: dict[str, list[Run]]) -> str:
    """The whole record."""
    parts = [
        INTRO,
        "## The default, with weights that were fitted on the other collections\n\n" + main_table(runs),
        "## Its parts\n\nGain over BM25 in nDCG@10, with the shipped weights.\n\n" + parts_table(runs),
        "## The choice\n\nRank correlation of the label-free score with the true nDCG@10 of the fused search over the "
        "start and the variants, and what the choice loses against the best of them.\n\n" + choice_table(runs),
        "## Weights\n\nGain over BM25 with every pair of weights.\n\n" + all_settings(runs),
        "## Seconds\n\nOne core, beside other work on the machine.\n\n" + seconds_table(runs),
    ]
    if found := model_tables(runs):
        parts.append(MODELS + found)
    return "\n".join(parts)


def all_settings(runs: dict[str, list[Run]]) -> str:
    """Mean gain of every pair of weights over collections whose titles do not repeat, and over those where they do."""
    lines = []
    for setting in next(iter(runs.values()))[0].settings():
        cells = []
        for titled in (False, True):
            found = [r for r in runs.values() if r[0].titled == titled and r[0].saved != "start"]
            gains = [mean(gain(run, setting) for run in one) for one in found]
            cells += [f"{mean(gains):+.4f}", f"{min(gains):+.4f}"] if gains else ["", ""]
        lines.append([f"{setting[0]:g}, {setting[1]:g}", *cells])
    head = ["weights of vectors, of best passage", "mean gain", "smallest", "mean gain, titles repeat", "smallest"]
    return markdown(head, lines) + "\n"
