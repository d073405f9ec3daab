"""Readers, one file a format.

The folder is the registry: a file with ``SUFFIXES`` reads files, one with ``SCHEME`` what comes after ``scheme:``. A
file reader has ``read(path, limit)``, a scheme reader ``read(name, limit)``. Both give records and faults, and hold no
more than about ``limit`` bytes of a record in memory. ``TABULAR = True`` says that all records have the same fields;
such a reader takes ``columns``, the names of the columns of a table without a header, too. A file reader with
``recognises(head)`` reads files without a known suffix whose first bytes it recognises, those with ``GENERAL = True``
last. One with ``divides(head)`` says by a file's first bytes whether lines are records, so that several processes may
read parts of it.

Files of your own are readers too: name their folders in the environment variable ``PRETRIEVE_READERS``, divided as in
``PATH`` (docs/add-a-reader.md).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType

from pretrieve.core.errors import ExtensionError
from pretrieve.core.extensions import Registry, check_call, place

FOLDERS = "PRETRIEVE_READERS"  # environment variable: folders of readers of your own
REGISTRY = Registry(
    package=__name__,
    folder=Path(__file__).parent,
    variable=FOLDERS,
    noun="reader",
    page="docs/add-a-reader.md",
    parts=("read",),
)


def by_suffix() -> dict[str, ModuleType]:
    """Readers of files by the suffix they read.

    Raises:
        UsageError: a folder of ``PRETRIEVE_READERS`` does not exist.
        ExtensionError: one of its files is no reader, or reads what another does.
    """
    return _readers(REGISTRY.folders())[0]


def by_scheme() -> dict[str, ModuleType]:
    """Readers of other sources by scheme.

    Raises:
        UsageError: as ``by_suffix``.
        ExtensionError: as ``by_suffix``.
    """
    return _readers(REGISTRY.folders())[1]


def by_content(head: bytes) -> ModuleType | None:
    """The reader of a file without a known suffix; None if no reader recognises its first bytes.

    Args:
        head: the first bytes of the file, unpacked.
    """
    found = {id(module): module for module in by_suffix().values() if hasattr(module, "recognises")}
    readers = sorted(found.values(), key=lambda module: getattr(module, "GENERAL", False))
    return next((module for module in readers if module.recognises(head)), None)


@cache
def _readers(folders: tuple[Path, ...]) -> tuple[dict[str, ModuleType], dict[str, ModuleType]]:
    """The readers of all folders, by suffix and by scheme; a user's reader comes before the package's."""
    suffixes: dict[str, ModuleType] = {}
    schemes: dict[str, ModuleType] = {}
    for path in REGISTRY.files(folders):
        module = REGISTRY.module(path)
        if REGISTRY.is_own(path):
            _check(module)
        scheme = getattr(module, "SCHEME", None)
        found = [(suffixes, suffix) for suffix in getattr(module, "SUFFIXES", ())]
        for table, key in [*found, *([(schemes, scheme)] if scheme else [])]:
            if key in table and REGISTRY.is_own(path) == REGISTRY.is_own(Path(str(table[key].__file__))):
                raise ExtensionError(f"{place(module, key)}: {key!r} is read by {table[key].__file__} already.")
            table[key] = module
    return suffixes, schemes


def _check(module: ModuleType) -> None:
    """Refuse a user's reader that could not be called, or would never be.

    Raises:
        ExtensionError: it names no suffix and no scheme, or wrong ones, or ``read`` takes other arguments.
    """
    suffixes, scheme = getattr(module, "SUFFIXES", ()), getattr(module, "SCHEME", None)
    if not suffixes and not scheme:
        raise ExtensionError(
            f"{module.__file__} is not a complete reader: it lacks SUFFIXES or SCHEME ({REGISTRY.page})."
        )
    if isinstance(suffixes, str) or any(not suffix.startswith(".") or suffix != suffix.lower() for suffix in suffixes):
        raise ExtensionError(
            f'{module.__file__}: SUFFIXES is a tuple of lower-case suffixes with their dot, such as (".log",).'
        )
    check_call(module.read, "path" if suffixes else "name", "limit")
