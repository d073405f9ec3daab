"""PubMed and MEDLINE: an article is a document, its abstract the text, with the labels of the abstract's parts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from pretrieve.text.formats.xml_events import Event, text_of, trees
from pretrieve.text.records import Fault, Note, Record

ROOTS = ("PubmedArticleSet", "MedlineCitationSet", "PubmedArticle", "PubmedBookArticleSet")
_ARTICLES = ("PubmedArticle", "MedlineCitation", "PubmedBookArticle")


def records(path: Path, events: Iterator[Event], limit: int) -> Iterator[Record | Fault | Note]:
    """The articles of a file; one without an abstract has its title as text.

    Args:
        path: the file.
        events: its events.
        limit: most bytes of an article.
    """
    bare = 0
    for tree, line in trees(events, _ARTICLES, limit):
        where = f"{path}:{line}"
        if tree is None:
            yield Fault(where, "too long", f"an article of more than {limit:,} bytes")
            continue
        title = text_of(next(tree.iter("ArticleTitle"), None)) or text_of(next(tree.iter("BookTitle"), None))
        text = "\n\n".join(_abstract(tree))
        bare += not text
        name = text_of(next(tree.iter("PMID"), None)) or where
        fields = {"id": name, "title": title, "text": text or title}
        yield Record(where, fields, fixed=True, facts=partial(_facts, tree))
    if bare:
        yield Note(str(path), "with articles without an abstract, whose title is the text", f"{bare:,} articles")


def _facts(article: Element) -> dict[str, object]:
    """Journal, year, language, authors and headings of an article."""
    authors = [
        " ".join(filter(None, (text_of(author.find("ForeName")), text_of(author.find("LastName")))))
        for author in article.iter("Author")
    ]
    year = text_of(next(article.iter("PubDate"), Element("none")).find("Year"))
    return {
        "journal": text_of(article.find(".//Journal/Title")),
        "year": int(year) if year.isdecimal() else year,
        "language": text_of(next(article.iter("Language"), None)),
        "authors": [name for name in authors if name],
        "headings": [text_of(heading) for heading in article.iter("DescriptorName")],
    }


def _abstract(article: Element) -> Iterator[str]:
    abstract = next(article.iter("Abstract"), None)
    for part in abstract.iter("AbstractText") if abstract is not None else ():
        text, label = text_of(part), part.get("Label", "")
        if text:
            yield f"{label}: {text}" if label else text
