"""Terms of the latest words are kept: the same terms, bounded memory, copies without them."""

import pickle

from pretrieve.index import analysis
from pretrieve.index.analysis import Analysis, Analyzer

TEXTS = ["Running runners ran camelCase", "läuft 東京都 running", "the the ran fast", "a_b c3po running"]


def test_terms_are_those_of_an_analyzer_that_keeps_none(monkeypatch) -> None:
    kept = Analyzer(Analysis(languages=("en", "de")))
    plain = Analyzer(Analysis(languages=("en", "de")))
    monkeypatch.setattr(analysis, "_REMEMBERED", 3)
    for _ in range(2):
        for text in TEXTS:
            plain._analysed.clear()
            expected = plain.terms(text)
            assert kept.terms(text) == expected
            kept.terms(text).append("changed by the caller")
            rows, terms = kept.bulk([text, text])
            plain._analysed.clear()
            again, others = plain.bulk([text, text])
            assert (rows.tokens.tolist(), terms) == (again.tokens.tolist(), others)
            assert len(kept._analysed) <= 3
    assert pickle.loads(pickle.dumps(kept))._analysed == {}
