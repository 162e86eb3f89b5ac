"""Checks of the ablation study: the split, the fills, the measure, the numbers of units."""

from collections.abc import Iterator

from unitrank_schemas.facts.facts import Facts, Flaw, example_count, layer_of, place_of, unit_count
from unitrank_schemas.facts.fields import names_groups
from unitrank_schemas.jobs import JobRequest


def split_exists(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if request.ablation is not None and request.ablation.split not in ("half", "none"):
        yield from names_groups("/ablation/split", request.ablation.split, facts)


def resample_has_others(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if facts.fields is None or example_count(request, facts) != 1:
        return
    fills = {
        "/ablation/fill": request.ablation and request.ablation.fill,
        "/ablation/check_fill": request.ablation and request.ablation.check_fill,
        "/fidelity/fill": request.fidelity and request.fidelity.fill,
    }
    for at, fill in fills.items():
        if fill == "resample":
            detail = "`resample` takes values from another example, but the job has only one; use `baseline`, `zero` or `mean`"
            yield Flaw(at, "resample_needs_examples", detail)


def verified_units_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """A top of all units would be right for every ranking."""
    verify, units = request.ablation and request.ablation.verify, _units(request, facts)
    if verify and units is not None and verify.top >= units:
        accepted = f"use a number from 1 to {units - 1}" if units > 1 else "use `verify: null`"
        detail = f"`top` is {verify.top}, but the {request.at} of layer {request.one_layer!r} has {units} units; {accepted}"
        yield Flaw("/ablation/verify/top", "too_few_units", detail)


def paired_units_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    pairs, units = request.ablation and request.ablation.pairs, _units(request, facts)
    if pairs and units is not None and pairs > units:
        place = f"the {request.at} of layer {request.one_layer!r}"
        detail = f"`pairs` is {pairs}, but {place} has {units} units; use a number from 1 to {units}"
        yield Flaw("/ablation/pairs", "too_few_units", detail)


def _units(request: JobRequest, facts: Facts) -> int | None:
    """The number of ranked units; None while the model is not ready, and without the place."""
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    return unit_count(request, place) if place else None


def accuracy_has_labels(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if request.ablation is None or request.ablation.measure != "accuracy" or facts.fields is None:
        return
    if request.target.class_ is None:
        detail = (
            "measure 'accuracy' counts correct predictions, but `target.class` is null, so the job explains a value and no class; "
            "set `target.class`, or use measure 'score'"
        )
        yield Flaw("/ablation/measure", "target_not_applicable", detail)
    elif request.labels is None:
        detail = (
            "measure 'accuracy' compares predictions with labels, but the job has no labels; name the dataset field that holds "
            "them in `labels`, or use measure 'score'"
        )
        yield Flaw("/ablation/measure", "labels_missing", detail)
