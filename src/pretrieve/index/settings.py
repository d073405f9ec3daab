"""Common settings of BM25 by name: the defaults of bm25s, Lucene and Anserini.

``pretrieve evaluate --lexical`` shows them beside the default. Tests hold each against the program, or against what it
documents: bm25s to the last bit, Lucene to .002 of nDCG@10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pretrieve.core.errors import UsageError, suggest
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.lexical import BM25, Lexical

# EnglishAnalyzer: StandardTokenizer, EnglishPossessiveFilter, LowerCaseFilter, StopFilter, PorterStemFilter.
_ENGLISH_ANALYZER = Analysis(stop_words="lucene", stop_documents=True, stemmer="porter", tokenizer="lucene")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of BM25 for English text.

    Attributes:
        title: what tables call it.
        analysis: of documents and queries.
        bm25: its parameters.
    """

    title: str
    analysis: Analysis = field(default_factory=Analysis)
    bm25: BM25 = field(default_factory=BM25)

    def build(self, texts: Iterable[str]) -> Lexical:
        """Index texts with this setting."""
        return Lexical.build(Analyzer(self.analysis), texts, self.bm25)


SETTINGS: Mapping[str, Setting] = {
    "bm25s": Setting(  # bm25s.tokenize and bm25s.BM25; their English list is Lucene's
        title="BM25 (bm25s)",
        analysis=Analysis(stop_words="lucene", stop_documents=True, stemmer="none", tokenizer="bm25s"),
        bm25=BM25(k1=1.5, b=0.75),
    ),
    "lucene": Setting(title="BM25 (Lucene)", analysis=_ENGLISH_ANALYZER, bm25=BM25(k1=1.2, b=0.75)),
    "anserini": Setting(title="BM25 (Anserini)", analysis=_ENGLISH_ANALYZER, bm25=BM25(k1=0.9, b=0.4)),
}
DEFAULT = "pretrieve"  # the setting of an index that is given no options


def usual_settings(names: Iterable[str]) -> list[Setting]:
    """Return settings by name, each once; the default's name is known and left out.

    Raises:
        UsageError: unknown name.
    """
    chosen = dict.fromkeys(names)
    for name in chosen:
        if name != DEFAULT and name not in SETTINGS:
            raise UsageError(f"unknown setting of BM25: {name!r}.{suggest(name, [DEFAULT, *SETTINGS])}")
    return [SETTINGS[name] for name in chosen if name != DEFAULT]
