"""The tests of a ranking: ablation against random orders, and predicted against real drops."""

from typing import Annotated, Literal

from pydantic import Field

from unitrank_schemas.base import FILL, Fill, Schema

Order = Literal["most", "least", "keep"]
Measure = Literal["score", "accuracy"]
MOST_COMPARED = 20
"""Clusters up to which `specificity` is on by default."""
PERMUTED_MODELS = 3
"""The number of models with permuted weights of `sanity`."""
Fraction = Annotated[float, Field(gt=0, le=1)]


class Verify(Schema):
    """Replaces single units: the highest ones of a ranking, and a random sample of the others."""

    top: int = Field(20, ge=1, le=10_000, description="Length of the top that is verified; twice this number of units is replaced.")
    sample: int = Field(200, ge=1, le=100_000, description="Largest number of other units, drawn at random, that are replaced.")


class Ablation(Schema):
    """The ablation study that gives each ranking its verdict."""

    fill: Fill = Field("baseline", description=FILL)
    fractions: list[Fraction] = Field(
        default=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5],
        min_length=1,
        max_length=100,
        description="Fractions of the units that are replaced.",
    )
    orders: list[Order] = Field(
        default=["most", "least", "keep"],
        description="`most`: the most important units are replaced first. `least`: the smallest |importance| first. `keep`: all "
        "units but the most important ones are replaced. The verdict needs `most`.",
    )
    measure: Measure = Field(
        "score",
        description="The value that the test compares. `score`: the target F; `accuracy`: the share of the test examples that are "
        "classified as labelled.",
    )
    random: int = Field(
        99,
        ge=0,
        le=10_000,
        description="Number of random orders, which all rankings and clusters share, and of relabelled controls of each ranking.",
    )
    level: float = Field(0.95, gt=0, lt=1, description="A ranking is better than random if its p is at most 1 − `level`.")
    split: str = Field(
        "half",
        description="`half`: one half of each cluster makes the ranking, the other half tests it. `none`: all examples do both. "
        "Any other value: the field whose equal values stay in the same half.",
    )
    examples: int = Field(200, ge=1, description="Largest number of test examples for each cluster.")
    check_fill: Fill | None = Field("resample", description="The test is repeated with this fill; null: it is not repeated.")
    tolerance: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="For `removable_at`: the largest share of the test examples that may become wrong when units are replaced.",
    )
    verify: Verify | None = Field(None, description="Single units of each ranking are replaced one by one; null: not done.")
    sanity: Literal["permute_tail"] | None = Field(
        None,
        description="`permute_tail`: each ranking is made again on three models with permuted weights behind the layer, and tested "
        "on the true model; null: not done.",
    )
    pairs: int | None = Field(
        None, ge=1, le=64, description="Pairs of this number of highest units of each ranking are replaced; null: not done."
    )

    specificity: bool | None = Field(
        None,
        description="Whether the order of each cluster is also tested on examples of the other clusters. Null: up to 20 clusters.",
    )

    def tests_specificity(self, clusters: int) -> bool:
        """Whether each order is also tested on the examples of the other clusters."""
        by_default = clusters <= MOST_COMPARED
        return (by_default if self.specificity is None else self.specificity) and clusters > 1 and "most" in self.orders

    def counts_of(self, units: int) -> dict[int, float]:
        """Numbers of replaced units → the fraction of each, ascending and distinct.

        A fraction f replaces max(1, ⌊f · units + 1e-9⌋) units. Fractions that replace all units are
        left out.
        """
        counts: dict[int, float] = {}
        for fraction in sorted(self.fractions):
            count = max(1, int(fraction * units + 1e-9))
            if count < units:
                counts.setdefault(count, fraction)
        return counts


class Fidelity(Schema):
    """Replaces some units of each example, and compares the target's drop with their scores."""

    select: Literal["delta", "top", "random"] = Field(
        "delta",
        description="The replaced units. `delta`: the largest |h − h′|; `top`: the highest scores of the method; `random`.",
    )
    fraction: Fraction = Field(0.1, description="Fraction of the units that is replaced.")
    fill: Fill = Field("baseline", description=FILL)
