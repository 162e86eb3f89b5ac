"""The scores of a range of examples as arrays, and the joined arrays as scores.

The names of a target's arrays begin with its number. Each method has the number of its place among
the target's methods.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from unitrank_engine.attribution.projections import AVERAGED
from unitrank_engine.attribution.scores import Attribution, Drops, MethodScores, PathGaps, PerExample
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.methods.batch import Notes
from unitrank_schemas.methods import MethodBase
from unitrank_tables.range_result import Arrays, RangeResult

GAPS = ("gap", "change", "hidden", "f", "f_baseline")
"""The arrays of a path method's gaps."""
EXAMPLES = ("f", "f_baseline", "classes", "flat", "at_baseline", "probabilities")
"""The values of single examples that every job has."""


def range_result(number: int, attribution: Attribution, drops: Mapping[str, Drops]) -> RangeResult:
    """Return the scores of a range for the target with this number.

    `drops`: the drops of the range's examples by `score_key`; empty without a fidelity.
    """
    examples = attribution.examples
    sums, rows = dict[str, np.ndarray](), {name: getattr(examples, name) for name in EXAMPLES}
    if examples.right is not None:
        rows["right"] = examples.right
    for index, (key, scores) in enumerate(attribution.by_key.items()):
        sums |= {f"{index}/{name}": array for name, array in scores.sums.arrays().items()}
        sums[f"{index}/seconds"] = np.array([scores.seconds])
        rows |= {f"{index}/{name}": array for name, array in _rows(scores).items()}
        if key in drops:
            rows[f"{index}/drops"] = np.stack([drops[key].predicted, drops[key].actual], axis=1)
    return RangeResult(*({f"{number}/{name}": array for name, array in arrays.items()} for arrays in (sums, rows)))


def attribution_from(
    result: RangeResult, number: int, entries: Mapping[str, MethodBase], membership: Membership, device: torch.device
) -> Attribution:
    """Return the scores of the target with this number.

    `entries`: its methods by `score_key`. `membership`: of the result's examples.
    """
    sums, rows = _under(result.sums, number), _under(result.rows, number)
    examples = PerExample(right=rows.get("right"), **{name: rows[name] for name in EXAMPLES})
    by_key = {
        key: _method_scores(entry, _under(sums, index), _under(rows, index), device)
        for index, (key, entry) in enumerate(entries.items())
    }
    return Attribution(membership, by_key, examples)


def drops_from(result: RangeResult, number: int, keys: Collection[str]) -> dict[str, Drops]:
    """Return the drops of the target with this number, by `score_key`."""
    rows = _under(result.rows, number)
    return {key: Drops(*rows[f"{index}/drops"].T) for index, key in enumerate(keys)}


def of_targets(result: RangeResult, numbers: Sequence[int]) -> RangeResult:
    """Return the arrays of the targets with these numbers, and those of no target."""
    prefixes = {str(number) for number in numbers}
    return RangeResult(
        *(
            {name: array for name, array in arrays.items() if "/" not in name or name.partition("/")[0] in prefixes}
            for arrays in (result.sums, result.rows)
        )
    )


def _under(arrays: Arrays, number: int) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with this number, by the rest of their names."""
    prefix = f"{number}/"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _rows(scores: MethodScores) -> dict[str, np.ndarray]:
    units, gaps = scores.sums.sums.shape[2], scores.path_gaps
    kept = [(cluster, row.numpy()) for cluster, rows in scores.kept.items() for row in rows]
    rows = {
        "totals": scores.totals,
        "notes": np.frombuffer(f"{json.dumps(scores.notes.to_json())}\n".encode(), np.uint8),
        "kept": np.array([row for _, row in kept], np.float32).reshape(len(kept), units),
        "kept_cluster": np.array([cluster for cluster, _ in kept], np.int64),
    }
    rows |= {f"projections/{statistic}": values for statistic, values in scores.projections.items()}
    return rows if gaps is None else rows | {"gaps": np.stack([getattr(gaps, name) for name in GAPS], axis=1)}


def _method_scores(entry: MethodBase, sums: Arrays, rows: Arrays, device: torch.device) -> MethodScores:
    notes = Notes()
    for line in rows["notes"].tobytes().splitlines():
        notes.take(Notes.from_json(json.loads(line)))
    kept: dict[int, list[torch.Tensor]] = defaultdict(list)
    for cluster, row in zip(rows["kept_cluster"].tolist(), torch.from_numpy(rows["kept"]), strict=True):
        kept[cluster].append(row)
    return MethodScores(
        entry,
        Sums.of(sums["sums"], sums["counts"], sums["of_groups"], device=device),
        rows["totals"],
        kept=kept,
        notes=notes,
        path_gaps=PathGaps(**dict(zip(GAPS, rows["gaps"].T.copy(), strict=True))) if "gaps" in rows else None,
        projections={statistic: rows[f"projections/{statistic}"] for statistic in AVERAGED if f"projections/{statistic}" in rows},
        seconds=float(sums["seconds"][0]),
    )
