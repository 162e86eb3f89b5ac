"""The engine's tables have exactly the names that the unions of a request allow."""

from typing import Any, get_args

import pytest

from unitrank_engine.job import baselines, targets
from unitrank_engine.job.clusters import finders
from unitrank_engine.methods import METHODS
from unitrank_engine.models.formats import INSPECTIONS
from unitrank_schemas import methods as method_schemas
from unitrank_schemas import models as model_schemas
from unitrank_schemas.jobs import baselines as baseline_schemas
from unitrank_schemas.jobs import clusters as cluster_schemas
from unitrank_schemas.jobs import targets as target_schemas


def members(union: Any) -> set[type]:
    """The classes of a union, with any nesting of annotations."""
    first = get_args(union)[0]
    return members(first) if hasattr(first, "__metadata__") else set(get_args(first))


@pytest.mark.parametrize(
    ("union", "table"),
    [
        (method_schemas.Method, set(method_schemas.METHODS.values())),
        (cluster_schemas.Clusters, set(finders.FINDERS)),
        (baseline_schemas.Baseline, set(baselines.FINDERS)),
    ],
    ids=["methods", "clusters", "baselines"],
)
def test_union_when_compared_with_its_table_then_has_the_same_members(union: Any, table: set[type]) -> None:
    assert members(union) == table


def test_methods_when_compared_then_the_engine_has_each_method_of_the_schemas() -> None:
    assert set(METHODS) == set(method_schemas.METHODS)
    assert all(get_args(schema.model_fields["name"].annotation) == (name,) for name, schema in method_schemas.METHODS.items())


def test_formats_when_compared_then_the_engine_inspects_each_format_that_a_client_may_upload() -> None:
    assert set(INSPECTIONS) == set(model_schemas.MODEL_FORMATS.values())


def test_scores_when_compared_then_the_engine_has_each_score_of_the_target() -> None:
    assert set(targets.SCORES) == set(get_args(target_schemas.Score))
