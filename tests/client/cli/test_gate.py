"""The bounds of `unitrank gate`: a result meets each of them or not."""

import pytest

import unitrank
from unitrank.cli.gate import Bounds, checks
from unitrank_schemas.results import LayeredResult, LayerResult, Result


def test_gate_when_bounds_are_set_then_the_results_values_meet_them_or_not(result: unitrank.JobResult) -> None:
    leader = result.leaderboard[0]
    share = leader.better_than_random / leader.of
    met = checks(result.summary, Bounds(min_better_than_random=share, min_area=leader.area, max_p=1.0), leader.ranking)
    missed = checks(result.summary, Bounds(min_better_than_random=share + 0.1, max_p=0.0), leader.ranking)
    gaps = [checks(result.summary, Bounds(max_gap=0.5), ranking)[0] for ranking in ("conductance", "gradient")]

    assert [check.met for check in met] == [True] * 3
    assert [check.met for check in missed] == [False] * 2
    # The gradient is not a complete method, so its gap is not known, and a bound on it is not met.
    assert [(check.met, check.value == "not known") for check in gaps] == [(True, False), (False, True)]
    with pytest.raises(unitrank.NotPossible, match="no condition was given"):
        checks(result.summary, Bounds())


@pytest.mark.parametrize("bounds", [Bounds(max_p=0.05), Bounds(min_better_than_random=0.5)])
def test_gate_when_the_verdict_is_undecided_then_a_bound_on_it_is_refused(result: unitrank.JobResult, bounds: Bounds) -> None:
    rankings = [
        each.model_copy(update={"overall": each.overall and each.overall.model_copy(update={"verdict": "undecided"})})
        for each in result.summary.rankings
    ]
    undecided = result.summary.model_copy(update={"rankings": rankings})

    with pytest.raises(unitrank.NotPossible, match="cannot be judged") as refusal:
        checks(undecided, bounds)

    assert refusal.value.code == "undecided"
    assert len(checks(undecided, Bounds(min_area=0.0))) == 1


def test_gate_when_a_result_is_of_an_older_version_then_its_mean_area_counts(result: unitrank.JobResult) -> None:
    summary = result.summary.model_dump(mode="json")
    means = [leader["mean_area"] for leader in summary["leaderboard"]]
    for leader in summary["leaderboard"]:
        del leader["area"], leader["ties_with"], leader["robust"], leader["target_class"]

    older = Result.model_validate(summary)

    assert [leader.area for leader in older.leaderboard] == means
    assert checks(older, Bounds(min_area=means[0]))[0].met


def test_gate_when_a_warning_is_forbidden_then_the_ranking_must_not_have_it(result: unitrank.JobResult) -> None:
    code = result.warnings[0].code

    assert [check.met for check in checks(result.summary, Bounds(forbidden=(code, "never")), result.warnings[0].ranking)] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("has_joint", "layer", "checked"),
    [(True, None, ["joint"]), (False, None, ["a", "b"]), (True, "b", ["b"]), (True, "joint", ["joint"])],
)
def test_gate_when_a_job_has_several_layers_then_it_checks_joint_or_every_layer(
    result: unitrank.JobResult, has_joint: bool, layer: str | None, checked: list[str]
) -> None:
    part = LayerResult(**{name: getattr(result.summary, name) for name in LayerResult.model_fields})
    shared = {name: getattr(result.summary, name) for name in ("job", "model", "dataset", "clusters", "cost", "provenance")}
    layered = LayeredResult(**shared, layers={"a": part, "b": part}, joint=part if has_joint else None, warnings=[])

    conditions = checks(layered, Bounds(min_area=0.0), layer=layer)

    assert [check.layer for check in conditions] == checked
    assert [check.as_json()["layer"] for check in conditions] == checked
    assert [check.title for check in conditions] == [f"{name}: area over all clusters at least 0" for name in checked]
    assert all(check.met for check in conditions)
    for summary, names in ((layered, "a, b"), (result.summary, "2")):
        with pytest.raises(unitrank.NotPossible, match=f"layer 'c' not found in the result; use one of {names}"):
            checks(summary, Bounds(min_area=0.0), layer="c")
