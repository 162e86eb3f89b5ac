"""The sums of masks as arrays of a pass over batches, and back."""

from collections.abc import Sequence

import numpy as np

from unitrank_engine.ablation.masks.mask_runner import MaskSums
from unitrank_tables.range_result import Arrays


def arrays_of(prefix: str, sums: MaskSums) -> dict[str, np.ndarray]:
    """Return the sums of one batch. Each array has a row, and `values` one for each example.

    `prefix`: of the arrays' names.
    """
    arrays = {"score": sums.score[None], "magnitude": np.array([sums.magnitude])}
    arrays |= {name: each[None] for name, each in (("right", sums.right), ("newly_wrong", sums.newly_wrong)) if each is not None}
    arrays |= {} if sums.values is None else {"values": sums.values.T}
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def sums_from(arrays: Arrays, prefix: str, examples: Sequence[int]) -> list[MaskSums]:
    """Return the sums of each batch. `examples`: the number of examples of each batch."""
    if not examples:
        return []
    score, magnitude, right, newly_wrong, values = (
        arrays.get(f"{prefix}/{name}") for name in ("score", "magnitude", "right", "newly_wrong", "values")
    )
    assert score is not None
    assert magnitude is not None
    # The layout decides how numpy adds, and arrays of another process have another one.
    of_batches = None if values is None else np.split(np.ascontiguousarray(values.T), np.cumsum(examples)[:-1], axis=1)
    return [
        MaskSums(
            score[number],
            None if right is None else right[number],
            None if newly_wrong is None else newly_wrong[number],
            float(magnitude[number]),
            None if of_batches is None else of_batches[number],
        )
        for number in range(len(examples))
    ]
