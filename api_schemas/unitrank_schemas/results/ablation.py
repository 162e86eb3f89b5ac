"""The ablation study of a ranking on one cluster."""

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.results.verdicts import Verdict


class Curve(Schema):
    """Mean target and accuracy over the test examples after each count of replaced units."""

    score: list[float] = Field(description="Mean of the target F, one value for each of `counts`.")
    accuracy: list[float] | None = Field(None, description="Null without labels.")
    area: float | None = Field(
        None,
        description="Mean drop of F over the counts, divided by the drop with all units replaced; null if that is close to zero.",
    )


class LeastCurve(Curve):
    """The curve of the order `least`, and its p-value."""

    p_value: float | None = Field(
        None, description="Share of the orders, random ones and this one, whose drop of F is at most that of this order."
    )


class KeepCurve(Schema):
    """Mean target and accuracy where all units but the first are replaced."""

    score: list[float] = Field(description="Mean of the target F with all units replaced but the first k, for each k of `counts`.")
    accuracy: list[float] | None = Field(None, description="Null without labels.")
    p_value: float | None = Field(
        None,
        description="Share of the orders, random ones and the ranking's, whose loss of F is at most that of the ranking.",
    )


class Band(Schema):
    """The random orders at each count: their mean, and the central range with the share `level`."""

    mean: list[float]
    low: list[float]
    high: list[float]


class Control(Schema):
    """The random orders that a ranking is compared with."""

    score: Band
    accuracy: Band | None = None
    area: float | None = Field(None, description="Mean of the random orders' areas.")
    area_to_beat: float | None = Field(
        None, description="A ranking with an area above this is better than random in the cluster; null where none can be."
    )


class AblationResult(Schema):
    """The test of a ranking on one cluster: its order of replacing units against random orders."""

    counts: list[int] = Field(description="Numbers of replaced units, ascending.")
    fractions: list[float] = Field(description="The requested fraction of each count.")
    most: Curve | None = Field(None, description="The most important units are replaced first.")
    least: LeastCurve | None = Field(None, description="The units with the smallest |importance| are replaced first.")
    keep: KeepCurve | None = Field(None, description="All units are replaced but the most important ones.")
    random: Control | None = Field(None, description="The random orders.")
    activity_area: float | None = Field(None, description="Area of the order by mean |h − fill|, the activity of the units.")
    p_value: float | None = Field(
        None, description="Share of the orders, random ones and the ranking's, whose drop of F is at least that of the ranking."
    )
    p_worse: float | None = Field(
        None, description="Share of the orders, random ones and the ranking's, whose drop of F is at most that of the ranking."
    )
    p_holm: float | None = Field(
        None,
        description="`p_value`, corrected for the number of clusters by Holm's method; null where it could not be significant. "
        "`p_family` is more powerful.",
    )
    p_family: float | None = Field(
        None,
        description="`p_value`, corrected for the number of clusters by a step-down over relabelled controls; null for a cluster "
        "with fewer than 2 test examples.",
    )
    keep_area: float | None = Field(
        None, description="1 − the mean, over the counts, of (S₀ − F(keep k)) / (S₀ − S_n); null where `area` is."
    )
    srg: float | None = Field(
        None,
        description="(D of `most` − D of `least`) / (S₀ − S_n); null where `area` is. `least` orders by |importance|, so for "
        "signed scores this is not the published symmetric relevance gain.",
    )
    units_for_90: int | None = Field(
        None,
        description="The smallest count from which every larger count also keeps 90 % of S₀ − S_n; null if no count does.",
    )
    removable_at: int | None = Field(
        None,
        description="The largest count of `least` whose replacement makes at most the share `tolerance` of the examples wrong that "
        "were right, by a one-sided interval; null without labels, and where the cluster has too few test examples.",
    )
    verdict: Verdict
