"""Opening an index on disk: its parts and its model, all of one version.

A reader opens everything, and looks at the MANIFEST again: if the index was changed or replaced meanwhile, it starts
over. What is open stays as it was: files are mapped, and never changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError, StorageError, UsageError, VersionError
from pretrieve.core.types import BoolArray, TextEncoder
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.building import VERSION, Made, static_beside, ties_of
from pretrieve.index.dense import Dense
from pretrieve.index.fuse import Fusion
from pretrieve.index.ids import Members
from pretrieve.index.lexical import BM25, Lexical
from pretrieve.index.parts import Collection, Living, Part, alive_of
from pretrieve.index.pseudo import Records
from pretrieve.index.stop_words import StopWords
from pretrieve.index.stored_model import MODEL, check_settings, model_place
from pretrieve.index.storing import told
from pretrieve.index.vector_options import VectorOptions
from pretrieve.models.bag import Bag
from pretrieve.models.model_options import ModelOptions

_ATTEMPTS = 100  # times that an index is opened anew because it was changed meanwhile
OpenModel = Callable[[str, Mapping[str, Any]], TextEncoder]  # from a place and the settings of the user


@dataclass(frozen=True, kw_only=True)
class Opened(Made):
    """What an index on disk is made of.

    Attributes:
        meta: facts of its MANIFEST.
        parts: its parts, those without documents too.
        collection: documents by number, deleted ones included.
        documents: those that are there.
        state: its MANIFEST, as bytes.
    """

    meta: Mapping[str, Any]
    parts: tuple[Part, ...]
    collection: Collection
    documents: Records
    state: bytes = b""


def open_parts(
    path: Path,
    encoder: TextEncoder | None = None,
    *,
    open_model: OpenModel | None = None,
    with_model: bool = True,
    place: str | None = None,
) -> Opened:
    """Open an index; see ``Index.open``.

    Args:
        path: its folder.
        encoder: the model, opened already.
        open_model: opens the model; default: static models only.
        with_model: open vectors and model.
        place: where the model is, in place of what the index says.

    Raises:
        PretrieveError: as ``Index.open``.
        StorageError: it was changed again and again meanwhile.
    """
    for _ in range(_ATTEMPTS):
        before = _state(path)
        try:
            opened = _open(path, encoder, open_model or _static_model(path), with_model=with_model, place=place)
        except Exception:  # of an index that changes meanwhile, anything may be missing
            if _state(path) == before:
                raise
            continue
        if _state(path) == before:
            return replace(opened, state=before)
    raise StorageError(f"{path} was changed {_ATTEMPTS} times while it was opened: try again.")


def _state(path: Path) -> bytes:
    """The MANIFEST as it is now."""
    try:
        return (path / files.MANIFEST).read_bytes()
    except OSError:
        return b""


def _open(
    path: Path, encoder: TextEncoder | None, open_model: OpenModel, *, with_model: bool, place: str | None
) -> Opened:
    with files.reading(path, "index") as meta:
        if meta.get("version") != VERSION:
            raise VersionError(f"{path} was made by another version of pretrieve: index the documents again.")
        return _open_checked(path, meta, encoder, open_model, with_model=with_model, place=place)


def _open_checked(
    path: Path,
    meta: Mapping[str, Any],
    encoder: TextEncoder | None,
    open_model: OpenModel,
    *,
    with_model: bool,
    place: str | None,
) -> Opened:
    parts = tuple(
        Part.open(path, one["number"], one["documents"], passages=meta["lexical"]["passages"]) for one in meta["parts"]
    )
    alive = alive_of(parts)
    full = [(part, living) for part, living in zip(parts, alive, strict=True) if part.documents is not None]
    members = Members(tuple(part.ids for part, _ in full), _joined([living for _, living in full],
                                                                   [len(part) for part, _ in full]))  # fmt: skip
    collection = Collection([part.documents for part, _ in full if part.documents is not None], members.starts)
    whole = len(full) == 1 and members.alive is None
    dense, third = None, None
    if with_model:
        model = meta["model"]
        if encoder is None:
            where = place or model_place(path, model)
            encoder = open_model(where, model.get("described", {}))
            check_settings(path, where, model)
        _check_model(path, model, encoder)
        dense = _vectors("vectors", meta, [part for part, _ in full], encoder, members)
        third = _third(path, meta, encoder, [part for part, _ in full], members)
    return Opened(
        lexical=_lexical(path, meta, [part for part, _ in full], [living for _, living in full], members),
        dense=dense,
        third=third,
        fusion=Fusion(**meta["fusion"]),
        members=members,
        meta=meta,
        parts=parts,
        collection=collection,
        documents=collection.parts[0] if whole else Living(collection, members.numbers),
    )


def _joined(alive: list[BoolArray | None], sizes: list[int]) -> BoolArray | None:
    if all(which is None for which in alive):
        return None
    pairs = zip(alive, sizes, strict=True)
    return np.concatenate([np.ones(size, bool) if which is None else which for which, size in pairs])


def _lexical(
    path: Path, meta: Mapping[str, Any], parts: list[Part], alive: list[BoolArray | None], members: Members
) -> Lexical:
    facts = meta["lexical"]
    return Lexical.over(
        _analyzer(path, meta),
        [part.postings for part in parts if part.postings is not None],
        BM25(k1=facts["k1"], b=facts["b"]),
        alive=alive,
        passages=[part.passages for part in parts if part.passages is not None] if facts["passages"] else None,
        ties=ties_of(members),
    )


def _third(
    path: Path, meta: Mapping[str, Any], encoder: TextEncoder, parts: list[Part], members: Members
) -> Dense | None:
    model = meta["model"]
    static = static_beside(encoder) if "third" in model else None
    if (None if static is None else static[0].fingerprint) != model.get("third"):
        raise FingerprintError(f"{path}: the static model beside {encoder.location} is another one: index again.")
    return None if static is None else _vectors("third", meta, parts, static[0], members)


CALLED = {"vectors": "Vectors", "third": "Vectors of the static model"}


def _vectors(name: str, meta: Mapping[str, Any], parts: list[Part], encoder: TextEncoder, members: Members) -> Dense:
    """Map the vectors of a model."""
    measured = {one["number"]: one.get("measured", {}).get(name, {}) for one in meta["parts"]}
    found, options = [measured[part.number] for part in parts], VectorOptions.of(meta)
    return Dense.open(
        [part.path / name for part in parts],
        encoder,
        members,
        facts=[one.get("approximate") for one in found],
        notes=tuple(line for one in found for line in told(CALLED[name], one, options)),
    )


def _check_model(path: Path, built: Mapping[str, Any], encoder: TextEncoder) -> None:
    """Refuse another model than the index was built with, and the same one whose configuration has changed."""
    if encoder.fingerprint != built["fingerprint"]:
        raise FingerprintError(
            f"{path} was built with model {built['fingerprint']} ({built['location']}), but the model is now "
            f"{encoder.fingerprint} ({encoder.location}): restore or give the first, or index again."
        )
    now = getattr(encoder, "configuration", None)
    if now != built.get("configuration", now):  # an encoder of one's own may not say
        raise FingerprintError(
            f"{path} was built with another configuration ({built['configuration']}, now {now}) of {encoder.location}: "
            "its modules, pooling, length or dimensions have changed. Restore the model, or index again."
        )


def check_place(path: Path, place: str, facts: Mapping[str, Any]) -> None:
    """Refuse a model that is not where the index says.

    Raises:
        UsageError: the folder of its model is not there; the text says what to do.
    """
    if Path(place).is_dir() or ("path" not in facts and not Path(place).is_absolute()):
        return
    if facts.get("path") == MODEL:
        raise UsageError(f"{path} lacks its model ({place}): restore the folder from a copy, or index again.")
    raise UsageError(
        f"{place}, the model of {path}, no longer exists: put it back, give `pretrieve search` its new place with "
        "--model, or index again."
    )


def _static_model(path: Path) -> OpenModel:
    """Opens static models, which need no torch."""

    def opened(place: str, described: Mapping[str, Any]) -> TextEncoder:
        folder = Path(place)
        if not folder.is_dir():
            raise UsageError(f"{place}, the model of {path}, no longer exists: put it back, or index again.")
        if not Bag.readable(folder):
            raise UsageError(f"{folder}, the model of {path}, is no static model: open it, and give it as the encoder.")
        return Bag.load(folder, ModelOptions(**described))

    return opened


def _analyzer(path: Path, meta: Mapping[str, Any]) -> Analyzer:
    """The analyzer of the documents, with the stop words of that time: a library's lists change."""
    try:
        analysis = Analysis(**meta["analysis"] | {"languages": tuple(meta["analysis"]["languages"])})
        lists = {language: StopWords.from_facts(meta["stop_words"][language]) for language in analysis.languages}
    except (KeyError, TypeError):
        raise VersionError(f"{path} was made by an earlier version of pretrieve: index the documents again.") from None
    return Analyzer(analysis, stop_words=lists)
