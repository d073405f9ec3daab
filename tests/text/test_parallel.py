"""Work in other processes: in order, equal to work in this one, and over when the reader leaves."""

from __future__ import annotations

import itertools

import psutil
import pytest

from pretrieve.text import corpus, parallel
from pretrieve.text.readers import python


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    items = [[number, 7] for number in range(40)]
    assert list(parallel.mapped("operator:itemgetter", [], workers)) == []
    assert list(parallel.mapped("builtins:sum", items, workers)) == [number + 7 for number in range(40)]


def test_a_process_that_ends_early_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended early"):
        list(parallel.mapped("builtins:exit", [0, 0, 0], 2))


def test_nobody_is_left_when_the_reader_leaves() -> None:
    before = {child.pid for child in psutil.Process().children()}
    results = parallel.mapped("builtins:sum", [[1, 2]] * 1000, 2)
    assert list(itertools.islice(results, 3)) == [3, 3, 3]
    results.close()
    assert {child.pid for child in psutil.Process().children()} <= before


def test_python_sources_read_by_many_processes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "processors", lambda: 1)
    alone = list(corpus.read(["python:json,email,asyncio,numpy"], on_bad="skip"))
    monkeypatch.setattr(python, "processors", lambda: 2)
    monkeypatch.setattr(python, "_FILES", 4)
    assert list(corpus.read(["python:json,email,asyncio,numpy"], on_bad="skip")) == alone
    assert len(alone) > 1000
