"""What became of the files and records of a corpus: counts, and examples spread over reasons and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pretrieve.core.types import Document
from pretrieve.text.records import Fault, Note

WARNING = "Warning: "  # begins a line that is more than a note
_EXAMPLES = 10
_EACH = 3  # examples of a reason
_REASONS = 12  # suffixes named in a line; the rest is counted together
_FEW = 0.7  # share of readable files below which a folder is warned about
_MOST = 0.5  # share of the text from which one file of many dominates
_MANY = 10


@dataclass
class ReadReport:
    """Counts of a corpus; ``read == kept + duplicates + bad + passed_over``, all in records.

    Attributes:
        read: records found, good and bad.
        kept: documents given on.
        duplicates: documents dropped because title and text were seen before.
        passed_over: pages of Wikipedia that are no articles, where they are left out.
        faults: number of faults by reason.
        notes: what readers guessed, replaced or left out, counted by reason.
        files: files found in folders and archives, or named.
        files_read: files of these that gave a document.
        ignored: files that no reader was given, counted by reason: a suffix, ``hidden``, ``excluded``...
        folders: folders that were not entered, whose files are not counted, by reason.
        cut: documents that were cut into passages.
        passages: the passages that they were cut into.
    """

    read: int = 0
    kept: int = 0
    duplicates: int = 0
    passed_over: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    files: int = 0
    files_read: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    passages: int = 0
    _largest: tuple[int, str] = (0, "")
    _characters: int = 0
    _examples: dict[str, list[str]] = field(default_factory=dict)  # by reason, of different files
    _further: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Number of faults of all kinds."""
        return self.faults.total()

    @property
    def examples(self) -> list[str]:
        """Examples of faults and notes, one line each: the first of every reason, then further ones of other files."""
        spread = list(self._examples.values())
        turns = [lines[turn] for turn in range(_EACH) for lines in spread if turn < len(lines)]
        return [*turns, *self._further][: max(_EXAMPLES, len(spread))]

    def count(self, result: Document | Fault | None) -> None:
        """Count a record; None is a duplicate."""
        self.read += 1
        if result is None:
            self.duplicates += 1
        elif isinstance(result, Document):
            self.kept += 1
        else:
            self.faults[result.reason] += 1
            self._example(result)

    def note(self, note: Note) -> None:
        """Count a note."""
        self.notes[note.reason] += 1
        self._example(note)

    def pass_over(self) -> None:
        """Count a page that is no article."""
        self.read += 1
        self.passed_over += 1

    def ignore(self, reason: str, *, folder: bool = False) -> None:
        """Count a file that is not read, or a folder that is not entered."""
        self.files += not folder
        (self.folders if folder else self.ignored)[reason] += 1

    def finish(self, file: str, characters: int) -> None:
        """Count a file whose records were all read, with the characters of its documents."""
        self.files += 1
        self.files_read += characters > 0
        self._characters += characters
        self._largest = max(self._largest, (characters, file))

    def summary(self) -> str:
        """One line with the numbers of documents, duplicates, bad records and notes."""
        words = [f"{self.kept:,} documents"]
        if self.duplicates:
            words.append(f"{self.duplicates:,} exact duplicates dropped")
        if self.passed_over:
            words.append(f"{self.passed_over:,} pages that are no articles left out")
        if self.bad:
            words.append(f"{self.bad:,} bad records ({_listed(self.faults, ': ', len(self.faults))})")
        words += [f"{count:,} {'files' if count > 1 else 'file'} {reason}" for reason, count in self.notes.items()]
        return "; ".join(words)

    def files_summary(self) -> str:
        """One line about the files, such as ``1,370 files: 707 read, 640 passed over (.py 270, .eml 100)``."""
        words = [f"{self.files_read:,} read"]
        if self.ignored:
            words.append(f"{self.ignored.total():,} passed over ({_listed(self.ignored, ' ')})")
        rest = self.files - self.files_read - self.ignored.total()
        if rest:
            words.append(f"{rest:,} gave no document")
        line = f"{self.files:,} files: {', '.join(words)}"
        return line + (f"; folders left out: {_listed(self.folders, ' ')}" if self.folders else "")

    def lines(self) -> Iterator[str]:
        """What a user should know about the reading: nothing if all files and records became documents."""
        if self.folders or 1 < self.files != self.files_read:
            yield self.files_summary()
        if self.duplicates or self.bad or self.passed_over or self.notes:
            yield self.summary()
        yield from self.examples
        if self.cut:
            yield f"{self.cut:,} of {self.kept:,} documents cut into {self.passages:,} passages"
        yield from self.warnings()

    def warnings(self) -> Iterator[str]:
        """Warnings about a corpus that is not what its user may think."""
        readable = self.files - sum(self.ignored[reason] for reason in MEANT)
        if self.files > 1 and readable and self.files_read < _FEW * readable:
            yield (
                f"{WARNING}only {self.files_read / readable:.0%} of the files were read. The lines above say why; "
                "--include and --exclude choose files."
            )
        size, file = self._largest
        if self.files_read >= _MANY and size > _MOST * self._characters:
            yield f"{WARNING}{file} alone is {size / self._characters:.0%} of the text; --exclude leaves it out."

    def facts(self) -> dict[str, object]:
        """The counts as plain values, for JSON; no text of a document is in them."""
        return {
            "records": self.read,
            "documents": self.kept,
            "duplicates": self.duplicates,
            "passed_over": self.passed_over,
            "bad": dict(self.faults.most_common()),
            "notes": dict(self.notes.most_common()),
            "files": self.files,
            "files_read": self.files_read,
            "files_ignored": dict(self.ignored.most_common()),
            "folders_ignored": dict(self.folders.most_common()),
            **({"cut": self.cut, "passages": self.passages} if self.cut else {}),
        }

    def _example(self, item: Fault | Note) -> None:
        known = self._examples.setdefault(item.reason, [])
        file = _file(item.where)
        if all(_file(line) != file for line in known):
            if len(known) < _EACH:
                known.append(str(item))
        elif len(self._further) < _EXAMPLES:
            self._further.append(str(item))


HIDDEN = "hidden"
IGNORED = "ignored by .gitignore"
EXCLUDED = "excluded"
TEMPORARY = "temporary"
BESIDE = "queries and labels beside a corpus"
OWN = "written by pretrieve"
MEANT = (HIDDEN, IGNORED, EXCLUDED, TEMPORARY, BESIDE, OWN)  # left out on purpose


def _file(where: str) -> str:
    return where.rpartition(":")[0] or where  # an address has colons, too


def _listed(counts: Counter[str], between: str, most: int = _REASONS) -> str:
    common = counts.most_common(most)
    words = [f"{reason}{between}{count:,}" for reason, count in common]
    rest = counts.total() - sum(count for _, count in common)
    return ", ".join([*words, *([f"others{between}{rest:,}"] if rest else [])])
