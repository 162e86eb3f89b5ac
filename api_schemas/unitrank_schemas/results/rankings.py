"""Rankings: the most important units of each cluster, and the tests of the ranking."""

from typing import Any

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.results.ablation import AblationResult
from unitrank_schemas.results.fidelity import FidelityResult
from unitrank_schemas.results.verdicts import Verdict


class Unit(Schema):
    """One unit of a ranking."""

    unit: int = Field(description="Number of the unit in row-major order of the layer's `shape`.")
    index: list[int] = Field(description="Indices of the unit in the layer's `shape`.")
    importance: float
    spread: float | None = Field(
        None, description="Standard deviation of the values that the statistic averages; null for a cluster of one example."
    )
    importance_low: float | None = Field(None, description="Lower end of the t interval of the importance, at the job's `level`.")
    importance_high: float | None = Field(None, description="Upper end of the t interval of the importance.")
    in_top: float | None = Field(
        None,
        description="Share of bootstrap draws of the examples in which the unit is among the first k, with k = min(20, half of the "
        "units); null beyond k, and without scores of single examples.",
    )


class Completeness(Schema):
    """The sum of the signed scores, compared with the change of the target from the baseline."""

    sum: float = Field(description="Sum of the scores over all units, averaged over the examples.")
    expected: float = Field(description="F(x) − F(x′), averaged over the examples.")
    relative_gap: float | None = Field(
        None,
        description="Σ |sum − change| / Σ |change| over the examples. Null if the method is not complete, the place is not a cut, "
        "or the change is close to zero.",
    )


class Verified(Schema):
    """The exact effect of the highest units and of a random sample of the others."""

    precision: float = Field(description="Share of the ranking's top units that are in the true top of the verified units.")
    spearman: float | None = Field(None, description="Rank correlation of importance and exact effect over all verified units.")
    missed_at_most: int = Field(
        description="Upper limit, at the job's `level`, of the number of units below the verified top whose effect is larger than "
        "that of the last unit of the top. The limit is loose: a small sample cannot exclude many units."
    )


class BaselineAgreement(Schema):
    """How far the rankings by single baselines agree, for a job with the baseline `examples`."""

    followed: int = Field(description="Number of baselines that are compared: the first ones of the draw, at most 16.")
    agreement: float | None = Field(
        None,
        description="Mean rank correlation of the importances by two single baselines, over all pairs of them; null if the "
        "importances are equal for all units.",
    )
    lowest: float | None = Field(None, description="The lowest rank correlation of two baselines.")


class ClusterRanking(Schema):
    """A ranking on one cluster."""

    top: list[Unit] = Field(description="The most important units, the first one first.")
    completeness: Completeness | None = None
    cancellation: float | None = Field(
        None,
        description="From 0 to 1: how much the signed scores of different examples cancel in the mean; null for one example.",
    )
    stability: float | None = Field(None, description="Spearman correlation of the importance between the cluster's two halves.")
    stable_top: list[int] | None = Field(
        None, description="The units that are among the first in at least 95 % of the bootstrap draws; null without `in_top`."
    )
    verified: Verified | None = Field(None, description="From `ablation.verify`.")
    baselines: BaselineAgreement | None = Field(
        None, description="Null for a job with one baseline, a method that reads none, and a result that would be too large."
    )
    ablation: AblationResult | None = None


class Overall(Schema):
    """The verdict over all clusters together; each cluster has equal weight."""

    p_value: float | None = Field(
        None,
        description="Share of the relabelled controls and the ranking whose standardised drops, summed over the clusters, are at "
        "least those of the ranking.",
    )
    p_worse: float | None = Field(None, description="The same with `at most`.")
    p_family: float | None = Field(
        None, description="`p_value`, corrected for the number of rankings of the job; it decides the verdict. Null for `random`."
    )
    p_family_worse: float | None = Field(None, description="`p_worse`, corrected for the number of rankings of the job.")
    area: float | None = Field(
        None,
        description="Σ D / Σ (S₀ − S_n) over the clusters where S₀ − S_n is not close to zero; null if there is no such cluster.",
    )
    noise: float | None = Field(
        None,
        description="Standard deviation of the area of the ranking's controls. A lead over another ranking counts where its whole "
        "interval exceeds it.",
    )
    removable_at: int | None = Field(None, description="As for a cluster, over the test examples of all clusters.")
    verdict: Verdict
    robust: bool | None = Field(
        None, description="Whether the verdict is `better_than_random` and has no doubts; null without ablation of this version."
    )
    doubts: list[str] = Field([], description="Codes of the warnings that speak against a better verdict.")

    @property
    def deciding_p(self) -> float | None:
        """The p-value that decides the verdict.

        Rankings of the method `random`, and results of older versions, have no corrected p-value.
        """
        return self.p_value if self.p_family is None else self.p_family


class Specificity(Schema):
    """Each cluster's order tested on the examples of the other clusters."""

    matrix: list[list[float | None]] = Field(
        description="Entry [a][b]: area of the order of cluster a on the test examples of cluster b. Clusters are in the result's "
        "order; null in the rows and columns of clusters whose area is null."
    )
    selectivity: dict[str, float] = Field(
        description="Cluster → the area of its own order on its examples, minus the mean area of the other orders on them."
    )
    selectivity_low: dict[str, float] = Field({}, description="Cluster → lower end of the interval of `selectivity`.")
    selectivity_high: dict[str, float] = Field({}, description="Cluster → upper end of the interval.")
    p_value: dict[str, float | None] = Field(
        {},
        description="Cluster → share of all clusters' orders whose area on its examples is at least that of its own order; null "
        "for fewer than 20 clusters.",
    )
    overall_p_value: float | None = Field(
        None,
        description="Share of the permutations of the orders for which the sum of the standardised areas on the diagonal is at "
        "least that of the true assignment; null for fewer than 4 clusters.",
    )


class Ranking(Schema):
    """One method with one statistic."""

    id: str
    target_class: int | None = Field(None, description="The class that is explained, for the target class `each`; else null.")
    method: dict[str, Any] = Field(
        description="The entry of the request with its defaults and the spacing that was used, without the id."
    )
    clusters: dict[str, ClusterRanking]
    overall: Overall | None = None
    specificity: Specificity | None = Field(
        None, description="Null without ablation, for one cluster, and where it is not requested."
    )
    weights_matter: float | None = Field(
        None,
        description="From `ablation.sanity`: 1 − the share of the area above random that a ranking of the network with permuted "
        "weights reaches. Near 0, the ranking hardly depends on the weights. Null where the ranking's area is not above random, "
        "and where no parameter behind the layer has different entries.",
    )
    fidelity: FidelityResult | None = None
    options: dict[str, Any] = Field(
        {},
        description="Options that the method decided while it ran: the `steps` that a tolerance needed, and the operations of the "
        "model that took `quadrature` or a plain `derivative`.",
    )
    seconds: float = Field(
        description="The ranking's share of the job's time. The time of shared passes is divided in proportion to each method's "
        "path points and gradients, the time of the ablation study equally."
    )
