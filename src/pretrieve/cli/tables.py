"""Tables and texts that commands print when they are done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from pretrieve.core.shown import shown

if TYPE_CHECKING:
    from pretrieve.evaluation.crosslingual_result import CrossLingualResult
    from pretrieve.evaluation.result import Result
    from pretrieve.pipeline.finetune.report import FinetuneReport
    from pretrieve.pipeline.finetune.request import FinetuneRequest
    from pretrieve.pipeline.pretrain.report import Report

_STYLES = {
    "kept": "",
    "deleted": "red strike",
    "masked": "yellow reverse",
    "replaced": "magenta reverse",
    "guessed": "green underline",
    "removed": "dim italic",
}
_MEANINGS = {
    "deleted": "taken out, word by word",
    "masked": "hidden, with the true word",
    "replaced": "another word, with the true one",
    "guessed": "shown, and to be predicted",
    "removed": "cut out",
}
_NAMES = {
    "sentence": "sentence → document",
    "title": "title → body",
    "lead": "first sentence → rest",
    "titled": "title, words → document",
    "topical": "topical",
    "lexical": "topical, by BM25",
}


def _escaped(text: object) -> str:
    """Plain text escaped for Rich's markup and the terminal."""
    return shown(text, markup=True)


def print_training(report: Report, output: Path) -> None:
    """Print the probe, what was saved and why."""
    console = Console()
    if report.probe is not None:
        console.print(_gain_table(report.probe) if "gain" in report.probe else _probe_table(report.probe))
    console.print(f"{_escaped(report.reason[:1].upper() + report.reason[1:])}{_weight(report)}.", highlight=False)
    if report.signal is not None and report.probe is not None:
        console.print(_signal_line(report.signal), highlight=False)
    trained = report.saved != "start" or report.probe is not None
    steps = report.recipe["training"]["steps"]
    done = f"{steps:,} step{'' if steps == 1 else 's'}" if trained else "not trained"
    console.print(
        f"[bold]{_escaped(str(output))}[/]: {report.recipe['method']} on {report.documents['trained_on']:,} documents, "
        f"{done}; a stock sentence-transformers model.",
        highlight=False,
    )


def _weight(report: Report) -> str:
    """The weight of the vectors beside BM25, where the run sets it."""
    if report.fusion is None:
        return ""
    return f", weight {report.fusion['dense']:g} beside BM25 ({_escaped(report.fusion['reason'])})"


def print_tuning(report: FinetuneReport, request: FinetuneRequest) -> None:
    """Print the scores of the fine-tuned model on held-out queries beside its start and BM25."""
    console = Console()
    if report.evaluation is not None:
        facts = report.evaluation
        title = f"nDCG@10 on {facts['queries']:,} held-out queries among {facts['documents']:,} documents"
        table = Table(title=title, title_justify="left", box=None, header_style="bold")
        for column in ("system", "search", "nDCG@10", "95 %"):
            table.add_column(column, justify="left" if column in ("system", "search") else "right")
        for row in facts["rows"]:
            low, high = row["ci95"]["nDCG@10"]
            table.add_row(row["system"], row["mode"], f"{row['metrics']['nDCG@10']:.3f}", f"{low:.3f} to {high:.3f}")
        console.print(table)
        test = next(t for t in facts["tests"] if {t["a"], t["b"]} == {"start (dense)", "model (dense)"})
        gain = test["difference"] if test["a"].startswith("model") else -test["difference"]
        console.print(f"Against its start: {gain:+.3f}, p {test['p_holm']:.4f} (Holm).", highlight=False)
    else:
        console.print("Too few queries to hold any out: not evaluated.")
    console.print(
        f"[bold]{_escaped(str(request.output))}[/]: {_escaped(request.model)} fine-tuned on "
        f"{report.queries['trained_on']:,} queries, negatives: {_negatives(report)}; a stock model.",
        highlight=False,
    )


def _negatives(report: FinetuneReport) -> str:
    """The strategy, and for how many queries it found some where it did not for all."""
    name, every = str(report.values["negatives"]), report.queries["trained_on"]
    some = report.labels.get("trained_with_negatives", every)
    return f"{name} (for {some:,} of {every:,} queries)" if some < every else name


def _signal_line(signal: dict[str, Any]) -> str:
    values = [
        f"{name} {signal['before'][name]:.3f} -> {after:.3f}"
        for name, after in signal["after"].items()
        if name in signal["before"]
    ]
    return (
        f"[bold]The method's own signal[/] on {signal['documents']} held-out documents: {_escaped(', '.join(values))}."
    )


def print_result(result: Result | CrossLingualResult) -> None:
    """Print the tables of an evaluation, and what has to be known beside them."""
    from pretrieve.evaluation.crosslingual_result import CrossLingualResult, pair_tables
    from pretrieve.evaluation.report import result_tables
    from pretrieve.evaluation.result import note_lines

    console = Console()
    for table in pair_tables(result) if isinstance(result, CrossLingualResult) else result_tables(result):
        console.print(table)
    for line in note_lines(result.warnings):
        console.print(_escaped(line), highlight=False, soft_wrap=True)


def _gain_table(probe: dict[str, Any]) -> Table:
    """What each system adds to BM25, by kind of query, at the weights compared."""
    title = f"Label-free probe: nDCG@10 of BM25, and what vectors add to it, among {probe['pool']:,} documents"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("system")
    for kind, number in probe["queries"].items():
        table.add_column(f"{_NAMES.get(kind, kind)} ({number})", justify="right")
    table.add_row("BM25", *(f"{probe['BM25'][kind]:.3f}" for kind in probe["queries"]))
    for system, gains in probe["gain"].items():
        cells = []
        for kind in probe["queries"]:
            low, high = sorted(gains[kind][probe["weights"].index(weight)] for weight in probe.get("at", (0.5, 1.0)))
            cells.append(f"{low:+.3f} to {high:+.3f}")
        mark = " (saved)" if system == probe["saved"] else ""
        table.add_row(f"{system}{mark}", *cells)
    return table


def _probe_table(probe: dict[str, Any]) -> Table:
    title = f"Label-free probe: nDCG@10 among {probe['pool']:,} documents, queries from documents not trained on"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("system")
    for kind, number in probe["queries"].items():
        table.add_column(f"{_NAMES.get(kind, kind)} ({number})", justify="right")
    for system, values in probe["nDCG@10"].items():
        table.add_row(system, *(f"{values[kind]:.3f}" for kind in probe["queries"]))
    return table


def print_pairs(pairs: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Print training examples in colour, with facts about them."""
    console = Console()
    console.print(
        f"[bold cyan]{_escaped(summary['method'])}[/] on {summary['documents']:,} documents, {summary['tokens']:,} "
        f"tokens. {_batch_line(pairs, summary)}",
        highlight=False,
    )
    task = summary["task"][:1].upper() + summary["task"][1:].rstrip(".")
    console.print(f"[bold]Task:[/] {_escaped(task)}.", highlight=False)
    seen = {state for pair in pairs for row in pair["rows"] for state, *_ in row["pieces"]}
    marks = [f"[{_STYLES[state]}]{state}[/] ({meaning})" for state, meaning in _MEANINGS.items() if state in seen]
    if marks:
        console.print(f"[dim]Marks:[/] {', '.join(marks)}; not seen by the model: ‹ ›", highlight=False)
    console.print()
    for number, pair in enumerate(pairs, start=1):
        place = ", ".join(part for part in (f"document {pair['document']}", pair["group"], pair["note"]) if part)
        console.print(f"[bold]example {number}[/] [dim]{_escaped(place)}[/]", highlight=False)
        for row in pair["rows"]:
            elsewhere = f"document {row['document']}, " if row["document"] != pair["document"] else ""
            console.print(
                f"  [cyan]{_escaped(row['role'])}[/] [dim]{_escaped(elsewhere)}{_place(row)}[/]", highlight=False
            )
            console.print(Padding(_text(row), (0, 0, 0, 4)), highlight=False)
        console.print()


def _batch_line(pairs: list[dict[str, Any]], summary: dict[str, Any]) -> str:
    widths = sorted({len(pair["rows"]) for pair in pairs})
    rows = " to ".join(str(width) for width in dict.fromkeys([widths[0], widths[-1]])) if widths else "no"
    plural = "" if rows == "1" else "s"
    return f"A batch has {summary['batch_size']:,} examples of {rows} row{plural}."


def _place(row: dict[str, Any]) -> str:
    spans = " + ".join(f"{start}–{stop}" for start, stop in row["spans"])
    counts = "".join(
        f", {row[name]} {words}" for name, words in (("deleted", "deleted"), ("guessed", "to predict")) if row[name]
    )
    return f"tokens {spans} of {row['of']}{counts}" if spans else "no text"


def _text(row: dict[str, Any]) -> str:
    return " ".join(_marked(*piece) for piece in row["pieces"])


def _marked(state: str, seen: str, stands: str) -> str:
    """A piece in its colours; text of the document that the model does not see is between ‹ and ›."""
    style = _STYLES[state]
    if state == "kept":
        return _escaped(seen)
    hidden = f"[{style.split()[0] if seen else style}]‹{_escaped(stands)}›[/]" if stands else ""
    return f"[{style}]{_escaped(seen)}[/]{hidden}" if seen else hidden
