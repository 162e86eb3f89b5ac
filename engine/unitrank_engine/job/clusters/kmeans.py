"""k-means: clusters of examples whose values at a layer are similar.

The clusters are found by scikit-learn's MiniBatchKMeans (Sculley, WWW 2010). At most 100 000
examples, read in chunks, place the centres. Then each example is assigned to the nearest centre.
Memory grows with the size of a chunk, with the k centres, and by one number for each example.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, Integer

from unitrank_engine.job.clusters.hashed_order import MOST_PERMUTED, HashedOrder, SeededOrder, blocks
from unitrank_engine.job.clusters.rows import RowRange

CHUNK_ROWS = 1024
CHUNK_BYTES = 64 * 2**20
INITS = 3
FIT_ROWS = 100_000
"""Rows of the seeded order that place the centres, at most."""

Values = Callable[[Integer[np.ndarray, " rows"]], Float32[np.ndarray, "rows units"]]
"""Dataset rows → the values that they are compared by."""
MapRows = Callable[[int, Callable[[range], np.ndarray]], np.ndarray]
"""Takes a number of rows and a function of a range of them; returns the function's values."""


def _at_once(count: int, function: Callable[[range], np.ndarray]) -> np.ndarray:
    return function(range(count))


def rows_of_chunk(k: int, units: int) -> int:
    """The rows of one chunk.

    scikit-learn needs three rows for each centre to choose the first centres. A chunk of small
    values holds more rows.
    """
    return max(3 * k, min(CHUNK_ROWS, CHUNK_BYTES // (4 * units)))


def reads(count: int, k: int, units: int) -> int:
    """The number of rows that `partition` reads in all."""
    return count if count <= rows_of_chunk(k, units) else min(count, FIT_ROWS) + count


def partition(
    count: int, k: int, units: int, values: Values, generator: np.random.Generator, map_rows: MapRows = _at_once
) -> Integer[np.ndarray, " rows"]:
    """The number of each row's cluster, as a small integer; the largest cluster is number 0.

    Of equally large clusters, the one with the smallest row comes first. Empty ones have no number.

    `count`: the number of rows, at least k.
    `units`: the number of values of one row.

    >>> x = np.array([[0], [100], [1], [101], [2]], dtype=np.float32)
    >>> partition(5, 2, 1, lambda rows: x[rows], np.random.default_rng(0)).tolist()
    [0, 1, 0, 1, 0]
    """
    order, size = _first_rows(count, generator), rows_of_chunk(k, units)
    chunks = [np.sort(order[start : start + size]) for start in range(0, len(order), size)]
    seed = int(generator.integers(2**32))
    if count <= size:
        (nearest,) = map_rows(1, lambda _: _fitted(k, seed, chunks, values)[1][None])
        return _by_size(nearest)
    (centres,) = map_rows(1, lambda _: _fitted(k, seed, chunks, values)[0][None])

    def assigned(part: range) -> Integer[np.ndarray, " rows"]:
        pieces = [np.arange(start, min(start + size, part.stop)) for start in range(part.start, part.stop, size)]
        return np.concatenate([_nearest(values(rows), centres) for rows in pieces])

    return _by_size(map_rows(count, assigned))


def _first_rows(count: int, generator: np.random.Generator) -> Integer[np.ndarray, " rows"]:
    """The rows that place the centres."""
    if count > MOST_PERMUTED:
        return HashedOrder(generator).first(RowRange(count), FIT_ROWS)
    return SeededOrder(generator, count)[:FIT_ROWS]


def _fitted(k: int, seed: int, chunks: Sequence[np.ndarray], values: Values) -> tuple[np.ndarray, np.ndarray]:
    """The centres, and the number of the nearest one for each row of the first chunk."""
    # Imported here, because the import costs 0.3 s and 30 MB, and few jobs need k-means.
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(k, n_init=INITS, random_state=seed)
    first = values(chunks[0])
    model.fit(first)
    nearest = np.asarray(model.predict(first), dtype=np.min_scalar_type(k))
    del first
    for rows in chunks[1:]:
        model.partial_fit(values(rows))
    return model.cluster_centers_, nearest


def _nearest(values: Float32[np.ndarray, "rows units"], centres: np.ndarray) -> Integer[np.ndarray, " rows"]:
    """The number of the nearest centre of each row."""
    from sklearn.metrics import pairwise_distances_argmin

    return np.asarray(pairwise_distances_argmin(values, centres), dtype=np.min_scalar_type(len(centres)))


def _by_size(nearest: Integer[np.ndarray, " rows"]) -> Integer[np.ndarray, " rows"]:
    """The cluster of each row, numbered as `partition` numbers them."""
    sizes, first = Counter[int](), dict[int, int]()
    for block in blocks(len(nearest)):
        centres, firsts, counts = np.unique(nearest[block], return_index=True, return_counts=True)
        sizes.update(dict(zip(centres.tolist(), counts.tolist(), strict=True)))
        first = dict(zip(centres.tolist(), (block.start + firsts).tolist(), strict=True)) | first
    order = sorted(sizes, key=lambda centre: (-sizes[centre], first[centre]))
    numbers = np.zeros(max(sizes) + 1, nearest.dtype)
    numbers[order] = np.arange(len(order))
    labels = np.empty_like(nearest)
    for block in blocks(len(nearest)):
        labels[block] = numbers[nearest[block]]
    return labels
