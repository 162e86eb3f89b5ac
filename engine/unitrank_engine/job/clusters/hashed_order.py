"""Seeded orders of rows.

The order of very many rows is never held: each row has a keyed hash of its number. The hash is
splitmix64 (Steele, Lea and Flood 2014) of row number + key. Its values are distinct for distinct
rows, because each of its steps is a bijection of the numbers of 64 bits.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt64

from unitrank_engine.job.clusters.rows import Rows

MOST_PERMUTED = 10**7
"""Clusters with more rows get a hashed order: a permutation would take 8 bytes a row."""
BLOCK = 1 << 20
"""Rows whose hashes are held at a time."""


class HashedOrder:
    """The order of rows by their keyed hashes. `generator`: draws the key."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._key = generator.integers(0, 2**64, dtype=np.uint64)

    def hashes(self, rows: Integer[np.ndarray, " rows"]) -> UInt64[np.ndarray, " rows"]:
        """The hashes of these row numbers, uniform from 0 to 2⁶⁴ − 1."""
        return mixed(rows.astype(np.uint64) + self._key)

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


def mixed(z: UInt64[np.ndarray, " numbers"]) -> UInt64[np.ndarray, " numbers"]:
    """The hash of each number, splitmix64. Distinct numbers have distinct hashes."""
    z = z * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def blocks(count: int) -> Iterator[slice]:
    """The positions from 0 to `count` in blocks."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def nth(hashes: Callable[[], Iterator[UInt64[np.ndarray, " rows"]]], count: int) -> np.uint64:
    """The smallest hash that at least `count` of the hashes do not exceed.

    `hashes`: returns them in blocks. It is called twice, because the hashes are not held.
    `count`: from 1 to their number.
    """
    numbers = np.zeros(2**16, np.int64)
    for block in hashes():
        numbers += np.bincount((block >> np.uint64(48)).astype(np.int64), minlength=len(numbers))
    up_to = np.cumsum(numbers)
    digit = int(np.searchsorted(up_to, count))
    missing = count - int(up_to[digit] - numbers[digit])
    # Distinct hashes that begin with these 16 bits: about 1/65536 of all.
    values, times = np.empty(0, np.uint64), np.empty(0, np.int64)
    for block in hashes():
        inside, counts = np.unique(block[block >> np.uint64(48) == digit], return_counts=True)
        values, places = np.unique(np.concatenate([values, inside]), return_inverse=True)
        times = np.bincount(places, np.concatenate([times, counts]), len(values)).astype(np.int64)
    return np.uint64(values[np.searchsorted(np.cumsum(times), missing)])


class SeededOrder:
    """The positions from 0 to `count` as `generator.permutation` orders them, in 3 bytes each.

    >>> order = SeededOrder(np.random.default_rng(0), 1000)
    >>> order[:3].tolist() == np.random.default_rng(0).permutation(1000)[:3].tolist()
    True
    """

    def __init__(self, generator: np.random.Generator, count: int) -> None:
        width = max(1, -(-int(count - 1).bit_length() // 8))
        positions = np.empty(count, f"V{width}")
        self._bytes = positions.view(np.uint8).reshape(count, width)
        for block in blocks(count):
            numbers = np.arange(block.start, block.stop, dtype="<u8").view(np.uint8).reshape(-1, 8)
            self._bytes[block] = numbers[:, :width]
        # A generator moves the entries of an array without reading them.
        generator.shuffle(positions)

    def __len__(self) -> int:
        return len(self._bytes)

    def __getitem__(self, places: slice, /) -> Int[np.ndarray, " places"]:
        chosen = self._bytes[places]
        numbers = np.zeros((len(chosen), 8), np.uint8)
        numbers[:, : chosen.shape[1]] = chosen
        return numbers.view("<i8")[:, 0]
