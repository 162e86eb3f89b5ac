"""Lists of layers and patterns: their expansion, their flaws, and their size and cost."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.api_schemas.test_checks import ADD, CONV, facts, flaws, request
from unitrank_schemas.checks import Facts, checked, passes
from unitrank_schemas.checks.layers import is_like
from unitrank_schemas.checks.size import array_bytes, summary_bytes
from unitrank_schemas.jobs import MOST_LAYERS

BLOCKS = [CONV | {"name": f"encoder.{number}.{part}"} for number in range(3) for part in ("mlp", "norm")]
INPUT = CONV | {"name": "input", "kind": "Input"}


def blocks(**more: Any) -> Facts:
    return facts(layers=[INPUT, *BLOCKS, ADD], **more)


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        ("encoder.*.mlp", ["encoder.0.mlp", "encoder.1.mlp", "encoder.2.mlp"]),
        ("*", [*(layer["name"] for layer in BLOCKS), "add"]),
        (["add", "*.norm"], ["add", "encoder.0.norm", "encoder.1.norm", "encoder.2.norm"]),
        (["encoder.1.mlp", "encoder.*.mlp"], ["encoder.1.mlp", "encoder.0.mlp", "encoder.2.mlp"]),
        (["add"], ["add"]),
        ("add", "add"),
    ],
)
def test_layers_when_a_name_has_a_wildcard_then_are_those_that_it_matches(layer: Any, names: Any) -> None:
    assert checked(request(layer=layer), blocks()).layer == names


@given(layer=st.text("ab.", max_size=12), pattern=st.text("ab.*", max_size=10))
def test_a_pattern_when_compared_with_a_regular_expression_then_matches_the_same_names(layer: str, pattern: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))

    assert is_like(layer, pattern) == bool(re.fullmatch(expression, layer))


def test_a_pattern_when_it_has_many_wildcards_then_is_matched_at_once() -> None:
    """A regular expression would take years."""
    assert not is_like("a" * 500, "*a" * 200 + "*b")
    assert is_like("a" * 500, "*a" * 200 + "*")


def test_a_pattern_when_a_layer_has_this_very_name_then_is_a_name() -> None:
    named = facts(layers=[CONV | {"name": "a*"}, CONV | {"name": "ab"}])

    assert checked(request(layer="a*"), named).layer == "a*"


def test_a_pattern_when_a_layer_cannot_be_ranked_then_leaves_it_out() -> None:
    unseen = CONV | {"name": "encoder.3.mlp", "seen_by": {"logits": {"cut": False, "differentiable": True, "reached": False}}}
    without_input = CONV | {"name": "encoder.4.mlp", "input_shape": None}
    model = facts(layers=[*BLOCKS, unseen, without_input])

    assert checked(request(layer="encoder.*.mlp"), model).layers == [f"encoder.{number}.mlp" for number in (0, 1, 2, 4)]
    assert checked(request(layer="encoder.*.mlp", at="input"), model).layers == [f"encoder.{number}.mlp" for number in range(3)]


def test_a_pattern_when_the_model_is_not_ready_then_stays() -> None:
    waiting = Facts(manifest=None, fields=None, examples=0, distinct=lambda field: None, max_result_bytes=10**9)

    assert checked(request(layer="encoder.*.mlp", joint=True), waiting).layer == "encoder.*.mlp"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"layer": "decoder.*"}, [("layer_not_found", "/layer/0")]),
        ({"layer": ["add", "encoder.9.mlp"]}, [("layer_not_found", "/layer/1")]),
        ({"layer": ["add", "encoder.0.mlp", "add"]}, [("duplicate_layer", "/layer/2")]),
        ({"layer": ["add", "encoder.0.mlp"], "units": "position"}, [("no_positions", "/units")]),
        ({"layer": "add", "joint": True}, [("joint_needs_layers", "/joint")]),
        ({"layer": ["add"], "joint": True}, [("joint_needs_layers", "/joint")]),
        (
            {"layer": ["add", "encoder.0.mlp"], "methods": [{"name": "given", "importance": [1.0] * 8, "id": "mine"}]},
            [("method_not_applicable", "/methods/0"), ("wrong_shape", "/methods/0/importance")],
        ),
    ],
)
def test_a_list_when_a_layer_is_wrong_then_the_flaw_points_to_it(changes: Any, expected: list[tuple[str, str]]) -> None:
    assert flaws(request(**changes), blocks()) == expected


def test_joint_when_a_layer_has_this_name_then_is_refused() -> None:
    named = facts(layers=[CONV | {"name": "joint"}, CONV | {"name": "other"}])

    assert flaws(request(layer=["other", "joint"], joint=True), named) == [("duplicate_layer", "/layer/1")]
    assert checked(request(layer=["other", "joint"]), named).layers == ["other", "joint"]


def test_layers_when_a_pattern_matches_too_many_then_is_refused_with_the_number() -> None:
    many = facts(layers=[CONV | {"name": f"block.{number}"} for number in range(MOST_LAYERS + 1)])

    assert flaws(request(layer="*"), many) == [("too_many_layers", "/layer")]
    with pytest.raises(ValidationError):
        request(layer=[f"block.{number}" for number in range(MOST_LAYERS + 1)])
    with pytest.raises(ValidationError):
        request(layer=[])


def test_size_when_there_are_several_layers_then_is_the_sum_of_the_layers() -> None:
    names = ["encoder.0.mlp", "add"]

    several = array_bytes(checked(request(layer=names), blocks()), blocks())
    single = [array_bytes(checked(request(layer=name), blocks()), blocks()) for name in names]
    joint = array_bytes(checked(request(layer=names, joint=True), blocks()), blocks())

    assert several["rows"] == single[0]["rows"]
    assert several == {kind: sum(each[kind] for each in single) for kind in several if kind != "rows"} | {"rows": single[0]["rows"]}
    assert joint["importance"] == 2 * several["importance"]
    assert summary_bytes(checked(request(layer=names), blocks()), blocks()) > summary_bytes(request(layer="add"), blocks())


def test_size_when_the_layers_together_exceed_the_limit_then_is_refused() -> None:
    alone = sum(array_bytes(checked(request(layer="add"), blocks()), blocks()).values())

    assert checked(request(layer="add"), blocks(limit=2 * alone)).layer == "add"
    assert flaws(request(layer="*"), blocks(limit=2 * alone))[0][0] == "result_too_large"


def test_cost_when_layers_share_passes_then_they_count_once() -> None:
    names = ["encoder.0.mlp", "encoder.1.mlp"]
    options: dict[str, Any] = {"ablation": None, "fidelity": None, "methods": ["gradient", {"name": "conductance", "steps": 10}]}

    several = passes(checked(request(layer=names, **options), blocks()), blocks())
    alone = passes(checked(request(layer=names[0], **options), blocks()), blocks())
    drawn = {"kind": "examples", "count": 2}
    drawn_several = passes(checked(request(layer=names, baseline=drawn, **options), blocks()), blocks())
    drawn_alone = passes(checked(request(layer=names[0], baseline=drawn, **options), blocks()), blocks())

    assert several == alone
    assert drawn_several > 1.9 * drawn_alone


def test_cost_when_units_are_ranked_together_then_their_test_counts() -> None:
    names = ["encoder.0.mlp", "encoder.1.mlp"]

    alone = passes(checked(request(layer=names), blocks()), blocks())
    joint = passes(checked(request(layer=names, joint=True), blocks()), blocks())

    assert 1.3 * alone < joint < 2 * alone


def test_a_job_of_one_layer_when_asked_for_its_layers_then_has_itself() -> None:
    one, several = request(layer="add"), request(layer=["add", "encoder.0.mlp"])

    assert one.of_layers() == [one]
    assert [each.one_layer for each in several.of_layers()] == ["add", "encoder.0.mlp"]
    with pytest.raises(ValueError, match="list of 2 layers"):
        several.one_layer  # noqa: B018
