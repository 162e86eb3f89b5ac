"""The control: independent normal noise for every example and unit."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from api_schemas.methods import MethodBase
from worker.methods.path import Method, Point


class Random(Method):
    """s ~ N(0, 1), drawn from the job's seed and the example's row, so that its batch mates do not matter."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: False}

    def visit(self, point: Point) -> None:
        self._like = point.h

    def scores(self) -> Float[Tensor, "rows *place"]:
        shape = self._like.shape[1:]
        name = self.entry.id or self.entry.name
        noise = [self.batch.streams.generator("noise", name, int(row)).standard_normal(shape) for row in self.batch.rows]
        return torch.from_numpy(np.stack(noise)).to(self._like)
