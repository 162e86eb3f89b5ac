"""The runs of a fill test: the sums of its masks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from unitrank_engine.ablation.masks.mask_runner import MaskSums


@dataclass(frozen=True)
class BatchControls:
    """The sums of the controls over one batch.

    `keep`: the same where units are kept; None without the order `keep`.
    """

    sums: MaskSums
    keep: MaskSums | None


@dataclass(frozen=True)
class Controls:
    """The sums of one cluster's controls, batch by batch."""

    batches: list[MaskSums]
    keep: list[MaskSums]
    """The same where units are kept; empty without the order `keep`."""
    activity: np.ndarray | None
    """The order by activity, as the position of each unit.

    None where this order is not among the controls.
    """

    def of_batch(self, number: int) -> "BatchControls":
        """Return the sums of one batch."""
        return BatchControls(self.batches[number], self.keep[number] if self.keep else None)

    def of_random(self, orders: int, counts: int) -> "Controls":
        """Return the sums without units kept, and without the order by activity.

        `orders`: the number of random orders.
        `counts`: the number of counts of replaced units.
        """
        return Controls([sums.of_first(2 + orders * counts) for sums in self.batches], [], None)


@dataclass(frozen=True)
class RankingRuns:
    """The sums of one ranking's masks over the test examples of one cluster."""

    masks: MaskSums
    """The ranking's orders, the orders of all clusters, then the relabelled controls.

    Its values are means over the counts, one for each order but the relabelled controls.
    """
    keep: MaskSums | None
    """Its values are means over the counts."""


@dataclass(frozen=True)
class ClusterRuns:
    """The sums of all masks of one cluster."""

    controls: Controls
    rankings: Mapping[str, RankingRuns]


def summed(batches: list[MaskSums], masks: int, single: int = 0) -> MaskSums:
    """Return the sums over all batches, and the values of all examples; zeros without batches.

    `single`: the number of values of each example, for a cluster without batches.
    """
    rights = [sums.right for sums in batches if sums.right is not None]
    wrongs = [sums.newly_wrong for sums in batches if sums.newly_wrong is not None]
    values = [sums.values for sums in batches if sums.values is not None]
    return MaskSums(
        score=sum((sums.score for sums in batches), np.zeros(masks)),
        right=sum(rights, np.zeros(masks)) if len(rights) == len(batches) else None,
        newly_wrong=np.sum(wrongs, axis=0) if wrongs else None,
        magnitude=sum(sums.magnitude for sums in batches),
        values=np.concatenate(values, axis=1) if values else np.zeros((single, 0)),
    )


def means_over_counts(sums: MaskSums, orders: int) -> MaskSums:
    """Return the sums with each example's values averaged over the counts, `[orders, examples]`."""
    if sums.values is None or not len(sums.values):
        return replace(sums, values=np.zeros((orders, 0 if sums.values is None else sums.values.shape[1])))
    return replace(sums, values=sums.values.reshape(orders, -1, sums.values.shape[1]).mean(1))
