"""The groups of a corpus, languages or sources: which of them a run draws from, and what to know of their sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretrieve.core.errors import UsageError
from pretrieve.core.types import BoolArray
from pretrieve.sampling.items import TokenStore
from pretrieve.text.language import same_language

FEW = 20  # documents of a group whose pairs come back so often that they are learned by heart
_NAMED = 12  # names that a note lists


def kept_groups(names: Sequence[str], languages: Sequence[str]) -> BoolArray | None:
    """Say which groups hold one of some languages (``text.language.same_language``), or equal one of the names.

    Args:
        names: of the G groups.
        languages: what is wanted; nothing keeps all.

    Returns:
        (G,), or None where all groups are kept.

    Raises:
        UsageError: no group is left.
    """
    if not languages:
        return None
    keep = np.array([any(name == wanted or same_language(name, wanted) for wanted in languages) for name in names])
    if not keep.any():
        raise UsageError(
            f"none of the documents is in {_listed(languages)}; the corpus holds {_listed(names)}: set languages= to "
            "some of these, name the field of the language by --group-field, or give --group-field detect."
        )
    return None if keep.all() else keep


def group_notes(store: TokenStore, keep: BoolArray | None, coefficient: float) -> tuple[str, ...]:
    """What to tell of a corpus before a run over its groups: who is left out, and which groups are too small.

    Args:
        store: the documents.
        keep: (G,) the groups that are drawn from; None for all.
        coefficient: exponent of group sizes (``batches.mixture``).
    """
    names, counts = store.group_names, np.bincount(np.asarray(store.groups), minlength=len(store.group_names))
    kept = np.ones(len(names), bool) if keep is None else keep
    notes = []
    if not kept.all():
        left = [names[group] or "no language" for group in np.flatnonzero(~kept)]
        notes.append(f"{counts[~kept].sum():,} documents are left out, of the groups {_listed(left)}.")
    small = [names[group] or "no language" for group in np.flatnonzero(kept & (counts < FEW))]
    if small and kept.sum() > 1 and coefficient < 1.0:
        notes.append(
            f"groups of fewer than {FEW} documents come back again and again at coefficient={coefficient:g}: "
            f"{_listed(small)}. Leave them out by languages=, or raise the coefficient towards 1."
        )
    return tuple(notes)


def _listed(names: Sequence[str]) -> str:
    shown = [name or "no language" for name in names[:_NAMED]]
    return ", ".join(shown) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
