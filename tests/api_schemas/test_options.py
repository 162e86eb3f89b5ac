"""The names of options: those that a request chooses are among those that the version knows."""

import pytest

from unitrank_schemas.base import Json
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.options import chosen_options, known_options
from unitrank_schemas.methods import METHODS

BODY: Json = {"model": "m", "layer": "l", "dataset": "d", "methods": ["gradient"]}


def chosen(**fields: object) -> set[str]:
    return set(chosen_options(JobRequest.model_validate(BODY | fields)))


def test_options_when_all_are_defaults_then_only_the_required_ones_are_chosen() -> None:
    assert chosen() == {"model", "layer", "dataset", "methods", "methods.name=gradient"}
    assert chosen(seed=0, ablation={}, clusters={"by": "all"}) == chosen()


def test_options_when_some_are_set_then_have_their_paths_and_fixed_values() -> None:
    names = chosen(units="channel", ablation={"random": 7}, methods=[{"name": "conductance", "steps": 3}])

    assert names - chosen() == {"units=channel", "ablation", "ablation.random", "methods.name=conductance", "methods.steps"}


@pytest.mark.parametrize("name", METHODS)
def test_options_when_a_request_names_a_method_then_are_known(name: str) -> None:
    entry = {"name": name, "scores": "s"} if name == "given" else name
    request = JobRequest.model_validate(BODY | {"methods": [entry], "dataset": {"fields": {"x": [[1.0]]}}})

    assert f"methods.name={name}" in chosen_options(request)
    assert known_options().issuperset(chosen_options(request))


def test_options_when_a_schema_contains_its_own_kind_then_are_known() -> None:
    names = chosen(baseline={"kind": "mean", "inputs": {"a": {"kind": "constant", "value": 1.0}}})

    assert {"baseline.kind=mean", "baseline.inputs", "inputs.kind=constant", "inputs.value"} <= names
    assert known_options().issuperset(names)
