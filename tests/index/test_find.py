"""Search with filters, signs and groups finds what a plain look through all documents finds."""

from __future__ import annotations

import numpy as np
import pytest

import searching
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.index.filters import Filter
from pretrieve.index.find import rank_many, search
from pretrieve.index.index import Index, IndexOptions
from pretrieve.models.bag import Bag
from pretrieve.models.model_options import ModelOptions

TEXTS = [
    ("a", "How to rotate the keys of a server.", {"lang": "en", "file": "one"}),
    ("b", "The keys rotate. How a server sends mail.", {"lang": "en", "file": "one"}),
    ("c", "Rotate keys on Windows with a server tool.", {"lang": "de", "file": "two"}),
    ("d", "Gardens and violins.", {"lang": "de", "file": "two"}),
    ("e", "Keys, keys and more keys for a server.", {"lang": "en", "file": ["one", "three"]}),
]


@pytest.fixture(scope="module")
def index() -> Index:
    made = [
        Document(id=name, text=text, fields=fields, place=f"f.md:{n}") for n, (name, text, fields) in enumerate(TEXTS)
    ]
    return Index.of(made, options=IndexOptions(languages=("en",)))


def ids(index: Index, query: str, **options) -> list[str]:
    return [hit.id for hit in search(index, query, mode="lexical", syntax=True, **options).hits]


def test_phrases_must_and_without(index) -> None:
    assert set(ids(index, "rotate keys server")) == set("abce")
    assert ids(index, '"rotate keys"') == ["c"], "in this order, beside each other"
    assert set(ids(index, '"rotate the keys" server')) == {"a"}
    assert ids(index, '"rotating key"') == ["c"], "as BM25 stems them"
    assert set(ids(index, "server +rotate")) == set("abc")
    assert set(ids(index, "server +rotate -windows")) == set("ab")
    assert set(ids(index, 'server -"rotate keys"')) == set("abe")
    assert ids(index, "server +unheard") == []
    assert set(ids(index, 'server "the"')) == set("ab"), "stop words count in phrases"


def test_filters_and_fields(index) -> None:
    assert set(ids(index, "server", filter="lang=de")) == {"c"}
    assert set(ids(index, "server lang:en", filter="file=one")) == set("abe")
    assert set(ids(index, "keys -lang:en")) == {"c"}
    hit = search(index, "windows", filter="lang=de").hits[0]
    assert (hit.fields, hit.place) == ({"lang": "de", "file": "two"}, "f.md:2")
    with pytest.raises(UsageError, match=r"no document has a field 'langs'. Did you mean 'lang'"):
        search(index, "x", filter="langs=de")


def test_without_syntax_signs_are_text(index) -> None:
    found = search(index, '"rotate keys" lang:en -windows', mode="lexical")
    assert {hit.id for hit in found.hits} == set("abce")
    assert found.query.is_plain


def test_groups_show_the_best_and_count_the_rest(index) -> None:
    flat = search(index, "keys server", mode="lexical").hits
    hits = search(index, "keys server", mode="lexical", group_by="file").hits
    assert sum(1 + hit.more for hit in hits) == len(flat)
    files = [str(hit.fields["file"]) for hit in hits]
    assert len(set(files)) == len(files)
    assert hits[0].score == flat[0].score
    with pytest.raises(UsageError, match="--group-by"):
        search(index, "keys", group_by="fiel")


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory) -> tuple[Index, list[Document]]:
    made = [
        Document(id=d.id, title=d.title, text=d.text, fields={"topic": n % 12, "lang": "en" if n % 3 else "de"})
        for n, d in enumerate(searching.documents(120))
    ]
    folder = searching.static_model(tmp_path_factory.mktemp("find") / "m", made)
    return Index.of(made, Bag.load(folder, ModelOptions())), made


def test_a_filtered_search_is_the_ranking_without_the_others(hybrid) -> None:
    index, made = hybrid
    texts, _ = searching.queries(made, 10)
    for text in texts.values():
        ((numbers, scores),) = index.rank([text], len(made))
        kept = [
            (n, s) for n, s in zip(numbers.tolist(), scores.tolist(), strict=True) if made[n].fields["lang"] == "de"
        ]
        found = search(index, text, 7, filter="lang=de")
        assert [hit.id for hit in found.hits] == [made[n].id for n, _ in kept[:7]]
        assert np.allclose([hit.score for hit in found.hits], [s for _, s in kept[:7]], atol=1e-4)


def test_groups_are_the_best_of_each(hybrid) -> None:
    index, made = hybrid
    ((numbers, _),) = index.rank(["kalo miten"], len(made))
    best: dict[int, str] = {}
    for number in numbers.tolist():
        best.setdefault(int(made[number].fields["topic"]), made[number].id)
    hits = search(index, "kalo miten", 5, group_by="topic").hits
    assert [hit.id for hit in hits] == list(best.values())[:5]
    assert [hit.more for hit in hits] == [9] * 5


def test_relevance_orders_as_scores_do_and_knows_its_own(hybrid) -> None:
    index, made = hybrid
    found = search(index, made[5].text, 20)
    values = [hit.relevance for hit in found.hits]
    assert found.hits[0].id == made[5].id
    assert values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 for value in values)
    assert values[0] > 0.7
    assert found.relevant
    assert not search(index, "zzz unheard words of nothing", 5).relevant


def test_batches_rank_as_searches_do(hybrid) -> None:
    index, made = hybrid
    texts = [*searching.queries(made, 6)[0].values()]
    many = list(rank_many(index, texts, 5, "hybrid", filter="lang=en", group_by="topic"))
    for text, found in zip(texts, many, strict=True):
        hits = search(index, text, 5, filter=Filter.parse("lang=en"), group_by="topic").hits
        assert [name for name, _ in found] == [hit.id for hit in hits]


def test_python_takes_filters_and_groups(hybrid) -> None:
    from pretrieve import Retriever

    index, _ = hybrid
    assert index.dense is not None
    retriever = Retriever(index.dense.encoder, "m")
    corpus = [{"text": f"kalo number {n}", "author": ["Ada", "Bo"][n % 2], "big": "x" * 9000} for n in range(4)]
    with pytest.warns(UserWarning, match=r"too long to be kept \(big \(4\)\)"):
        hits = retriever.search("kalo number", corpus, filter="author=ada")
    assert {hit.id for hit in hits} == {"0", "2"}
    assert hits[0].fields == {"author": "Ada"}
    with pytest.warns(UserWarning, match="too long"):
        several = retriever.search(["kalo number", "kalo"], corpus, group_by="author", syntax=True)
    assert [{hit.fields["author"] for hit in one} for one in several] == [{"Ada", "Bo"}] * 2
    assert [hit.more for hit in several[0]] == [1, 1]
    with pytest.raises(UsageError, match="search has no argument 'filtre'"), pytest.warns():
        retriever.search("kalo", corpus, filtre="x")
