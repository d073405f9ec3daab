"""Strategies for hard negatives, one file each: what ``--negatives`` takes.

The folder is the registry. Files of your own are strategies too: name their folders in the environment variable
``PRETRIEVE_NEGATIVES``, divided as in ``PATH`` (docs/add-negatives.md). A strategy's file holds:

* ``NAME`` and ``SUMMARY``: what ``--negatives`` takes, and what ``--help`` says of it; both written out as text, as
  they are read without importing;
* ``find(task)``: the labels with their negatives (``pipeline.finetune.task.Task``).

Optional names:

* ``objective(start, values, sampler, seed)``: another loss than ``Contrastive``, such as one that mines negatives
  itself during training; with it ``--set`` takes the values of ``Refresh``;
* ``NUMBER = 0``: hard negatives an example, where the user sets none; the recipe's otherwise;
* ``SCORED = True``: a teacher's scores of the negatives are known where the labels bring them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

from pretrieve.core.errors import ExtensionError, PretrieveError, UsageError, suggest
from pretrieve.core.extensions import Registry, assigned, check_call

FOLDERS = "PRETRIEVE_NEGATIVES"  # environment variable: folders of strategies of your own
REGISTRY = Registry(
    package=__name__,
    folder=Path(__file__).parent,
    variable=FOLDERS,
    noun="strategy for negatives",
    page="docs/add-negatives.md",
    parts=("NAME", "SUMMARY", "find"),
)


class Strategy(Protocol):
    """The names that a strategy's file defines.

    Attributes:
        NAME: what ``--negatives`` takes.
        SUMMARY: which negatives these are, for ``--help``.
        find: from a ``Task`` to its labels, with negatives.
    """

    NAME: str
    SUMMARY: str
    find: Callable[[Any], Any]


def find(name: str) -> Strategy:
    """The strategy of a name.

    Raises:
        UsageError: there is none; the closest is suggested.
        ExtensionError: a user's file is wrong.
    """
    known = _listed(REGISTRY.folders())
    if name not in known:
        raise UsageError(f"--negatives: unknown strategy {name!r}.{suggest(name, known)}")
    path = known[name][0]
    module = REGISTRY.module(path)
    if REGISTRY.is_own(path):
        check_call(module.find, "task")
        if hasattr(module, "objective"):
            check_call(module.objective, "start", "values", "sampler", "seed")
    return cast(Strategy, module)


def summaries() -> dict[str, str]:
    """What each strategy is, by name; for ``--help``, which shows the package's alone where a user's file is wrong."""
    try:
        known = _listed(REGISTRY.folders())
    except PretrieveError:  # reported when the command runs
        known = _listed((REGISTRY.folder,))
    return {name: summary for name, (_, summary) in known.items()}


@cache
def _listed(folders: tuple[Path, ...]) -> dict[str, tuple[Path, str]]:
    """File and summary of each strategy; nothing is imported."""
    found: dict[str, tuple[Path, str]] = {}
    for path in REGISTRY.files(folders):
        tree = REGISTRY.parsed(path)
        said = [getattr(assigned(tree, part), "value", None) for part in ("NAME", "SUMMARY")]
        name, summary = (value if isinstance(value, str) else "" for value in said)
        if not (name and summary):
            raise ExtensionError(f"{path}: NAME and SUMMARY have to be texts that are written out ({REGISTRY.page}).")
        if name in found:
            raise ExtensionError(f"{path}: the name {name!r} is taken by {found[name][0]}: give it another.")
        found[name] = (path, summary)
    return found
