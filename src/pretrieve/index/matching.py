"""Which documents have the words and phrases that a query asks for, by the terms of BM25."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from pretrieve.core.types import BoolArray, Document, IntArray
from pretrieve.index.analysis import Analyzer
from pretrieve.index.lexical import Lexical
from pretrieve.index.pseudo import full_text
from pretrieve.index.query import Query


class Matching:
    """What a query asks for beside its ranking.

    Args:
        query: the query.
        lexical: BM25 of the documents.
    """

    def __init__(self, query: Query, lexical: Lexical) -> None:
        assert isinstance(lexical.analyzer, Analyzer)
        self._query, self._lexical, self._analyzer = query, lexical, lexical.analyzer
        self._wanted = [found for phrase in query.phrases if (found := self._sequences(phrase))]
        self._left_out = [found for phrase in query.without if (found := self._sequences(phrase))]

    @property
    def reads(self) -> bool:
        """Whether documents have to be read, since the order of words counts."""
        several = (len(terms) > 1 for sequences in [*self._wanted, *self._left_out] for terms in sequences)
        return any(several)

    def allowed(self) -> BoolArray | None:
        """Documents that may fit, (R,), by their terms in any order; None where all may."""
        wanted = [*map(self._sequences, self._query.must), *self._wanted]
        masks = [self._with_all(sequences) for sequences in wanted if sequences]
        single = [sequences for sequences in self._left_out if all(len(terms) == 1 for terms in sequences)]
        masks += [~self._with_all(sequences) for sequences in single]
        return reduce(np.logical_and, masks) if masks else None

    def fits(self, document: Document) -> bool:
        """Whether a document that may fit has the phrases, and not those that it must not have."""
        texts = self._analyzer.sequences(full_text(document, "\n"))
        return all(any(_occurs(one, texts) for one in sequences) for sequences in self._wanted) and not any(
            _occurs(one, texts) for sequences in self._left_out for one in sequences
        )

    def _sequences(self, text: str) -> list[list[str]]:
        """The terms of a phrase in each language; nothing where it has no word."""
        return [terms for terms in self._analyzer.sequences(text) if terms]

    def _with_all(self, sequences: Sequence[Sequence[str]]) -> BoolArray:
        """Documents with all terms of a phrase, as they are in one of the languages."""
        found = np.zeros(sum(map(len, self._lexical.parts)), bool)
        for terms in sequences:
            lists = sorted((_documents_with(self._lexical, term) for term in dict.fromkeys(terms)), key=len)
            found[reduce(lambda left, right: np.intersect1d(left, right, assume_unique=True), lists)] = True
        return found


def _documents_with(lexical: Lexical, term: str) -> IntArray:
    """Numbers of the documents that have a term, ascending; deleted ones may be among them."""
    sizes = [len(part) for part in lexical.parts]
    firsts = np.cumsum([0, *sizes])[:-1]
    found = [part.list(term)[0].astype(np.int64) + first for part, first in zip(lexical.parts, firsts, strict=True)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _occurs(phrase: Sequence[str], texts: Sequence[Sequence[str]]) -> bool:
    """Whether a phrase occurs in one of some texts, in order."""
    first, size = phrase[0], len(phrase)
    for terms in texts:
        place = -1
        for _ in range(len(terms)):
            try:
                place = terms.index(first, place + 1)
            except ValueError:
                break
            if terms[place : place + size] == phrase:
                return True
    return False
