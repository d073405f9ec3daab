"""Dumps of StackExchange (``Posts.xml``): a question or an answer is a document, titled by the question."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from pretrieve.text.formats.outline import Outline
from pretrieve.text.formats.pages import outline
from pretrieve.text.formats.sections import as_path, named
from pretrieve.text.formats.xml_events import Event, trees
from pretrieve.text.records import Fault, Note, Record

ROOTS = ("posts",)
TABLES = ("badges", "comments", "posthistory", "postlinks", "tags", "users", "votes")  # of the same dumps
_QUESTION, _ANSWER = "1", "2"
_TAG = re.compile(r"[^<>|]+")


def records(path: Path, events: Iterator[Event], limit: int) -> Iterator[Record | Fault | Note]:
    """The questions and answers of a dump; posts of other kinds are left out.

    Args:
        path: the file.
        events: its events.
        limit: most bytes of a post.
    """
    titles = _Titles()
    others = orphans = 0
    for tree, line in trees(events, ("row",), limit):
        where = f"{path}:{line}"
        if tree is None:
            yield Fault(where, "too long", f"a post of more than {limit:,} bytes")
            continue
        kind, number = tree.get("PostTypeId", ""), tree.get("Id", "")
        if kind not in (_QUESTION, _ANSWER):
            others += 1
            continue
        if kind == _QUESTION:
            title = tree.get("Title", "")
            titles.add(number, title)
        else:
            title = titles.of(tree.get("ParentId", ""))
            orphans += not title
        found = _body(tree.get("Body", ""), title, _TAG.findall(tree.get("Tags", "")) if kind == _QUESTION else [])
        found.facts = partial(_facts, tree)
        yield from named(found.records(as_path(where)), where, number or where, title)
    if others:
        yield Note(str(path), "with posts that are no questions or answers, left out", f"{others:,} posts")
    if orphans:
        yield Note(str(path), "with answers whose question is not in it, without a title", f"{orphans:,} answers")


def _facts(post: Element) -> dict[str, object]:
    """What a dump says of a post."""
    kind = "question" if post.get("PostTypeId") == _QUESTION else "answer"
    numbers = {"score": "Score", "views": "ViewCount", "answers": "AnswerCount", "question": "ParentId",
               "accepted_answer": "AcceptedAnswerId", "owner": "OwnerUserId"}  # fmt: skip
    found: dict[str, object] = {
        name: int(value) if (value := post.get(key, "")).lstrip("-").isdecimal() else value
        for name, key in numbers.items()
    }
    return {**found, "kind": kind, "date": post.get("CreationDate", ""), "tags": _TAG.findall(post.get("Tags", ""))}


def _body(source: str, title: str, tags: list[str]) -> Outline:
    found = outline(source)
    found.title = title
    if tags:
        found.block(f"Tags: {', '.join(tags)}")
    return found


class _Titles:
    """The titles of questions by their numbers, on disk as far as they are many: some sites have millions."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)  # a temporary file of SQLite's own
        self._base.execute("PRAGMA journal_mode = OFF")
        self._base.execute("PRAGMA cache_size = -16384")
        self._base.execute("CREATE TABLE titles (number INTEGER PRIMARY KEY, title TEXT)")
        self._base.execute("BEGIN")

    def add(self, number: str, title: str) -> None:
        """Note the title of a question."""
        if number.isdecimal():
            self._base.execute("INSERT OR REPLACE INTO titles VALUES (?, ?)", (int(number), title))

    def of(self, number: str) -> str:
        """The title of a question; empty if it is not known."""
        if not number.isdecimal():
            return ""
        found = self._base.execute("SELECT title FROM titles WHERE number = ?", (int(number),)).fetchone()
        return found[0] if found else ""
