"""Filters give what plain Python gives, on any fields; and say where they are wrong."""

from __future__ import annotations

import datetime
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.core.types import Document
from pretrieve.index.columns import Columns
from pretrieve.index.filters import Filter

WORDS = ["en", "EN", "de", "Straße", "STRASSE", "2024", "007", "1.10", "1.1", "", "a b", "2024-02-29", "2024-03-01",
         "2024-02-29T12:30:00", "2024-02-29T12:30:05Z", "true", "x%y", "an en dash", "ende"]  # fmt: skip
NUMBERS = [0, 1, 7, -3, 2024, 1.1, 2.5, 1e300, 2**53 + 1, 2**53]
scalars = st.sampled_from([*WORDS, *NUMBERS, True, False])
values = st.one_of(scalars, st.lists(scalars, min_size=1, max_size=3))
records = st.lists(st.dictionaries(st.sampled_from(["lang", "year", "Tags"]), values), min_size=1, max_size=8)
literals = st.sampled_from([*WORDS, "2024-02", "1.10", "7", "-3", "1", "9007199254740993", "2024-02-29T12:30", "zz"])
signs = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"])
fields = st.sampled_from(["lang", "year", "Tags"])


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def scalar_text(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def moment(text: str):
    text = text.casefold().removesuffix("z")
    try:
        return datetime.datetime.fromisoformat(text) if len(text) >= 10 else None
    except ValueError:
        return None


def span(text: str):
    for length, unit in ((4, "%Y"), (7, "%Y-%m")):
        if len(text) == length and text[:4].isdigit():
            try:
                first = datetime.datetime.strptime(text, unit)
            except ValueError:
                return None
            if length == 4:
                return first, first.replace(year=first.year + 1)
            return first, first.replace(month=first.month % 12 + 1, year=first.year + first.month // 12)
    first = moment(text)
    if first is None:
        return None
    step = {10: "days", 16: "minutes"}.get(len(text.removesuffix("Z")), "seconds")
    return first, first + datetime.timedelta(**{step: 1})


def number(text: str):
    try:
        return float(text)
    except ValueError:
        return None


def fits(value, sign: str, literal: str) -> bool:
    text, wanted = scalar_text(value).casefold(), literal.casefold()
    is_text = isinstance(value, str)
    if sign == "~":
        return is_text and (text.startswith(wanted[:-1]) if wanted.endswith("*") else wanted in text)
    when, stretch = (moment(text) if is_text else None), span(literal)
    if sign == "=":
        if text == wanted or (when is not None and stretch is not None and stretch[0] <= when < stretch[1]):
            return True
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and number(literal) is not None and abs(float(literal)) < 2**53 and value == float(literal)
    operation = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}[sign]
    if number(literal) is None and stretch is None:
        return is_text and getattr(text.encode(), operation)(wanted.encode())
    own = None if isinstance(value, bool) else number(text)
    if number(literal) is not None and own is not None and getattr(own, operation)(float(literal)):
        return True
    if stretch is None or when is None:
        return False
    first, after = stretch
    return {"<": when < first, "<=": when < after, ">": when >= after, ">=": when >= first}[sign]


def plain(record, field, sign, literal) -> bool:
    if sign == "!=":
        return not plain(record, field, "=", literal)
    found = record.get(field, [])
    return any(fits(value, sign, literal) for value in (found if isinstance(found, list) else [found]))


def columns(found) -> Columns:
    return Columns.of(Document(id=str(n), text="t", fields=record) for n, record in enumerate(found))


@settings(max_examples=400, deadline=None)
@given(records, fields, signs, literals, fields, signs, literals, st.sampled_from(["and", "or"]), st.booleans())
def test_a_filter_is_what_python_says(found, field, sign, literal, field2, sign2, literal2, how, negated) -> None:
    found = [{"lang": "q", "year": "q", "Tags": "q"}, *found]  # every name is known
    first, second = f"{field} {sign} {quoted(literal)}", f"{field2}{sign2}{quoted(literal2)}"
    text = f"{first} {how} {'not ' * negated}({second})"
    expected = [
        (all if how == "and" else any)(
            [plain(record, field, sign, literal), plain(record, field2, sign2, literal2) != negated]
        )
        for record in found
    ]
    assert Filter.parse(text).mask([columns(found)]).tolist() == expected
    parts = [columns(found[:2]), columns(found[2:])]
    assert Filter.parse(text).mask(parts).tolist() == expected, "parts give what the whole gives"


SOME = [
    {"lang": "en", "date": "2025-03-01", "tags": ["a", "b"], "pages": 12, "draft": True},
    {"lang": "de", "date": "2024-12-31T23:59:00", "tags": "b", "pages": 3.5},
    {"Publish Date": "2020-01-01", "name": 'say "hi"'},
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lang=en and date>=2025-01-01", [1, 0, 0]),
        ("LANG = EN", [1, 0, 0]),
        ("date<=2024", [0, 1, 0]),
        ("date=2024-12", [0, 1, 0]),
        ("pages > 3 and pages < 12", [0, 1, 0]),
        ("tags=b", [1, 1, 0]),
        ("tags!=a", [0, 1, 1]),
        ("lang in (en, 'fr')", [1, 0, 0]),
        ("lang not in (en, fr)", [0, 1, 1]),
        ("lang exists", [1, 1, 0]),
        ("lang not exists or draft=true", [1, 0, 1]),
        ("not lang=en or lang=de and pages=3", [0, 1, 1]),
        ("not (lang=en or lang=de)", [0, 0, 1]),
        ("'publish date' exists", [0, 0, 1]),
        (r'name = "say \"hi\""', [0, 0, 1]),
        ("name ~ HI", [0, 0, 1]),
        ("lang ~ d*", [0, 1, 0]),
        ("id in (0, 2)", [1, 0, 1]),
        ("title='About 1'", [0, 1, 0]),
        ("file ~ guide/* and line > 6", [0, 0, 1]),
    ],
)
def test_filters_in_plain_words(text, expected) -> None:
    made = [
        Document(id=str(n), title=f"About {n}", text="t", fields=record, place=f"guide/page.md:{5 + n}")
        for n, record in enumerate(SOME)
    ]
    assert Filter.parse(text).mask([Columns.of(made)]).astype(int).tolist() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("lang", "after 'lang', the filter ends there"),
        ("lang=", "expected a value after '=', the filter ends there"),
        ("lang=en date>2", "expected and, or, or the end, found 'date' at character 9"),
        ("lang='en", "a quote without its end, at character 6"),
        ("(lang=en", "expected ')', the filter ends there"),
        ("lang=en)", "found ')' at character 8"),
        ("lang in en", "expected '(' after in, found 'en' at character 9"),
        ("and lang=en", "expected the name of a field, found 'and' at character 1"),
        ("lang not en", "expected in or exists"),
        ("lang ! en", "'!' is no sign of a filter, at character 6"),
        ("(" * 200 + "lang=en" + ")" * 200, "nested deeper"),
        ("langauge=en", "no document has a field 'langauge'. Did you mean 'lang'"),
    ],
)
def test_what_is_no_filter_is_said_with_its_place(text, said) -> None:
    with pytest.raises(UsageError) as error:
        Filter.parse(text).mask([columns(SOME)])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_are_the_same_from_disk(tmp_path) -> None:
    made = [Document(id=str(n), text="t", fields=record) for n, record in enumerate(SOME)]
    with files.create(tmp_path / "c", "test") as folder:
        Columns.write(folder, "columns", made)
    opened = Columns.open(tmp_path / "c" / "columns")
    assert opened.names == columns(SOME).names
    for text in ("lang=en", "tags=b", "pages>3", "date>2025", "draft=true"):
        assert (Filter.parse(text).mask([opened]) == Filter.parse(text).mask([columns(SOME)])).all()
    whole = (tmp_path / "c" / "columns" / "names.json").read_bytes()
    (tmp_path / "c" / "columns" / "names.json").write_bytes(whole[:20])
    with pytest.raises(CorruptError):
        Columns.open(tmp_path / "c" / "columns")


def test_a_million_documents_take_milliseconds() -> None:
    from pretrieve.index import columns as module

    size = 1_000_000
    rng = np.random.default_rng(0)
    base = Columns.of(
        Document(id=str(n), text="", fields={"lang": ["en", "de", "fr"][n % 3], "date": f"2024-{n % 12 + 1:02}-01"})
        for n in range(12)
    )
    large = {}
    for name in ("lang", "date"):
        column = base[name]
        codes = rng.integers(0, len(column), size).astype(np.int8)
        large[name] = module.Column(
            size=size, codes=codes, documents=None, kinds=column.kinds, texts=column.texts, ends=column.ends,
            numbers=column.numbers, dates=column.dates,
        )  # fmt: skip
    found = Columns(size=size, names={"lang": size, "date": size}, left_out=0, _columns=large)
    wanted = Filter.parse("lang=en and date>=2024-07-01")
    took = []
    for _ in range(5):
        start = time.perf_counter()
        mask = wanted.mask([found])
        took.append(time.perf_counter() - start)
    assert 0.1 < mask.mean() < 0.25
    assert min(took) < 0.05, f"{min(took) * 1000:.1f} ms"
    print(f"{min(took) * 1000:.1f} ms")
