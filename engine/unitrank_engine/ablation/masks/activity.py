"""The activity of units: how far their values are from the fill. It depends on no target."""

import numpy as np

from unitrank_engine.ablation.cluster_batches import ClusterBatch, ranking_batches, sums_of_clusters
from unitrank_engine.ablation.masks.mask_runner import STAGE
from unitrank_engine.job.fills import Fills
from unitrank_schemas.base import Fill


def activity(fills: Fills, fill: Fill) -> list[np.ndarray]:
    """Return each cluster's activity of every unit: the mean of |h − fill| over the ranking side.

    `fills`: prepared for this fill.
    """
    context = fills.context

    def total(batch: ClusterBatch) -> np.ndarray:
        x = context.examples.inputs(batch.rows)
        difference = (context.split.head(x)[0] - fills.of(fill, batch.rows, batch.cluster, x)).abs()
        context.cost.forward_rows += len(batch.rows)
        return np.asarray(context.units.reduce(difference).double().sum(0).cpu().numpy())

    batches = ranking_batches(context, fills.batch)
    totals = sums_of_clusters(context, STAGE, batches, total, operations=context.split.cost)
    # Every cluster has an example that ranks.
    sizes = np.bincount([batch.cluster for batch in batches], [len(batch.rows) for batch in batches])
    return [totals[cluster] / sizes[cluster] for cluster in range(len(context.clusters))]
