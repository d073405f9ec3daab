from __future__ import annotations

import json

import pytest

from pretrieve.core.errors import DataError, StorageError, UsageError, VersionError
from pretrieve.core.types import Document
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.lexical import BM25, Lexical
from pretrieve.index.stop_words import _LANGUAGES, StopWords, stop_words
from pretrieve.models.bag import Bag
from searching import documents, static_model

ENGLISH = Analyzer(Analysis(stemmer="none"))
MIXED = Analyzer(Analysis(languages=("en", "de"), stemmer="none"))


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("how do I rotate the keys", ["rotate", "keys"]),
        ("to be or not to be", ["to", "be", "or", "not", "to", "be"]),
        ("who are you", ["who", "are", "you"]),
        ("", []),
        ("the is_not of notIn", ["is_not", "is", "not", "notin", "not", "in"]),  # identifiers and their parts stay
        ("guidelines of the WHO for the US", ["guidelines", "who", "us"]),  # names in capitals
        ("WHO IS THE KING", ["king"]),  # all is in capitals: none is a name
        ("vitamin A and a disease", ["vitamin", "a", "disease"]),
        ("A disease I have", ["disease"]),
        ("who won the cup", ["won", "cup"]),  # pieces of contractions are words elsewhere
        ("vitamin d deficiency", ["vitamin", "d", "deficiency"]),
        ("I won't pay, I’d don't what's Alzheimer's", ["pay", "alzheimer"]),
    ],
)
def test_stop_words_leave_queries(query, terms):
    assert ENGLISH.terms(query) == terms


def test_documents_keep_their_words_unless_told_otherwise():
    for drop, expected in ((False, [["the", "keys"], ["the"]]), (True, [["keys"], []])):
        analyzer = Analyzer(Analysis(stemmer="none", stop_documents=drop))
        rows, terms = analyzer.bulk(["The keys", "the"])
        assert [[terms[number] for number in rows.row(place)] for place in range(2)] == expected
        assert analyzer.terms("the keys") == ["keys"]
    assert Analyzer(Analysis(stop_documents=True)).terms("to be") == []


def test_a_query_of_stop_words_finds_the_documents_that_have_them():
    lexical = Lexical.build(ENGLISH, ["to be or not to be", "something else"])
    assert (lexical.scores(["to be or not to be"])[0] > 0).tolist() == [True, False]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("die hard", ["die", "hard"]),  # one stop word of one language is no evidence of the language
        ("what is the man to die of", ["man", "die"]),  # English: "man" and "die" are words
        ("wie ist die Hauptstadt was man hat", ["hauptstadt"]),  # German: they are not
        ("in the Hand", ["hand"]),
    ],
)
def test_with_several_languages_a_word_is_dropped_in_the_querys_own_language(query, terms):
    assert MIXED.terms(query) == terms


def test_a_language_without_a_list_beside_one_with_a_list():
    assert Analyzer(Analysis(languages=("sw", "en"), stemmer="none")).terms("the key") == ["key"]
    alone = Analyzer(Analysis(languages=("sw",)))
    assert alone.terms("the key") == ["the", "key"]
    assert "stop words: none (no list for sw)" in alone.describe()


@pytest.mark.parametrize(
    ("language", "dropped", "kept"),
    [
        ("de", "wer warum der nicht", "haus"), ("fr", "quel est la", "maison"), ("es", "cuál es el", "casa"),
        ("it", "quale è il", "casa"), ("pt", "qual é o", "casa"), ("nl", "welke is het", "huis"),
        ("sv", "vilken är det", "hus"), ("no", "hvilken er det", "hus"), ("da", "hvilken er det", "hus"),
        ("fi", "mikä on se", "talo"), ("ru", "какой это не", "дом"), ("ar", "في من على", "بيت"),
        ("hi", "में है का", "मकान"), ("tr", "hangi bu ve", "ev"), ("pl", "który jest to", "dom"),
    ],
)  # fmt: skip
def test_every_usual_language_has_its_list_and_its_interrogatives(language, dropped, kept):
    analyzer = Analyzer(Analysis(languages=(language,), stemmer="none"))
    assert analyzer.terms(f"{dropped} {kept}") == [kept]


@pytest.mark.parametrize(
    ("languages", "query", "terms"),
    [
        (("ja",), "東京都の人口は", ["東京", "京都", "人口"]),
        (("ja",), "もの", ["もの"]),
        (("ja",), "のはも", ["のは", "はも"]),  # nothing else is there
        (("zh", "wuu"), "中国的人口是多少", ["中国", "人口", "多少"]),
        (("zh",), "目的", ["目的"]),  # two characters by themselves were meant
        (("zh",), "目的 地址 在哪里的", ["目的", "地址"]),
        (("zh", "ja"), "有名な和食", ["有名", "名な", "な和", "和食"]),  # hiragana: Japanese
        (("en",), "東京都の人口", ["東京", "京都", "都の", "の人", "人口"]),
    ],
)
def test_pairs_with_a_particle_leave_queries(languages, query, terms):
    assert Analyzer(Analysis(languages=languages, stemmer="none")).terms(query) == terms


def test_no_list_is_empty():
    for language in _LANGUAGES:
        assert len(stop_words("auto", language).words) >= 40, language


def test_french_elisions_are_dropped_at_the_apostrophe_alone():
    french = Analyzer(Analysis(languages=("fr",), stemmer="none"))
    assert french.terms("qu'est-ce que l’eau, d'où vient la vitamine d ?") == ["eau", "vient", "vitamine", "d"]


def test_a_list_by_name_by_file_and_none(tmp_path):
    (tmp_path / "own.txt").write_text("# mine, o'x\nKeys\n\ncan't\n")
    own = Analyzer(Analysis(stop_words=str(tmp_path / "own.txt"), stemmer="none"))
    assert own.terms("the keys can’t turn can t") == ["the", "turn", "can", "t"]
    assert "stop words: own.txt (3)" in own.describe()
    assert len(stop_words("lucene", "de").words) == 33
    assert stop_words("german", "en") == stop_words("auto", "de")
    assert Analyzer(Analysis(stop_words="none")).terms("the key") == ["the", "key"]


def test_what_is_no_list_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"unknown list of stop words.*'englsh'\. Did you mean 'english'"):
        Analyzer(Analysis(stop_words="englsh"))
    with pytest.raises(UsageError, match=r"unknown stemmer 'portr'\. Did you mean 'porter'"):
        Analyzer(Analysis(stemmer="portr"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        stop_words(str(tmp_path / "bytes"), "en")
    with pytest.raises((UsageError, StorageError)):
        stop_words(str(tmp_path), "en")


def test_facts_are_read_back():
    found = stop_words("auto", "en")
    assert StopWords.from_facts(json.loads(json.dumps(found.facts()))) == found


def test_an_index_keeps_its_list_and_its_parameters(tmp_path, monkeypatch):
    model = static_model(tmp_path / "model", documents(40))
    (tmp_path / "own.txt").write_text("kaka\n")
    options = IndexOptions(
        bm25=BM25(k1=1.2, b=0.75), stop_words=str(tmp_path / "own.txt"), stemmer="porter", languages=("en",), dense=1.0
    )
    made = [*documents(40), Document(id="x", text="kaka zebra")]
    Index.build(tmp_path / "index", made, Bag.load(model), options)
    (tmp_path / "own.txt").unlink()
    opened = Index.open(tmp_path / "index")
    assert opened.lexical.describe() == "BM25: k1 1.2, b 0.75; stop words: own.txt (1); stemmer: porter"
    assert opened.lexical.describe() in opened.describe()
    assert opened.lexical.analyzer.terms("kaka zebra") == ["zebra"]
    assert [hit.id for hit in opened.search("kaka zebra", mode="lexical")] == ["x"]


@pytest.mark.parametrize("damage", ["stop_words", "analysis"])
def test_an_index_of_an_earlier_version_is_refused_in_one_line(tmp_path, damage):
    model = static_model(tmp_path / "model", documents(40))
    Index.build(tmp_path / "index", documents(40), Bag.load(model), IndexOptions(languages=("en",), dense=1.0))
    path = tmp_path / "index" / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    del manifest["meta"]["stop_words"], manifest["checksum"]
    if damage == "analysis":  # as 0.1.0 wrote it
        manifest["meta"]["analysis"] = {"languages": ["en"], "stem": True, "split_identifiers": True, "bigrams": True}
    path.write_text(json.dumps(manifest))
    with pytest.raises(VersionError, match="earlier version of pretrieve: index the documents again"):
        Index.open(tmp_path / "index")
