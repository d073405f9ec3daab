"""Which field of a record is its id, title, text and group: by convention or as given, checked as records come."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pretrieve.core.errors import UsageError, suggest
from pretrieve.text.conventions import ANSWER, CONVENTIONS, FIRST, folded, questions, usual
from pretrieve.text.formats.header import looks_like_id_and_text, suggested_columns
from pretrieve.text.records import Note, Record
from pretrieve.text.wikipedia import is_article, unescaped

DETECT = "detect"  # reserved name of the group field: the language is detected from title and text
_PATIENCE = 1000  # records among which an optional field that the user named has to occur
_SHAPES = 1000  # sets of names that are remembered; a file may have any number
_LETTERS = re.compile(r"[^\W\d_]{2}")
_ADDRESS = re.compile(r"\s*(https?|ftp|file|mailto):\S*\s*|[\w./+-]*[/@][\w./+-]*")
_MOST_NAMED = 8  # unused columns that a note names


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Field names of a record; None: the usual names (docs/input.md).

    Attributes:
        id: by convention ``_id``, ``id``, ``docid``...; a record without one is named by its place, ``file:line``.
        title: by convention ``title``, ``headline``, ``name``...; may be absent.
        text: by convention ``text``, ``contents``, ``body``, ``content``, ``passage``...
        group: language or source; by convention ``lang`` or ``language``; may be absent. ``detect``: the
            language of each document is detected from its text (``text.language.detect``).
        columns: names of the columns, in order, of tables without a header; ``-`` or nothing for one that is not read.
        use_titles: whether to use titles.
        wikipedia: read HTML entities, and leave out lists, indices, outlines and pages of disambiguation.
    """

    id: str | None = None
    title: str | None = None
    text: str | None = None
    group: str | None = None
    columns: tuple[str, ...] | None = None
    use_titles: bool = True
    wikipedia: bool = False


class Plan(NamedTuple):
    """The fields of each role, best first, for records with the same names; the first that is not None counts."""

    id: tuple[str, ...]
    title: tuple[str, ...]
    text: tuple[str, ...]
    group: tuple[str, ...]


_OURS = Plan(("id",), ("title",), ("text",), ("group",))


class Names:
    """The field names of one source, checked as its records come.

    Args:
        fields: field names given by the user.
        where: the source, for messages.
        tabular: all records have the same fields, so that a missing text is a wrong name and no fault of a record.
        named: the source was named by the user; else it was found in a folder, and what it lacks may be guessed.
    """

    def __init__(self, fields: Fields, where: str, *, tabular: bool, named: bool = True) -> None:
        self.use_titles, self.detects = fields.use_titles, fields.group == DETECT
        self.wikipedia = fields.wikipedia
        self.joins = False  # no field is known for the text: all of words are joined
        self.keeps = False  # other fields are kept, so that none is unused
        self.where = where
        self._tabular, self._named_source = tabular, named
        given = {role: name for role in CONVENTIONS if (name := getattr(fields, role))}
        self._given = {role: name for role, name in given.items() if not (role == "group" and self.detects)}
        self._missing = set(self._given.values())
        self._present: dict[str, None] = {}
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._patience = _PATIENCE
        self._guesses: Counter[str] = Counter()
        self._notes: list[Note] = []
        self._used: set[str] = set()
        self._worded: dict[str, None] = {}  # fields that hold words

    def plan(self, record: Record) -> Plan:
        """The fields of each role in a record.

        Raises:
            UsageError: a field that the user named is not there, or a table has no text.
        """
        if record.fixed:
            return _OURS
        plan = self._known_plan(record)
        if self._patience:
            self._check(record, plan)
        return plan

    def passes_over(self, record: Record) -> bool:
        """Whether a record is a page of Wikipedia that is no article, where such pages are left out."""
        if not self.wikipedia:
            return False
        title = first(record.fields, self.plan(record).title)
        return isinstance(title, str) and not is_article(title)

    def unescaped(self, value: object) -> object:
        """A text or a title, without HTML entities where the user says that it has them."""
        return unescaped(value) if self.wikipedia and isinstance(value, str) else value

    def guess(self, what: str) -> None:
        """Count a guess that is reported once for the source, with the number of documents."""
        self._guesses[what] += 1

    @property
    def is_settled(self) -> bool:
        """Whether no further record is checked for the fields that it has."""
        return not self._patience

    def settle(self, *, joins: bool) -> None:
        """Go on with a source whose first records another process has checked.

        Args:
            joins: whether they have no field for the text.
        """
        self._patience, self.joins = 0, joins
        self._missing.clear()

    def take_guesses(self) -> list[str]:
        """What was guessed since the last call, for another process to count."""
        if not self._guesses:
            return []
        found = list(self._guesses.elements())
        self._guesses.clear()
        return found

    @property
    def used(self) -> list[str]:
        """Fields that have a role, sorted."""
        return sorted(self._used)

    def give(self, notes: Iterable[Note], used: Iterable[str]) -> None:
        """Take notes and fields with a role that another process found in this source."""
        self._notes += notes
        self._used.update(used)

    def guessed_id(self, record: Record) -> bool:
        """Whether the id of a record is one by a wide convention alone, so that it may repeat without being wrong."""
        names = () if record.fixed else self._known_plan(record).id
        return "id" not in self._given and bool(names) and names[0] not in FIRST["id"] and not record.headerless

    def words(self, record: Record) -> str:
        """The fields with words as lines ``name: value``; empty if none holds a phrase."""
        used = {
            name
            for role, names in zip(Plan._fields, self.plan(record), strict=True)
            if role != "text"
            for name in names[:1]
        }
        values = {name: value for name, value in record.fields.items() if name not in used and _has_words(value)}
        if not any(len(str(value).split(None, 2)) > 2 for value in values.values()):
            return ""
        return "\n".join(f"{name}: {value}" for name, value in values.items())

    def notes(self) -> list[Note]:
        """What was guessed or not used of this source."""
        found = [Note(self.where, what, f"{count:,} of its documents") for what, count in self._guesses.items()]
        found += self._notes
        unused = [] if self.joins or self.keeps else [name for name in self._worded if name not in self._used]
        if unused and self._used:
            more = f" and {len(unused) - _MOST_NAMED} more" if len(unused) > _MOST_NAMED else ""
            found.append(Note(self.where, "with columns not used", ", ".join(unused[:_MOST_NAMED]) + more))
        return found

    def check_all_seen(self) -> None:
        """Report that a named field never occurred.

        Raises:
            UsageError: listing the fields that did.
        """
        for name in sorted(self._missing) if self._present else ():
            raise UsageError(f"{self.where}: no field {name!r}.{suggest(name, self._present)}")

    def _known_plan(self, record: Record) -> Plan:
        names = tuple(record.fields)
        plan = self._plans.get(names)
        if plan is None:
            if len(self._plans) >= _SHAPES:
                self._plans.clear()
            plan = self._plans[names] = self._plan(record)
            self._used.update(found[0] for found in plan if found)
        return plan

    def _plan(self, record: Record) -> Plan:
        names = [*map(str, record.fields)]
        found = Plan(*(tuple(self._fields_of(role, names)) for role in Plan._fields))
        if not record.headerless or found.text:
            return found
        cells = [str(cell) for cell in record.fields.values()]
        if self._named_source or not looks_like_id_and_text(cells):
            raise UsageError(
                f"{self.where}: it seems to have no header: name its columns in order, such as "
                f"--columns {','.join(suggested_columns(cells))}"
            )
        self._notes.append(Note(self.where, "without a header, read as id and text"))
        return found._replace(id=(names[0],), text=(names[1],))

    def _fields_of(self, role: str, names: list[str]) -> list[str]:
        given = self._given.get(role)
        if given is None:
            found = usual(names, role)
            texts = self._fields_of("text", names) if role == "title" else []
            return found + (questions(names) if texts and folded(texts[0]) == ANSWER else [])
        if given in names or given.partition(".")[0] in names:
            return [given]
        return [name for name in names if folded(name) == folded(given)]

    def _check(self, record: Record, plan: Plan) -> None:
        first_one = not self._present
        self._present.update(dict.fromkeys(_names_of(record.fields)))
        for role, name in self._given.items():
            if getattr(plan, role):
                self._missing.discard(name)
        if first_one and not plan.text:
            self._check_text(record)
        self._worded.update(dict.fromkeys(name for name, value in record.fields.items() if _has_words(value)))
        self._patience -= 1
        if (first_one and self._tabular) or self._patience == 0:
            self.check_all_seen()
            self._missing.clear()

    def _check_text(self, record: Record) -> None:
        given = self._given.get("text")
        if given is None and not self._named_source:
            self.joins = True
        elif self._tabular or given is not None:
            expected = given or " or ".join(FIRST["text"])
            hint = suggest(expected if given else "text", self._present)
            raise UsageError(f"{self.where}: no field {expected}; name the one with the text by --text-field.{hint}")


def first(fields: Mapping[str, object], names: tuple[str, ...]) -> object:
    """The first value of some fields that is not None; a name with dots leads into nested ones."""
    for name in names:
        value = fields.get(name)
        if value is not None:
            return value
        if "." in name and name not in fields and (value := _inside(fields, name.split("."))) is not None:
            return value
    return None


def _names_of(fields: Mapping[str, object]) -> Iterator[str]:
    """Names of fields, and of those of nested objects, with dots."""
    for name, value in fields.items():
        yield str(name)
        nested = value[0] if isinstance(value, list) and value else value
        if isinstance(nested, Mapping):
            yield from (f"{name}.{inner}" for inner in nested)


def _inside(value: object, path: list[str]) -> object:
    for step, name in enumerate(path):
        if isinstance(value, list):
            return [found for item in value if (found := _inside(item, path[step:])) is not None]
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _has_words(value: object) -> bool:
    return (
        isinstance(value, str)
        and _LETTERS.search(value, 0, 1000) is not None
        and _ADDRESS.fullmatch(value, 0, 1000) is None
    )
