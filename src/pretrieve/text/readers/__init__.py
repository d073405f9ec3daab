"""Readers, one file a format.

The folder is the registry: a file with ``SUFFIXES`` reads files, one with ``SCHEME`` what comes after ``scheme:``. A
file reader has ``read(path, limit)``, a scheme reader ``read(name, limit)``. Both give records and faults, and hold no
more than about ``limit`` bytes of a record in memory.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

_NAMES = [info.name for info in pkgutil.iter_modules(__path__)]


@cache
def by_suffix() -> dict[str, ModuleType]:
    """Readers of files by the suffix they read."""
    return {suffix: module for module in _modules() for suffix in getattr(module, "SUFFIXES", ())}


@cache
def by_scheme() -> dict[str, ModuleType]:
    """Readers of other sources by scheme."""
    return {module.SCHEME: module for module in _modules() if hasattr(module, "SCHEME")}


def _modules() -> list[ModuleType]:
    return [importlib.import_module(f"{__name__}.{name}") for name in _NAMES]
