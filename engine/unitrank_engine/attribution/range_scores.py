"""The scores of a range of examples as arrays, and the joined arrays as scores.

The names of a target's arrays begin with its number. Each method has the number of its place among
the target's methods.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from unitrank_engine.attribution.baselines.agreement import BaselineSums
from unitrank_engine.attribution.examples.extremes import extremes_arrays, extremes_from
from unitrank_engine.attribution.examples.sampling_errors import SamplingErrors
from unitrank_engine.attribution.examples.sums import ExampleSums, GapSums, TotalSums, under
from unitrank_engine.attribution.projections import AVERAGED
from unitrank_engine.attribution.scores import Attribution, Drops, MethodScores
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.methods.batch import Notes
from unitrank_schemas.methods import MethodBase
from unitrank_tables.range_result import RangeResult


def range_result(number: int, attribution: Attribution, drops: Mapping[str, Drops]) -> RangeResult:
    """Return the scores of a range for the target with this number.

    `drops`: the drops of the range's examples by `score_key`; empty without a fidelity.
    """
    examples = attribution.examples.result()
    sums, rows = dict(examples.sums), dict(examples.rows)
    for index, (key, scores) in enumerate(attribution.by_key.items()):
        sums |= {f"{index}/{name}": array for name, array in _sums(scores).items()}
        rows |= {f"{index}/{name}": array for name, array in _rows(scores).items()}
        if key in drops:
            rows[f"{index}/drops"] = np.stack([drops[key].predicted, drops[key].actual], axis=1)
            of_all = drops[key].sums
            sums |= {} if of_all is None else {f"{index}/drops": of_all}
    return RangeResult(*({f"{number}/{name}": array for name, array in arrays.items()} for arrays in (sums, rows)))


def attribution_from(
    result: RangeResult, number: int, entries: Mapping[str, MethodBase], membership: Membership, device: torch.device
) -> Attribution:
    """Return the scores of the target with this number.

    `entries`: its methods by `score_key`. `membership`: of the result's examples.
    """
    of_target = _under(result, number)
    by_key = {key: _method_scores(entry, _under(of_target, index), device) for index, (key, entry) in enumerate(entries.items())}
    return Attribution(membership, by_key, ExampleSums.from_result(of_target))


def drops_from(result: RangeResult, number: int, keys: Collection[str]) -> dict[str, Drops]:
    """Return the drops of the target with this number, by `score_key`."""
    of_target = _under(result, number)
    sums, rows = of_target.sums, of_target.rows
    drops = {}
    for index, key in enumerate(keys):
        predicted, actual = rows[f"{index}/drops"].T
        drops[key] = Drops(predicted, actual, sums.get(f"{index}/drops"))
    return drops


def of_targets(result: RangeResult, numbers: Sequence[int]) -> RangeResult:
    """Return the arrays of the targets with these numbers, and those of no target."""
    prefixes = {str(number) for number in numbers}
    return RangeResult(
        *(
            {name: array for name, array in arrays.items() if "/" not in name or name.partition("/")[0] in prefixes}
            for arrays in (result.sums, result.rows)
        )
    )


def _under(result: RangeResult, number: int) -> RangeResult:
    """Return the arrays whose names begin with this number, by the rest of their names."""
    return RangeResult(under(result.sums, f"{number}/"), under(result.rows, f"{number}/"))


def _sums(scores: MethodScores) -> dict[str, np.ndarray]:
    totals, gaps = scores.totals, scores.path_gaps
    assert totals is not None
    sums = scores.sums.arrays() | {"total": totals.total, "gap": totals.gap, "seconds": np.array([scores.seconds])}
    sums |= {} if gaps is None else {"path_gaps": gaps.sums}
    sums |= {} if scores.of_baselines is None else {"of_baselines": scores.of_baselines.sums.cpu().numpy()}
    return sums if scores.errors is None else sums | {"errors": scores.errors.sums.cpu().numpy()}


def _rows(scores: MethodScores) -> dict[str, np.ndarray]:
    units = scores.sums.sums.shape[2]
    kept = [(cluster, row.numpy()) for cluster, rows in scores.kept.items() for row in rows]
    rows: dict[str, np.ndarray] = {
        "notes": np.frombuffer(f"{json.dumps(scores.notes.to_json())}\n".encode(), np.uint8),
        "kept": np.array([row for _, row in kept], np.float32).reshape(len(kept), units),
        "kept_cluster": np.array([cluster for cluster, _ in kept], np.int64),
    }
    rows |= extremes_arrays("extremes", scores.extremes)
    return rows | {f"projections/{statistic}": values for statistic, values in scores.projections.items()}


def _method_scores(entry: MethodBase, result: RangeResult, device: torch.device) -> MethodScores:
    sums, rows, notes = result.sums, result.rows, Notes()
    for line in rows["notes"].tobytes().splitlines():
        notes.take(Notes.from_json(json.loads(line)))
    kept: dict[int, list[torch.Tensor]] = defaultdict(list)
    for cluster, row in zip(rows["kept_cluster"].tolist(), torch.from_numpy(rows["kept"]), strict=True):
        kept[cluster].append(row)
    return MethodScores(
        entry,
        Sums.of(sums["sums"], sums["counts"], sums["of_groups"], device=device),
        TotalSums(sums["total"], sums["gap"]),
        kept=kept,
        notes=notes,
        path_gaps=GapSums(sums["path_gaps"]) if "path_gaps" in sums else None,
        projections={statistic: rows[f"projections/{statistic}"] for statistic in AVERAGED if f"projections/{statistic}" in rows},
        extremes=extremes_from("extremes", rows),
        errors=SamplingErrors(torch.from_numpy(sums["errors"]).to(device)) if "errors" in sums else None,
        of_baselines=BaselineSums(torch.from_numpy(sums["of_baselines"])) if "of_baselines" in sums else None,
        seconds=float(sums["seconds"][0]),
    )
