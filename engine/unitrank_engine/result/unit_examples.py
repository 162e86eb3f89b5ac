"""The arrays that say which examples move a unit: those with its largest and smallest values.

They are kept for the units with the highest importance of each ranking and cluster.
"""

import numpy as np

from unitrank_engine.attribution.examples.extremes import LARGEST, SMALLEST, Extremes
from unitrank_schemas.unit_examples import KEPT, LISTS
from unitrank_tables.top_units import highest


def unit_examples(importance: np.ndarray, scores: Extremes | None, activation: Extremes, count: int) -> dict[str, np.ndarray]:
    """Return `units` `[clusters, count]`, and `rows` and `values` `[clusters, count, lists, kept]`.

    A list ends with row −1 and value NaN where the cluster has fewer examples, and all of it is so
    for scores that did not come from examples.

    `importance`: `[clusters, units]`. `count`: the number of units that are kept.
    """
    units = np.stack([highest(values, count) for values in importance])
    shape = (*units.shape, len(LISTS), KEPT)
    rows, values = np.full(shape, -1, np.int64), np.full(shape, np.nan, np.float32)
    for first, extremes in ((0, scores), (2, activation)):
        if extremes is not None:
            for cluster, chosen in enumerate(units):
                of_rows = extremes.rows[:, cluster].cpu().numpy()[:, chosen]
                of_values = extremes.values[:, cluster].cpu().numpy()[:, chosen] * _signs()
                rows[cluster, :, first : first + 2] = of_rows.transpose(1, 0, 2)
                values[cluster, :, first : first + 2] = np.where(of_rows < 0, np.nan, of_values).transpose(1, 0, 2)
    return {"units": units.astype(np.int64), "rows": rows, "values": values}


def _signs() -> np.ndarray:
    signs = np.ones((2, 1, 1), np.float32)
    signs[SMALLEST], signs[LARGEST] = -1, 1
    return signs
