"""A seeded order of very many rows that is never held: each row has a keyed hash of its number.

The hash is splitmix64 (Steele, Lea and Flood 2014) of row number + key. Its values are distinct for
distinct rows, because each of its steps is a bijection of the numbers of 64 bits.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from unitrank_engine.job.clusters.rows import Rows

MOST_PERMUTED = 10**7
"""Clusters with more rows get a hashed order: a permutation would take 8 bytes a row."""
BLOCK = 1 << 20
"""Rows whose hashes are held at a time."""


class HashedOrder:
    """The order of rows by their keyed hashes. `generator`: draws the key."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._key = generator.integers(0, 2**64, dtype=np.uint64)

    def hashes(self, rows: Int[np.ndarray, " rows"]) -> UInt64[np.ndarray, " rows"]:
        """The hashes of these row numbers, uniform from 0 to 2⁶⁴ − 1."""
        z = rows.astype(np.uint64) + self._key
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def below(self, rows: Rows, share: float) -> Bool[np.ndarray, " rows"]:
        """Whether each row is in the part of the order that has this share of all rows."""
        chosen = np.empty(len(rows), dtype=bool)
        for block in blocks(len(rows)):
            chosen[block] = self.shares(rows[block]) < share
        return chosen

    def shares(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """The place of each row in the order, from 0 to 1: the upper 53 bits of its hash."""
        return np.asarray((self.hashes(rows) >> np.uint64(11)) * 2.0**-53)

    def first(self, rows: Rows, count: int, eligible: Bool[np.ndarray, " rows"] | None = None) -> Int[np.ndarray, " first"]:
        """The positions in `rows` of the first `count` eligible rows, in the hashed order."""
        positions = np.empty(0, dtype=np.int64)
        hashes = np.empty(0, dtype=np.uint64)
        for block in blocks(len(rows)):
            these = np.arange(block.stop - block.start) if eligible is None else np.flatnonzero(eligible[block])
            positions = np.concatenate([positions, block.start + these])
            hashes = np.concatenate([hashes, self.hashes(rows[block][these])])
            if len(positions) > count:
                smallest = np.argpartition(hashes, count)[:count]
                positions, hashes = positions[smallest], hashes[smallest]
        return positions[np.argsort(hashes)]


def blocks(count: int) -> Iterator[slice]:
    """The positions from 0 to `count` in blocks."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def shuffled(generator: np.random.Generator, count: int) -> Int[np.ndarray, " count"]:
    """The positions from 0 to `count` as `generator.permutation` orders them, in 4 bytes each."""
    positions = np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)
    generator.shuffle(positions)
    return positions
