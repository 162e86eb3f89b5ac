"""Finds the number m of first examples whose statistic given scores are, up to a factor.

The first m examples are those of the job, in the order of the dataset's rows, or those of each
cluster. Each cluster may have a factor of its own, so that sums are recognised too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from unitrank_engine.attribution.projections import DIRECTIONS, directions, last_projected
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.job.context import JobContext
from unitrank_engine.result.matching import NO_FIT, Fit, values
from unitrank_schemas.methods import Statistic


@dataclass(frozen=True)
class ExampleOrder:
    """The order of the job's examples by their dataset row.

    Of a job with very many examples, it has only the first ones, which have projections.

    `count`: the number of examples, and `projected`: the number of those with projections.
    `sizes`: the number of examples of each cluster.
    `members`: for each cluster, its members by their number among all projected examples, in
        this order.
    `positions`: the positions of the same members in this order, from 0.
    """

    count: int
    projected: int
    sizes: Sequence[int]
    members: Sequence[Int[np.ndarray, " _members"]]
    positions: Sequence[Int[np.ndarray, " _members"]]

    @classmethod
    def of(cls, context: JobContext, membership: Membership) -> "ExampleOrder":
        """Return the order. An example that passed once for each cluster has one position."""
        part = membership.up_to(context.once(last_projected))
        rows, position = np.unique(part.rows, return_inverse=True)
        of_clusters, nobody = part.members_of_clusters(), np.zeros(0, np.int64)
        by_cluster = [of_clusters.get(cluster, nobody) for cluster in range(len(context.clusters))]
        members = [each[np.argsort(position[each], kind="stable")] for each in by_cluster]
        sizes = [len(cluster.rows) for cluster in context.clusters]
        return cls(len(context.all_rows()), len(rows), sizes, members, [position[each] for each in members])


@dataclass(frozen=True)
class FirstExamples:
    """The first `count` of `of` examples, of the job or of each cluster.

    `fit`: the factors are those of the mean over these examples.
    """

    count: int
    of: int
    of_each_cluster: bool
    fit: Fit

    @property
    def holds(self) -> bool:
        """Whether the given scores are the statistic of these examples."""
        return self.fit.holds(tried=self.of)


def first_examples(
    given: Float[np.ndarray, "clusters units"],
    projections: Float[np.ndarray, "examples 16"],
    order: ExampleOrder,
    statistic: Statistic,
) -> FirstExamples:
    """Return the first examples that fit best.

    `projections`: of the values that the statistic averages.
    """
    if statistic == "rms" and given.min() < 0:
        return FirstExamples(0, order.count, False, NO_FIT)
    targets = (given**2 if statistic == "rms" else given) @ directions(given.shape[1])
    fits = [_Fits.of(target, projections[members]) for target, members in zip(targets, order.members, strict=True)]
    counted = [min(DIRECTIONS, values(a)) for a in given if a.any()]
    freedom = sum(counted) - len(counted)
    counts = np.arange(1, min(order.count, order.projected + 1))
    first = _best(fits, [positions + 1 for positions in order.positions], counts, order.count, freedom)
    if len(given) > 1:
        longest, projected = max(order.sizes), max(map(len, order.members))
        counts = np.arange(1, min(longest, projected + 1))
        apart = _best(fits, [np.arange(1, len(members) + 1) for members in order.members], counts, longest, freedom)
        if apart.fit.error < first.fit.error:
            first = replace(apart, of_each_cluster=True)
    return replace(first, fit=replace(first.fit, factors=np.sqrt(first.fit.factors))) if statistic == "rms" else first


@dataclass(frozen=True)
class _Fits:
    """The fits of one cluster to the mean over its first 0, 1, 2, … members."""

    errors: Float[np.ndarray, " _counts"]
    factors: Float[np.ndarray, " _counts"]

    @classmethod
    def of(cls, target: Float[np.ndarray, " 16"], projections: Float[np.ndarray, "_members 16"]) -> "_Fits":
        sums = np.vstack([np.zeros(DIRECTIONS), projections.cumsum(0)])
        sizes, length = (sums**2).sum(1), float(np.linalg.norm(target))
        if length == 0.0:
            # A cluster of zeros fits while no member has a score, with any factor.
            return cls(np.where(sizes > 0, np.inf, 0.0), np.full(len(sums), np.nan))
        factors = np.divide(sums @ target, sizes, out=np.zeros(len(sums)), where=sizes > 0)
        errors = np.linalg.norm(target - factors[:, None] * sums, axis=1) / length
        return cls(np.where(sizes > 0, errors, np.inf), factors * np.arange(len(sums)))


def _best(
    fits: Sequence[_Fits],
    ends: Sequence[Int[np.ndarray, " _members"]],
    counts: Int[np.ndarray, " _counts"],
    total: int,
    freedom: int,
) -> FirstExamples:
    """Return the count with the smallest error in the worst cluster.

    `ends`: for each cluster, the counts from which its first, second, … member is included.
    `counts`: from 1; they are tried. `total`: the number of all examples.
    """
    if not len(counts):
        return FirstExamples(0, total, False, NO_FIT)
    included = [np.searchsorted(each, counts, side="right") for each in ends]
    errors = np.max([fit.errors[members] for fit, members in zip(fits, included, strict=True)], axis=0)
    best = int(errors.argmin())
    factors = np.array([fit.factors[members[best]] for fit, members in zip(fits, included, strict=True)])
    signs = set(np.sign(factors[~np.isnan(factors)]))
    error = float(errors[best]) if len(signs) == 1 else np.inf
    return FirstExamples(best + 1, total, False, Fit(error, factors, freedom))
