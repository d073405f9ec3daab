"""The usual settings of BM25 against what they stand for, on the documentation of Python's own library."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.evaluation.benchmark import evaluate
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.lexical import BM25, Lexical
from pretrieve.index.settings import SETTINGS, usual_settings
from pretrieve.text.beir import Collection

MODULES = (
    "argparse", "collections", "csv", "datetime", "email.message", "gzip", "heapq", "json", "logging", "os.path",
    "pathlib", "random", "re", "shutil", "statistics", "string", "subprocess", "tempfile", "textwrap", "threading",
    "urllib.parse", "zipfile",
)  # fmt: skip


def documentation() -> dict[str, str]:
    """Docstrings of functions, classes and methods, by name, in a fresh process: tests change what modules hold."""
    code = (
        f"import json, sys; sys.path[:0] = {sys.path!r}; import test_settings as t; print(json.dumps(t.docstrings()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def docstrings() -> dict[str, str]:
    """The same, of this process."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for outer, member in sorted(vars(module).items()):
            inner = vars(member).items() if inspect.isclass(member) else ()
            for path, thing in [(outer, member), *((f"{outer}.{key}", value) for key, value in inner)]:
                text = inspect.getdoc(thing) if callable(thing) and not path.startswith("_") else None
                if text and len(text.split()) > 8:
                    found[f"{name}.{path}"] = text
    return found


@pytest.fixture(scope="module")
def collection() -> Collection:
    """Questions made of a docstring's first line, for the rest of it and for the other docstrings of its module."""
    texts = {name: text for name, text in documentation().items() if len(text.splitlines()) > 2}
    first = {name: text.strip().splitlines()[0] for name, text in texts.items()}
    asked = sorted(texts)[::3]
    queries = {name: f"How do I find what is the module's function that {first[name]}" for name in asked}
    return Collection(
        name="library",
        split="test",
        documents=[Document(id=name, text=f"{name}() {text[len(first[name]) :]}") for name, text in texts.items()],
        queries=queries,
        qrels={name: {other: 2 if other == name else 1 for other in texts if _module(other) == _module(name)}
               for name in asked},
    )  # fmt: skip


def _module(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("stemmer", ["none", "english", "porter"])
@pytest.mark.parametrize("bm25", [SETTINGS["bm25s"].bm25, BM25()])
def test_bm25s_with_its_list_and_its_stemmer_to_the_last_bit(collection, stemmer, bm25):
    hook = None if stemmer == "none" else Stemmer.Stemmer(stemmer)
    texts = [document.text for document in collection.documents]
    reference = bm25s.BM25(k1=bm25.k1, b=bm25.b, backend="numpy")
    reference.index(bm25s.tokenize(texts, stopwords="english", stemmer=hook, show_progress=False), show_progress=False)
    setting = SETTINGS["bm25s"]
    analysis = Analysis(stop_words="lucene", stop_documents=True, tokenizer="bm25s", stemmer=stemmer)
    assert stemmer != "none" or analysis == setting.analysis
    queries = [*collection.queries.values(), "a_name of the x", "utf8 and ÜBER İstanbul it's", "to be"]
    scores = Lexical.build(Analyzer(analysis), texts, bm25).scores(queries)
    asked = bm25s.tokenize(queries, stopwords="english", stemmer=hook, return_ids=False, show_progress=False)
    for row, terms in zip(scores, asked, strict=True):
        known = [term for term in terms if term in reference.vocab_dict]
        np.testing.assert_array_equal(row, reference.get_scores(known) if known else np.zeros(len(texts)))
    assert (scores[:-1] > 0).any(1).sum() > 100
    assert [Analyzer(analysis).terms(query) for query in queries] == asked


def test_the_defaults_of_bm25s_are_what_the_setting_says():
    defaults = inspect.signature(bm25s.BM25).parameters
    assert (defaults["k1"].default, defaults["b"].default) == (1.5, 0.75)
    (terms,) = bm25s.tokenize("The keys of it", return_ids=False, show_progress=False)
    assert terms == Analyzer(SETTINGS["bm25s"].analysis).terms("The keys of it") == ["keys"]


# What Lucene documents, written out: StandardTokenizer (the rules of UAX #29 that English text meets), possessives,
# lower case, the 33 words, Porter's stemmer, and BM25Similarity with lengths in one byte.

STOP = set(bm25s.stopwords.STOPWORDS_EN)


def lucene_words(text: str) -> list[str]:
    words, word = [], ""
    for place, sign in enumerate(text):
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        letters = before.isalpha() and after.isalpha() and sign in "'’.:"
        digits = before.isdigit() and after.isdigit() and sign in ",.;'’"
        if sign.isalnum() or sign == "_" or (word and (letters or digits)):
            word += sign
        else:
            words.append(word)
            word = ""
    return [found for found in [*words, word] if found]


def lucene_terms(text: str) -> list[str]:
    stem = Stemmer.Stemmer("porter").stemWord
    words = [word[:-2] if word[-2:].lower() in ("'s", "’s") else word for word in lucene_words(text)]
    return [stem(word.lower()) for word in words if word.lower() not in STOP]


def one_byte(length: int) -> int:
    """What is left of a length in Lucene's norm (SmallFloat.intToByte4 and back)."""
    if length < 24:
        return length
    shift = max(0, (length - 24).bit_length() - 4)
    return 24 + ((length - 24 >> shift) << shift)


def lucene_scores(texts: list[str], queries: list[str], k1: float, b: float) -> np.ndarray:
    counts = [Counter(lucene_terms(text)) for text in texts]
    mean = sum(map(Counter.total, counts)) / len(counts)
    frequency = Counter(term for count in counts for term in count)
    scores = np.zeros((len(queries), len(texts)))
    for row, query in zip(scores, queries, strict=True):
        for term in lucene_terms(query):
            idf = np.log(1 + (len(texts) - frequency[term] + 0.5) / (frequency[term] + 0.5))
            for place, count in enumerate(counts):
                norm = k1 * (1 - b + b * one_byte(count.total()) / mean)
                row[place] += idf * count[term] / (count[term] + norm)
    return scores


@pytest.mark.parametrize("name", ["lucene", "anserini"])
def test_lucene_as_documented(collection, name):
    setting = SETTINGS[name]
    texts = [document.text for document in collection.documents]
    queries = list(collection.queries.values())
    reference = lucene_scores(texts, queries, setting.bm25.k1, setting.bm25.b)
    ids = np.array([document.id for document in collection.documents])
    ours = evaluate(collection, {}, lexical=[name], metrics=["nDCG@10"]).rows[1]
    assert ours.system == setting.title
    expected = []
    for grades, row in zip(collection.qrels.values(), reference, strict=True):
        hits = [id_ for id_ in ids[np.lexsort((ids, -row))][:10] if row[ids == id_] > 0]
        best = sorted(grades.values(), reverse=True)[:10]
        gain, ideal = (sum(g / np.log2(n + 2) for n, g in enumerate(side))
                       for side in ([grades.get(hit, 0) for hit in hits], best))  # fmt: skip
        expected.append(gain / ideal)
    assert ours.mean("nDCG@10") == pytest.approx(np.mean(expected), abs=0.002)
    assert 0.2 < np.mean(expected) < 0.9


@pytest.mark.parametrize(
    "text",
    ["It's the dog’s e.g. 3.14, a_b and x.y: U.S.A. (2,500) don't re-do", "o'clock 'quoted' http://a.bc/d?e=f 5.a a.5",
     "What does it’s mean?", "naïve café, 10% of 1'000;5"],
)  # fmt: skip
def test_words_are_those_of_lucene(text):
    assert Analyzer(SETTINGS["lucene"].analysis).terms(text) == lucene_terms(text)


def test_ideographs_and_hiragana_are_words_of_their_own_as_in_lucene():
    assert Analyzer(SETTINGS["lucene"].analysis).terms("東京 の カタカナ한국어") == ["東", "京", "の", "カタカナ한국어"]


def test_settings_are_chosen_by_name_and_each_once():
    assert usual_settings(["pretrieve", "lucene", "lucene"]) == [SETTINGS["lucene"]]
    with pytest.raises(UsageError, match=r"unknown setting of BM25: 'lucen'\. Did you mean 'lucene'"):
        usual_settings(["lucen"])
