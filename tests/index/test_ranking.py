from __future__ import annotations

import numpy as np
import pytest

from pretrieve.index.ranking import id_ranks, top_k


@pytest.mark.parametrize("k", [1, 3, 10, 39, 40, 100])
def test_order_is_by_score_and_then_by_id(k):
    rng = np.random.default_rng(0)
    for _ in range(20):
        ids = [f"d{number}" for number in rng.permutation(40)]
        scores = rng.integers(0, 6, 40).astype(np.float32)  # many ties
        expected = sorted(range(40), key=lambda index: (-scores[index], ids[index]))
        assert top_k(scores, id_ranks(ids), k).tolist() == expected[:k]
        allowed = scores > 2
        kept = [index for index in expected if allowed[index]]
        assert top_k(scores, id_ranks(ids), k, allowed).tolist() == kept[:k]


def test_nothing_allowed_gives_nothing():
    assert top_k(np.ones(3, np.float32), np.arange(3), 2, np.zeros(3, bool)).tolist() == []
