"""Random streams: one for each purpose, keyed by the seed and by what it acts on."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RandomStreams:
    """Generators that depend on nothing but the job's key and their own name.

    Jobs on the same work (model, place, units, dataset, clusters, seed) have the same key, and so the same orders, ties,
    halves and noise.
    """

    key: str

    @classmethod
    def of(cls, seed: int, *work: object) -> "RandomStreams":
        described = json.dumps([seed, *work], sort_keys=True)
        # clusters may name every row of a dataset, and the key is read again for each generator
        return cls(hashlib.sha256(described.encode()).hexdigest())

    def generator(self, *name: str | int) -> np.random.Generator:
        """A fresh generator at the beginning of the stream of this name."""
        digest = hashlib.sha256(json.dumps([self.key, *name]).encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
