"""Orders in which units are replaced."""

import numpy as np

from unitrank_engine.job.random_streams import RandomStreams


class Orders:
    """Permutations of n units, each as the position of every unit in it."""

    def __init__(self, n: int, streams: RandomStreams) -> None:
        self.n = n
        self._streams = streams

    def random(self, number: int) -> np.ndarray:
        """The positions of one random order; the same for all clusters, rankings and jobs on the same work."""
        return self._streams.generator("order", number).permutation(self.n).astype(np.int32)

    def most(self, importance: np.ndarray, cluster: str) -> np.ndarray:
        """Positions by importance, descending; ties in the cluster's random order."""
        return self._positions(-importance, cluster)

    def least(self, importance: np.ndarray, cluster: str) -> np.ndarray:
        """Positions by |importance|, ascending; ties in the cluster's random order."""
        return self._positions(np.abs(importance), cluster)

    def _positions(self, keys: np.ndarray, cluster: str) -> np.ndarray:
        ties = self._streams.generator("ties", cluster).permutation(self.n)
        positions = np.empty(self.n, dtype=np.int32)
        positions[np.lexsort((ties, keys))] = np.arange(self.n, dtype=np.int32)
        return positions
