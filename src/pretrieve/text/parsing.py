"""From one input to checked documents: what can be done for each file by itself, in this process or in another.

Ids that are taken and documents that were seen before are the business of ``text.corpus``, which sees all files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pretrieve.core.errors import ExtensionError
from pretrieve.core.extensions import place
from pretrieve.core.types import Document
from pretrieve.text.fields import document_of
from pretrieve.text.files.inputs import Input
from pretrieve.text.names import Names
from pretrieve.text.records import Fault, Note, Record


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A page that is no article, where such pages are left out."""


@dataclass(slots=True)
class Found:
    """A document whose id may be taken.

    Attributes:
        document: the document.
        record: its record; None if another process read it.
        guessed_id: whether its id is one by a wide convention alone, if another process read it.
    """

    document: Document
    record: Record | None
    guessed_id: bool = False


Parsed = Found | Fault | Note | PassedOver
PASSED_OVER = PassedOver()


def parsed(item: Input, names: Names, limit: int, columns: tuple[str, ...] | None) -> Iterator[Parsed]:
    """Read an input.

    Args:
        item: the input.
        names: names of its fields.
        limit: most bytes of a record.
        columns: names of the columns of tables without a header.

    Raises:
        ExtensionError: a reader of the user gives something else.
        PretrieveError: the input lacks a field, or cannot be read.
    """
    for record in item.records(limit, columns):
        if isinstance(record, Record):
            if names.wikipedia and names.passes_over(record):
                yield PASSED_OVER
            else:
                document = document_of(record, names)
                yield Found(document, record) if isinstance(document, Document) else document
        elif isinstance(record, Note | Fault):
            yield record
        else:
            raise ExtensionError(f"{place(item.reader.read)}: read has to give Record or Fault, not {record!r:.80}.")
