"""Random streams: one generator for each purpose.

A generator depends on the job's seed, on the description of the job's work, and on the name of the
generator's purpose.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RandomStreams:
    """Random generators that depend on the job's key and on their name alone.

    Jobs with equal model, place, units, dataset, clusters and seed have the same key. So they get
    the same random orders, ties, halves and noise.

    >>> streams = RandomStreams.of(0, "model", "dataset")
    >>> first = streams.generator("order", 1).permutation(1000)
    >>> again = RandomStreams.of(0, "model", "dataset").generator("order", 1).permutation(1000)
    >>> bool((first == again).all())
    True
    """

    key: str

    @classmethod
    def of(cls, seed: int, *work: object) -> "RandomStreams":
        """The streams of a seed and a description of the job's work."""
        described = json.dumps([seed, *work], sort_keys=True)
        # The key is a digest, because each generator reads it, and clusters can list all rows of a
        # dataset.
        return cls(hashlib.sha256(described.encode()).hexdigest())

    def generator(self, *name: str | int) -> np.random.Generator:
        """A new generator at the start of the stream with this name."""
        digest = hashlib.sha256(json.dumps([self.key, *name]).encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
