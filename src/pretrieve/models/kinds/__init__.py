"""Kinds of encoders that are trained from scratch, one file each: what ``--base`` takes beside a model.

The folder is the registry. Files of your own are kinds too: name their folders in the environment variable
``PRETRIEVE_ENCODERS``, divided as in ``PATH`` (docs/add-an-encoder.md). A kind's file holds:

* ``BASE``: the word that asks for it, ``--base BASE`` or ``--base BASE:key=value,...``; written out as text;
* ``FAMILY``: "static" for a bag of words without special tokens, "transformer" for all else; it says which methods
  train it, and with which of their values;
* ``build(settings, store, options, seed)``: the encoder; ``settings`` is what stands behind the colon.

An encoder of a user's kind is saved by its own ``stock_modules(tokenizer)`` (``models/export.py``). To be read back as
an encoder, which fine-tuning and ``--base FOLDER`` need, the file also holds:

* ``MODULES``: names of the stock modules that it is saved as, but for ``Normalize``;
* ``restore(paths)``: the encoder from the folders of those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pretrieve.core.errors import ExtensionError
from pretrieve.core.extensions import Registry, assigned, check_call, place

FOLDERS = "PRETRIEVE_ENCODERS"  # environment variable: folders of kinds of your own
REGISTRY = Registry(
    package=__name__,
    folder=Path(__file__).parent,
    variable=FOLDERS,
    noun="kind of encoder",
    page="docs/add-an-encoder.md",
    parts=("BASE", "FAMILY", "build"),
)


class Kind(Protocol):
    """The names that a kind's file defines.

    Attributes:
        BASE: the word that asks for it.
        FAMILY: which methods train it.
        build: from settings, documents, options and seed to an encoder.
    """

    __name__: str
    BASE: str
    FAMILY: Literal["static", "transformer"]
    build: Callable[[str, Any, Any, int], Any]


def find(base: str) -> Kind | None:
    """The kind that ``--base`` asks for; None for a folder or a name of the hub.

    Args:
        base: its text.

    Raises:
        UsageError: a folder of ``PRETRIEVE_ENCODERS`` does not exist.
        ExtensionError: a user's file is wrong.
    """
    known = _listed(REGISTRY.folders())
    word = base.partition(":")[0]
    return _kind(known[word]) if word in known else None


def restoring(modules: Sequence[str]) -> Callable[[Sequence[Path]], Any] | None:
    """What reads an encoder that was saved as these stock modules; None where no user's kind does.

    Args:
        modules: their names, in order.

    Raises:
        ExtensionError: a user's file is wrong.
    """
    for path in _listed(REGISTRY.folders()).values():
        if REGISTRY.is_own(path) and tuple(modules) == getattr(_kind(path), "MODULES", None):
            restore: Callable[[Sequence[Path]], Any] = cast(Any, _kind(path)).restore
            return restore
    return None


@cache
def _listed(folders: tuple[Path, ...]) -> dict[str, Path]:
    """The file of each kind, by its word; nothing is imported."""
    found: dict[str, Path] = {}
    for path in REGISTRY.files(folders):
        word = getattr(assigned(REGISTRY.parsed(path), "BASE"), "value", None)
        if not isinstance(word, str) or not word.isidentifier():
            raise ExtensionError(f"{path}: BASE has to be a word that is written out ({REGISTRY.page}).")
        if word in found:
            raise ExtensionError(f"{path}: the word {word!r} is taken by {found[word]}: choose another.")
        found[word] = path
    return found


@cache
def _kind(path: Path) -> Kind:
    module = REGISTRY.module(path)
    if REGISTRY.is_own(path):
        if module.FAMILY not in ("static", "transformer"):
            raise ExtensionError(f'{place(module, module.FAMILY)}: FAMILY is "static" or "transformer".')
        check_call(module.build, "settings", "store", "options", "seed")
        if hasattr(module, "MODULES"):
            REGISTRY.check_parts(module, ("restore",))
            check_call(module.restore, "paths")
    return cast(Kind, module)
