"""k-means: clusters of examples whose values at a layer are similar.

The clusters are found by scikit-learn's MiniBatchKMeans (Sculley, WWW 2010). At most 100 000
examples, read in chunks, place the centres. Then each example is assigned to the nearest centre.
Memory grows with the size of a chunk, with the k centres, and by one number for each example.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, Int

CHUNK_ROWS = 1024
CHUNK_BYTES = 64 * 2**20
INITS = 3
FIT_ROWS = 100_000
"""Rows of the seeded order that place the centres, at most."""

Values = Callable[[Int[np.ndarray, " rows"]], Float32[np.ndarray, "rows units"]]
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
) -> list[Int[np.ndarray, " members"]]:
    """The rows of each cluster, ascending; the largest cluster comes first.

    Empty clusters are left out.

    `count`: the number of rows, at least k.
    `units`: the number of values of one row.

    >>> x = np.array([[0], [100], [1], [101], [2]], dtype=np.float32)
    >>> clusters = partition(5, 2, 1, lambda rows: x[rows], np.random.default_rng(0))
    >>> [rows.tolist() for rows in clusters]
    [[0, 2, 4], [1, 3]]
    """
    order, size = generator.permutation(count)[:FIT_ROWS], rows_of_chunk(k, units)
    chunks = [np.sort(order[start : start + size]) for start in range(0, len(order), size)]
    seed = int(generator.integers(2**32))
    if count <= size:
        (nearest,) = map_rows(1, lambda _: _fitted(k, seed, chunks, values)[1][None])
        return _by_size(nearest)
    (centres,) = map_rows(1, lambda _: _fitted(k, seed, chunks, values)[0][None])

    def assigned(part: range) -> Int[np.ndarray, " rows"]:
        pieces = [np.arange(start, min(start + size, part.stop)) for start in range(part.start, part.stop, size)]
        return np.concatenate([_nearest(values(rows), centres) for rows in pieces])

    return _by_size(map_rows(count, assigned))


def _fitted(k: int, seed: int, chunks: Sequence[np.ndarray], values: Values) -> tuple[np.ndarray, np.ndarray]:
    """The centres, and the number of the nearest one for each row of the first chunk."""
    # Imported here, because the import costs 0.3 s and 30 MB, and few jobs need k-means.
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(k, n_init=INITS, random_state=seed)
    first = values(chunks[0])
    model.fit(first)
    nearest = np.asarray(model.predict(first), dtype=np.int32)
    del first
    for rows in chunks[1:]:
        model.partial_fit(values(rows))
    return model.cluster_centers_, nearest


def _nearest(values: Float32[np.ndarray, "rows units"], centres: np.ndarray) -> Int[np.ndarray, " rows"]:
    """The number of the nearest centre of each row."""
    from sklearn.metrics import pairwise_distances_argmin

    return np.asarray(pairwise_distances_argmin(values, centres), dtype=np.int32)


def _by_size(nearest: Int[np.ndarray, " rows"]) -> list[Int[np.ndarray, " members"]]:
    """The rows of each cluster, the largest cluster first.

    Of equally large clusters, the one with the smallest row comes first.
    """
    grouped = np.argsort(nearest, kind="stable")
    sizes = np.bincount(nearest)
    groups = [rows for rows in np.split(grouped, np.cumsum(sizes)[:-1]) if len(rows)]
    return sorted(groups, key=lambda rows: (-len(rows), int(rows[0])))
