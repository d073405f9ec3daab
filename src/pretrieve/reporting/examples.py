"""What the sampler draws, and how long documents are: drawn again where the run's documents are still there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrieve.core.config import options_of, setting_text
from pretrieve.core.errors import PretrieveError
from pretrieve.pipeline.pretrain.report import Report
from pretrieve.pipeline.run.progress import Listener
from pretrieve.reporting.page import Example, Histogram, Piece, Section, Within
from pretrieve.text.corpus import Fields, FileFilter

TITLE = "What the sampler draws"
LARGE = 16 << 20  # bytes of sources above which examples are drawn only if asked for
USUAL = 3  # examples
_TEXT = 1_200  # characters of a row's text
_MEANINGS = {
    "deleted": "taken out, word by word",
    "masked": "hidden, with the true word",
    "replaced": "another word, with the true one",
    "guessed": "shown, and to be predicted",
    "removed": "cut out",
}


def drawn_sections(
    folder: Path, report: Report, request: Mapping[str, Any], number: int | None, listener: Listener
) -> list[Section]:
    """What needs the run's documents: examples of training, lengths, alignment and neighbours; or why there are none.

    Args:
        folder: of the model.
        report: of the run.
        request: of the run, from its ``run.json``; empty where it is not kept.
        number: of examples; None: the usual number, unless the documents are many.
        listener: receives progress.
    """
    recipe = report.recipe
    reason = _reason(recipe, number)
    if reason:
        return [Section(title=TITLE, notes=[reason])]
    from pretrieve.pipeline.inspect import InspectRequest, opened  # imports torch
    from pretrieve.pipeline.pretrain.data import split
    from pretrieve.reporting.answering_vectors import answered
    from pretrieve.reporting.geometry import geometry_sections

    wanted = InspectRequest(
        sources=tuple(recipe["sources"]),
        method=recipe["method"],
        base=recipe["base"],
        settings=_settings(recipe),
        seed=recipe["seed"],
        on_bad="skip",
        file_filter=_filter(request.get("file_filter", {})),
        fields=_fields(request.get("fields", {})),
    )
    try:
        with opened(wanted, listener) as found:
            summary = found.summary()
            if summary["corpus"] != recipe["corpus"]:
                changed = "Not shown: the documents have changed since the run, which keeps none."
                return [Section(title=TITLE, notes=[changed])]
            examples = found.examples(USUAL if number is None else number)
            said = answered(folder, examples)
            _, held_out = split(len(found.documents), recipe["seed"], report.documents["held_out"])
            geometry = geometry_sections(folder, found.documents, held_out)
    except PretrieveError as error:
        return [Section(title=TITLE, notes=[f"Not shown: the documents cannot be drawn from again ({error})"])]
    return [*geometry, examples_section(examples, summary, said)]


def examples_section(examples: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], said: str = "") -> Section:
    """Examples of training in their documents, and the lengths of documents.

    Args:
        examples: as ``Opened.examples`` describes them.
        summary: facts about the method and the corpus.
        said: what the trained model makes of them; empty for nothing.
    """
    notes = [
        f"{summary['task'][:1].upper()}{summary['task'][1:].rstrip('.')}.",
        "Drawn again as the method draws them, from all documents of the run, those held out included.",
    ]
    if said:
        notes.append(said)
    states = {state for example in examples for row in example["rows"] for state, *_ in row["pieces"]}
    marks = [f"{state}: {meaning}" for state, meaning in _MEANINGS.items() if state in states]
    if marks:
        notes.append(f"Marks: {'; '.join(marks)}. What the model does not see is between ‹ and ›.")
    if any(_is_cut(example) for example in examples):
        notes.append(f"Rows of more than {_TEXT:,} characters are cut off at …")
    lengths = Histogram(title="Length of documents", x="tokens, at least", y="documents",
                        bins=[(f"{least:,}", number) for least, number in summary["lengths"]])  # fmt: skip
    shown = [_example(place, example) for place, example in enumerate(examples, 1)]
    return Section(title=TITLE, notes=notes, charts=[lengths], examples=shown)


def _reason(recipe: Mapping[str, Any], number: int | None) -> str:
    """Why no examples are drawn; empty if they are."""
    if recipe["method"] == "distill":
        return "A distilled model learns the vectors of its teacher: it draws no examples that could be shown."
    if number == 0:
        return f"Not drawn, as asked; --examples {USUAL} draws some, where the documents are still there."
    places = [Path(source) for source in recipe["sources"]]
    if not places or not all(place.exists() for place in places):
        return "Not shown: a run keeps no documents, and its sources are not in this place."
    size = sum(path.stat().st_size for place in places for path in _files(place))
    if number is None and size > LARGE:
        return f"Not drawn: the documents are {size >> 20:,} MB; --examples {USUAL} reads them."
    return ""


def _files(place: Path) -> Sequence[Path]:
    return [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]


def _settings(recipe: Mapping[str, Any]) -> dict[str, str]:
    values = dict(recipe["options"])
    values["batch_size"] = recipe["training"]["batch_size"]
    named = ("vocabulary_size", "algorithm", "lowercase")
    values |= {name: recipe["encoder"][name] for name in named if name in recipe["encoder"]}
    return {name: setting_text(value) for name, value in values.items() if value not in (None, [], ())}


def _filter(values: Mapping[str, Any]) -> FileFilter:
    return options_of(FileFilter, {name: tuple(value) if isinstance(value, list) else value
                                   for name, value in values.items()}, where="run.json")  # fmt: skip


def _fields(values: Mapping[str, Any]) -> Fields:
    return options_of(Fields, {name: tuple(value) if isinstance(value, list) else value
                               for name, value in values.items()}, where="run.json")  # fmt: skip


def _example(place: int, pair: Mapping[str, Any]) -> Example:
    named = ", ".join(part for part in (f"document {pair['document']}", pair["group"], pair["note"]) if part)
    marks = [f"{number} → vector {row['vector']}" if "vector" in row else str(number)
             for number, row in enumerate(pair["rows"], 1)]  # fmt: skip
    within = [
        Within(name=one["document"], tokens=one["tokens"], spans=[tuple(span) for span in one["spans"]],
               pieces=[(rows, text) for rows, text in one["pieces"]], marks=marks)
        for one in pair["documents"]
    ]  # fmt: skip
    others = pair["others"]
    note = (
        f"The other examples of its batch have {others['rows']:,} rows that may be its negatives; these are the first:"
        if others["shown"]
        else ""
    )
    return Example(
        title=f"{place}: {named}",
        rows=[(_role(row, pair), _pieces(row)) for row in pair["rows"]],
        documents=within,
        others=[(f"{other['role']} of {other['document']}", other["text"]) for other in others["shown"]],
        note=note,
    )


def _role(row: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    spans = " + ".join(f"{start}-{stop}" for start, stop in row["spans"])
    elsewhere = f"document {row['document']}, " if row["document"] != pair["document"] else ""
    by = f", answered by vector {row['vector']} of {row['vectors']}" if "vector" in row else ""
    return f"{row['role']} ({elsewhere}tokens {spans} of {row['of']}){by}"


def _pieces(row: Mapping[str, Any]) -> list[Piece]:
    found, left = [], _TEXT
    for state, seen, own in row["pieces"]:
        if left <= 0:
            break
        found.append(Piece(state=state, seen=_cut(seen, left), own=_cut(own, left)))
        left -= max(len(seen), len(own))
    return found


def _cut(text: str, left: int) -> str:
    return text if len(text) <= left else f"{text[:left]}…"


def _is_cut(pair: Mapping[str, Any]) -> bool:
    return any(sum(max(len(seen), len(own)) for _, seen, own in row["pieces"]) > _TEXT for row in pair["rows"])
