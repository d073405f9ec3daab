"""What reading labels found: counts of what was used, merged, left out and not understood, as lines for the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pretrieve.core.shown import shown
from pretrieve.pipeline.finetune.label_formats.scores import POSITIVE_FROM
from pretrieve.text.files.report import WARNING, ReadReport
from pretrieve.text.records import Fault

_NAMED = 20  # fields that are named
_HINTS = {
    "prompt": "a prompt for each query is not supported: give one for all with --query-prompt",
    "negative_ctxs": "hard_negative_ctxs are the negatives of DPR's files",
    "label": "scores of a triplet are a list, the positive's first",
    "score": "scores of a triplet are a list, the positive's first",
}
# What was done, by the name of its count.
_DONE = {
    "merged": "records merged with an earlier one of the same query text",
    "repeated": "documents given again for the same query, merged",
    "conflicting_scores": "scores that differ from an earlier one of the same query and document, which is used",
    "contradicted": "negatives that are positives of the same query, dropped",
    "empty_negatives": "empty negatives, dropped",
    "by_id": "documents given by an id of --documents",
    "missing": "labelled documents that the collection lacks, left out",
    "without_positive": "queries without a positive document, left out",
}


@dataclass
class LabelReport:
    """Counts of the records of labels.

    Attributes:
        records: records found, good and bad.
        reading: bad records by reason, with examples.
        unused: number of records with a field that is not used, by its name.
        counts: what was merged, left out or decided, by name.
        notes: further lines on the file.
        queries: number of queries.
        with_negatives: number of queries with negatives.
        documents: counts of further documents.
    """

    records: int = 0
    reading: ReadReport = field(default_factory=ReadReport)
    unused: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    queries: int = 0
    with_negatives: int = 0
    documents: ReadReport = field(default_factory=ReadReport)

    @property
    def faults(self) -> Counter[str]:
        """Number of bad records by reason."""
        return self.reading.faults

    @property
    def examples(self) -> list[str]:
        """Examples of bad records, one line each."""
        return self.reading.examples

    def bad(self, fault: Fault) -> None:
        """Count a bad record."""
        self.records += 1
        self.reading.count(fault)

    def good(self, unused: Sequence[str], counts: Counter[str]) -> None:
        """Count a record that is used, the fields that are not, and what was decided."""
        self.records += 1
        for name in unused:
            self.unused[name if len(self.unused) < 1000 or name in self.unused else "..."] += 1
        self.counts.update(counts)

    def faulty(self) -> str:
        """The number of bad records, by reason; empty without any."""
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in self.faults.most_common())
        return f"bad records: {self.faults.total():,} ({reasons})" if reasons else ""

    def lines(self, source: str) -> list[str]:
        """What a user should know, one line each.

        Args:
            source: the file or folder.
        """
        found = [*self.notes, *self._unused(), *self._labelled()]
        found += [f"{words}: {self.counts[name]:,}." for name, words in _DONE.items() if self.counts[name]]
        found += [f"left out: {self.faulty()}."] if self.faults else []
        lines = [*(f"{source}: {line}" for line in found), *self.examples]
        return [shown(line) for line in [*lines, *map(_of_documents, self.documents.lines())]]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "records": self.records,
            "queries": self.queries,
            "with_negatives": self.with_negatives,
            "bad": dict(self.faults),
            "unused_fields": dict(self.unused),
            **{name: count for name, count in sorted(self.counts.items()) if count},
        }

    def _unused(self) -> list[str]:
        named = self.unused.most_common(_NAMED)
        lines = [
            f"the field {name!r} is not used (records: {count:,})" + (f": {_HINTS[name]}." if name in _HINTS else ".")
            for name, count in named
        ]
        rest = len(self.unused) - len(named)
        return [*lines, *([f"{rest:,} further fields are not used."] if rest else [])]

    def _labelled(self) -> list[str]:
        positive, negative, between = (self.counts[f"labelled_{kind}"] for kind in ("positive", "negative", "between"))
        if not positive + negative + between:
            return []
        return [
            f"labelled documents: positives (a label of at least {POSITIVE_FROM:g}): {positive:,}; negatives (0): "
            f"{negative:,}; between, not used: {between:,}."
        ]


def _of_documents(line: str) -> str:
    """A line on further documents; a warning stays one."""
    warning = WARNING if line.startswith(WARNING) else ""
    return f"{warning}--documents: {line.removeprefix(WARNING)}"
