"""The strength of a verdict in words: the checks that agree with it, or its doubts."""

from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.jobs.study_plan import MOST_CHECKED
from unitrank_schemas.result_text import ablation_of, number
from unitrank_schemas.results import Ranking, Result


def strength(result: Result, ranking: Ranking) -> list[str]:
    """Return the sentence beside the verdict, at most one.

    A better verdict is robust or fragile; another one has the area that would have been better.
    Scores that the test examples may have made are not called robust.
    """
    overall = ranking.overall
    if overall is None or overall.robust is None:
        return []
    if overall.verdict != "better_than_random":
        return _to_beat(result, ranking) if overall.verdict == "no_better_than_random" else []
    if overall.doubts:
        reasons = [DOUBT_WORDS.get(code, code.replace("_", " ")) for code in overall.doubts]
        return [f"Fragile: {'; '.join(reasons)}."]
    if any(warning.code == "in_sample_unknown" and warning.ranking == ranking.id for warning in result.warnings):
        return []
    checks = checks_made(result, ranking)
    return [f"Robust: {_joined(checks)} {'agree' if len(checks) > 1 else 'agrees'}." if checks else "No further check was made."]


DOUBT_WORDS = {
    "verdict_depends_on_fill": "with another replacement value the verdict changes",
    "no_better_than_activity": "an order of the units by activity does as well",
    "not_specific": "the orders of other clusters do as well",
    "weights_hardly_matter": "a network with shuffled weights gives nearly as good a ranking",
    "few_tests": "few examples test it",
    "varies_between_examples": "on other examples of the same kind it may do no better than a random order",
    "low_accuracy": "the model is often wrong on these examples",
    "in_sample": "it was tested on the examples that made it",
    "not_sufficient": "keeping only its first units keeps no more of the score than keeping random units",
}
"""Code of a doubt → the doubt in words."""


def checks_made(result: Result, ranking: Ranking) -> list[str]:
    """Return the checks of the verdict that the job made."""
    studies = [cluster.ablation for cluster in ranking.clusters.values() if cluster.ablation]
    options = ablation_of(result)
    checks = {
        "another replacement value": options.check_fill not in (None, options.fill) and _decides(options),
        "the order by activity": any(study.activity_area is not None for study in studies),
        "the orders of the other clusters": bool(ranking.specificity and ranking.specificity.selectivity),
        "a network with shuffled weights": ranking.weights_matter is not None,
        "keeping only the first units": any(study.keep and study.keep.p_value is not None for study in studies),
    }
    return [check for check, was_made in checks.items() if was_made]


def _decides(options: Ablation) -> bool:
    """Whether the test with `check_fill`, which has fewer random orders, can be significant."""
    return (1 - options.level) * (min(options.random, MOST_CHECKED) + 1) > 1 - 1e-9


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _to_beat(result: Result, ranking: Ranking) -> list[str]:
    """Return how large an area would have been better than random."""
    for name, cluster in ranking.clusters.items():
        study = cluster.ablation
        limit = study.random.area_to_beat if study and study.random else None
        if study and limit is not None and study.most and study.most.area is not None:
            where = "" if len(result.clusters) == 1 else f" in cluster {name}"
            return [
                f"The area of {ranking.id}{where} is {number(study.most.area)}; an area above {number(limit)} would have been "
                "better than random."
            ]
    return []
