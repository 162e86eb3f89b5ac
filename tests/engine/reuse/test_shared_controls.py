"""The classes of a job share the passes of the random orders, and of all units replaced or kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.ablation.nets import Units, Weighted
from tests.engine.in_process import RESOLVED, program_of, rank
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.errors import EngineError
from unitrank_engine.pipeline import run
from unitrank_engine.program import Program
from unitrank_engine.program.split import Split
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

CLASSES = 4
COUNT = 8
UNITS = 60
RANDOM = 19
FRACTIONS = [0.2, 0.5]
ALL_MASKS: dict[str, Any] = {"random": RANDOM, "fractions": FRACTIONS, "split": "none", "fill": "zero", "check_fill": "mean"}

Result = tuple[dict[str, Any], dict[str, np.ndarray]]


def net(classes: int = CLASSES) -> Program:
    weights = np.random.default_rng(0).normal(size=(classes, UNITS)).tolist()
    return program_of(Weighted(*weights), torch.ones(2, UNITS, dtype=torch.float64))


def fields() -> dict[str, np.ndarray]:
    """Positive inputs, so that each unit differs from each fill, and no two masks are equal."""
    return {"x": np.random.default_rng(1).uniform(1, 2, (COUNT, UNITS)), "y": np.arange(COUNT) % CLASSES}


def job(folder: Path, target: Any, methods: tuple[Any, ...] = ("gradient_x_activation",), **request: Any) -> Result:
    options = {"fidelity": None, "target": {"class": target}, "ablation": ALL_MASKS} | request
    return rank(net(), folder, fields(), "act", list(methods), **options)


def forward_rows(folder: Path, target: Any, **request: Any) -> int:
    rows: int = job(folder, target, **request)[0]["cost"]["forward_rows"]
    return rows


@pytest.mark.check
def test_passes_of_controls_when_there_are_more_random_orders_then_do_not_grow_with_the_classes(tmp_path: Path) -> None:
    def added_rows(target: Any) -> int:
        # Without the order `most` no ranking has relabelled controls.
        few, many = ({"random": random, "split": "none", "orders": ["least", "keep"]} for random in (5, 15))
        return forward_rows(tmp_path, target, ablation=many) - forward_rows(tmp_path, target, ablation=few)

    each = added_rows("each")

    assert each == added_rows(1) > 2 * 10 * COUNT


@pytest.mark.check
def test_passes_when_every_class_is_explained_then_controls_with_both_fills_run_once(tmp_path: Path) -> None:
    methods = ("gradient_x_activation", {"name": "gradient_x_activation", "id": "sizes", "statistic": "mean_abs"})

    saved = sum(forward_rows(tmp_path, number, methods=methods) for number in range(CLASSES))
    saved -= forward_rows(tmp_path, "each", methods=methods)

    # Replaced and kept: the random orders and the ends. Replaced: the order by activity.
    with_fill = len(FRACTIONS) * (2 * RANDOM + 1) + 2 * 2
    with_check_fill = len(FRACTIONS) * RANDOM + 2
    controls = COUNT * (with_fill + with_check_fill)
    assert (CLASSES - 1) * controls <= saved < (CLASSES - 1) * (controls + 8 * COUNT)


@pytest.mark.check
def test_progress_when_classes_share_controls_then_all_planned_rows_are_done(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    np.savez(tmp_path / "data.npz", **fields())
    request = {"model": "m", "dataset": "d", "layer": "act", "methods": ["gradient_x_activation"], "inputs": {"x": "x"}}
    request |= {"labels": "y", "fidelity": None, "target": {"class": "each"}, "ablation": ALL_MASKS}
    parsed = JobRequest.model_validate(request)
    parsed = parsed.model_copy(update={"methods": with_ids(parsed.methods)})
    with open_table(tmp_path / "data.npz") as table:
        run(parsed, RESOLVED, net(), table, lambda record: records.append(dict(record)))

    done = [record["done"] for record in records]

    assert done == sorted(done)
    assert records[0]["total"] == records[-1]["total"] == done[-1]


def test_reversed_order_when_a_ranking_is_worse_than_random_then_no_random_order_runs_again(tmp_path: Path) -> None:
    weights = np.arange(1.0, UNITS + 1)
    program = program_of(Weighted(weights.tolist()), torch.ones(2, UNITS, dtype=torch.float64))
    ablation = {"random": 99, "split": "none", "fill": "zero", "check_fill": None, "orders": ["most"]}
    shared: dict[str, Any] = {"fidelity": None, "target": {"class": None}, "labels": None, "ablation": ablation}

    def rank_by(importance: np.ndarray) -> dict[str, Any]:
        given = {"name": "given", "importance": importance.tolist(), "made_on": "none"}
        return rank(program, tmp_path, fields(), "act", [given], **shared)[0]

    better, worse = rank_by(weights), rank_by(-weights)

    verdicts = [result["rankings"][0]["overall"]["verdict"] for result in (better, worse)]
    assert verdicts == ["better_than_random", "worse_than_random"]
    counts = len(worse["rankings"][0]["clusters"]["all"]["ablation"]["most"]["score"])
    added = worse["cost"]["forward_rows"] - better["cost"]["forward_rows"]
    assert added <= COUNT * (counts + 2)


def test_error_of_a_shared_pass_names_the_class_and_the_fill_that_checks(tmp_path: Path) -> None:
    program = program_of(Units(lambda h: torch.stack([h.sum(1), 1 / h.sum(1)], 1)), torch.ones(2, 4))
    ablation = {"fill": "baseline", "check_fill": "zero", "random": 19, "split": "none"}
    request: dict[str, Any] = {"baseline": {"kind": "constant", "value": 1.0}, "fidelity": None, "target": {"class": "each"}}

    with pytest.raises(EngineError, match=r"with `check_fill: zero`, the target of class 1 became NaN or infinite") as caught:
        rank(program, tmp_path, {"x": np.full((3, 4), 2, np.float32)}, "act", ["activation"], ablation=ablation, **request)

    assert caught.value.code == "non_finite"
    assert caught.value.finished == ("activation@0", "activation@1")


@pytest.mark.check
def test_sums_when_memory_runs_out_in_a_shared_pass_then_are_right_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(64)
    _, expected = job(tmp_path, "each")
    parts, tail, failed = Memory(), Split.tail, list[int]()

    def short(split: Split, h: torch.Tensor, live: Any) -> torch.Tensor:
        if len(h) > 40 and not failed:
            failed.append(len(h))
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(h)} rows")
        return tail(split, h, live)

    monkeypatch.setattr(Split, "tail", short)
    _, arrays = job(tmp_path, "each", parts=parts)
    again, _ = job(tmp_path, "each", parts=parts)

    assert failed
    for name, array in expected.items():
        np.testing.assert_allclose(arrays[name], array, rtol=1e-12, atol=1e-12, err_msg=name)
    assert not [name for name in again["cost"]["reused"] if name == "controls" or name.endswith("/ablation")]
