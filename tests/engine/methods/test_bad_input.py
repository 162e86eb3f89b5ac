"""Input that methods cannot compute: the error names an alternative, or the score is 0, not NaN."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from tests.engine.nets import net_of
from tests.engine.nets import program as program_of_net
from unitrank_engine.errors import EngineError
from unitrank_engine.methods.path.refinement import Refinement
from unitrank_engine.models.inspection import manifest
from unitrank_engine.program import Program
from unitrank_schemas.checks import Facts, RequestRejected, checked
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import METHODS

PLAIN: dict[str, Any] = {"ablation": None, "fidelity": None}
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
DEEPLIFT = [{"name": "deeplift", "rules": rules, "id": rules} for rules in ("rescale", "reveal_cancel", "default")]


class Rounding(nn.Module):
    """Rounds its first layer's output, so that gradients reach the second layer only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second((self.first(x) > 0).to(x.dtype))
        return out


@cache
def rounding() -> Program:
    torch.manual_seed(0)
    return program_of(Rounding(), torch.ones(2, 3))


def flaws(program: Program, **request: Any) -> list[tuple[str, str, str]]:
    """Code, pointer and detail of each flaw that the model's facts show in a request."""
    model_manifest = manifest(program)
    facts = Facts(
        manifest=model_manifest,
        fields={"x": FieldInfo(dtype="float32", shape=list(model_manifest.inputs[0].shape))},
        examples=len(X),
        distinct=lambda field: None,
        max_result_bytes=10**9,
    )
    try:
        checked(JobRequest.model_validate({"model": "m", "dataset": "d", "target": {"class": 1}, **request}), facts)
    except RequestRejected as error:
        return [(flaw.code, flaw.pointer, flaw.detail) for flaw in error.flaws]
    return []


def test_method_when_no_gradient_reaches_the_place_then_the_suggested_methods_rank(tmp_path: Path) -> None:
    needing = [name for name, method in METHODS.items() if method.needs_gradient and name != "grad_cam"]

    flaw_list = flaws(rounding(), layer="first", methods=needing)

    assert [(code, pointer) for code, pointer, _ in flaw_list] == [
        ("not_differentiable", f"/methods/{i}") for i in range(len(needing))
    ]
    for name, (_, _, detail) in zip(needing, flaw_list, strict=True):
        assert detail.startswith(f"method '{name}' needs gradients, but no gradient reaches the output of layer 'first'")
        instead = re.findall(r"'(\w+)'", detail.split("; use ")[1])
        assert instead
        assert not set(instead) & set(needing)
        assert flaws(rounding(), layer="first", methods=instead) == []
    _, arrays = rank(rounding(), tmp_path, {"x": X}, "first", instead, target={"class": 1}, **PLAIN)
    for name in instead:
        assert np.abs(arrays[f"importance/{name}"]).max() > 0


@pytest.mark.parametrize(("layer", "at"), [("second", "input"), ("second", "output")])
def test_method_when_the_place_is_behind_the_comparison_then_it_has_a_gradient(layer: str, at: str, tmp_path: Path) -> None:
    assert flaws(rounding(), layer=layer, at=at, methods=["gradient", "deeplift"]) == []

    _, arrays = rank(rounding(), tmp_path, {"x": X}, layer, ["gradient"], at=at, target={"class": 1}, **PLAIN)

    assert np.abs(arrays["importance/gradient"]).max() > 0


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("functional", "input"),
        ("in_place", "relu1"),
        ("shared", "act@1"),
        ("residual", "blocks.0.fc1"),
        ("convolutional", "input"),
        ("convolutional", "features.2"),
        ("transformer", "encoder.linear1"),
        ("attentive", "embed"),
    ],
)
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_deeplift_when_each_example_equals_its_baseline_then_is_exactly_zero_and_reports_no_gap(
    name: str, layer: str, score: str, tmp_path: Path
) -> None:
    x = net_of(name).examples(4).numpy()
    settings = {"baseline": {"kind": "field", "field": "x"}, "target": {"class": 1, "score": score}, "keep_examples": 4}

    summary, arrays = rank(program_of_net(name), tmp_path, {"x": x}, layer, DEEPLIFT, **settings, **PLAIN)

    assert "baseline_in_cluster" in [warning["code"] for warning in summary["warnings"]]
    for ranking in summary["rankings"]:
        assert np.array_equal(arrays[f"examples/{ranking['id']}/all"], np.zeros_like(arrays[f"examples/{ranking['id']}/all"]))
        completeness = ranking["clusters"]["all"]["completeness"]
        assert completeness == {"sum": 0.0, "expected": 0.0, "relative_gap": None}


@pytest.mark.parametrize("layer", ["input", "features.0", "features.2"])
def test_deeplift_when_one_of_several_examples_equals_the_baseline_then_only_its_scores_are_nearly_zero(
    layer: str, tmp_path: Path
) -> None:
    x = net_of("convolutional").examples(4).numpy()
    clusters = {"by": "members", "members": {"all": [0, 1, 2, 3], "itself": [2]}}
    settings = {"baseline": {"kind": "example", "index": 2}, "target": {"class": 1}, "keep_examples": 4, "clusters": clusters}

    summary, arrays = rank(program_of_net("convolutional"), tmp_path, {"x": x}, layer, DEEPLIFT, **settings, **PLAIN)

    # The shared baseline passes as a single row, whose sums round differently from those of four
    # rows.
    for ranking in summary["rankings"]:
        sizes = np.abs(arrays[f"examples/{ranking['id']}/all"].reshape(4, -1)).max(1)
        assert sizes[2] <= 1e-6 * sizes[[0, 1, 3]].min()
        gaps = {name: cluster["completeness"]["relative_gap"] for name, cluster in ranking["clusters"].items()}
        assert gaps["itself"] is None
        assert gaps["all"] < 1e-5


def test_grad_cam_when_the_place_has_no_space_then_the_error_names_the_finished_rankings(tmp_path: Path) -> None:
    x = net_of("functional").examples(4).numpy()

    with pytest.raises(
        EngineError, match=r"ranking 'grad_cam': grad_cam averages over space, .* shape \[8\] has only a channel axis"
    ) as caught:
        rank(program_of_net("functional"), tmp_path, {"x": x}, "fc1", ["gradient", "grad_cam", "random"], **PLAIN)

    error = caught.value
    assert (error.code, error.ranking, error.finished) == ("method_not_applicable", "grad_cam", ("gradient", "random"))
    assert error.detail.endswith("; repeat the request without 'grad_cam' to get 'gradient', 'random'")


def test_grad_cam_when_the_place_has_no_space_then_the_facts_show_it_and_the_method_named_instead_passes() -> None:
    ((code, pointer, detail),) = flaws(rounding(), layer="second", methods=["gradient", "grad_cam"])

    assert (code, pointer) == ("method_not_applicable", "/methods/1")
    assert "the output of layer 'second' has shape [2], without a spatial axis" in detail
    assert detail.endswith("or use 'gradient_x_activation'")
    assert flaws(rounding(), layer="second", methods=["gradient", "gradient_x_activation"]) == []


@pytest.mark.parametrize(
    ("layer", "at", "cut"),
    [
        ("blocks.0.fc1", "output", False),
        ("blocks.0.fc1", "input", True),
        ("blocks.0.fc2", "input", False),
        ("stem", "output", True),
    ],
)
def test_tolerance_when_some_ways_go_around_the_place_then_is_refused_and_steps_are_advised(layer: str, at: str, cut: bool) -> None:
    methods = [{"name": "conductance", "id": "plain"}, {"name": "integrated_gradients", "tolerance": 0.01}]

    flaw_list = flaws(program_of_net("residual"), layer=layer, at=at, methods=methods)

    assert [(code, pointer) for code, pointer, _ in flaw_list] == (
        [] if cut else [("method_not_applicable", "/methods/1/tolerance")]
    )
    assert all(
        f"the {at} of layer '{layer}' is not a cut" in detail and detail.endswith("give `steps` instead")
        for *_, detail in flaw_list
    )


FIELDS = {"x": net_of("functional").examples(9).numpy(), "y": np.array([0, 1, 2, 0, 1, 2, 0, 3, 1])}


def test_label_when_a_late_batch_has_one_that_is_not_a_class_then_the_job_fails(
    tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(2)

    with pytest.raises(EngineError, match="label 3 is not a class of the model; use numbers from 0 to 2") as caught:
        rank(program_of_net("functional"), tmp_path, FIELDS, "fc1", ["gradient", "random"], **PLAIN)

    # The error is of the request, so it names no ranking.
    assert (caught.value.code, caught.value.ranking, caught.value.finished) == ("class_out_of_range", None, ())


@pytest.mark.parametrize(
    "request_",
    [{"target": {"class": "predicted"}}, {"clusters": {"by": "members", "members": {"others": [0, 1, 2, 3, 4, 5, 6, 8]}}}],
    ids=["other target", "other rows"],
)
def test_label_when_the_target_does_not_use_labels_then_need_not_be_a_class(request_: dict[str, Any], tmp_path: Path) -> None:
    _, arrays = rank(program_of_net("functional"), tmp_path, FIELDS, "fc1", ["gradient"], **request_, **PLAIN)

    assert np.isfinite(arrays["importance/gradient"]).all()


class WithFunction(nn.Module):
    """F = Σ f(relu x)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act, self.function = nn.ReLU(), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.act(x)).sum(1)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "root": torch.sqrt,
    "logarithm": torch.log,
    "quotient": lambda h: 1 / h,
    "nothing by nothing": lambda h: h / h,
    "overflow": lambda h: (30 * h).exp(),
}


@cache
def with_function(name: str) -> Program:
    return program_of(WithFunction(FUNCTIONS[name]), torch.ones(2, 3))


def failed(folder: Path, name: str, x: np.ndarray, methods: list[Any], **request: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        rank(with_function(name), folder, {"x": x}, "act", methods, **{"target": {"class": None}, **PLAIN, **request})
    return caught.value


ONES: dict[str, Any] = {"baseline": {"kind": "constant", "value": 1.0}}


@pytest.mark.parametrize(
    ("name", "value"), [("logarithm", 0.0), ("quotient", -1.0), ("nothing by nothing", 0.0), ("overflow", 9.0)]
)
def test_job_when_the_output_of_a_late_example_is_not_finite_then_says_where_to_look(
    name: str, value: float, tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(2)
    x = np.ones((7, 3), dtype=np.float32)
    x[5, 1] = value

    error = failed(tmp_path, name, x, ["activation", "gradient"], **ONES)

    assert (error.code, error.ranking, error.finished, error.retryable) == ("non_finite", None, (), False)
    assert error.detail.startswith("the model's output became NaN or infinite; look for a division by zero, a logarithm of zero")
    assert error.detail.endswith("or choose another baseline or score")
    others = {"by": "members", "members": {"others": [0, 1, 2, 3, 4, 6]}}
    rank(with_function(name), tmp_path, {"x": x}, "act", ["gradient"], clusters=others, target={"class": None}, **ONES, **PLAIN)


@pytest.mark.parametrize("steps", [{"steps": 3}, {"steps": 3, "tolerance": 0.5}, {"steps": 3, "precision": "bf16"}])
@pytest.mark.parametrize("method", ["conductance", "internal_influence", "integrated_gradients"])
def test_job_when_the_slope_at_a_late_example_is_infinite_then_the_error_names_the_ranking(
    method: str, steps: dict[str, Any], tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(2)
    x = np.full((7, 3), 4, dtype=np.float32)
    x[5, 1] = 0.0
    methods = [
        "activation",
        {"name": method, **steps},
        "gradient",
        {"name": method, "rule": "left", "id": "left"},
        "exact_ablation",
    ]

    error = failed(tmp_path, "root", x, methods, **ONES)

    assert (error.code, error.ranking, error.finished) == ("non_finite", method, ("activation", "left", "exact_ablation"))
    assert "a score became NaN or infinite" in error.detail
    rank(with_function("root"), tmp_path, {"x": x}, "act", list(error.finished[::2]), target={"class": None}, **ONES, **PLAIN)


def test_tolerance_when_the_slope_is_infinite_then_takes_no_more_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.full((2, 3), 4, dtype=np.float32)
    x[1, 1] = 0.0
    walked: list[int] = []

    monkeypatch.setattr("unitrank_engine.methods.path.refinement.Refinement._sum", _counting(walked))
    failed(tmp_path, "root", x, [{"name": "conductance", "steps": 3, "tolerance": 1e-6, "rule": "right"}], **ONES)

    assert walked[0] == 2
    assert set(walked[1:]) == {1}


def _counting(walked: list[int]) -> Callable[..., Any]:
    """Record the number of examples of each sum."""
    plain = Refinement._sum

    def counted(self: Refinement, walk: Any, rows: Tensor, *more: Any) -> Any:
        walked.append(len(rows))
        return plain(self, walk, rows, *more)

    return counted


def test_deeplift_when_the_slope_at_an_example_is_infinite_then_is_finite_and_complete(tmp_path: Path) -> None:
    x = np.full((3, 3), 4, dtype=np.float32)
    x[1] = [0.0, 1.0, 9.0]

    summary, arrays = rank(
        with_function("root"), tmp_path, {"x": x}, "act", DEEPLIFT, target={"class": None}, keep_examples=3, **ONES, **PLAIN
    )

    # A unit at its baseline has changed nothing; for other units the change is √h − √1.
    for ranking in summary["rankings"]:
        np.testing.assert_allclose(arrays[f"examples/{ranking['id']}/all"], np.sqrt(x) - 1, rtol=1e-6, atol=0)
        assert ranking["clusters"]["all"]["completeness"]["relative_gap"] < 1e-6


class Logarithmic(nn.Module):
    """The logarithm is infinite at zeros, which the maximum hides in the output."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(x)
        return torch.maximum(torch.log(h), h - 4).sum(1) + h.log().clamp_min(-5).sum(1)


def test_deeplift_when_an_operation_has_no_slope_then_it_ends_and_says_that_scores_do_not_sum(tmp_path: Path) -> None:
    program = program_of(Logarithmic(), torch.ones(2, 3))
    x = np.linspace(1, 3, 12, dtype=np.float32).reshape(4, 3)

    summary, arrays = rank(program, tmp_path, {"x": x}, "act", ["deeplift"], target={"class": None}, **PLAIN)

    assert np.isfinite(arrays["importance/deeplift"]).all()
    assert summary["rankings"][0]["clusters"]["all"]["completeness"]["relative_gap"] > 0.1
    (warning,) = [each for each in summary["warnings"] if each["code"] == "degenerate_reference"]
    assert "choose another baseline" in warning["detail"]


class Choosing(nn.Module):
    """The value at the position of the largest value."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(x)
        return h.gather(1, h.argmax(1, keepdim=True)).sum(1)


def test_deeplift_when_an_operation_depends_on_a_comparison_then_says_that_scores_do_not_sum(tmp_path: Path) -> None:
    program = program_of(Choosing(), torch.ones(2, 3))
    x = np.array([[0, 2, 1], [1, 0, 4]], dtype=np.float32)
    x0 = np.array([[3, 0, 1], [1, 0, 2]], dtype=np.float32)
    options = PLAIN | {"baseline": {"kind": "field", "field": "x0"}, "target": {"class": None}}

    summary, _ = rank(program, tmp_path, {"x": x, "x0": x0}, "act", ["deeplift"], **options)

    # F falls from 3 to 2 in the first example. Its scores sum to 2, the change of the second value.
    (warning,) = [each for each in summary["warnings"] if each["code"] == "degenerate_reference"]
    assert "the operations behind the comparison (aten::gather) have only their derivative" in warning["detail"]


def test_exact_ablation_when_a_replaced_unit_makes_the_output_infinite_then_is_blamed(tmp_path: Path) -> None:
    x = np.full((4, 3), 2, dtype=np.float32)
    zeroed = {"name": "exact_ablation", "fill": "zero", "id": "zeroed"}

    error = failed(tmp_path, "logarithm", x, [zeroed, "exact_ablation", "gradient", "deeplift"], **ONES)

    assert (error.code, error.ranking, error.finished) == ("non_finite", "zeroed", ("exact_ablation", "gradient", "deeplift"))
    assert error.detail.endswith("; repeat the request without 'zeroed' to get 'exact_ablation', 'gradient', 'deeplift'")


def test_noise_when_it_carries_a_sample_out_of_the_domain_then_is_blamed(tmp_path: Path) -> None:
    x = np.array([[0.01, 1.0, 2.0]] * 3, dtype=np.float32)
    noisy = {"name": "gradient", "noise": {"samples": 50, "level": 1.0}, "id": "noisy"}

    error = failed(tmp_path, "quotient", x, ["gradient", noisy, "activation"], **ONES)

    assert (error.code, error.ranking, error.finished) == ("non_finite", "noisy", ("gradient", "activation"))
