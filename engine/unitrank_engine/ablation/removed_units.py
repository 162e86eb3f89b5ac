"""The units that the order `least` replaces by zeros, for masks that prune a network."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int

from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.job.context import JobContext


def removal_steps(
    context: JobContext, importance: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, Int[np.ndarray, "clusters ..."]]:
    """Return for each ranking and unit the index of the first count at which `least` replaces it.

    It is the number of counts for units that no count replaces. The steps of a cluster have a shape
    that broadcasts to the module's value, with its batch. Empty where units are not replaced by
    zeros, or not in the order `least`.

    `importance`: ranking's id → each cluster's importance of every unit, from the examples that
    rank.
    """
    ablation, units, place = context.request.ablation, context.units, context.split.place
    if ablation is None or ablation.fill != "zero" or "least" not in ablation.orders:
        return {}
    orders, counts = Orders(units.count, context.streams), np.array(list(ablation.counts_of(units.count)))
    steps = {}
    for name, of_clusters in importance.items():
        positions = [orders.least(values, cluster.name) for values, cluster in zip(of_clusters, context.clusters, strict=True)]
        of_units = torch.from_numpy(np.searchsorted(counts, np.stack(positions), side="right"))
        steps[name] = units.spread(of_units).unsqueeze(place.batch_axis + 1).numpy()
    return steps
