"""The study equals a plain study that runs the eager net for every order, count and example."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine.ablation.nets import Conv, Cut, Dense
from tests.engine.ablation.plain import FillOf, Plain, prepared
from tests.engine.in_process import program_of, rank
from unitrank_engine.ablation.nested import Nested
from unitrank_engine.program import Program

RANDOM = 21
ROWS = 22
BASELINE = 0.3


@pytest.fixture(scope="module")
def nets() -> dict[str, tuple[Cut, Program, Tensor]]:
    rng = np.random.default_rng(5)
    x = {"neuron": torch.tensor(rng.standard_normal((ROWS, 5))), "channel": torch.tensor(rng.standard_normal((ROWS, 2, 3, 3)))}
    nets: dict[str, Cut] = {"neuron": Dense(), "channel": Conv()}
    return {units: (net, program_of(net, x[units][:2]), x[units]) for units, net in nets.items()}


def fill_of(name: str, plain: Plain, job_rows: np.ndarray, partners: dict[int, int]) -> FillOf:
    """The values that replace the units of a row, as the contract defines them."""
    means = torch.stack([plain.h(plain.x[row]) for row in job_rows]).mean(0)
    return {
        "baseline": lambda row: plain.h(torch.full_like(plain.x[row], BASELINE)),
        "zero": lambda row: torch.zeros_like(means),
        "mean": lambda row: means,
        "resample": lambda row: plain.h(plain.x[partners[row]]),
    }[name]


@pytest.mark.parametrize("nested", [False, True], ids=["one by one", "nested"])
@pytest.mark.parametrize("units", ["neuron", "channel"])
@pytest.mark.parametrize("fill", ["baseline", "zero", "mean", "resample"])
def test_study_when_a_plain_study_runs_every_pass_then_all_numbers_agree(
    units: str,
    fill: str,
    nested: bool,
    tmp_path: Path,
    nets: dict[str, tuple[Cut, Program, Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, program, x = nets[units]
    monkeypatch.setattr("unitrank_engine.ablation.nested.MIN_ELEMENTS", 0 if nested else 10**9)
    # Two clusters that share rows, and rows without a cluster.
    members = {"a": [0, 2, 4, 6, 8, 10, 12, 14, 16], "b": [1, 3, 5, 7, 8, 9, 10]}
    request: dict[str, Any] = {
        "layer": "act",
        "units": units,
        "clusters": {"by": "members", "members": members},
        "target": {"class": 1},
        "baseline": {"kind": "constant", "value": BASELINE},
        "ablation": {"fill": fill, "fractions": [0.25, 0.5, 0.75], "random": RANDOM, "examples": 3, "check_fill": None},
        "fidelity": None,
    }
    fields = {"x": x.numpy()}
    context = prepared(program, tmp_path, fields, **request)
    assert (Nested.of(context, [1, 2, 3]) is not None) == nested
    layer = request.pop("layer")
    summary, arrays = rank(program, tmp_path, fields, layer, ["gradient_x_activation"], **request)
    plain = Plain(net, x, 1, units == "channel")
    job_rows = np.unique(np.concatenate(list(members.values())))
    partners = {row: _partner(context, row) for row in job_rows.tolist()}
    filled = fill_of(fill, plain, job_rows, partners)
    counts = {"neuron": [1, 2, 3], "channel": [1, 2, 3]}[units]
    result = summary["rankings"][0]

    for index, name in enumerate(members):
        rows, halves = context.clusters[index].rows, context.halves[index]
        ranking, tested = rows[halves.sides == 0], rows[halves.tested]
        assert len(ranking) == -(-len(rows) // 2)
        assert len(tested) == 3
        assert not set(ranking) & set(tested)
        importance = plain.gradient_x_activation(ranking)
        expected = {
            "most": plain.curve(np.argsort(-importance).tolist(), counts, tested, filled),
            "least": plain.curve(np.argsort(np.abs(importance)).tolist(), counts, tested, filled),
            "activity": plain.curve(np.argsort(-plain.activity(ranking, filled)).tolist(), counts, tested, filled),
        }
        random = [context.streams.generator("order", number).permutation(len(importance)) for number in range(RANDOM)]
        controls = np.array([plain.curve(np.argsort(order).tolist(), counts, tested, filled) for order in random])
        intact = expected["most"][0]
        all_replaced = float(np.mean([plain.f(row, set(range(len(importance))), filled(row)) for row in tested]))
        magnitude = float(np.mean([abs(plain.f(row, set(), filled(row))) for row in tested]))
        drops = {order: float(np.mean(intact - np.array(curve[1:]))) for order, curve in expected.items()}
        total = intact - all_replaced if intact - all_replaced > 0.01 * magnitude else None
        control_drops = (controls[:, :1] - controls[:, 1:]).mean(1)

        np.testing.assert_allclose(arrays["ablation/random"][index], controls, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(
            arrays["importance/gradient_x_activation"][index], plain.gradient_x_activation(rows), rtol=1e-6, atol=1e-7
        )
        ablation = result["clusters"][name]["ablation"]
        assert ablation["counts"] == counts
        for order in ("most", "least"):
            np.testing.assert_allclose(ablation[order]["score"], expected[order][1:], rtol=1e-10)
            np.testing.assert_allclose(arrays[f"ablation/gradient_x_activation/{order}"][index], expected[order], rtol=1e-6)
            _same(ablation[order]["area"], None if total is None else drops[order] / total)
        _same(ablation["activity_area"], None if total is None else drops["activity"] / total)
        _same(ablation["random"]["area"], None if total is None else float(np.mean(control_drops)) / total)
        np.testing.assert_allclose(ablation["random"]["score"]["mean"], controls[:, 1:].mean(0), rtol=1e-10)
        np.testing.assert_allclose(ablation["random"]["score"]["low"], np.quantile(controls[:, 1:], 0.025, axis=0), rtol=1e-10)
        np.testing.assert_allclose(ablation["random"]["score"]["high"], np.quantile(controls[:, 1:], 0.975, axis=0), rtol=1e-10)
        # A tie is exact in the engine. In this plain study tied drops may differ by rounding.
        assert ablation["p_value"] == (1 + int((control_drops >= drops["most"] - 1e-12).sum())) / (RANDOM + 1)
        assert ablation["p_worse"] == (1 + int((control_drops <= drops["most"] + 1e-12).sum())) / (RANDOM + 1)


def _partner(context: Any, row: int) -> int:
    """Draw another row of the job: the drawn number counts the other rows in ascending order."""
    candidates = [candidate for candidate in context.all_rows().tolist() if candidate != row]
    return int(candidates[int(context.streams.generator("resample", row).integers(len(candidates)))])


def _same(number: float | None, expected: float | None) -> None:
    assert (number is None) == (expected is None)
    if expected is not None:
        assert number == pytest.approx(expected, rel=1e-9)
