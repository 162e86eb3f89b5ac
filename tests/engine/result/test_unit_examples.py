"""The examples of each unit in a result: those with its extreme scores and activations."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of, rank
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.attribution import main_pass
from unitrank_engine.program import Program
from unitrank_schemas.unit_examples import KEPT, LISTS

COUNT = 60
X = np.random.default_rng(0).normal(size=(COUNT, 2, 5)).astype(np.float32)
FIELDS = {"x": X, "y": np.arange(COUNT) % 3}
MEMBERS = {"by": "members", "members": {"some": [3, 9, *range(20, 45)], "two": [5, 9], "later": list(range(30, 60))}}


@cache
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3))


@cache
def program() -> Program:
    return program_of(network(), torch.zeros(2, 2, 5))


def ranked(folder: Path, **request: Any) -> dict[str, np.ndarray]:
    """The arrays of a job with the scores of all examples."""
    options = {"methods": ["gradient_x_activation"], "ablation": None, "fidelity": None, "keep_examples": COUNT} | request
    return rank(program(), folder, FIELDS, "1", inputs={"input": "x"}, **options)[1]


def activations(units: str) -> np.ndarray:
    """h of each row, `[rows, units]`, from the plain network."""
    with torch.no_grad():
        h = network()[:2](torch.from_numpy(X))
    return (h.flatten(1) if units == "neuron" else h.sum(2)).numpy()


def check(arrays: dict[str, np.ndarray], id: str, clusters: list[str], activation: np.ndarray) -> None:
    """Compare the examples of every unit with a plain sort of all values."""
    units, rows, values = (arrays[f"unit_examples/{id}/{name}"] for name in ("units", "rows", "values"))
    assert (rows.dtype, rows.shape) == (np.int64, (*units.shape, len(LISTS), KEPT))
    for cluster, name in enumerate(clusters):
        members = arrays[f"rows/{name}"]
        scores = arrays[f"examples/{id}/{name}"].reshape(len(members), -1)
        order = np.argsort(-arrays[f"importance/{id}"][cluster], kind="stable")
        assert units[cluster].tolist() == order[: units.shape[1]].tolist()
        for place, unit in enumerate(units[cluster]):
            of_unit = [scores[:, unit], -scores[:, unit], activation[members, unit], -activation[members, unit]]
            for number, signed in enumerate(of_unit):
                first = np.argsort(-signed, kind="stable")[:KEPT]
                count, sign = len(first), (1, -1)[number % 2]
                assert rows[cluster, place, number].tolist() == members[first].tolist() + [-1] * (KEPT - count)
                np.testing.assert_allclose(values[cluster, place, number, :count], sign * signed[first], rtol=1e-5, atol=1e-6)
                assert np.isnan(values[cluster, place, number, count:]).all()


@pytest.mark.parametrize("units", ["neuron", "channel"])
@pytest.mark.parametrize("range_rows", [1, 1000])
def test_examples_when_a_job_has_few_units_then_are_those_of_a_plain_sort(
    units: str, range_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main_pass, "rows_of_range", lambda *_, batch, **__: max(batch, range_rows))
    monkeypatch.setattr("unitrank_engine.stages.stages.rows_at_once", lambda program: 16)

    arrays = ranked(tmp_path, clusters=MEMBERS, units=units)

    check(arrays, "gradient_x_activation", ["some", "two", "later"], activations(units))


def test_examples_when_every_class_is_explained_then_each_ranking_has_its_own(tmp_path: Path) -> None:
    arrays = ranked(tmp_path, target={"class": "each"}, clusters={"by": "label"})

    for number in range(3):
        check(arrays, f"gradient_x_activation@{number}", ["0", "1", "2"], activations("neuron"))


def test_examples_when_scores_are_reused_then_are_the_same(tmp_path: Path) -> None:
    parts = Memory()
    first = ranked(tmp_path, parts=parts)
    again = ranked(tmp_path, parts=parts, methods=["gradient_x_activation", "activation"])

    for name in ("units", "rows", "values"):
        key = f"unit_examples/gradient_x_activation/{name}"
        np.testing.assert_array_equal(first[key], again[key])
    check(again, "activation", ["all"], activations("neuron"))


def test_examples_when_scores_came_with_the_job_then_only_activations_have_examples(tmp_path: Path) -> None:
    importance = np.random.default_rng(1).normal(size=16).tolist()
    arrays = ranked(tmp_path, methods=[{"name": "given", "importance": importance}], ablation={"random": 19})
    rows = arrays["unit_examples/given/rows"][0]

    assert (rows[:, :2] == -1).all()
    top = arrays["unit_examples/given/units"][0, 0]
    assert rows[0, 2].tolist() == np.argsort(-activations("neuron")[:, top], kind="stable")[:KEPT].tolist()


def test_examples_when_units_are_too_many_then_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_pass, "follows", lambda **sizes: sizes["units"] < 16)

    assert not any(name.startswith("unit_examples") for name in ranked(tmp_path))


def test_effects_when_verified_then_are_those_of_replacing_each_unit(tmp_path: Path) -> None:
    ablation = {"random": 19, "fill": "zero", "verify": {"top": 2, "sample": 5}, "split": "none", "check_fill": None}
    arrays = ranked(tmp_path, ablation=ablation, target={"class": 1})
    tail = network()[2:]
    with torch.no_grad():
        h = network()[:2](torch.from_numpy(X))
        units, effects = arrays["verify/gradient_x_activation/units"][0], arrays["verify/gradient_x_activation/effects"][0]
        assert units.dtype == np.int64
        assert len(set(units.tolist())) == 9
        for unit, effect in zip(units, effects, strict=True):
            replaced = h.flatten(1).clone()
            replaced[:, unit] = 0
            expected = (tail(h) - tail(replaced.reshape(h.shape)))[:, 1].mean()
            assert effect == pytest.approx(float(expected), abs=1e-5)
