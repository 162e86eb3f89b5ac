"""Fills: the values that replace those of an ablated unit."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.ablation.nets import Weighted
from tests.engine.ablation.plain import prepared
from tests.engine.in_process import program_of
from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.job.fills import Fills
from unitrank_engine.program import Program

X = np.arange(40.0).reshape(10, 4) - 15
ROWS = np.array([2, 4, 5, 9])


@cache
def program() -> Program:
    return program_of(Weighted([1.0, 1.0, 1.0, 1.0]), torch.ones(2, 4, dtype=torch.float64))


def fills(folder: Path, members: dict[str, list[int]], *, seed: int = 0, batch: int = 3) -> Fills:
    clusters = {"by": "members", "members": members}
    context = prepared(program(), folder, {"x": X}, layer="act", clusters=clusters, seed=seed, target={"class": None})
    return Fills(context, find_baselines(context, batch), batch)


def values(of: Fills, fill: str, rows: np.ndarray) -> np.ndarray:
    return of.of(fill, rows, 0, of.context.examples.inputs(rows)).numpy()  # type: ignore[arg-type]


def test_mean_when_rows_are_in_several_clusters_then_each_example_of_the_job_counts_once(tmp_path: Path) -> None:
    filled = fills(tmp_path, {"a": [2, 4], "b": [4, 5, 9]})
    filled.prepare(["mean"])

    # The mean of relu(x), not relu of the mean; rows outside all clusters do not count.
    np.testing.assert_allclose(values(filled, "mean", ROWS)[0], np.maximum(X[ROWS], 0).mean(0), rtol=1e-15)


def test_partners_when_drawn_then_are_other_rows_of_the_job_with_equal_probability(tmp_path: Path) -> None:
    drawn = np.array([fills(tmp_path, {"a": ROWS.tolist()}, seed=seed).partners(ROWS) for seed in range(150)])

    assert not (drawn == ROWS).any()
    for column, row in zip(drawn.T, ROWS, strict=True):
        partners, times = np.unique(column, return_counts=True)
        assert partners.tolist() == [other for other in ROWS if other != row]
        # Each partner is drawn 50 ± 5.8 times.
        assert times.min() > 30


def test_partners_when_drawn_in_other_batches_then_are_the_same(tmp_path: Path) -> None:
    filled = fills(tmp_path, {"a": ROWS.tolist()})
    whole = filled.partners(ROWS)

    assert [int(filled.partners(np.array([row]))[0]) for row in ROWS] == whole.tolist()
    assert filled.partners(ROWS[::-1]).tolist() == whole[::-1].tolist()


def test_resample_when_units_are_filled_then_one_example_gives_them_all(tmp_path: Path) -> None:
    filled = fills(tmp_path, {"a": ROWS.tolist()})

    assert values(filled, "resample", ROWS).tolist() == np.maximum(X[filled.partners(ROWS)], 0).tolist()


def test_resample_when_there_is_one_example_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="only one") as caught:
        fills(tmp_path, {"a": [3]}).partners(np.array([3]))

    assert caught.value.code == "too_few_examples"


def test_zero_and_baseline_when_the_baseline_is_zeros_then_they_are_the_same_here(tmp_path: Path) -> None:
    filled = fills(tmp_path, {"a": ROWS.tolist()})

    assert not values(filled, "zero", ROWS).any()
    assert not values(filled, "baseline", ROWS).any()
