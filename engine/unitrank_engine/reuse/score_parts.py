"""Converts scores to parts and back: a method's sums, its kept examples, and its drops."""

from collections.abc import Callable

import numpy as np
import torch

from unitrank_engine.attribution.bootstrap import STATISTICS
from unitrank_engine.attribution.projections import AVERAGED
from unitrank_engine.attribution.scores import Drops, MethodScores, PathGaps, PerExample
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Notes
from unitrank_schemas.methods import MethodBase, PathMethod, Statistic
from unitrank_tables.part import Part

GAPS = ("gap", "change", "hidden", "f", "f_baseline")
"""The arrays of a path method's gaps."""


def of_examples(examples: PerExample) -> Part:
    """Make a part of the values that do not depend on the method."""
    arrays = {name: getattr(examples, name) for name in ("f", "f_baseline", "classes", "flat", "at_baseline", "probabilities")}
    return Part(arrays if examples.right is None else arrays | {"right": examples.right})


def examples_from(part: Part) -> PerExample:
    arrays = dict(part.arrays)
    return PerExample(right=arrays.pop("right", None), **arrays)


def of_scores(scores: MethodScores) -> Part:
    """Make a part of a method's sums, totals and notes, without its kept examples."""
    metadata = scores.notes.to_json()
    sums = scores.sums
    arrays = {"sums": sums.sums.cpu().numpy(), "counts": sums.counts, "totals": scores.totals}
    arrays |= {f"in_top/{statistic}": shares for statistic, shares in scores.in_top.items()}
    gaps = scores.path_gaps
    return Part(arrays if gaps is None else arrays | {name: getattr(gaps, name) for name in GAPS}, metadata)


def scores_from(part: Part, entry: MethodBase, context: JobContext) -> MethodScores:
    """Read the part that `of_scores` made.

    Raises KeyError, TypeError or ValueError for a damaged part.
    """
    arrays, metadata = part.arrays, part.metadata
    # A copy, because a part's arrays can be read-only.
    sums = Sums.of(np.array(arrays["sums"]), arrays["counts"], device=context.device)
    notes = Notes.from_json(metadata)
    gaps = PathGaps(**{name: arrays[name] for name in GAPS}) if isinstance(entry, PathMethod) else None
    in_top = {statistic: arrays[f"in_top/{statistic}"] for statistic in STATISTICS if f"in_top/{statistic}" in arrays}
    return MethodScores(entry, sums, arrays["totals"], notes=notes, path_gaps=gaps, in_top=in_top)


def of_kept(scores: MethodScores) -> Part:
    """Make a part of the scores of a method's kept examples."""
    clusters = [cluster for cluster, rows in scores.kept.items() for _ in rows]
    rows = [row for rows in scores.kept.values() for row in rows]
    return Part({"clusters": np.array(clusters, np.int64), "rows": torch.stack(rows).numpy()})


def kept_from(part: Part) -> dict[int, list[torch.Tensor]]:
    """Read the part that `of_kept` made: cluster → scores of its kept examples."""
    kept: dict[int, list[torch.Tensor]] = {}
    for cluster, row in zip(part.arrays["clusters"].tolist(), torch.tensor(part.arrays["rows"]), strict=True):
        kept.setdefault(cluster, []).append(row)
    return kept


def of_projections(scores: MethodScores) -> Part:
    """Make a part of the projections of a method's scores."""
    return Part({str(statistic): rows for statistic, rows in scores.projections.items()})


def projections_from(part: Part) -> dict[Statistic, np.ndarray]:
    """Read the part that `of_projections` made: statistic → projections."""
    return {statistic: part.arrays[statistic] for statistic in AVERAGED if statistic in part.arrays}


def of_drops(drops: Drops | None) -> Part:
    """Make a part of a method's predicted and actual drops."""
    assert drops is not None
    return Part({"predicted": drops.predicted, "actual": drops.actual})


def drops_from(part: Part) -> Drops:
    """Read the part that `of_drops` made. Raises KeyError for a damaged part."""
    return Drops(part.arrays["predicted"], part.arrays["actual"])


MAKERS: dict[str, Callable[[MethodScores, Drops | None], Part]] = {
    "scores": lambda scores, drops: of_scores(scores),
    "kept": lambda scores, drops: of_kept(scores),
    "projections": lambda scores, drops: of_projections(scores),
    "errors": lambda scores, drops: of_drops(drops),
}
"""Kind of part → the function that makes it. The kinds are in fingerprints of stored parts."""
