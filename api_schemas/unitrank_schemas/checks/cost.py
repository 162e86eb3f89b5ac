"""The estimated cost of a job, in passes of one example through the whole model."""

import math
from collections.abc import Hashable, Sequence

from unitrank_schemas.checks.defaults import with_spacing
from unitrank_schemas.facts.facts import (
    Facts,
    cluster_count,
    explained_count,
    ranked_places,
    ranking_count,
    row_count,
    unit_count,
)
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.ablation import PERMUTED_MODELS, Ablation
from unitrank_schemas.jobs.baselines import drawn_count
from unitrank_schemas.jobs.study_plan import check_plan, study_plan


def passes(request: JobRequest, facts: Facts) -> int:
    """The number of passes of one example; a partial pass counts by its share of the cost.

    0 while the model or the dataset is not ready.
    """
    places = ranked_places(request, facts)
    if not places or facts.fields is None:
        return 0
    tests, tails = 0.0, [max(0.0, 1.0 - each.layer.forward_cost) for each in places]
    rows, counts = row_count(request, facts), [unit_count(request, each.place) for each in places]
    attribution = _attribution(request, tails, counts)
    for tail, units in zip(tails, counts, strict=True):
        tests += _ablation(request, facts, units, tail) + _fidelity(request, facts, rows, tail)
        tests += _exact_effects(request, facts, units, tail) + _sanity(request, facts, units, tail)
    if request.joint:
        tests += _ablation(request, facts, sum(counts), max(tails))
    scores = rows * (1.0 + explained_count(request, facts) * attribution)
    return math.ceil(request.clusters.passes(facts) + scores + tests)


def _attribution(request: JobRequest, tails: Sequence[float], units: Sequence[int]) -> float:
    """Passes of one example for all methods at all layers.

    Methods with an equal `shared_as` share their passes, so only the largest number counts. For the
    class `each`, this is the number for one class.

    `tails`: the share of the model's cost after each layer. `units`: the number of its units.
    """
    shared: dict[Hashable, float] = {}
    baselines = drawn_count(request.baseline)
    for layer, (tail, count) in enumerate(zip(tails, units, strict=True)):
        for method in request.methods:
            passes = with_spacing(method, request).passes(tail, count)
            times = passes.count * (baselines if method.passes_of_each_baseline() else 1)
            key = (passes.shared_as, None if passes.between_layers and baselines == 1 else layer)
            shared[key] = max(times, shared.get(key, 0.0))
    return sum(shared.values())


def _ablation(request: JobRequest, facts: Facts, units: int, tail: float) -> float:
    ablation = request.ablation
    if ablation is None:
        return 0.0
    classes, clusters = explained_count(request, facts), cluster_count(request, facts)
    plan = study_plan(ablation, units=units, clusters=clusters, methods=request.methods, classes=classes)
    plans = [each for each in (plan, check_plan(ablation, plan)) if each]
    masks = sum(each.masks(classes * len(request.methods)) for each in plans)
    return _tested(ablation, request, facts) * masks * tail


def _exact_effects(request: JobRequest, facts: Facts, units: int, tail: float) -> float:
    """Passes of `verify`, one for each unit, and of `pairs`, one for each unit and each pair."""
    ablation = request.ablation
    if ablation is None:
        return 0.0
    verify, pairs = ablation.verify, ablation.pairs or 0
    single = min(units, 2 * verify.top + verify.sample) if verify else 0
    return _tested(ablation, request, facts) * ranking_count(request, facts) * (single + pairs * (pairs + 1) / 2) * tail


def _sanity(request: JobRequest, facts: Facts, units: int, tail: float) -> float:
    """Passes that make the scores of each permuted model, and that test these rankings.

    The true model runs, too, because it fixes the explained classes.
    """
    ablation = request.ablation
    if ablation is None or ablation.sanity is None:
        return 0.0
    attribution = row_count(request, facts) * explained_count(request, facts) * (2.0 + _attribution(request, [tail], [units]))
    # The true ranking is tested again, so that all areas come from equal passes.
    orders = (PERMUTED_MODELS + 1) * ranking_count(request, facts)
    return PERMUTED_MODELS * attribution + _tested(ablation, request, facts) * orders * len(ablation.counts_of(units)) * tail


def _tested(ablation: Ablation, request: JobRequest, facts: Facts) -> float:
    """The number of test examples in all clusters, where no row made given scores."""
    # Rankings that are not made from the job's examples are tested on all of them.
    whole = ablation.split == "none" or not any(method.scores_examples for method in request.methods)
    available = row_count(request, facts) / (1 if whole else 2)
    return min(float(ablation.examples * cluster_count(request, facts)), available)


def _fidelity(request: JobRequest, facts: Facts, rows: int, tail: float) -> float:
    if request.fidelity is None:
        return 0.0
    masks = (ranking_count if request.fidelity.select == "top" else explained_count)(request, facts)
    return rows * masks * tail
