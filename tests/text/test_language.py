"""Languages and scripts."""

from __future__ import annotations

import pytest

from pretrieve.text.language import detect, majority, same_language, spaceless, starts_spaceless

TEXTS = {
    "en": "The cat sat on the mat because it was warm there in the afternoon sun.",
    "de": "Die Katze saß auf der Matte, weil es dort in der Nachmittagssonne warm war.",
    "fr": "Le chat était assis sur le tapis parce qu'il faisait chaud au soleil de l'après-midi.",
    "ja": "猫は午後の日差しで暖かかったので、マットの上に座っていました。",
    "th": "แมวนั่งอยู่บนเสื่อเพราะที่นั่นอบอุ่นในแสงแดดยามบ่าย",
    "ru": "Кошка сидела на коврике, потому что там было тепло на послеполуденном солнце.",
}


@pytest.mark.parametrize("code", TEXTS)
def test_detect(code: str) -> None:
    assert detect(TEXTS[code]) == code


def test_no_letters_no_language() -> None:
    assert detect("") == detect("123 -- 456 !") == "en"


def test_majority() -> None:
    assert majority([TEXTS["de"], TEXTS["de"], TEXTS["fr"]]) == "de"
    assert majority([TEXTS["fr"], TEXTS["de"]]) == "de"
    assert majority([]) == "en"


def test_spaceless() -> None:
    assert {code for code, text in TEXTS.items() if spaceless(text)} == {"ja", "th"}
    assert spaceless("ភាសាខ្មែរ")
    assert not spaceless("")
    assert not spaceless("123 !?")
    assert not spaceless("한국어는 띄어쓰기를 한다")
    assert not spaceless(TEXTS["en"] + "猫")


def test_starts_spaceless() -> None:
    assert starts_spaceless("猫x")
    assert starts_spaceless("แ")
    assert not starts_spaceless("ิ")  # a vowel sign, which continues its consonant
    assert not starts_spaceless("x猫")
    assert not starts_spaceless("")


def test_same_language() -> None:
    for group, wanted in (
        ("de", "de"), ("DE", "de"), ("pt_BR", "pt-br"), ("pt-BR", "pt"), ("pt", "pt-BR"), ("sr@latin", "sr"),
        ("zh", "zh-cn"), ("zh", "zh-tw"), ("zh-CN", "zh-cn"), ("zh-Hant", "zh-tw"), ("zh_Hans", "zh-cn"),
        ("nb", "no"), ("nn", "no"), ("iw", "he"),
    ):  # fmt: skip
        assert same_language(group, wanted), (group, wanted)
    for group, wanted in (("zh-tw", "zh-cn"), ("zh-hk", "zh-cn"), ("pt-PT", "pt-BR"), ("de", "da"), ("", "de")):
        assert not same_language(group, wanted), (group, wanted)
