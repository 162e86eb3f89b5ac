"""Errors of scores, and the faults that they are."""

from typing import Any

import numpy as np
from tests.engine.architectures.zoo import COUNT

Scores = dict[str, np.ndarray]
"""The scores of all examples by method: one row for each example."""

ERROR = 2e-4
"""The largest accepted error, relative to the largest score of the place."""
ALONE = 2e-5
"""The largest accepted difference between an example alone and in company."""
GAP = 0.05
"""A path method with a larger gap must have a warning."""
DEEPLIFT_GAP = 1e-3
OWN_ROUNDING = 2.0
"""An error counts as the module's own if eager float32 has at least this part of it."""
ABLATED = 6
"""Number of units of a place whose exact ablation is compared."""
CANCELLED = 1e-3
"""Part of a term that counts as 0 in a sum that cancels."""
TINY = 1e-9
"""Scores below this number count as 0."""
PATH_WARNINGS = {"path_not_resolved", "degenerate_reference"}


def rounded(number: float) -> float:
    """The number with one digit."""
    return float(f"{number:.0e}")


def sample(count: int) -> list[int]:
    """The units of a place whose exact ablation is compared."""
    return sorted({int(unit) for unit in np.linspace(0, count - 1, ABLATED)})


def scores_of(arrays: Scores) -> Scores:
    keys = [key for key in arrays if key.startswith("examples/") and key.endswith("/all")]
    return {key.split("/")[1]: arrays[key].reshape(COUNT, -1).astype(np.float64) for key in keys}


def same_units(scores: Scores, want: Scores) -> Scores:
    """The scores with only those units of `exact_ablation` that `want` has."""
    drops = scores["exact_ablation"]
    return scores | {"exact_ablation": drops[:, sample(drops.shape[1])]} if "exact_ablation" in want else scores


def scales_of(scores: Scores, want: Scores) -> dict[str, float]:
    """The largest score of each method.

    Scores of `grad_cam` and `exact_ablation` can be 0 because their terms cancel; these terms are
    their scale then.
    """
    scales = {name: max(np.abs(values).max(), TINY) for name, values in scores.items()}
    term = CANCELLED * np.abs(want["gradient_x_activation"]).max()
    return scales | {name: max(scales[name], term) for name in ("grad_cam", "exact_ablation") if name in scales}


def errors_of(got: Scores, want: Scores, scales: dict[str, float]) -> dict[str, float]:
    """The largest difference of each method, relative to its scale."""
    return {
        name: float(np.abs(got[name] - values).max() / scales[name]) if np.isfinite(got[name]).all() else float("inf")
        for name, values in want.items()
    }


def above(errors: dict[str, float], own: dict[str, float], limit: float, words: str) -> list[str]:
    """A fault for each error above the limit that is not the rounding of eager float32."""
    return [
        f"{method} {words} {rounded(error)}"
        for method, error in errors.items()
        if error > limit and own.get(method, 0.0) < error / OWN_ROUNDING
    ]


def unresolved(summary: dict[str, Any], ids: tuple[str, ...], limit: float) -> list[str]:
    """A fault for each ranking whose gap is above the limit and that has no warning.

    `deeplift` may have a larger gap where the model compares values.
    """
    warned = {warning["ranking"] for warning in summary["warnings"] if warning["code"] in PATH_WARNINGS}
    faults = []
    for ranking in summary["rankings"]:
        name, gap = ranking["id"], gap_of(summary, (ranking["id"],))
        allowed = max(limit, GAP) if "derivative" in ranking["options"] else limit
        if name in ids and name not in warned and gap > allowed:
            faults.append(f"{name} has a gap of {rounded(gap)} without a warning")
    return faults


def gap_of(summary: dict[str, Any], ids: tuple[str, ...]) -> float:
    """The largest completeness gap of these rankings; 0 where the place is not a cut."""
    rankings = [ranking for ranking in summary["rankings"] if ranking["id"] in ids]
    gaps = [ranking["clusters"]["all"]["completeness"]["relative_gap"] for ranking in rankings]
    return max((gap for gap in gaps if gap is not None), default=0.0)
