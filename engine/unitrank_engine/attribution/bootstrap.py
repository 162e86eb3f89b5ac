"""The bootstrap of a ranking's first units: do they stay first with other examples?

The examples of a cluster are divided into G seeded groups, at most 32. A draw takes G groups with
replacement, and ranks the units by the importance from the drawn groups. `in_top`
of a unit is the share of 200 draws in which the unit is among the first k. Units with equal
importance at the boundary share the places that are left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Integer

from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.clusters.hashed_order import MOST_PERMUTED, HashedOrder, SeededOrder, blocks
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.job.clusters.range_members import RangeMembers
from unitrank_engine.job.clusters.rows import Rows
from unitrank_engine.job.context import JobContext
from unitrank_schemas.methods import Statistic
from unitrank_tables.sizes import MiB
from unitrank_tables.top_units import highest

DRAWS = 200
MOST_GROUPS = 32
MIN_GROUPS = 8
"""Groups of a cluster below which there is no bootstrap."""
MOST_UNITS = 20
"""Units at the top of a ranking, at most."""
MOST_BYTES = 64 * MiB
"""Bytes of the groups' sums of one method, at most. Large layers get fewer groups, or none."""
BYTES = 2 * 4
"""Bytes of one unit in one group: Σ s and Σ |s| in float32."""
VALUES_AT_ONCE = 2**21
"""Importances of units in draws that are computed in one step."""
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)


@dataclass(frozen=True)
class Bootstrap:
    """The groups of one cluster, and the draws of them."""

    groups: slice
    """The numbers of the cluster's groups."""
    sizes: Integer[np.ndarray, " groups"]
    """The number of examples of each group."""
    shares: Float[np.ndarray, "draws groups"]
    """The weight of each example of a group in each draw."""

    @classmethod
    def of(cls, groups: slice, sizes: Integer[np.ndarray, " groups"], generator: np.random.Generator) -> "Bootstrap":
        count = len(sizes)
        times = generator.multinomial(count, np.full(count, 1 / count), DRAWS)
        return cls(groups, sizes, times / (times @ sizes)[:, None])


@dataclass(frozen=True)
class Groups:
    """The groups of a job's examples. Jobs that differ only in their methods have equal groups."""

    count: int
    """The number of groups of all clusters; 0 where no cluster has a bootstrap."""
    bootstraps: Sequence[Bootstrap | None]
    """One for each cluster; None for a cluster with too few groups."""
    first: Integer[np.ndarray, " clusters"]
    """The number of each cluster's first group."""
    of_member: Integer[np.ndarray, " members"]
    """The group of each membership in its cluster, in one byte, in the order of `by_member`."""

    @classmethod
    def of(cls, context: JobContext, membership: Membership) -> "Groups":
        clusters = context.clusters
        most = min(MOST_GROUPS, MOST_BYTES // (BYTES * len(clusters) * context.units.count))
        groups = np.zeros(sum(len(cluster.rows) for cluster in clusters), np.uint8)
        bootstraps, first, start = list[Bootstrap | None](), [0], 0
        for cluster in clusters:
            stop = start + len(cluster.rows)
            enough = min(stop - start, most) >= MIN_GROUPS
            # Without a bootstrap the cluster is one group, which nothing reads.
            count = min(stop - start, most) if enough else 1
            sizes = _divide(cluster.rows, count, context.streams.generator("groups", cluster.name), groups[start:stop])
            generator = context.streams.generator("bootstrap", cluster.name)
            bootstraps.append(Bootstrap.of(slice(first[-1], first[-1] + count), sizes, generator) if enough else None)
            first.append(first[-1] + count)
            start = stop
        return cls(first[-1] if any(bootstraps) else 0, bootstraps, np.array(first[:-1]), membership.by_member(groups))

    def of_range(self, membership: Membership, examples: range, part: RangeMembers) -> "MemberGroups":
        """Return the groups of the memberships of a range."""
        return MemberGroups(self.count, self.first[part.cluster] + membership.of_part(self.of_member, examples, part))


class MemberGroups(NamedTuple):
    """The groups of the memberships of a range.

    `total`: the number of groups of all clusters; 0 where no cluster has a bootstrap.
    """

    total: int
    of_member: Integer[np.ndarray, " members"]


def _divide(
    rows: Rows, count: int, generator: np.random.Generator, groups: Integer[np.ndarray, " rows"]
) -> Integer[np.ndarray, " groups"]:
    """Set the group of each row of a cluster; return the sizes of the groups.

    Very many rows are divided by a keyed hash of the row, so that the sizes differ a little.
    """
    if len(rows) > MOST_PERMUTED:
        hashed, sizes = HashedOrder(generator), np.zeros(count, np.int64)
        for block in blocks(len(rows)):
            groups[block] = hashed.shares(rows[block]) * count
            sizes += np.bincount(groups[block], minlength=count)
        return sizes
    order = SeededOrder(generator, len(rows))
    for block in blocks(len(rows)):
        groups[order[block]] = np.arange(block.start, block.stop) * count // len(rows)
    bounds = -(-np.arange(count + 1) * len(rows) // count)
    return np.diff(bounds)


def top_size(units: int) -> int:
    """Return k, the number of units at the top of a ranking."""
    return min(MOST_UNITS, units // 2)


def top_shares(sums: Sums, groups: Groups, context: JobContext) -> dict[Statistic, Float[np.ndarray, "clusters top"]]:
    """Return each statistic's `in_top` of the first k units of each cluster.

    NaN for a cluster without a bootstrap. Empty where no cluster has one. `rms` is left out where
    the sums of s² are not kept.
    """
    k = top_size(context.units.count)
    if not groups.count or not k:
        return {}
    shares = {statistic: np.full((len(context.clusters), k), np.nan) for statistic in STATISTICS[: len(sums.of_groups)]}
    for index, bootstrap in enumerate(groups.bootstraps):
        if bootstrap is None:
            continue
        moments = sums.of_cluster(index)
        of_groups = sums.of_groups[:, bootstrap.groups].cpu().numpy()
        for statistic, values in zip(shares, of_groups, strict=True):
            # Sums of huge scores can overflow.
            if np.isfinite(values).all():
                first = highest(moments.importance(statistic), k)
                shares[statistic][index] = in_top(values, bootstrap, first, root=statistic == "rms")
    return shares


def in_top(
    sums: Float[np.ndarray, "groups units"], bootstrap: Bootstrap, first: Integer[np.ndarray, " top"], *, root: bool = False
) -> Float[np.ndarray, " top"]:
    """Return the share of draws in which each of the k first units is among the first k.

    `sums`: Σ of the values that the statistic averages, over each group.
    `first`: the numbers of the k first units.
    `root`: whether the importance is the root of the mean.
    """
    k, shares = len(first), bootstrap.shares
    reached, is_candidate = _candidates(sums, bootstrap, k)
    is_candidate[first] = True
    units = np.flatnonzero(is_candidate)
    of_units, columns, total = sums[:, units].astype(np.float64), np.searchsorted(units, first), np.zeros(k)
    step = max(1, VALUES_AT_ONCE // len(units))
    for start in range(0, len(shares), step):
        draws = slice(start, start + step)
        values, floor = _importance(shares[draws] @ of_units, root), _importance(reached[draws, None], root)
        high = _packed(values, values >= floor)
        last = np.partition(high, -k, axis=1)[:, -k, None]
        above, tied = ((high > last).sum(1, keepdims=True), (high == last).sum(1, keepdims=True))
        of_first = values[:, columns]
        total += ((of_first > last) + (of_first == last) * ((k - above) / tied)).sum(0)
    return np.asarray(total / len(shares))


def _importance(mean: Float[np.ndarray, "draws units"], root: bool) -> Float[np.ndarray, "draws units"]:
    """Return the importance in float32, the precision of a result's arrays.

    Equal units stay equal.
    """
    return np.asarray((np.sqrt(np.maximum(mean, 0.0)) if root else mean).astype(np.float32))


def _packed(values: Float[np.ndarray, "draws units"], chosen: Bool[np.ndarray, "draws units"]) -> Float[np.ndarray, "draws most"]:
    """Return each row's chosen values, then −∞ up to the length of the longest row.

    Sorting these few values is faster than sorting all values.
    """
    counts, places = chosen.sum(1), np.flatnonzero(chosen)
    rows = np.repeat(np.arange(len(values)), counts)
    packed = np.full((len(values), counts.max()), -np.inf, np.float32)
    packed[rows, np.arange(len(places)) - (np.cumsum(counts) - counts)[rows]] = values.ravel()[places]
    return packed


def _candidates(
    sums: Float[np.ndarray, "groups units"], bootstrap: Bootstrap, k: int
) -> tuple[Float[np.ndarray, " draws"], Bool[np.ndarray, " units"]]:
    """Return a mean that the k-th unit of each draw has at least, and the units that can reach it.

    A unit's mean in a draw differs from its mean over all m examples by Σ over groups of (weight of
    each example − 1/m) · (sum − size · mean). The Cauchy–Schwarz inequality bounds this difference.
    The k-th unit of a draw has at least the mean of the k-th of the units with the highest means.
    """
    sizes, shares = bootstrap.sizes.astype(sums.dtype), bootstrap.shares
    examples = bootstrap.sizes.sum()
    with np.errstate(over="ignore", invalid="ignore"):
        total, weighted = np.stack([np.ones_like(sizes), sizes]) @ sums
        mean, squares = total / examples, np.einsum("gu,gu->u", sums, sums)
        # Σ (sum − size · mean)², multiplied out. The second summand is for rounding in float32.
        spread = squares - mean * (2 * weighted - (sizes @ sizes) * mean) + 1e-5 * squares
        bound = mean + np.linalg.norm(shares - 1 / examples, axis=1).max() * np.sqrt(np.maximum(spread, 0.0))
    # Squares of huge sums overflow. Then all units are candidates.
    bound = np.where(np.isfinite(bound), bound, np.inf)
    leaders = np.argpartition(-mean, min(len(mean), 2 * k) - 1)[: 2 * k]
    reached = np.partition(shares @ sums[:, leaders].astype(np.float64), -k, axis=1)[:, -k]
    # The allowance is for rounding.
    reached = reached - 1e-6 * np.abs(bound).max()
    return reached, bound >= reached.min()
