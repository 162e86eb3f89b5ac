"""The points of the straight path from the baseline to the input, and the rules that weigh them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from api_schemas.methods import MethodBase, PathMethod
from worker.streams import Streams


@dataclass(frozen=True)
class Point:
    """One point of the path: α, the place's value there, and the gradient of F where a method asked for it."""

    alpha: float
    h: Float[Tensor, "rows *place"]
    gradient: Float[Tensor, "rows *place"] | None

    def precise(self) -> "Point":
        """The same in float32 at least: a sum of many steps has no digit left in half precision."""
        dtype = torch.promote_types(self.h.dtype, torch.float32)
        return Point(self.alpha, self.h.to(dtype), None if self.gradient is None else self.gradient.to(dtype))


@dataclass(frozen=True)
class Batch:
    """Which examples are on the path."""

    rows: np.ndarray
    """Their numbers in the dataset."""
    streams: Streams


class Method(ABC):
    """The scores of one batch, gathered while the path is walked from α = 0 to α = 1."""

    def __init__(self, entry: MethodBase, batch: Batch) -> None:
        self.entry = entry
        self.batch = batch

    @classmethod
    @abstractmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        """Each α that the method must see, and whether it needs the gradient there."""

    @abstractmethod
    def visit(self, point: Point) -> None:
        """Takes in one of its points; they come in ascending order."""

    @abstractmethod
    def scores(self) -> Float[Tensor, "rows *place"]:
        """The score of each element of the place for each example."""


def nodes(entry: PathMethod) -> list[float]:
    """The ends of the path's intervals: α = t or α = t³ for t = 0, 1/n … 1."""
    power = 3 if entry.spacing == "cubic" else 1
    return [(step / entry.steps) ** power for step in range(entry.steps + 1)]


def gradient_points(entry: PathMethod) -> dict[float, bool]:
    """All nodes; the gradient at those whose interval the rule takes it from."""
    alphas = nodes(entry)
    used = set({"left": alphas[:-1], "right": alphas[1:], "trapezoid": alphas}[entry.rule])
    return {alpha: alpha in used for alpha in alphas}
