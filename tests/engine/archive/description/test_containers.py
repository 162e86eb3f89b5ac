"""Only tuples, lists and dicts pass, because torch would import other containers."""

import json
from typing import Any

import pytest
import torch
from torch.utils import _pytree

from unitrank_engine.archive.description.containers import check_inputs, check_outputs
from unitrank_engine.archive.errors import ArchiveError

LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


def saved(value: object) -> str:
    return _pytree.treespec_dumps(_pytree.tree_structure(value))


@pytest.mark.parametrize("value", [1, (1,), [1, (2, [])], {"a": 1, "b.c": {"d": (1,)}}, ({}, [])])
def test_check_outputs_of_plain_containers_keeps_the_nesting(value: object) -> None:
    """The checked text builds the same nesting."""
    assert _pytree.treespec_loads(check_outputs(saved(value))) == _pytree.tree_structure(value)


@pytest.mark.parametrize(
    ("spec", "plain"),
    [
        ({"type": "evil.Output", "context": '["a", "b"]', "children_spec": [LEAF, LEAF]}, {"a": 1, "b": 1}),
        ({"type": "evil.Record", "context": '[["a"], ["loss"]]', "children_spec": [LEAF]}, {"a": 1}),
        ({"type": "collections.OrderedDict", "context": "[]", "children_spec": []}, {}),
        ({"type": "collections.namedtuple", "context": '"evil.Pair"', "children_spec": [LEAF, LEAF]}, (1, 1)),
    ],
    ids=["output", "dataclass", "ordered", "named-tuple"],
)
def test_check_outputs_of_classes_forgets_the_class(spec: dict[str, Any], plain: object) -> None:
    """Contents and names stay, and no class name is left that torch would import."""
    text = check_outputs(json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [spec]}]))

    assert "evil" not in text
    assert _pytree.treespec_loads(text) == _pytree.tree_structure((plain,))


def test_check_inputs_of_classes_refuses_them() -> None:
    """A class in the inputs is refused, because forward would get a dict instead."""
    classes = {"type": "evil.Output", "context": '["a"]', "children_spec": [LEAF]}
    arguments = {"type": "builtins.tuple", "context": "null", "children_spec": [classes]}
    keywords = {"type": "builtins.dict", "context": "[]", "children_spec": []}

    with pytest.raises(ArchiveError):
        check_inputs(json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [arguments, keywords]}]))


def test_check_inputs_of_arguments_and_keywords_keeps_them() -> None:
    """Keyword arguments keep their names."""
    value = ((torch.ones(1), {"ids": 1, "mask 2": 2}), {"scale": 3})

    assert _pytree.treespec_loads(check_inputs(saved(value))) == _pytree.tree_structure(value)


@pytest.mark.parametrize(
    "spec",
    [
        {**LEAF, "type": "collections.defaultdict", "context": '{"default_factory_module": "os"}'},
        {**LEAF, "type": "evil.Output", "context": '["a"]'},
        {**LEAF, "type": "evil.Output", "context": '["a", "a"]', "children_spec": [LEAF, LEAF]},
        {**LEAF, "type": "evil.Output", "context": '[["a"], "b"]', "children_spec": [LEAF]},
        {**LEAF, "type": "evil.Output", "context": '{"a": 1}', "children_spec": [LEAF]},
        {**LEAF, "type": "builtins.set", "context": '["a"]', "children_spec": [LEAF]},
        {**LEAF, "type": "builtins.dict", "context": '[{"__enum__": true, "fqn": "evil:E", "name": "A"}]'},
        {**LEAF, "type": "builtins.dict", "context": '["a"]'},
        {**LEAF, "type": "builtins.dict", "context": '["a\'b"]', "children_spec": [LEAF]},
        {**LEAF, "type": "builtins.dict", "context": '["a", "a"]', "children_spec": [LEAF, LEAF]},
        {**LEAF, "type": "builtins.tuple", "context": '{"__enum__": true, "fqn": "evil:E", "name": "A"}'},
        {**LEAF, "children_spec": [LEAF]},
        {**LEAF, "more": 1},
        {"type": None},
        None,
    ],
)
def test_check_outputs_of_other_containers_refuses_them(spec: object) -> None:
    """A container that names a class, or that torch does not write, is refused."""
    with pytest.raises(ArchiveError) as refusal:
        check_outputs(json.dumps([1, spec]))
    assert refusal.value.code == "container_refused"


@pytest.mark.parametrize("text", ["", "{}", "[1]", json.dumps([2, LEAF]), "[" * 1000])
def test_check_outputs_of_other_text_refuses_it(text: str) -> None:
    """Text of another version and broken text are refused."""
    with pytest.raises(ArchiveError):
        check_outputs(text)


@pytest.mark.parametrize("value", [(1,), ((1,), [2]), [(1,), {}], ((1,), {"a b": 2}), ((1,), {"def": 2})])
def test_check_inputs_of_other_than_arguments_and_keywords_refuses_it(value: object) -> None:
    """Inputs are a tuple of arguments and a dict whose keys are identifiers."""
    with pytest.raises(ArchiveError):
        check_inputs(saved(value))


def test_check_outputs_of_deep_nesting_refuses_it() -> None:
    """Containers that are nested too deeply are refused."""
    value: object = 1
    for _ in range(40):
        value = (value,)

    with pytest.raises(ArchiveError):
        check_outputs(saved(value))
