"""What a person judges on the page, as a BEIR folder that ``evaluate`` and ``finetune`` read.

``corpus.jsonl`` has the documents of the first index, ``queries.jsonl`` the queries, ``qrels/test.tsv`` the judgements,
and ``qrels.trec`` the same in TREC's four columns.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson

from pretrieve.core import disk, files
from pretrieve.core.errors import UsageError
from pretrieve.serving.limits import RequestError
from pretrieve.serving.served import Served, number_of
from pretrieve.text.beir import read_qrels, read_queries

_MARK = "judgements.json"  # says that the folder is ours to write
_HEADER = "query-id\tcorpus-id\tscore\n"


class Judgements:
    """Judgements of documents for queries, kept in a folder; each is on the disk before its request is answered.

    Args:
        folder: held by ``opened``.
        served: the index whose documents are judged.

    Attributes:
        unnamed: judgements that ``qrels.trec`` lacks, since the document's id has a blank.

    Raises:
        DataError: what is in it was damaged.
    """

    def __init__(self, folder: Path, served: Served) -> None:
        self._folder, self._served, self._lock = folder, served, threading.Lock()
        self._written = 0  # opening of the index that corpus.jsonl is of
        self._queries: dict[str, str] = {}  # ids by text
        self._grades: dict[str, dict[str, int]] = {}
        self._last = 0  # number in the last name of a query
        self.unnamed = 0
        if (folder / "qrels" / "test.tsv").is_file():
            self._queries = {text: name for name, text in read_queries(folder).items()}
            self._grades = {name: dict(grades) for name, grades in read_qrels(folder, "test").items()}
            self._last = max((int(name[1:]) for name in self._grades if name[1:].isdecimal()), default=0)

    @staticmethod
    @contextlib.contextmanager
    def opened(folder: Path, served: Served) -> Iterator[Judgements]:
        """Hold a folder for one server, until the block ends.

        Args:
            folder: new, empty, or written by an earlier server.
            served: the index whose documents are judged.

        Raises:
            UsageError: the folder holds something else.
            LockedError: another server holds it.
            DataError: what is in it was damaged.
        """
        other = folder.exists() and not (folder / _MARK).is_file()
        if other and (not folder.is_dir() or any(path.name != disk.LOCK for path in folder.iterdir())):
            raise UsageError(f"{folder} was not made by `pretrieve serve`: give a new folder for --judgements.")
        with disk.lock(folder):
            yield Judgements(folder, served)

    def of(self, query: str) -> dict[str, int]:
        """The grades of documents for a query."""
        return dict(self._grades.get(self._queries.get(query, ""), {}))

    def judge(self, query: str, document: str, grade: int | None) -> dict[str, int]:
        """Keep a judgement.

        Args:
            query: its text.
            document: id.
            grade: 0, 1, or None to take a judgement back.

        Returns:
            All grades of the query.

        Raises:
            RequestError: the index has no such document, or its id cannot stand in a table.
            StorageError: writing to disk failed.
        """
        if number_of(self._served.index, document) is None:
            raise RequestError(404, f"no document {document!r:.100} in {self._served.name}.")
        if any(sign in document for sign in "\t\n\r"):
            raise RequestError(400, f"the id {document!r:.100} holds a tab or a line break: qrels cannot name it.")
        with self._lock:
            if query not in self._queries:
                self._last += 1
                self._queries[query] = f"q{self._last}"
            grades = self._grades.setdefault(self._queries[query], {})
            if grade is None:
                grades.pop(document, None)
            else:
                grades[document] = grade
            self._write()
            return dict(grades)

    def _write(self) -> None:
        (self._folder / "qrels").mkdir(parents=True, exist_ok=True)
        files.write_file(self._folder / _MARK, b'{"made_by": "pretrieve serve"}\n')
        if self._written != self._served.opened:
            with files.create_file(self._folder / "corpus.jsonl") as file:
                for line in self._corpus():
                    file.write(line)
            self._written = self._served.opened
        judged = {text: name for text, name in self._queries.items() if self._grades.get(name)}
        lines = [orjson.dumps({"_id": name, "text": text}) + b"\n" for text, name in judged.items()]
        files.write_file(self._folder / "queries.jsonl", b"".join(lines))
        rows = [(name, document, grade) for name in judged.values() for document, grade in self._grades[name].items()]
        table = "".join(f"{name}\t{document}\t{grade}\n" for name, document, grade in rows)
        files.write_file(self._folder / "qrels" / "test.tsv", (_HEADER + table).encode())
        named = [row for row in rows if len(row[1].split()) == 1]  # TREC's columns end at blanks
        trec = "".join(f"{name} 0 {document} {grade}\n" for name, document, grade in named)
        files.write_file(self._folder / "qrels.trec", trec.encode())
        self.unnamed = len(rows) - len(named)

    def _corpus(self) -> Iterator[bytes]:
        for document in self._served.index.documents:
            yield orjson.dumps({"_id": document.id, "title": document.title, "text": document.text}) + b"\n"
