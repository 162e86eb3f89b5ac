"""The examples with the largest and the smallest value of each unit, in each cluster.

The values are scores of a method, or activations. A range of examples keeps its own extremes, and
those of all ranges are merged: a unit's extremes do not depend on the division into ranges.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_schemas.unit_examples import KEPT, are_followed
from unitrank_tables.sizes import MiB

MOST_BYTES = 128 * MiB
"""Bytes of the extremes of one method in all ranges."""
BYTES = 2 * KEPT * 12
"""Bytes of one unit in one range: values in float32 and rows in int64."""
LARGEST, SMALLEST = 0, 1
"""The places of the two lists on the first axis."""


@dataclass
class Extremes:
    """The extremes of each unit, the most extreme one first.

    `values`: the values; those of the list `SMALLEST` are negated. −∞ where there is no example.
    `rows`: the dataset rows of the examples; −1 where a cluster has fewer examples.

    >>> extremes = Extremes.empty(clusters=1, units=1, device=torch.device("cpu"))
    >>> values = torch.tensor([[4.0], [1.0], [9.0], [2.0]])
    >>> extremes.add(clusters=np.zeros(4, int), examples=np.arange(4), rows=np.array([10, 11, 12, 13]), values=values)
    >>> extremes.rows[LARGEST, 0, 0].tolist(), extremes.rows[SMALLEST, 0, 0].tolist()
    ([12, 10, 13], [11, 13, 10])
    """

    values: Float[Tensor, "2 clusters units kept"]
    rows: Int[Tensor, "2 clusters units kept"]

    @classmethod
    def empty(cls, *, clusters: int, units: int, device: torch.device) -> "Extremes":
        """Return the extremes of no example."""
        shape = (2, clusters, units, KEPT)
        return cls(torch.full(shape, -torch.inf, device=device), torch.full(shape, -1, device=device))

    def add(
        self,
        *,
        clusters: Int[np.ndarray, " members"],
        examples: Int[np.ndarray, " members"],
        rows: Int[np.ndarray, " members"],
        values: Float[Tensor, "rows units"],
    ) -> None:
        """Add the members of a batch.

        `clusters`: the cluster of each member. `examples`: the row of `values` that it has.
        `rows`: its dataset row.
        """
        order = np.argsort(clusters, kind="stable")
        present, starts = np.unique(clusters[order], return_index=True)
        for cluster, members in zip(present.tolist(), np.split(order, starts[1:]), strict=True):
            positions = examples[members]
            whole = len(positions) == len(values) and bool((np.diff(positions) == 1).all())
            block = (values if whole else values[torch.from_numpy(positions).to(values.device)]).float()
            self._add(cluster, torch.from_numpy(rows[members]).to(values.device), block)

    def _add(self, cluster: int, rows: Int[Tensor, " members"], block: Float[Tensor, "members units"]) -> None:
        """Replace the extremes of the units for which the block has more extreme values."""
        low, high = torch.aminmax(block, dim=0)
        for kind, sign, best in ((LARGEST, 1.0, high), (SMALLEST, -1.0, -low)):
            # Most units of a later batch have no new extreme.
            unit = (best > self.values[kind, cluster, :, -1]).nonzero()[:, 0]
            if not len(unit):
                continue
            values = torch.cat([self.values[kind, cluster, unit], sign * block[:, unit].T], 1)
            numbers = torch.cat([self.rows[kind, cluster, unit], rows.expand(len(unit), -1)], 1)
            for place in range(KEPT):
                # Of equal values the first one is taken, which does not depend on batch sizes.
                top, position = values.max(1, keepdim=True)
                self.values[kind, cluster, unit, place] = top[:, 0]
                self.rows[kind, cluster, unit, place] = numbers.gather(1, position)[:, 0]
                values.scatter_(1, position, -torch.inf)

    @classmethod
    def merged(cls, values: Float[np.ndarray, "ranges 2 clusters units kept"], rows: np.ndarray) -> "Extremes":
        """Return the extremes of all ranges."""
        side_by_side = (np.concatenate(list(array), axis=-1) for array in (values, rows))
        of_values, of_rows = (torch.from_numpy(np.ascontiguousarray(array)) for array in side_by_side)
        top, places = of_values.sort(dim=-1, descending=True, stable=True)
        return cls(top[..., :KEPT].contiguous(), of_rows.gather(-1, places[..., :KEPT]))


def follows(*, clusters: int, units: int, classes: int, ranges: int) -> bool:
    """Whether a job of this size keeps the extremes of each unit."""
    return are_followed(clusters=clusters, units=units, classes=classes) and clusters * units * ranges * BYTES <= MOST_BYTES


def extremes_arrays(name: str, extremes: Extremes | None) -> dict[str, np.ndarray]:
    """Return the arrays of a range, with an axis for the ranges in front.

    `name`: the beginning of their names.
    """
    if extremes is None:
        return {}
    return {f"{name}/values": extremes.values[None].cpu().numpy(), f"{name}/rows": extremes.rows[None].cpu().numpy()}


def extremes_from(name: str, arrays: Mapping[str, np.ndarray]) -> Extremes | None:
    """Return the extremes of all ranges; None without them.

    `arrays`: the `extremes_arrays` of all ranges follow each other.
    """
    return Extremes.merged(arrays[f"{name}/values"], arrays[f"{name}/rows"]) if f"{name}/rows" in arrays else None
