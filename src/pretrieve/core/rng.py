"""Randomness has an address, not a state: every draw is a pure function of (seed, stream, step).

A generator is made where it is used, from its address, and discarded. No random state is saved: a run resumes from its
step number, and its batches do not depend on the number of ranks and workers.
Philox: Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC 2011.
"""

from __future__ import annotations

import hashlib

import numpy as np

from pretrieve.core.types import IntArray


def generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """Return the Philox generator at an address.

    Args:
        seed: the run's seed, any integer.
        stream: what the draws are for, e.g. ``"crops"``; different streams are independent.
        step: the training step, or any other counter, >= 0.

    Returns:
        A fresh ``numpy.random.Generator``; the same address always gives the same draws.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, stream), counter=[0, 0, 0, step]))


def torch_seed(seed: int, stream: str, step: int, chunk: int = 0) -> int:
    """Return the 63-bit integer that seeds torch at an address (dropout masks are keyed by seed, step, rank, chunk)."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}/{chunk}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def shuffled(index: IntArray, size: int, seed: int, stream: str, epoch: int = 0) -> IntArray:
    """Map positions to items by a keyed bijection over [0, size): a shuffle that is never stored.

    A four-round Feistel network on the smallest even number of bits that holds ``size``; values outside the range walk
    the cycle until they fall inside (Black & Rogaway, *Ciphers with arbitrary finite domains*, 2002).

    Args:
        index: positions in [0, size), any shape.
        size: number of items, >= 1.
        seed: the run's seed.
        stream: what is shuffled.
        epoch: each epoch is another order.

    Returns:
        Items in [0, size), int64, the shape of ``index``.
    """
    assert size >= 1
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    keys = generator(seed, f"shuffle/{stream}", epoch).integers(0, 2**63, size=4, dtype=np.uint64)
    values = _feistel(np.asarray(index).astype(np.uint64), half, keys)
    outside = values >= np.uint64(size)
    while outside.any():
        values[outside] = _feistel(values[outside], half, keys)
        outside = values >= np.uint64(size)
    return values.astype(np.int64)


def _key(seed: int, stream: str) -> IntArray:
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=16).digest()
    return np.frombuffer(digest, dtype=np.uint64).copy()


def _feistel(values: IntArray, half: int, keys: IntArray) -> IntArray:
    mask = np.uint64((1 << half) - 1)
    left, right = values >> np.uint64(half), values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return (left << np.uint64(half)) | right


def _mix(values: IntArray) -> IntArray:
    """Scramble 64 bits (the finaliser of SplitMix64, Steele et al., OOPSLA 2014); wraps around by design."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
