"""Random: independent normal noise for every example and element, from the job's seed."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import MethodBase


class RandomMethod(ScoringMethod):
    """s ~ N(0, 1).

    An example's noise depends on the seed, the entry's id and the example's row only.
    """

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {}

    def scores(self) -> Float[Tensor, "rows *place"]:
        like = self.batch.ends.input.h
        name, streams = self.entry.entry_id, self.batch.context.streams
        noise = [streams.generator("noise", name, int(row)).standard_normal(like.shape[1:]) for row in self.batch.rows]
        return torch.from_numpy(np.stack(noise)).to(like)


FAMILY: dict[str, type[ScoringMethod]] = {"random": RandomMethod}
