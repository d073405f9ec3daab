"""Which groups of a corpus a run draws from, languages read from a field or detected, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.pipeline.inspect import InspectRequest, look
from pretrieve.pipeline.pretrain.data import train_tokenizer
from pretrieve.pipeline.pretrain.request import Tokenization, TrainRequest, train_command
from pretrieve.sampling.groups import group_notes, kept_groups
from pretrieve.text.corpus import Fields, read
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store

SENTENCES = {
    "en": "The river is known for its music and many people visit the old harbour in the summer to see it.",
    "de": "Der Fluss ist für seine Musik bekannt und viele Leute besuchen im Sommer den alten Hafen, um ihn zu sehen.",
    "ru": "Река известна своей музыкой, и многие люди летом приезжают в старую гавань, чтобы увидеть её.",
}
SIZES = {"en": 60, "de": 24, "ru": 12}


def corpus(folder: Path, field: str | None = None) -> Path:
    path = folder / f"corpus-{field}.jsonl"
    lines = []
    for code, size in SIZES.items():
        for number in range(size):
            record = {"id": f"{code}{number}", "text": " ".join([SENTENCES[code], f"{number}."] * 3)}
            lines.append(json.dumps(record | ({field: code} if field else {}), ensure_ascii=False))
    path.write_text("\n".join(np.random.default_rng(0).permutation(lines)) + "\n")
    return path


@pytest.mark.parametrize("field", ["lang", "language"])
def test_the_language_is_read_from_a_field_by_convention(field: str, tmp_path: Path) -> None:
    for document in read([corpus(tmp_path, field)]):
        assert document.group == document.id[:2]


def test_the_language_is_detected_where_asked(tmp_path: Path) -> None:
    source = corpus(tmp_path)
    assert {document.group for document in read([source])} == {""}
    detected = Fields(group="detect")
    for document in read([source], fields=detected):
        assert document.group == document.id[:2]
    first, again, plain = (
        Documents.write(tmp_path / name, read([source], fields=fields)).fingerprint
        for name, fields in (("a", detected), ("b", detected), ("c", Fields()))
    )
    assert first == again != plain  # what was detected belongs to the corpus
    request = TrainRequest(sources=("x",), output=Path("m"), fields=detected)
    assert "--group-field detect" in train_command(request)


def test_a_named_group_field_that_is_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no field 'langue'"):
        list(read([corpus(tmp_path, "lang")], fields=Fields(group="langue")))


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 1.0])
def test_inspect_shows_the_frequencies_of_a_real_store(coefficient: float, tmp_path: Path) -> None:
    """The pairs that ``inspect`` shows are of groups at their share to the power of the coefficient."""
    asked = InspectRequest(
        sources=(str(corpus(tmp_path)),), method="mcontriever", number=3000, fields=Fields(group="detect"),
        settings={"coefficient": str(coefficient), "vocabulary_size": "400", "window": "64"},
    )  # fmt: skip
    pairs, summary = look(asked)
    assert summary["options"]["coefficient"] == coefficient
    documents = Documents.write(tmp_path / "d", read([corpus(tmp_path)], fields=Fields(group="detect")))
    tokens = train_tokenizer(documents, np.arange(len(documents)), Tokenization(vocabulary_size=400))
    store = Store.build(tmp_path / "s", documents, tokens)
    from pretrieve.sampling.items import Concatenated, Windows

    options = summary["options"]
    source = (Concatenated if options["concat"] else Windows)(store, 64, coefficient=0.5)
    share = dict(zip((store.group_names[g] for g in np.unique(store.groups)), source.mixture.sizes, strict=True))
    weights = {name: (size / sum(share.values())) ** coefficient for name, size in share.items()}
    for name in SIZES:
        expected = weights[name] / sum(weights.values())
        seen = np.mean([pair["group"] == name for pair in pairs])
        assert abs(seen - expected) < 3 * np.sqrt(expected * (1 - expected) / len(pairs)) + 0.01, name


def test_kept_groups() -> None:
    names = ("de", "pt-BR", "zh", "tlh", "")
    assert kept_groups(names, ()) is None
    assert kept_groups(names, ("pt", "zh-cn", "sw")).tolist() == [False, True, True, False, False]
    assert kept_groups(names, ("tlh",)).tolist() == [False, False, False, True, False]
    assert kept_groups(("de", "fr"), ("fr", "de", "it")) is None
    with pytest.raises(UsageError, match="the corpus holds no language: set languages="):
        kept_groups(("",), ("de",))


def test_notes_name_the_groups() -> None:
    documents = replace(tiny.store(80, groups=4), group_names=tuple(f"g{number}" for number in range(4)))
    assert group_notes(documents, None, 0.0) == ()
    (left,) = group_notes(documents, np.array([True, False, True, False]), 0.0)
    assert left == "40 documents are left out, of the groups g1, g3."
    few = replace(documents, groups=np.where(np.arange(80) < 5, 3, np.arange(80) % 3))
    assert "coefficient=0.3: g3." in group_notes(few, None, 0.3)[0]
    assert group_notes(few, None, 1.0) == ()
    many = replace(documents, groups=np.arange(80) % 20, group_names=tuple(f"g{number}" for number in range(20)))
    assert group_notes(many, None, 0.0)[0].count("g1") >= 2
    assert "and 8 more" in group_notes(many, None, 0.0)[0]
