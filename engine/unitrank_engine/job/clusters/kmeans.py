"""k-means: examples whose values at a layer are alike, by scikit-learn's MiniBatchKMeans (Sculley, WWW 2010).

The examples are read twice, once to place the centres and once to name the nearest, a chunk at a time: memory grows with
the size of a chunk and of the k centres, and with one number an example.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int

CHUNK_ROWS = 1024
CHUNK_BYTES = 64 * 2**20
INITS = 3

Values = Callable[[Int[np.ndarray, " rows"]], Float32[np.ndarray, "rows units"]]
"""Rows of the dataset to what they are compared by."""


def rows_of_chunk(k: int, units: int) -> int:
    """As many as scikit-learn wants for choosing the first centres, three for each, and more where they are small."""
    return max(3 * k, min(CHUNK_ROWS, CHUNK_BYTES // (4 * units)))


def reads(count: int, k: int, units: int) -> int:
    """How many rows `partition` asks for in all."""
    return count if count <= rows_of_chunk(k, units) else 2 * count


def partition(count: int, k: int, units: int, values: Values, generator: np.random.Generator) -> list[Int[np.ndarray, " members"]]:
    """The rows of each cluster, ascending; the largest cluster first, and none that is empty. k is at most `count`."""
    # 0.3 s and 30 MB that few jobs need
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
    """Of equally large ones the one with the earliest row first."""
    grouped = np.argsort(nearest, kind="stable")
    sizes = np.bincount(nearest)
    groups = [rows for rows in np.split(grouped, np.cumsum(sizes)[:-1]) if len(rows)]
    return sorted(groups, key=lambda rows: (-len(rows), int(rows[0])))
