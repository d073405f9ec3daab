"""The output of readers: records with named fields, and faults with place and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pretrieve.core.types import Document

_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a source.

    Attributes:
        where: ``file:line`` for messages, and the id of a record that has none.
        fields: values by field name.
        raw: the record as it was, for the quarantine.
        fixed: the fields are ours (``id``, ``title``, ``text``), as text formats give them, not the user's to name.
    """

    where: str
    fields: Mapping[str, object]
    raw: object = None
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A record, or the rest of a file, that cannot be used.

    Attributes:
        where: ``file:line``.
        reason: one of a few words that faults are counted by.
        detail: further detail for the message.
        raw: the raw content.
    """

    where: str
    reason: str
    detail: str = ""
    raw: object = None

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass
class ReadReport:
    """Counts of the records of a corpus; ``read == kept + duplicates + bad + passed_over``.

    Attributes:
        read: records found, good and bad.
        kept: documents given on.
        duplicates: documents dropped because title and text were seen before.
        passed_over: pages of Wikipedia that are no articles, where they are left out.
        faults: number of faults by reason.
        examples: the first faults, one line each.
    """

    read: int = 0
    kept: int = 0
    duplicates: int = 0
    passed_over: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Number of faults of all kinds."""
        return self.faults.total()

    def count(self, result: Document | Fault | None) -> None:
        """Count a record; None is a duplicate. The first faults are stored as examples."""
        self.read += 1
        if result is None:
            self.duplicates += 1
        elif isinstance(result, Document):
            self.kept += 1
        else:
            self.faults[result.reason] += 1
            self.examples += [str(result)] if len(self.examples) < _EXAMPLES else []

    def pass_over(self) -> None:
        """Count a page that is no article."""
        self.read += 1
        self.passed_over += 1

    def summary(self) -> str:
        """One line with the numbers of documents, duplicates and bad records."""
        words = [f"{self.kept:,} documents"]
        if self.duplicates:
            words.append(f"{self.duplicates:,} exact duplicates dropped")
        if self.passed_over:
            words.append(f"{self.passed_over:,} pages that are no articles left out")
        if self.bad:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in self.faults.most_common())
            words.append(f"{self.bad:,} bad records ({reasons})")
        return "; ".join(words)


def row(header: Sequence[str], values: Sequence[object], where: str) -> Record | Fault:
    """A record of a table; a row with another number of columns than the header is a fault."""
    if len(values) != len(header):
        detail = f"expected {len(header)}, found {len(values)}"
        return Fault(where, "wrong number of columns", detail, list(values))
    fields = dict(zip(header, values, strict=True))
    return Record(where, fields, fields)
