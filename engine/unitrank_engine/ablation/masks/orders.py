"""Orders in which ablation replaces units."""

import numpy as np

from unitrank_engine.job.random_streams import RandomStreams


class Orders:
    """Makes orders of n units. An order is an array with the position of each unit in it, from 0.

    `n`: number of units.
    `streams`: the job's random streams; they make random orders and break ties.

    >>> orders = Orders(4, RandomStreams.of(0))
    >>> orders.most(np.array([0.5, -2.0, 0.1, 1.0]), "a cluster")  # unit 3 is replaced first
    array([1, 3, 2, 0], dtype=int32)
    """

    def __init__(self, n: int, streams: RandomStreams) -> None:
        self.n = n
        self._streams = streams
        self._random: dict[int, np.ndarray] = {}

    def random(self, number: int) -> np.ndarray:
        """Return a random order by its number.

        The order is equal for all clusters, rankings and classes, and for all jobs with the same
        key. It is made on first use, then kept, because a large layer's orders take much memory.
        """
        if number not in self._random:
            self._random[number] = self._streams.generator("order", number).permutation(self.n).astype(np.int32)
        return self._random[number]

    def most(self, importance: np.ndarray, cluster: str) -> np.ndarray:
        """Order by importance, largest first; ties are in the cluster's random order."""
        return self._positions(-importance, cluster)

    def least(self, importance: np.ndarray, cluster: str) -> np.ndarray:
        """Order by |importance|, smallest first; ties are in the cluster's random order."""
        return self._positions(np.abs(importance), cluster)

    def _positions(self, keys: np.ndarray, cluster: str) -> np.ndarray:
        ties = self._streams.generator("ties", cluster).permutation(self.n)
        positions = np.empty(self.n, dtype=np.int32)
        positions[np.lexsort((ties, keys))] = np.arange(self.n, dtype=np.int32)
        return positions
