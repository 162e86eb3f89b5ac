"""The base of every method's entry: its card, its options, and what the checks, the estimate and the warnings ask of it."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from unitrank_schemas.base import Schema

Statistic = Literal["mean", "mean_abs", "rms"]
RankingId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


BACKWARD = 2.0
"""A backward pass costs about two forward passes."""


@dataclass(frozen=True)
class MethodPasses:
    """Passes of one example through the whole model; methods of a job with an equal `shared_as` make them together."""

    shared_as: Hashable
    count: float


class MethodBase(Schema):
    """The fields of every entry: how a cluster's examples are reduced, and the ranking's own name."""

    title: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    cost: ClassVar[str]
    complete: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = True
    needs_baseline: ClassVar[bool] = False
    spatial: ClassVar[bool] = False
    """Whether the scores are a map over space: the place needs an axis beside its channels, and a heatmap sums the channels."""
    seeded_by_id: ClassVar[bool] = False
    """Whether the ranking's id decides the scores, too."""

    name: str
    statistic: Statistic = "mean"
    id: RankingId | None = Field(None, description="Default: the name, with `.<statistic>` when it is not `mean`.")

    def passes(self, tail: float, units: int) -> MethodPasses:
        """The estimate before a job; `tail` is the share of the model behind the layer, `units` how many units are ranked."""
        return MethodPasses("gradient", (1.0 + BACKWARD) * tail)

    def looks_at_input_only(self) -> bool:
        """Whether all scores are zero where the gradient at the input is zero; the warning `saturated` is for such methods."""
        return False
