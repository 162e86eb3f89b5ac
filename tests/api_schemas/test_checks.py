"""The checks of a request against manifest and header: defaults, flaws, sizes and costs."""

from typing import Any

import pytest
from pydantic import ValidationError

from unitrank_schemas.checks import Facts, RequestRejected, checked, completed, passes, with_spacing
from unitrank_schemas.checks.size import array_bytes, summary_bytes
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.facts import MOST_CLUSTERS, Value
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.models import Manifest

Json = dict[str, Any]

IMAGE: Json = {"name": "image", "dtype": "float32", "shape": [None, 3, 4, 4]}
LOGITS: Json = {"name": "logits", "dtype": "float32", "shape": [None, 10]}
CONV: Json = {
    "name": "conv",
    "kind": "Conv2d",
    "shape": [8, 4, 4],
    "units": 128,
    "channels": 8,
    "channel_axis": 0,
    "cut": True,
    "input_shape": [3, 4, 4],
    "input_channel_axis": 0,
    "forward_cost": 0.25,
}
ADD: Json = {"name": "add", "kind": "Add", "shape": [8], "units": 8, "channels": 8, "channel_axis": 0, "cut": False}
FIELDS: Json = {
    "image": ("uint8", [None, 3, 4, 4]),
    "other": ("float64", [None, 3, 4, 4]),
    "small": ("float32", [None, 3, 2, 2]),
    "names": ("str", [None]),
    "y": ("uint8", [None]),
    "soft": ("float32", [None]),
    "pairs": ("int64", [None, 2]),
}
VALUES: dict[str, list[Value]] = {"y": [0, 1, 9], "names": ["a", "b"], "pairs": [0]}


def facts(
    inputs: list[Json] | None = None,
    outputs: list[Json] | None = None,
    fields: Json | None = None,
    examples: int = 100,
    values: dict[str, list[Value]] | None = None,
    limit: int = 10**9,
    **manifest: Any,
) -> Facts:
    layers = [CONV, ADD]
    field_values = VALUES | (values or {})
    return Facts(
        manifest=Manifest.model_validate(
            {"inputs": inputs or [IMAGE], "outputs": outputs or [LOGITS], "parameters": 1, "layers": layers} | manifest
        ),
        fields={name: FieldInfo(dtype=dtype, shape=shape) for name, (dtype, shape) in (fields or FIELDS).items()},
        examples=examples,
        distinct=field_values.get,
        max_result_bytes=limit,
    )


def request(**changes: Any) -> JobRequest:
    return JobRequest.model_validate({"model": "m", "layer": "conv", "dataset": "d", "methods": ["gradient"], **changes})


def flaws(job: JobRequest, manifest_facts: Facts) -> list[tuple[str, str]]:
    with pytest.raises(RequestRejected) as caught:
        checked(job, manifest_facts)
    return [(flaw.code, flaw.pointer) for flaw in caught.value.flaws]


TOKENS: Json = {"name": "image", "dtype": "int64", "shape": [None, 3, 4, 4]}
SECOND: Json = {"name": "mask", "dtype": "float32", "shape": [None, 3, 4, 4]}
TOLERANT: Json = {"name": "conductance", "tolerance": 0.01}
WIDE: Json = CONV | {"shape": [8, 64, 64], "units": 32768}
ADAPTIVE: Json = {"name": "conductance", "spacing": "adaptive", "steps": 10_000}
ROUNDED: Json = {"name": "conductance", "precision": "bf16"}
PIXELS: Json = {"name": "pixels", "dtype": "float32", "shape": [None, 5, 6, 7], "class_axis": 1}
PIXELS: Json = {"name": "pixels", "dtype": "float32", "shape": [None, 5, 6, 7], "class_axis": 1}
VALUE: Json = {"name": "value", "dtype": "float32", "shape": [None, 1]}


@pytest.mark.parametrize(
    ("changes", "facts_changes", "code", "pointer"),
    [
        ({"layer": "conv2"}, {}, "layer_not_found", "/layer"),
        ({"layer": "add", "at": "input"}, {}, "place_not_found", "/at"),
        ({"inputs": {"img": "image"}}, {}, "input_not_found", "/inputs/img"),
        ({"inputs": {"image": "imag"}}, {}, "field_not_found", "/inputs/image"),
        ({"inputs": {"image": "small"}}, {}, "wrong_shape", "/inputs/image"),
        ({"inputs": {"image": "y"}}, {}, "wrong_shape", "/inputs/image"),
        ({}, {"fields": {"z": ("uint8", [None, 3, 4, 4])}}, "input_missing", "/inputs"),
        ({}, {"inputs": [IMAGE, SECOND]}, "input_missing", "/inputs"),
        ({"inputs": {"image": "other"}}, {"inputs": [TOKENS]}, "wrong_dtype", "/inputs/image"),
        ({"inputs": {"image": "image"}}, {"fields": {"image": ("str", [None, 3, 4, 4])}}, "wrong_dtype", "/inputs/image"),
        ({"preprocess": {"mean": [0.5, 0.5]}}, {}, "wrong_shape", "/preprocess/mean"),
        ({"preprocess": {"scale": []}}, {}, "wrong_shape", "/preprocess/scale"),
        ({"preprocess": {"std": 0}}, {}, "invalid_preprocess", "/preprocess/std"),
        ({"preprocess": {"scale": 0.5}}, {"inputs": [TOKENS]}, "invalid_preprocess", "/preprocess/scale"),
        ({"preprocess": {"std": [1, 0, 1]}}, {}, "invalid_preprocess", "/preprocess/std"),
        ({"output": "logit"}, {}, "output_not_found", "/output"),
        ({}, {"outputs": [LOGITS | {"shape": [None, 10, 4, 4]}]}, "output_not_supported", "/output"),
        ({}, {"outputs": [LOGITS | {"dtype": "int64"}]}, "output_not_supported", "/output"),
        ({"labels": "label"}, {}, "field_not_found", "/labels"),
        ({"labels": "soft"}, {}, "wrong_dtype", "/labels"),
        ({"labels": "names"}, {}, "wrong_dtype", "/labels"),
        ({"labels": "pairs"}, {}, "wrong_shape", "/labels"),
        ({"target": {"class": "label"}}, {"fields": {"image": FIELDS["image"]}}, "labels_missing", "/target/class"),
        ({"clusters": {"by": "label"}}, {"fields": {"image": FIELDS["image"]}}, "labels_missing", "/clusters/by"),
        ({"target": {"class": 10}}, {}, "class_out_of_range", "/target/class"),
        ({}, {"values": {"y": [0, 10]}}, "class_out_of_range", "/labels"),
        ({"baseline": {"kind": "zeros", "hold": ["imag"]}}, {}, "input_not_found", "/baseline/hold/0"),
        ({"baseline": {"kind": "zeros", "inputs": {"a": {"kind": "mean"}}}}, {}, "input_not_found", "/baseline/inputs/a"),
        ({"baseline": {"kind": "zeros", "hold": ["image"]}}, {}, "baseline_not_applicable", "/baseline/hold"),
        (
            {"baseline": {"kind": "zeros", "hold": ["image"], "inputs": {"image": {"kind": "mean"}}}},
            {},
            "invalid_request",
            "/baseline/inputs/image",
        ),
        (
            {"baseline": {"kind": "zeros", "inputs": {"image": {"kind": "mean", "hold": ["image"]}}}},
            {},
            "invalid_request",
            "/baseline/inputs/image/hold",
        ),
        (
            {"baseline": {"kind": "zeros", "inputs": {"image": {"kind": "field", "field": "small"}}}},
            {},
            "baseline_shape",
            "/baseline/inputs/image/field",
        ),
        (
            {"baseline": {"kind": "zeros", "inputs": {"image": {"kind": "example", "index": 100}}}},
            {},
            "index_out_of_range",
            "/baseline/inputs/image/index",
        ),
        (
            {"baseline": {"kind": "zeros", "inputs": {"ids": {"kind": "mean"}}}, "inputs": {"ids": "y"}},
            {"inputs": [IMAGE, {"name": "ids", "dtype": "int64", "shape": [None]}]},
            "baseline_not_applicable",
            "/baseline/inputs/ids",
        ),
        ({"baseline": {"kind": "constant", "value": [1.0, 2.0]}}, {}, "baseline_shape", "/baseline/value"),
        ({"baseline": {"kind": "constant", "value": [1.0, 2.0, 1e39]}}, {}, "out_of_range", "/baseline/value"),
        ({"target": {"class": 0}}, {"outputs": [PIXELS]}, "output_not_supported", "/output"),
        (
            {"target": {"class": 0, "reduce": "mean"}},
            {"outputs": [PIXELS | {"class_axis": None}]},
            "output_not_supported",
            "/output",
        ),
        ({"target": {"class": 5, "reduce": "mean"}}, {"outputs": [PIXELS]}, "class_out_of_range", "/target/class"),
        ({"target": {"class": 0, "reduce": {"at": [1]}}}, {"outputs": [PIXELS]}, "index_out_of_range", "/target/reduce/at"),
        ({"target": {"class": 0, "reduce": {"at": [1, 7]}}}, {"outputs": [PIXELS]}, "index_out_of_range", "/target/reduce/at"),
        ({"target": {"class": 0, "reduce": "max"}}, {}, "target_not_applicable", "/target/reduce"),
        ({"target": {"class": 2}}, {"outputs": [VALUE]}, "class_out_of_range", "/target/class"),
        ({"target": {"class": "label"}}, {"outputs": [VALUE]}, "class_out_of_range", "/labels"),
        ({"target": {"score": "margin"}}, {"outputs": [VALUE]}, "target_not_applicable", "/target/score"),
        ({"target": {"score": "probability"}}, {"outputs": [VALUE]}, "target_not_applicable", "/target/score"),
        ({"target": {"class": 1, "score": "centered"}}, {"outputs": [VALUE]}, "target_not_applicable", "/target/score"),
        ({"target": {"output_is": "probabilities"}}, {"outputs": [VALUE]}, "target_not_applicable", "/target/output_is"),
        ({"target": {"class": 1, "against": 1}}, {}, "target_not_applicable", "/target/against"),
        ({"target": {"class": 1, "against": 10}}, {}, "class_out_of_range", "/target/against"),
        ({"target": {"against": 0, "score": "margin"}}, {}, "target_not_applicable", "/target/score"),
        ({"target": {"against": 0, "score": "probability"}}, {}, "target_not_applicable", "/target/score"),
        ({"target": {"class": 1, "against": 0}}, {"outputs": [VALUE]}, "target_not_applicable", "/target/against"),
        ({"target": {"class": "each", "against": 0}}, {}, "target_not_applicable", "/target/against"),
        ({"target": {"class": "each"}}, {"outputs": [VALUE]}, "target_not_applicable", "/target/class"),
        ({"target": {"class": "each"}, "ablation": None}, {"limit": 8000}, "result_too_large", "/layer"),
        ({"target": {"against": 0}}, {"outputs": [VALUE]}, "target_not_applicable", "/target/against"),
        ({"target": {"against": {"field": "b"}}}, {}, "field_not_found", "/target/against/field"),
        ({"target": {"against": {"field": "soft"}}}, {}, "wrong_dtype", "/target/against/field"),
        ({"target": {"against": {"field": "pairs"}}}, {}, "wrong_shape", "/target/against/field"),
        (
            {"target": {"class": "predicted", "against": {"field": "y"}}},
            {"values": {"y": [0, 10]}},
            "class_out_of_range",
            "/target/against/field",
        ),
        ({"clusters": {"by": "prediction"}}, {"outputs": [VALUE]}, "target_not_applicable", "/clusters/by"),
        ({"methods": [{"name": "gradient", "id": "a"}, {"name": "random", "id": "a"}]}, {}, "duplicate_id", "/methods/1/id"),
        ({"methods": ["random", "gradient"]}, {"differentiable": False}, "not_differentiable", "/methods/1"),
        ({"layer": "add"}, {"layers": [ADD | {"differentiable": False}]}, "not_differentiable", "/methods/0"),
        ({"at": "input"}, {"layers": [CONV | {"input_differentiable": False}]}, "not_differentiable", "/methods/0"),
        ({"methods": ["conductance"]}, {"inputs": [TOKENS]}, "method_not_applicable", "/methods/0"),
        ({"layer": "add", "methods": ["random", "grad_cam"]}, {}, "method_not_applicable", "/methods/1"),
        ({"layer": "add", "methods": [TOLERANT]}, {}, "method_not_applicable", "/methods/0/tolerance"),
        (
            {"methods": [ADAPTIVE]},
            {"layers": [WIDE]},
            "method_not_applicable",
            "/methods/0/steps",
        ),
        ({"methods": [ROUNDED]}, {"outputs": [LOGITS | {"dtype": "float16"}]}, "method_not_applicable", "/methods/0/precision"),
        ({"units": "channel", "at": "input"}, {"layers": [CONV | {"input_channel_axis": None}]}, "no_channels", "/units"),
        ({"clusters": {"by": "field", "field": "name"}}, {}, "field_not_found", "/clusters/field"),
        ({"clusters": {"by": "field", "field": "soft"}}, {}, "wrong_dtype", "/clusters/field"),
        ({"clusters": {"by": "field", "field": "pairs"}}, {}, "wrong_shape", "/clusters/field"),
        ({"clusters": {"by": "members", "members": {"a": [0, 100]}}}, {}, "member_out_of_range", "/clusters/members/a/1"),
        ({"clusters": {"by": "members", "members": {"a/b~": []}}}, {}, "empty_cluster", "/clusters/members/a~1b~0"),
        ({"clusters": {"by": "members", "members": {"": [1]}}}, {}, "bad_cluster_name", "/clusters/members/"),
        ({"clusters": {"by": "members", "members": {"a\0": [1]}}}, {}, "bad_cluster_name", "/clusters/members/a\0"),
        (
            {"clusters": {"by": "field", "field": "names"}},
            {"values": {"names": ["a", "b\n"]}},
            "bad_cluster_name",
            "/clusters/field",
        ),
        ({"clusters": {"by": "members", "members": {"a": [1, 2, 1]}}}, {}, "duplicate_member", "/clusters/members/a/2"),
        (
            {"clusters": {"by": "field", "field": "names"}},
            {"values": {"names": list(range(10_001))}},
            "too_many_clusters",
            "/clusters",
        ),
        ({"clusters": {"by": "kmeans", "k": 8, "layer": "con"}}, {}, "layer_not_found", "/clusters/layer"),
        ({"clusters": {"by": "kmeans", "k": 101, "layer": "add"}}, {}, "too_few_examples", "/clusters/k"),
        (
            {"clusters": {"by": "kmeans", "k": 10_001, "layer": "add"}},
            {"examples": 20_000},
            "too_many_clusters",
            "/clusters/k",
        ),
        ({"baseline": {"kind": "field", "field": "x0"}}, {}, "field_not_found", "/baseline/field"),
        ({"baseline": {"kind": "field", "field": "small"}}, {}, "baseline_shape", "/baseline/field"),
        (
            {"baseline": {"kind": "field", "field": "other"}, "inputs": {"mask": "image"}},
            {"inputs": [IMAGE, SECOND]},
            "baseline_not_applicable",
            "/baseline/field",
        ),
        ({"baseline": {"kind": "example", "index": 100}}, {}, "index_out_of_range", "/baseline/index"),
        ({"baseline": {"kind": "mean"}}, {"inputs": [TOKENS]}, "baseline_not_applicable", "/baseline"),
        ({"baseline": {"kind": "constant", "value": 0.5}}, {"inputs": [TOKENS]}, "baseline_not_applicable", "/baseline"),
        ({"baseline": {"kind": "constant", "value": -1e39}}, {}, "out_of_range", "/baseline/value"),
        ({"ablation": {"split": "patient"}}, {}, "field_not_found", "/ablation/split"),
        ({"ablation": {"fill": "resample"}}, {"examples": 1}, "resample_needs_examples", "/ablation/fill"),
        ({"ablation": {"verify": {"top": 128}}}, {}, "too_few_units", "/ablation/verify/top"),
        ({"ablation": {"verify": {}}, "units": "channel"}, {}, "too_few_units", "/ablation/verify/top"),
        ({"ablation": {"pairs": 9}, "units": "channel"}, {}, "too_few_units", "/ablation/pairs"),
        ({"ablation": {"random": 0, "fractions": [0.5], "pairs": 64}}, {"limit": 10_000}, "result_too_large", "/ablation/pairs"),
        ({"fidelity": {"fill": "resample"}}, {"examples": 1}, "resample_needs_examples", "/fidelity/fill"),
        (
            {"ablation": {"measure": "accuracy"}},
            {"fields": {"image": ("uint8", [None, 3, 4, 4])}},
            "labels_missing",
            "/ablation/measure",
        ),
        ({"ablation": {"measure": "accuracy"}}, {"outputs": [VALUE]}, "target_not_applicable", "/ablation/measure"),
        ({}, {"limit": 1000}, "result_too_large", "/ablation"),
        ({"ablation": None}, {"limit": 1000}, "result_too_large", "/layer"),
        ({"ablation": None, "keep_examples": 100}, {"limit": 2000}, "result_too_large", "/keep_examples"),
    ],
)
def test_checked_of_a_wrong_request_names_the_flaw_and_its_place(
    changes: Json, facts_changes: Json, code: str, pointer: str
) -> None:
    assert flaws(request(**changes), facts(**facts_changes)) == [(code, pointer)]


@pytest.mark.parametrize(
    ("changes", "facts_changes"),
    [
        ({}, {}),
        ({"layer": "conv", "at": "input", "units": "channel"}, {}),
        ({"layer": "add"}, {}),
        ({"methods": ["grad_cam"], "units": "channel"}, {}),
        ({"methods": ["grad_cam"], "at": "input"}, {}),
        ({"inputs": {"image": "other"}}, {}),
        ({"target": {"class": "each"}}, {}),
        ({"target": {"class": 1, "against": {"field": "y"}}}, {}),
        ({"target": {"class": "predicted", "against": 9, "score": "log_probability"}}, {}),
        ({"labels": "soft", "target": {"class": "predicted"}}, {"fields": FIELDS | {"soft": ("bool", [None])}}),
        ({"target": {"class": 9, "score": "centered"}}, {"values": {"y": [200]}}),
        ({"target": {"score": "logit"}}, {"outputs": [VALUE]}),
        ({"target": {"class": "predicted"}}, {"outputs": [VALUE]}),
        ({"target": {"class": 4, "reduce": "mean"}}, {"outputs": [PIXELS]}),
        ({"target": {"class": 4, "reduce": {"at": [5, 6]}}}, {"outputs": [PIXELS]}),
        ({"baseline": {"kind": "constant", "value": [1.0, 2.0, 3.0]}}, {}),
        ({"baseline": {"kind": "constant", "value": [1.0, 2.0, 3.0, 4.0]}}, {}),
        (
            {"baseline": {"kind": "zeros", "hold": ["ids"]}, "inputs": {"ids": "y"}},
            {"inputs": [IMAGE, {"name": "ids", "dtype": "int64", "shape": [None]}]},
        ),
        (
            {"baseline": {"kind": "field", "field": "other", "hold": ["second"]}, "inputs": {"second": "image"}},
            {"inputs": [IMAGE, IMAGE | {"name": "second"}]},
        ),
        ({"target": {"class": "label", "score": "probability"}}, {"outputs": [VALUE], "values": {"y": [0, 1]}}),
        ({"target": {"class": 0, "score": "log_probability", "output_is": "probabilities"}}, {"outputs": [VALUE]}),
        ({"target": {"class": 1}, "clusters": {"by": "prediction"}}, {"outputs": [VALUE]}),
        ({}, {"outputs": [VALUE | {"shape": [None]}]}),
        ({"methods": ["random", "activation"]}, {"differentiable": False}),
        ({"methods": ["gradient"]}, {"layers": [CONV | {"input_differentiable": False}]}),
        ({"clusters": {"by": "members", "members": {"a": [0, 99], "b": [0]}}}, {}),
        ({"clusters": {"by": "field", "field": "names"}}, {}),
        ({"clusters": {"by": "label", "limit": 5}}, {}),
        ({"clusters": {"by": "prediction"}}, {}),
        ({"clusters": {"by": "kmeans", "k": 100, "layer": "add", "limit": 3}}, {}),
        ({"clusters": {"by": "field", "field": "names"}}, {"values": {"names": list(range(MOST_CLUSTERS))}}),
        ({"baseline": {"kind": "field", "field": "other"}}, {}),
        ({"baseline": {"kind": "constant", "value": 1.0}}, {"inputs": [TOKENS]}),
        ({"preprocess": {"scale": 0.5, "mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}}, {}),
        ({"ablation": {"split": "names"}}, {}),
        ({"ablation": {"verify": {"top": 127, "sample": 1}, "pairs": 64, "sanity": "permute_tail"}}, {}),
        ({"ablation": {"verify": {"top": 7}, "pairs": 8}, "units": "channel"}, {}),
        ({"ablation": {"measure": "accuracy"}}, {}),
        ({}, {"examples": 1}),
    ],
)
def test_checked_of_a_right_request_passes(changes: Json, facts_changes: Json) -> None:
    assert checked(request(**changes), facts(**facts_changes)).layer


def test_checked_with_several_flaws_names_them_all() -> None:
    job = request(layer="x", target={"class": 12}, baseline={"kind": "example", "index": 500})

    assert flaws(job, facts()) == [
        ("layer_not_found", "/layer"),
        ("class_out_of_range", "/target/class"),
        ("index_out_of_range", "/baseline/index"),
    ]


def test_checked_names_the_nearest_layer() -> None:
    with pytest.raises(RequestRejected, match="layer 'conv9' not found; nearest: 'conv'"):
        checked(request(layer="conv9"), facts())


def test_checked_without_a_model_still_checks_the_dataset() -> None:
    manifest_facts = Facts(None, facts().fields, 100, VALUES.get, 10**9)

    assert checked(request(layer="whatever"), manifest_facts).labels == "y"
    assert flaws(request(baseline={"kind": "example", "index": 100}), manifest_facts) == [("index_out_of_range", "/baseline/index")]


def test_completed_fills_the_defaults_that_the_facts_decide() -> None:
    complete = completed(request(methods=["gradient", "gradient"]), facts())

    assert (complete.inputs, complete.labels, complete.output, complete.target.class_) == (
        {"image": "image"},
        "y",
        "logits",
        "label",
    )
    assert [method.id for method in complete.methods] == ["gradient", "gradient-2"]


@pytest.mark.parametrize(
    ("baseline", "given", "spacing"),
    [
        ({"kind": "zeros"}, None, "cubic"),
        ({"kind": "constant", "value": 0.0}, None, "uniform"),
        ({"kind": "mean"}, None, "uniform"),
        ({"kind": "zeros"}, "uniform", "uniform"),
    ],
)
def test_spacing_when_left_open_is_decided_by_the_baseline_and_stays_open_in_the_request(
    baseline: Json, given: str | None, spacing: str
) -> None:
    complete = completed(request(methods=[{"name": "conductance", "spacing": given}], baseline=baseline), facts())

    assert complete.model_dump()["methods"][0]["spacing"] == given
    assert with_spacing(complete.methods[0], complete).model_dump()["spacing"] == spacing


def test_completed_takes_x_for_the_only_input() -> None:
    fields = {"x": ("uint8", [None, 3, 4, 4]), "y": ("float32", [None])}

    complete = completed(request(), facts(fields=fields))

    assert (complete.inputs, complete.labels, complete.target.class_) == (
        {"image": "x"},
        None,
        "predicted",
    )


def test_completed_of_an_output_without_classes_leaves_the_class_null() -> None:
    assert completed(request(), facts(outputs=[VALUE])).target.class_ is None


def test_completed_with_one_example_does_not_resample() -> None:
    complete = completed(request(), facts(examples=1))

    assert complete.ablation
    assert complete.ablation.check_fill is None


def test_completed_twice_is_completed_once() -> None:
    once = completed(request(clusters={"by": "label"}), facts())

    again = completed(JobRequest.model_validate(once.model_dump(mode="json")), facts())

    assert again == once


@pytest.mark.parametrize(
    ("units", "counts"), [(5408, [54, 108, 270, 540, 1081, 2704]), (10, [1, 2, 5]), (1, []), (100, [1, 2, 5, 10, 20, 50])]
)
def test_counts_are_distinct_and_below_all(units: int, counts: list[int]) -> None:
    ablation = request().ablation
    assert ablation

    assert list(ablation.counts_of(units)) == counts


def test_array_bytes_equal_the_size_of_the_arrays() -> None:
    job = completed(request(methods=["gradient", "random"], clusters={"by": "label"}, keep_examples=2), facts())

    assert array_bytes(job, facts()) == {
        "importance": 2 * (3 * 128 + 3 * 128) * 4,
        "ablation": 4 * 3 * 7 * (2 * 3 + 99),
        "tests": 100 * 4 * (1 + 2 * 2),
        "pairs": 0,
        "verify": 0,
        "examples": 2 * 6 * 128 * 4,
        "unit_examples": 2 * 3 * 128 * (8 + 4 * 3 * (8 + 4)),
        "heatmaps": 0,
        "rows": (100 + 100) * 8,
    }


def test_passes_of_one_gradient_is_a_forward_and_the_tail() -> None:
    job = request(ablation=None, fidelity=None)

    assert passes(job, facts()) == 100 * (1 + 0.75 * 3)


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({"verify": {"top": 3, "sample": 10}}, 50 * 16 * 0.75),
        ({"verify": {"top": 60, "sample": 50}}, 50 * 128 * 0.75),
        ({"pairs": 4}, 50 * (4 + 6) * 0.75),
        ({"pairs": 4, "split": "none"}, 100 * (4 + 6) * 0.75),
        ({"sanity": "permute_tail"}, 3 * 100 * (2 + 0.75 * 3) + 50 * 4 * 0.75),
    ],
)
def test_passes_of_an_exact_test_are_its_units_or_pairs_for_each_test_example(changes: Json, passed: float) -> None:
    ablation = {"fractions": [0.5], "orders": [], "random": 0, "check_fill": None}

    def count(**options: Any) -> int:
        return passes(request(ablation=ablation | options, fidelity=None), facts())

    assert count(**changes) - count(split=changes.get("split", "half")) == passed


def test_array_bytes_of_pairs_are_a_matrix_for_each_cluster_and_ranking() -> None:
    job = completed(request(methods=["gradient", "random"], clusters={"by": "label"}, ablation={"pairs": 5}), facts())

    assert array_bytes(job, facts())["pairs"] == 2 * 3 * 25 * 4


def test_array_bytes_of_verified_units_are_their_numbers_and_effects() -> None:
    job = completed(request(clusters={"by": "label"}, ablation={"verify": {"top": 5, "sample": 30}}), facts())

    assert array_bytes(job, facts())["verify"] == 3 * 40 * (8 + 4)


@pytest.mark.parametrize(
    "ablation",
    [{"pairs": 65}, {"pairs": 0}, {"pairs": True}, {"verify": {"top": 0}}, {"verify": {"sample": 0}}, {"sanity": "permute"}],
)
def test_request_of_an_exact_test_out_of_its_limits_is_invalid(ablation: Json) -> None:
    with pytest.raises(ValidationError):
        request(ablation=ablation)


def test_passes_are_shared_by_methods_on_the_same_path() -> None:
    alone = request(methods=["conductance"], ablation=None, fidelity=None)
    together = request(methods=["conductance", "internal_influence"], ablation=None, fidelity=None)

    assert passes(together, facts()) == passes(alone, facts())


@pytest.mark.parametrize(
    ("changes", "masks"),
    [
        # Both ends, 19 random orders and the order by activity; then `most` and `least` of the
        # ranking.
        ({"orders": ["most", "least"], "specificity": False}, 2 + 3 * (19 + 1 + 2)),
        # Units are kept, too: the ends, the random orders and the ranking.
        ({"specificity": False}, 2 * 2 + 3 * (2 * 19 + 1 + 3)),
        ({"orders": ["keep"]}, 2 * 2 + 3 * (2 * 19 + 1 + 1)),
        ({"orders": []}, 2 + 3 * (19 + 1)),
        # The fill that checks has the ends, the random orders and `most`.
        ({"orders": ["most"], "check_fill": "zero"}, 2 + 3 * (19 + 1 + 1) + 2 + 3 * (19 + 1)),
        ({"orders": ["least"], "check_fill": "zero"}, 2 + 3 * (19 + 1 + 1)),
        # At most 39 random orders are checked.
        ({"orders": ["most"], "check_fill": "zero", "random": 99}, 2 + 3 * (99 + 1 + 1) + 2 + 3 * (39 + 1)),
        ({"orders": ["most"], "random": 0, "check_fill": "zero"}, 2 + 3 * (1 + 1)),
    ],
)
def test_passes_of_a_study_of_one_ranking_and_one_cluster_are_its_masks(changes: Json, masks: int) -> None:
    ablation = {"fractions": [0.1, 0.2, 0.5], "random": 19, "check_fill": None, "examples": 20, **changes}
    without, tested = (request(ablation=each, fidelity=None) for each in (None, ablation))

    assert passes(tested, facts()) == passes(without, facts()) + 20 * masks * 0.75


@pytest.mark.parametrize(
    ("methods", "clusters", "changes", "masks"),
    [
        # Each ranking has 19 relabelled controls, and with several clusters their orders, too.
        (["gradient"], 3, {}, 2 + 3 * (19 + 1) + 3 * (1 + 19 + 3)),
        (["gradient"], 3, {"specificity": False}, 2 + 3 * (19 + 1) + 3 * (1 + 19)),
        (["gradient", "conductance"], 1, {}, 2 + 3 * (19 + 1) + 2 * 3 * (1 + 19)),
        (["gradient", "conductance"], 3, {}, 2 + 3 * (19 + 1) + 2 * 3 * (1 + 19 + 3)),
        # A ranking of noise is not one of the job's tests, but it is tested as the others are.
        (["gradient", "random"], 1, {}, 2 + 3 * (19 + 1) + 2 * 3),
        (["gradient", "conductance", "random"], 1, {}, 2 + 3 * (19 + 1) + 3 * 3 * (1 + 19)),
        (["gradient"], 3, {"orders": ["least"]}, 2 + 3 * (19 + 1) + 3),
        # 21 clusters are too many to test their orders by default.
        (["gradient"], 21, {}, 2 + 3 * (19 + 1) + 3 * (1 + 19)),
        (["gradient"], 21, {"specificity": True}, 2 + 3 * (19 + 1) + 3 * (1 + 19 + 21)),
    ],
)
def test_passes_of_a_study_of_several_rankings_or_clusters_include_relabelled_controls(
    methods: list[str], clusters: int, changes: Json, masks: int
) -> None:
    members = {str(number): [2 * number, 2 * number + 1] for number in range(clusters)}
    ablation = {"fractions": [0.1, 0.2, 0.5], "random": 19, "check_fill": None, "orders": ["most"], **changes}
    options: Json = {"methods": methods, "clusters": {"by": "members", "members": members}, "fidelity": None}
    without, tested = (request(ablation=each, **options) for each in (None, ablation))

    # One half of each cluster tests; both costs are rounded up.
    assert passes(tested, facts()) - passes(without, facts()) == pytest.approx(clusters * masks * 0.75, abs=1)


def test_sizes_and_passes_for_each_class_count_every_ranking_of_every_class_and_the_controls_once() -> None:
    # Two methods, because one ranking of a single cluster would need no relabelled controls.
    ablation: Json = {"fractions": [0.1, 0.2, 0.5], "random": 19, "orders": ["most", "keep"], "fill": "zero", "check_fill": "mean"}
    options: Json = {"methods": ["conductance", "grad_cam"], "clusters": {"by": "label"}, "keep_examples": 2, "ablation": ablation}
    one, each = (completed(request(target={"class": choice}, **options), facts()) for choice in (1, "each"))

    sizes, all_sizes = array_bytes(one, facts()), array_bytes(each, facts())

    # Of 60 rankings in clusters, the examples of 68 units each are kept; of 6, those of all units.
    assert (sizes.pop("unit_examples") * 68 * 10, 128) == (all_sizes.pop("unit_examples") * 128, 128)
    assert all_sizes == {part: size if part == "rows" else 10 * size for part, size in sizes.items()}
    assert summary_bytes(each, facts()) - 3 * 150 == 10 * (summary_bytes(one, facts()) - 3 * 150)
    # 50 examples test. The controls: units replaced, units kept, and units replaced by the mean.
    controls = 50 * 0.75 * (2 + 3 * (19 + 1) + 2 + 3 * 19 + 2 + 3 * 19)
    assert passes(each, facts()) == pytest.approx(100 + 10 * (passes(one, facts()) - 100) - 9 * controls, abs=10)


def test_passes_of_kmeans_are_two_readings_up_to_its_layer_and_the_distances() -> None:
    alone = request(ablation=None, fidelity=None)
    clustered = request(ablation=None, fidelity=None, clusters={"by": "kmeans", "k": 5, "layer": "conv"})
    manifest_facts = facts(flops=12_800)

    assert passes(clustered, manifest_facts) == passes(alone, manifest_facts) + 100 * 2 * (0.25 + 0.1)


INPUT: Json = {"name": "input", "kind": "Input", "units": 48, "channels": 3, "channel_axis": 0, "cut": True}


@pytest.mark.parametrize(
    ("layer", "changes", "pixels"),
    [
        (CONV, {}, 0),
        (CONV, {"methods": ["gradient", "grad_cam"]}, 16),
        (CONV, {"methods": ["grad_cam"], "at": "input"}, 16),
        (CONV, {"methods": ["grad_cam"], "units": "channel"}, 0),
        (INPUT | {"shape": [3, 4, 5]}, {"methods": ["gradient", "random"]}, 2 * 20),
        (INPUT | {"shape": [3, 4, 5], "channel_axis": 2}, {}, 12),
        (INPUT | {"shape": [6, 8]}, {}, 48),
        (INPUT | {"shape": [6, 8], "channel_axis": 1}, {"methods": ["grad_cam"]}, 6),
        (INPUT | {"shape": [3, 4, 5]}, {"units": "channel"}, 0),
        (INPUT | {"shape": [48]}, {}, 0),
    ],
)
def test_array_bytes_of_heatmaps_are_one_a_cluster_and_one_a_kept_example(layer: Json, changes: Json, pixels: int) -> None:
    manifest_facts = facts(layers=[layer])
    job = completed(request(layer=layer["name"], clusters={"by": "label"}, keep_examples=2, **changes), manifest_facts)

    assert array_bytes(job, manifest_facts)["heatmaps"] == pixels * (3 + 6) * 4


def test_array_bytes_of_kmeans_count_all_its_clusters() -> None:
    job = completed(request(clusters={"by": "kmeans", "k": 7, "layer": "add", "limit": 3}, ablation=None), facts())

    assert array_bytes(job, facts()) == {
        "importance": 7 * 128 * 2 * 4,
        "ablation": 0,
        "tests": 0,
        "pairs": 0,
        "verify": 0,
        "examples": 0,
        "unit_examples": 7 * 128 * (8 + 4 * 3 * (8 + 4)),
        "heatmaps": 0,
        "rows": 21 * 8,
    }


def test_summary_when_it_would_be_larger_than_the_arrays_then_it_counts() -> None:
    job = request(layer="add", methods=["gradient"] * 2, clusters={"by": "members", "members": {str(i): [i] for i in range(100)}})
    sizes, summary = array_bytes(job, facts()), summary_bytes(job, facts())
    # The examples of units never make a result too large.
    arrays = sum(size for part, size in sizes.items() if part != "unit_examples")

    assert arrays < summary - 1
    assert checked(job, facts(limit=summary)).clusters == job.clusters
    assert flaws(job, facts(limit=summary - 1)) == [("result_too_large", "/clusters")]


def test_flaws_when_there_are_very_many_then_the_first_are_named() -> None:
    job = request(clusters={"by": "members", "members": {"a": [0, *[1] * 500_000]}})

    assert flaws(job, facts()) == [("duplicate_member", f"/clusters/members/a/{index}") for index in range(2, 102)]
