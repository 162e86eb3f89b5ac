"""How rankings are put to the test: ablation curves against random orders, and predicted against actual change."""

from typing import Annotated, Literal

from pydantic import Field

from unitrank_schemas.base import Fill, Schema

Order = Literal["most", "least"]
Fraction = Annotated[float, Field(gt=0, le=1)]


class Ablation(Schema):
    """The ablation study that gives each ranking its verdict."""

    fill: Fill = "baseline"
    fractions: list[Fraction] = Field(default=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5], min_length=1, max_length=100)
    orders: list[Order] = Field(default=["most", "least"], description="The verdict needs `most`.")
    random: int = Field(99, ge=0, le=10_000, description="Random orders, shared by all rankings and clusters.")
    level: float = Field(0.95, gt=0, lt=1)
    split: str = Field(
        "half",
        description="`half`: one half of each cluster gives the ranking that is tested on the other; `none`: both on all; "
        "or a field whose equal values stay on one side.",
    )
    examples: int = Field(200, ge=1, description="At most so many test examples of a cluster.")
    check_fill: Fill | None = Field("resample", description="The verdict is repeated with this fill; null: it is not.")

    def counts_of(self, units: int) -> dict[int, float]:
        """The distinct numbers of replaced units, max(1, ⌊f · units + 1e-9⌋) below all, ascending → the fraction f of each."""
        counts: dict[int, float] = {}
        for fraction in sorted(self.fractions):
            count = max(1, int(fraction * units + 1e-9))
            if count < units:
                counts.setdefault(count, fraction)
        return counts


class Fidelity(Schema):
    """For every example once: replace some units and compare the drop of the target with the sum of their scores."""

    select: Literal["delta", "top", "random"] = Field("delta", description="`delta`: the largest |h − h'|.")
    fraction: Fraction = 0.1
    fill: Fill = "baseline"
