"""A recipe holds everything that determines a run: with the same documents it reproduces the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, FingerprintError

_SHOWN = 3  # maximum number of differences named in a message
_COMPARED = ("corpus", "tokenizer", "method", "variant", "base", "seed", "encoder", "options", "training")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The effective values of a run, after presets, defaults and calibration; saved as ``recipe.json``.

    ``corpus``, ``tokenizer`` and ``store`` are fingerprints; ``sources`` and ``command`` are informative. ``variant``
    is the variant of the preset.
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
        """Identity of what the run computes, without the informative fields."""
        said = asdict(self)
        return files.fingerprint({key: said[key] for key in said if key not in ("sources", "command", "versions")})

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values, with its fingerprint."""
        return {**asdict(self), "fingerprint": self.fingerprint}

    def check_same(self, before: Recipe) -> None:
        """Refuse to resume a run that had another recipe.

        Raises:
            FingerprintError: names what differs.
        """
        old, new = (plain({name: getattr(one, name) for name in _COMPARED}) for one in (before, self))
        check_same(old, new)


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


def plain(values: Any) -> Any:
    """Values after a round trip through JSON, so that a tuple equals the list read from a file."""
    return orjson.loads(files.to_json(values))


def check_same(before: Any, now: Any, name: str = "") -> None:
    """Refuse to resume a run with other values: the check of every command, for finished and interrupted runs.

    Args:
        before: plain values of the run, nested by name.
        now: the same of the command that resumes it.
        name: name of the values.

    Raises:
        FingerprintError: names what differs.
    """
    found = list(_differences(before, now, name))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise FingerprintError(
            f"cannot resume: {'; '.join(found[:_SHOWN])}{more}. Give the same command as before, or another --output."
        )


def _differences(before: Any, now: Any, name: str) -> Iterator[str]:
    """Each differing value as text, by its dotted name."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield f"{name} was {_shown(before)} and is {_shown(now)}"


def _shown(value: Any) -> str:
    return "not set" if value is None else orjson.dumps(value).decode() if isinstance(value, list) else str(value)
