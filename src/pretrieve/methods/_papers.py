"""Papers of methods, and their BibTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v ", "\u0327": "c "}
_SPECIAL = re.compile(r"[&%$#_]")
_SMALL_WORDS = ("a", "an", "the", "on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What a citation needs.

    Attributes:
        authors: full names in order, between commas, family name last.
        title: with its own capitals.
        year: of the venue; of arXiv where there is no venue.
        venue: conference or journal by its usual name; empty for arXiv alone.
        arxiv: arXiv number; empty without one.
        journal: whether the venue is a journal.
    """

    authors: str
    title: str
    year: int
    venue: str = ""
    arxiv: str = ""
    journal: bool = False

    @property
    def key(self) -> str:
        """Key of the entry: family name of the first author, year, first word of the title."""
        words = [_plain(word) for word in self.title.split()]
        first = next(word for word in words if word and word not in _SMALL_WORDS)
        return f"{_plain(self.authors.split(',')[0].split()[-1])}{self.year}{first}"

    def bibtex(self) -> str:
        """The entry, in ASCII."""
        kind = "misc" if not self.venue else "article" if self.journal else "inproceedings"
        fields = {
            "title": f"{{{_tex(self.title)}}}",
            "author": _tex(self.authors.replace(", ", " and ")),
            "journal" if self.journal else "booktitle": _tex(self.venue),
            "year": str(self.year),
            "eprint": self.arxiv,
            "archivePrefix": "arXiv" if self.arxiv else "",
            "url": f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else "",
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])


def bibtex(papers: Iterable[Paper]) -> str:
    """The entries of papers, each once, in order."""
    return "\n\n".join(paper.bibtex() for paper in dict.fromkeys(papers))


def _plain(word: str) -> str:
    """The ASCII letters and digits of a word, in lower case."""
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", word).casefold())


def _tex(text: str) -> str:
    """A text as TeX writes it."""
    made = ""
    for character in unicodedata.normalize("NFD", text):
        if character in _ACCENTS:
            made = f"{made[:-1]}{{\\{_ACCENTS[character]}{made[-1]}}}"
        else:
            made += _SPECIAL.sub(lambda found: f"\\{found[0]}", character)
    return made
