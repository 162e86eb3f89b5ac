"""The base of all methods: the card, the common options, and the hooks of checks and estimate."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints

from unitrank_schemas.base import Schema

Statistic = Literal["mean", "mean_abs", "rms"]
RANKING_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
RankingId = Annotated[str, StringConstraints(pattern=RANKING_ID)]
CLASS_MARK = "@"
"""Stands between the id of an entry and a class, in the ids of rankings for the class `each`."""


def entry_id(ranking: str) -> str:
    """The id of the request's entry, from the id of its ranking for one class.

    >>> entry_id("conductance@3")
    'conductance'
    """
    return ranking.partition(CLASS_MARK)[0]


BACKWARD = 2.0
"""A backward pass costs about two forward passes."""


@dataclass(frozen=True)
class MethodPasses:
    """Passes of one example through the whole model.

    `shared_as`: methods of one job with an equal value share their passes. `count`: number of
    passes; a partial pass counts by its share of the cost.
    """

    shared_as: Hashable
    count: float
    between_layers: bool = False
    """Whether the layers of one job share the passes, too."""


class MethodBase(Schema):
    """The base of all methods: class variables for the card, fields for the common options."""

    title: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    cost: ClassVar[str]
    complete: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = True
    needs_baseline: ClassVar[bool] = False
    spatial: ClassVar[bool] = False
    """Whether the scores are a map over space.

    The place then needs an axis beside its channels, and a heatmap sums over the channels.
    """
    seeded_by_id: ClassVar[bool] = False
    """Whether the scores also depend on the ranking's id."""
    costly: ClassVar[bool] = False
    """Whether the operator limits the operations of the method in one job."""
    needs_weights: ClassVar[bool] = False
    """Whether a linear operation with weights must follow the place."""
    explains_class: ClassVar[bool] = True
    """Whether the scores depend on the explained class."""
    in_units_of_target: ClassVar[bool] = True
    """Whether a score is a change of the target F, so that scores of different layers compare."""

    name: str
    statistic: Statistic = Field(
        "mean",
        description="Turns the scores of a cluster's examples into the importance: mean, mean of |score|, or root mean square.",
    )
    id: RankingId | None = Field(
        None, description="Name of the ranking. Default: the method's name, with `.<statistic>` if that is not `mean`."
    )

    @property
    def settled_units(self) -> int | None:
        """The number of the highest units that end the job's rounds; None without rounds."""
        return None

    @property
    def scores_examples(self) -> bool:
        """Whether each example has scores; if not, the request brings the importance itself."""
        return True

    @property
    def datasets(self) -> list[str]:
        """References of the datasets that the entry reads beside the job's dataset."""
        return []

    @property
    def entry_id(self) -> str:
        """The id of the request's entry: the ranking's id without its class."""
        return entry_id(self.id or self.name)

    def passes(self, tail: float, units: int) -> MethodPasses:
        """The expected passes of one example.

        `tail`: the share of the model's cost after the place. `units`: the number of ranked units.
        """
        return MethodPasses("gradient", (1.0 + BACKWARD) * tail, between_layers=True)

    def rounds(self) -> list[Self]:
        """The entries that the job tries in turn, the cheapest first; the last one is the entry.

        The job stops at the first one whose `settled_units` highest units are settled.
        """
        return [self]

    def passes_of_each_baseline(self) -> bool:
        """Whether the passes run once for each baseline, where examples have several."""
        return self.needs_baseline

    def looks_at_input_only(self) -> bool:
        """Whether all scores are 0 if the gradient at the input is 0.

        Only rankings of these methods can get the warning `saturated`.
        """
        return False
