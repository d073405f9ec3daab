"""The model card: usage, evaluation and the exact command."""

from __future__ import annotations

from typing import Any

from pretrieve.evaluation.choice import Choice
from pretrieve.evaluation.probe import ProbeResult
from pretrieve.evaluation.report import choice_markdown, probe_markdown
from pretrieve.methods import find
from pretrieve.models.encoder import Encoder
from pretrieve.models.lora import AdapterOptions, card_line
from pretrieve.models.multi_vector import MultiVectorEncoder
from pretrieve.pipeline.pretrain.report import Report
from pretrieve.pipeline.run.card import CONTENTS, front_matter

_OWN_USE = """## Use

Its positions are rotations, so only pretrieve gives all vectors of a document position 0.

```python
from pretrieve import Retriever

hits = Retriever.load("this folder").search("a question", ["a text", "another"], mode="dense")
```

"""


def model_card(report: Report, probe: ProbeResult | Choice | None, encoder: Encoder) -> str:
    """Write the card of an encoder in Markdown."""
    recipe = report.recipe
    module, preset = find(recipe["method"])
    counts = ", ".join(f"{number:,} {name}" for name, number in report.documents.items())
    parts = [
        front_matter(recipe["base"], recipe["sources"], stock=not _is_own(encoder)),
        f"# A retriever trained without labels by `{recipe['method']}`\n",
        f"{module.CARD.title}: {preset.summary}.\n\nPaper: {module.CARD.paper}.\n",
        f"Documents: {counts}. Sources: {', '.join(f'`{source}`' for source in recipe['sources'])}.\n",
        f"Selection: {report.reason}.\n",
        card_line(AdapterOptions(lora=recipe["encoder"].get("lora", 0))),
    ]
    if isinstance(probe, Choice):
        at = " and ".join(f"{weight:g}".removeprefix("0") for weight in probe.at)
        parts.append(
            f"## Label-free probe\n\nnDCG@10 among {probe.scores.pool:,} documents, on queries made of documents that "
            f"were held out from training: BM25, and what each system's vectors add to it at weights {at}. It ranks "
            f"systems; it is no promise for real queries.\n\n{choice_markdown(probe)}"
        )
    elif probe is not None:
        parts.append(
            f"## Label-free probe\n\nnDCG@10 among {probe.pool:,} documents, on queries taken out of documents "
        )
        parts[-1] += (
            "that were held out from training. It ranks models; it does not predict scores on real queries.\n\n"
        )
        parts[-1] += probe_markdown(probe)
    if report.signal is not None:
        parts.append(_signal(report.signal))
    parts.append(_usage(recipe["command"], encoder))
    parts += [CONTENTS, _values(report)]
    return "\n".join(parts)


def _signal(signal: dict[str, Any]) -> str:
    lines = [
        "## The method's own signal\n",
        f"On {signal['examples']} examples of {signal['documents']} documents that were held out from training.\n",
        "| signal | before | after |",
        "|---|---|---|",
    ]
    for name, after in signal["after"].items():
        before = signal["before"].get(name)
        lines.append(f"| {name} | {'' if before is None else f'{before:.4f}'} | {after:.4f} |")
    return "\n".join(lines) + "\n"


def _usage(command: str, encoder: Encoder) -> str:
    if _is_own(encoder):
        return _OWN_USE + _made_by(command)
    kind = "MultiVectorEncoder" if isinstance(encoder, MultiVectorEncoder) else "SentenceTransformer"
    return f"""## Use

```python
from sentence_transformers import {kind}

model = {kind}("this folder")
scores = model.similarity(model.encode_query("a question"), model.encode_document(["a text", "another"]))
```

{_made_by(command)}"""


def _is_own(encoder: Encoder) -> bool:
    """Whether a model has no stock form."""
    return isinstance(encoder, MultiVectorEncoder) and encoder.position_table is None


def _made_by(command: str) -> str:
    return f"""## Made by

```console
{command or "Retriever.train(...), see recipe.json"}
```
"""


def _values(report: Report) -> str:
    recipe = report.recipe
    lines = ["## Values\n", "| for | value |", "|---|---|"]
    for part in ("options", "training", "encoder"):
        lines += [f"| {part}.{key} | `{value}` |" for key, value in sorted(recipe[part].items())]
    lines += [f"| {key} | `{recipe[key]}` |" for key in ("base", "seed", "corpus", "tokenizer", "store", "fingerprint")]
    lines += [f"| {name} | {number} |" for name, number in sorted(recipe["versions"].items())]
    return "\n".join(lines) + "\n"
