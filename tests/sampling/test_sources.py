"""Sources against slow twins: documents, windows, the stream, blocks."""

from dataclasses import replace

import numpy as np
import pytest

from pretrieve.sampling.batches import Address
from pretrieve.sampling.items import Blocks, Concatenated, Whole, Windows
from tiny import store


def address(*epochs: int, seed: int = 0) -> Address:
    return Address(seed=seed, step=0, epochs=np.array(epochs))


def every(source, seed: int = 0):
    items = np.arange(source.mixture.items)
    return source.spans(items, Address(seed=seed, step=0, epochs=np.zeros(len(items), np.int64)))


def test_whole_documents_are_bodies() -> None:
    documents = store(30)
    found = every(Whole(documents, minimum=5))
    long = [d for d in range(30) if documents.ends[d] - documents.bodies[d] >= 5]
    assert found.documents.tolist() == long
    assert found.starts.tolist() == [documents.bodies[d] for d in long]
    assert found.stops.tolist() == [documents.ends[d] for d in long]


@pytest.mark.parametrize("length", [2, 7, 32, 1000])
def test_windows_tile_every_body_evenly(length: int) -> None:
    documents = store(30)
    found = every(Windows(documents, length))
    sizes = found.stops - found.starts
    assert sizes.max() <= length
    for d in range(30):
        here = found.documents == d
        assert found.starts[here][0] == documents.bodies[d]
        assert found.stops[here][-1] == documents.ends[d]
        assert (found.starts[here][1:] == found.stops[here][:-1]).all()
        assert sizes[here].max() - sizes[here].min() <= 1


def test_concatenated_windows_move_with_epoch_and_seed_alone() -> None:
    documents = store(30)
    source = Concatenated(documents, 32)
    assert source.mixture.items == (len(documents.tokens) - 31) // 32
    starts = {}
    for seed in (0, 1):
        for epoch in range(6):
            spans = source.spans(np.array([0, 1, 2]), address(epoch, epoch, epoch, seed=seed))
            assert (np.diff(spans.starts) == 32).all()
            assert 0 <= spans.starts[0] < 32
            starts[seed, epoch] = int(spans.starts[0])
    assert len(set(starts.values())) > 6
    mixed = source.spans(np.array([0, 0]), address(3, 5, seed=1))
    assert mixed.starts.tolist() == [starts[1, 3], starts[1, 5]]
    last = source.spans(np.array([source.mixture.items - 1] * 200), address(*range(200)))
    assert last.stops.max() <= len(documents.tokens)
    for start, document in zip(last.starts, last.documents, strict=True):
        assert documents.starts[document] <= start < documents.ends[document]


def test_concatenated_windows_stay_within_runs_of_a_group() -> None:
    groups = np.repeat([0, 1, 0, 2, 1], [12, 1, 10, 9, 8])
    documents = replace(store(40), groups=groups)
    source = Concatenated(documents, 32)
    every = np.arange(source.mixture.items)
    runs = np.cumsum(np.diff(groups, prepend=0) != 0)
    covered = np.zeros(len(documents.tokens), bool)
    for epoch in range(40):
        spans = source.spans(every, address(*np.full(len(every), epoch)))
        last = np.searchsorted(documents.starts, spans.stops - 1, side="right") - 1
        assert (runs[last] == runs[spans.documents]).all()
        assert (np.diff(spans.starts) > 0).all()
        assert (spans.starts[1:] >= spans.stops[:-1]).all()
        for start, stop in zip(spans.starts, spans.stops, strict=True):
            covered[start:stop] = True
    assert covered[: documents.ends[11]].mean() > 0.8  # a long run is seen but for its tail
    lengths = spans.stops - spans.starts
    sizes = np.bincount(runs, weights=documents.ends - documents.starts)
    assert set(lengths) <= {32, *sizes[sizes < 32].astype(int)}
    assert set(runs[spans.documents]) == set(np.flatnonzero(sizes >= 16))  # a run of less than half a window is none


def test_only_kept_groups_give_windows() -> None:
    groups = np.arange(40) % 3
    documents = replace(store(40), groups=groups)
    for kind in (Windows, Concatenated):
        for coefficient in (0.0, 1.0):
            whole = kind(documents, 32, coefficient=coefficient)
            source = kind(documents, 32, coefficient=coefficient, keep=np.array([True, False, True]))
            items = source.mixture.at(np.arange(source.mixture.items * 4), 0)[0]
            owners = groups[source.spans(items, address(*np.zeros(len(items), int))).documents]
            assert set(owners) == {0, 2}
            everything = groups[
                whole.spans(np.arange(whole.mixture.items), address(*np.zeros(whole.mixture.items, int))).documents
            ]
            assert source.mixture.items == (everything != 1).sum()
            assert set(items) == set(np.flatnonzero(everything != 1))
            others = source.mixture.others(items[:50], np.random.default_rng(0))
            assert set(others) <= set(items)


def packed_slowly(documents, length: int, around: int) -> list[tuple[int, int, int]]:
    """The greedy packing of ORQA, sentence by sentence."""
    blocks = []
    for d in range(len(documents)):
        first, last = documents.document_sentences[d], documents.document_sentences[d + 1]
        title = documents.bodies[d] - documents.starts[d]
        begin = first
        for s in range(first + 1, last + 1):
            stop = documents.ends[d] if s + 1 >= last else documents.sentences[s + 1]
            if s == last or around + title + (stop - documents.sentences[begin]) > length:
                blocks.append((d, begin, s))
                begin = s
    return blocks


@pytest.mark.parametrize("length", [12, 20, 40, 288])
def test_blocks_are_the_greedy_packing(length: int) -> None:
    documents = store(60, seed=length)
    source = Blocks(documents, length)
    assert [*zip(*source.blocks(np.arange(source.mixture.items)), strict=True)] == packed_slowly(documents, length, 3)
    found = every(source)
    sizes = found.stops - found.starts + (documents.bodies - documents.starts)[found.documents] + 3
    assert (sizes[source.sizes > 1] <= length).all()
    assert (found.stops - found.starts).sum() == (documents.ends - documents.bodies).sum()


def test_blocks_of_whole_documents_and_of_several_sentences() -> None:
    documents = store(60)
    counts = np.diff(documents.document_sentences)
    assert (Blocks(documents, None).sizes == counts).all()
    assert Blocks(documents, None, least=2).mixture.items == (counts > 1).sum()
