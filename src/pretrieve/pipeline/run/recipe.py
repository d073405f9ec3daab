"""A recipe is everything that decides a run: with the same documents it gives the same model again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, FingerprintError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The effective values of a run, after presets, defaults and calibration; kept as ``recipe.json``.

    ``corpus``, ``tokenizer`` and ``store`` are fingerprints; ``sources`` and ``command`` are for people. ``variant``
    names the variant of the preset that the values are of.
    """

    method: str
    base: str
    seed: int
    options: Mapping[str, Any]
    training: Mapping[str, Any]
    encoder: Mapping[str, Any] = field(default_factory=dict)
    corpus: str = ""
    tokenizer: str = ""
    store: str = ""
    variant: str = ""
    sources: tuple[str, ...] = ()
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Identity of what the run computes: everything but the words for people."""
        said = asdict(self)
        return files.fingerprint({key: said[key] for key in said if key not in ("sources", "command", "versions")})

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values, with its fingerprint."""
        return {**asdict(self), "fingerprint": self.fingerprint}


def load(path: Path) -> Recipe:
    """Read a ``recipe.json``.

    Raises:
        CorruptError: it is damaged, or does not match its own fingerprint.
    """
    try:
        values = orjson.loads(path.read_bytes())
        said = values.pop("fingerprint")
        recipe = Recipe(**{**values, "sources": tuple(values["sources"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path} cannot be read as a recipe ({error}).") from None
    if recipe.fingerprint != said:
        raise CorruptError(
            f"{path}: its fingerprint says {said}, its values give {recipe.fingerprint}: it was changed."
        )
    return recipe


def check_same(before: Recipe, now: Recipe) -> None:
    """Refuse to resume a run as another one.

    Raises:
        FingerprintError: names what differs.
    """
    for name in ("corpus", "tokenizer", "method", "variant", "base", "seed", "encoder", "options", "training"):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            detail = f"{old} before, {new} now"
            if isinstance(old, Mapping) and isinstance(new, Mapping):
                keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
                detail = ", ".join(f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in keys)
            raise FingerprintError(
                f"cannot resume: the {name} differs ({detail}). Give the same command as before, or another --output."
            )
