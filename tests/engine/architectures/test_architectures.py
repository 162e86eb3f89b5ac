"""Ordinary architectures, as users export them, with each method at each cut.

Some places that a path bypasses are tried too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unitrank_schemas.methods
from tests.engine.architectures.zoo import COUNT, MAKERS, architecture
from tests.engine.in_process import rank
from unitrank_engine.models.inspection import manifest
from unitrank_engine.models.row_independence import mixing_node
from unitrank_engine.program import Program
from unitrank_schemas.checks import Facts, RequestRejected, checked
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.jobs import JobRequest

FEW, MANY = 8, 128
METHODS: list[dict[str, Any]] = [
    *({"name": name} for name in ("activation", "gradient", "gradient_x_activation", "gradient_x_delta", "grad_cam", "random")),
    *({"name": "deeplift", "rules": rules, "id": rules} for rules in ("rescale", "reveal_cancel", "default")),
    {"name": "exact_ablation"},
    {"name": "taylor"},
    {"name": "internal_influence", "steps": FEW, "spacing": "cubic"},
    *({"name": name, "steps": FEW, "spacing": "cubic", "id": f"{name}.few"} for name in ("conductance", "integrated_gradients")),
    *({"name": name, "steps": MANY, "spacing": "cubic", "id": f"{name}.many"} for name in ("conductance", "integrated_gradients")),
]
CHANGES = {"gradient_x_delta", "exact_ablation", "rescale", "conductance.many", "integrated_gradients.many"}
"""Methods that give equal scores at a place with a linear tail."""
SETTINGS: dict[str, Any] = {
    "target": {"class": "predicted"},
    "ablation": {"fractions": [0.2], "random": 3, "split": "none"},
    "keep_examples": COUNT,
}
ALWAYS = ("lenet", "lstm", "gated")
MARKS = {"next_token": pytest.mark.slow} | dict.fromkeys(ALWAYS, ())
NAMES = [pytest.param(name, marks=MARKS.get(name, pytest.mark.check)) for name in MAKERS]
"""Only `ALWAYS` run in `make test`, because the others are slow to export.

`next_token` runs in `make slow`: it is gpt2 with another output.

tests/engine/models/test_transformers.py exports two models of Transformers each time.
"""
PARTS = 3
PLACES = [
    pytest.param(name, part, marks=MARKS.get(name, pytest.mark.slow if part else ())) for name in MAKERS for part in range(PARTS)
]
"""`make check` has every third place of an architecture, and `make slow` the others.

`benchmarks/parity` compares the scores of these architectures and of more with plain formulas.
"""
Loaded = Callable[[str], Program]


@dataclass(frozen=True)
class Net:
    """An architecture, and the folder that its jobs run in."""

    name: str
    program: Program
    folder: Path

    @cached_property
    def facts(self) -> Facts:
        fields = {
            field: FieldInfo(dtype=str(values.dtype).removeprefix("torch."), shape=[None, *values.shape[1:]])
            for field, values in architecture(self.name).inputs.items()
        }
        return Facts(manifest(self.program), fields, COUNT, lambda field: None, 10**9)

    def accepted(self, layer: str, at: str) -> list[dict[str, Any]]:
        """The methods that a request for this place may name.

        Only Grad-CAM may be rejected, at a place without axes to average over.
        """
        accepted, rejected = [], set()
        for entry in METHODS:
            request = {"model": "m", "dataset": "d", "layer": layer, "at": at, "methods": [entry], **SETTINGS}
            try:
                checked(JobRequest.model_validate(request), self.facts)
            except RequestRejected as error:
                rejected.update((entry["name"], flaw.code) for flaw in error.flaws)
            else:
                accepted.append(entry)
        assert rejected <= {("grad_cam", "method_not_applicable")}
        return accepted

    def job(
        self, layer: str, at: str, methods: list[Any], rows: slice = slice(None), **changes: Any
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The summary and the arrays of a job on these examples."""
        fields = {field: values[rows].numpy() for field, values in architecture(self.name).inputs.items()}
        return rank(self.program, self.folder, fields, layer, methods, at=at, **SETTINGS | changes)


def test_all_methods_are_tried() -> None:
    # Given scores are not computed from the network; tests/engine/methods/test_given.py tests them.
    # The other two take many passes; tests/engine/methods tries them at each place of small nets.
    elsewhere = {"given", "shapley", "weight_norm"}
    assert {entry["name"] for entry in METHODS} == set(unitrank_schemas.methods.METHODS) - elsewhere


def _places(program: Program) -> list[tuple[str, str, bool]]:
    """Layer, side and whether it is a cut: all cuts, and each third of the other values."""
    values: dict[Any, tuple[str, str, bool]] = {}
    for layer in manifest(program).layers:
        for at, cut in (("output", layer.cut), ("input", layer.input_cut)):
            if cut is not None:
                values.setdefault(program.place(layer.name, at).node, (layer.name, at, cut))
    bypassed = [value for value in values.values() if not value[2]]
    return [value for value in values.values() if value[2]] + bypassed[::3]


@pytest.mark.parametrize("name", NAMES)
def test_archive_when_loaded_then_it_takes_the_modules_inputs_and_computes_what_the_module_does(name: str, loaded: Loaded) -> None:
    program, net = loaded(name), architecture(name)

    with torch.no_grad():
        output = program.forward(program.lift(tuple(net.inputs.values())), next(iter(program.outputs)))

    assert list(program.inputs) == list(net.inputs)
    torch.testing.assert_close(output, net.run(), rtol=0, atol=1e-6)


@pytest.mark.check
@pytest.mark.parametrize(("name", "part"), PLACES)
def test_every_method_has_a_result_at_every_cut_and_at_some_other_places(
    name: str, part: int, loaded: Loaded, tmp_path: Path
) -> None:
    net = Net(name, loaded(name), tmp_path)
    for layer, at, cut in _places(net.program)[part::PARTS]:
        # Many steps make the gap of completeness smaller. Only a cut has this gap.
        methods = [entry for entry in net.accepted(layer, at) if cut or entry.get("steps") != MANY]
        summary, arrays = net.job(layer, at, methods)

        assert {"gradient", "default", "exact_ablation", "conductance.few"} <= {ranking["id"] for ranking in summary["rankings"]}
        assert all(np.isfinite(values).all() for values in arrays.values())
        _check_completeness(summary)
        if any(warning["code"] == "last_hidden_layer" for warning in summary["warnings"]):
            scores = [arrays[f"examples/{method}/all"] for method in CHANGES]
            scale = np.abs(scores[0]).max()
            assert all(np.abs(each - scores[0]).max() <= 1e-4 * scale + 1e-6 for each in scores)


@pytest.mark.parametrize("name", NAMES)
def test_an_examples_scores_do_not_depend_on_its_batch_mates(name: str, loaded: Loaded, tmp_path: Path) -> None:
    net = Net(name, loaded(name), tmp_path)
    for layer, at, _ in _places(net.program)[::3]:
        methods = [entry for entry in net.accepted(layer, at) if entry["name"] != "random" and entry.get("steps") != MANY]

        _, together = net.job(layer, at, methods, ablation=None)
        _, alone = net.job(layer, at, methods, rows=slice(1, 2), ablation=None)

        for key in (key for key in together if key.startswith("examples/") and not key.endswith("/rows")):
            expected = together[key][1]
            assert np.abs(alone[key][0] - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-7, (layer, at, key)


@pytest.mark.check
@pytest.mark.parametrize("name", NAMES)
def test_no_operator_of_an_ordinary_architecture_mixes_rows(name: str, loaded: Loaded) -> None:
    program = loaded(name)

    manifest(program)
    assert [mixing_node(program, output.node) for output in program.outputs.values()] == [None] * len(program.outputs)


def _check_completeness(summary: dict[str, Any]) -> None:
    gaps = {ranking["id"]: ranking["clusters"]["all"]["completeness"]["relative_gap"] for ranking in summary["rankings"]}
    if not summary["layer"]["cut"]:
        assert set(gaps.values()) == {None}
        return
    for rules in ("rescale", "reveal_cancel", "default"):
        assert gaps[rules] is None or gaps[rules] < 1e-4
    for method in ("conductance", "integrated_gradients"):
        few, many = gaps[f"{method}.few"], gaps[f"{method}.many"]
        assert many is None or many < max(0.02, few / 4)
