"""k-means: clusters of examples whose values at a layer are similar.

The clusters are found by scikit-learn's MiniBatchKMeans (Sculley, WWW 2010). The examples are read
in chunks, and twice: once to place the centres, once to assign each example to the nearest centre.
Memory grows with the size of a chunk, with the k centres, and by one number for each example.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int

CHUNK_ROWS = 1024
CHUNK_BYTES = 64 * 2**20
INITS = 3

Values = Callable[[Int[np.ndarray, " rows"]], Float32[np.ndarray, "rows units"]]
"""Dataset rows → the values that they are compared by."""


def rows_of_chunk(k: int, units: int) -> int:
    """The rows of one chunk.

    scikit-learn needs three rows for each centre to choose the first centres. A chunk of small
    values holds more rows.
    """
    return max(3 * k, min(CHUNK_ROWS, CHUNK_BYTES // (4 * units)))


def reads(count: int, k: int, units: int) -> int:
    """The number of rows that `partition` reads in all."""
    return count if count <= rows_of_chunk(k, units) else 2 * count


def partition(count: int, k: int, units: int, values: Values, generator: np.random.Generator) -> list[Int[np.ndarray, " members"]]:
    """The rows of each cluster, ascending; the largest cluster comes first.

    Empty clusters are left out.

    `count`: the number of rows, at least k.
    `units`: the number of values of one row.

    >>> x = np.array([[0], [100], [1], [101], [2]], dtype=np.float32)
    >>> clusters = partition(5, 2, 1, lambda rows: x[rows], np.random.default_rng(0))
    >>> [rows.tolist() for rows in clusters]
    [[0, 2, 4], [1, 3]]
    """
    # Imported here, because the import costs 0.3 s and 30 MB, and few jobs need k-means.
    from sklearn.cluster import MiniBatchKMeans

    order, size = generator.permutation(count), rows_of_chunk(k, units)
    chunks = [np.sort(order[start : start + size]) for start in range(0, count, size)]
    model = MiniBatchKMeans(k, n_init=INITS, random_state=int(generator.integers(2**32)))
    first = values(chunks[0])
    model.fit(first)
    nearest = np.empty(count, dtype=np.int32)
    if len(chunks) == 1:
        nearest[chunks[0]] = model.predict(first)
    else:
        del first
        for rows in chunks[1:]:
            model.partial_fit(values(rows))
        for rows in chunks:
            nearest[rows] = model.predict(values(rows))
    return _by_size(nearest)


def _by_size(nearest: Int[np.ndarray, " rows"]) -> list[Int[np.ndarray, " members"]]:
    """The rows of each cluster, the largest cluster first.

    Of equally large clusters, the one with the smallest row comes first.
    """
    grouped = np.argsort(nearest, kind="stable")
    sizes = np.bincount(nearest)
    groups = [rows for rows in np.split(grouped, np.cumsum(sizes)[:-1]) if len(rows)]
    return sorted(groups, key=lambda rows: (-len(rows), int(rows[0])))
