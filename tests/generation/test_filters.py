"""What is dropped by its words alone: one case for each reason, and what is close to it and stays."""

from __future__ import annotations

from pretrieve.core.types import Document
from pretrieve.generation.filters import COPIED, DUPLICATE, EMPTY, LONG, TITLE, sift

TEXT = "The night train leaves Vienna at 19:42, and reaches Venice at half past eight in the morning."
DOCUMENT = Document(id="d", title="Night trains: Vienna to Venice", text=TEXT)


def filtered(*queries: str, copied_words: int = 8) -> tuple[list[str], list[str]]:
    found = sift(queries, DOCUMENT, copied_words=copied_words)
    return found.kept, found.dropped


def test_each_reason() -> None:
    assert filtered("", "  ?! ") == ([], [EMPTY, EMPTY])
    assert filtered("word " * 65, "x" * 513) == ([], [LONG, LONG])
    assert filtered("Sleeper to Venice?", "sleeper  to venice") == (["Sleeper to Venice?"], [DUPLICATE])
    assert filtered("night trains - Vienna to Venice") == ([], [TITLE])
    assert filtered("why leaves Vienna at 19:42 and reaches Venice at") == ([], [COPIED])


def test_what_stays() -> None:
    long = " ".join(f"w{number}" for number in range(64))
    assert filtered(long, "night trains Vienna", "leaves Vienna at 19:42") == (
        [long, "night trains Vienna", "leaves Vienna at 19:42"], [],
    )  # fmt: skip


def test_the_run_is_longer_than_it_may_be_by_one_word() -> None:
    eight, nine = "vienna at 19 42 and reaches venice at", "vienna at 19 42 and reaches venice at half"
    assert filtered(eight) == ([eight], [])
    assert filtered(nine) == ([], [COPIED])
    assert filtered(nine, copied_words=0) == ([nine], [])
    assert filtered("trains vienna to venice here", copied_words=3) == ([], [COPIED]), "of the title too"
    assert filtered("in the mornings", copied_words=2) == (["in the mornings"], []), "half a word is none"
