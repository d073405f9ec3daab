"""The page of ``scale_index.py``: tables of its ``results.json``, and which goals are met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Facts = Mapping[str, Any]
_MISSING = "—"
_GB, _MB = 1e9, 1e6

ROWS: dict[str, Callable[[Facts], str]] = {
    "source, GB": lambda one: f"{one['build']['source'] / _GB:.2f}",
    "build, CPU s": lambda one: f"{one['build']['cpu']:,.0f}",
    "build, s of the clock": lambda one: f"{one['build']['wall']:,.0f}",
    "build, peak MB of its own": lambda one: f"{one['build']['own'] / _MB:,.0f}",
    "build, peak MB with pages of files": lambda one: f"{one['build']['peak'] / _MB:,.0f}",
    "disk, GB": lambda one: f"{one['build']['disk'] / _GB:.2f}",
    "of it text, words, vectors": lambda one: ", ".join(
        f"{one['build']['disk_of'][name] / _GB:.2f}" for name in ("text", "words", "vectors")
    ),
    "cold search, s (CPU s)": lambda one: f"{one['cold']['wall']:.2f} ({one['cold']['cpu']:.2f})",
    "serving, MB of its own": lambda one: f"{one['warm']['hybrid']['own'] / _MB:,.0f}",
    "serving, MB of pages of files": lambda one: f"{one['warm']['hybrid']['files'] / _MB:,.0f}",
    **{
        f"{mode} query, ms (95 %; CPU)": lambda one, mode=mode: (  # type: ignore[misc]
            "{median_ms:.0f} ({p95_ms:.0f}; {cpu_ms:.0f})".format(**one["warm"][mode])
        )
        for mode in ("hybrid", "lexical", "dense")
    },
    "1,000 queries in a file, a CPU second: hybrid, lexical, dense": lambda one: ", ".join(
        f"{one['many'][mode]:,.0f}" for mode in ("hybrid", "lexical", "dense")
    ),
    "recall@10 of the vectors": lambda one: f"{one['recall']['recall']:.3f}",
}
PEERS = {"bm25s": "bm25s", "flat": "faiss, flat", "hnsw": "faiss, HNSW of 32, efSearch 256"}


def _cell(facts: Facts, row: Callable[[Facts], str]) -> str:
    try:
        return row(facts)
    except KeyError:
        return _MISSING


def _table(results: Mapping[str, Facts]) -> str:
    sizes = sorted(results, key=int)
    lines = [f"| passages | {' | '.join(f'{int(size):,}' for size in sizes)} |", "|---" * (1 + len(sizes)) + "|"]
    lines += [f"| {name} | {' | '.join(_cell(results[size], row) for size in sizes)} |" for name, row in ROWS.items()]
    return "\n".join(lines)


def _peers(results: Mapping[str, Facts]) -> str:
    lines = [
        "| passages | library | build, CPU s | peak MB of its own | query, ms (95 %; CPU) | queries a CPU second | "
        "recall@10 |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in sorted(results, key=int):
        for key, name in PEERS.items():
            one = results[size].get(f"peer {key}")
            if one is not None:
                recall = f"{one['recall']:.3f}" if "recall" in one else _MISSING
                query = "{median_ms:.1f} ({p95_ms:.1f}; {cpu_ms:.1f})".format(**one)
                lines.append(
                    f"| {int(size):,} | {name} | {one['build']:,.0f} | {one['own'] / _MB:,.0f} | {query} | "
                    f"{one['many']:,.0f} | {recall} |"
                )
    return "\n".join(lines)


def _goals(results: Mapping[str, Facts]) -> str:
    """Each goal with its figure, and whether it is met."""
    goals: list[tuple[str, str, Callable[[Facts], float], float, bool]] = [
        ("10000000", "GB of its own to build 10^7", lambda one: one["build"]["own"] / _GB, 8, True),
        ("10000000", "GB of its own to serve 10^7", lambda one: one["warm"]["hybrid"]["own"] / _GB, 2, True),
        ("10000000", "CPU ms of a hybrid query at 10^7", lambda one: one["warm"]["hybrid"]["cpu_ms"], 200, True),
        ("10000000", "recall@10 of the vectors at 10^7", lambda one: one["recall"]["recall"], 0.95, False),
        ("1000000", "CPU ms of a hybrid query at 10^6", lambda one: one["warm"]["hybrid"]["cpu_ms"], 50, True),
        ("50000", "s of a cold search at 5*10^4", lambda one: one["cold"]["wall"], 0.8, True),
    ]
    lines = ["| goal | at most or least | figure | |", "|---|---|---|---|"]
    for size, name, figure, bound, at_most in goals:
        try:
            value = figure(results[size])
        except KeyError:
            lines.append(f"| {name} | {bound:g} | not measured | |")
            continue
        met = value <= bound if at_most else value >= bound
        lines.append(f"| {name} | {bound:g} | {value:.3g} | {'met' if met else '**missed**'} |")
    return "\n".join(lines)


TEXT = """# What an index takes, from 5*10^4 to 10^7 passages

`python benchmarks/scale_index.py -o records/scale-index --work DISK`, one core (`taskset`), one thread; all figures
are in `results.json`. Passages are made up: 40 words each, 45 % of them stop words, with Zipf's frequencies, in
3,000 topics; the model is a static one of 256 dimensions whose vectors are near each other within a topic. Every
figure is of the command line: `pretrieve index FILE --model MODEL`, `pretrieve search INDEX` as a process (cold),
answering queries that come line by line (a query of six words out of a passage, the ten best with their snippets;
the second 200 of 400), and with a file of 1,000 queries. Memory *of its own* is what the system cannot take back
(RssAnon); the pages of mapped files beside it can be taken.

{table}

## Beside other libraries

bm25s analyses the same passages (English stop words and stemmer); faiss has the same vectors, without the seconds that
reading and encoding take. Both hold all they have in memory; they answer with numbers, without text or snippets.

{peers}

## Goals

{goals}
"""


def page(results: Mapping[str, Facts]) -> str:
    """README.md; what is written below "## Notes" in ``notes.md`` beside it follows."""
    return TEXT.format(table=_table(results), peers=_peers(results), goals=_goals(results))


def with_notes(folder: Path, results: Mapping[str, Facts]) -> str:
    """The page, with the notes that people wrote in ``notes.md`` beside it."""
    notes = folder / "notes.md"
    return page(results) + (f"\n{notes.read_text()}" if notes.exists() else "")
