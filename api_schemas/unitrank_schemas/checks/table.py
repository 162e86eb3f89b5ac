"""The table of all checks, and the function that runs them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from unitrank_schemas.checks import baseline, clusters, given, inputs, layer, layers, methods, size, study, target, units
from unitrank_schemas.checks.defaults import completed
from unitrank_schemas.facts.facts import Facts, Flaw, RequestRejected
from unitrank_schemas.jobs import JobRequest

Check = Callable[[JobRequest, Facts], Iterator[Flaw]]

CHECKS: list[Check] = [
    layers.layers_are_bounded,
    layers.layers_differ,
    layers.joint_has_layers,
    layers.given_has_one_layer,
    layer.layer_exists,
    layer.side_is_a_place,
    units.labels_are_complete,
    units.units_exist,
    inputs.inputs_exist,
    inputs.inputs_are_fed,
    inputs.inputs_fit,
    inputs.preprocess_fits,
    target.output_exists,
    target.labels_are_classes,
    target.class_fits,
    target.against_fits,
    methods.ids_are_distinct,
    methods.gradients_exist,
    methods.paths_exist,
    methods.tolerances_can_be_met,
    methods.adaptive_points_fit,
    methods.precisions_round,
    methods.spatial_axes_exist,
    methods.weights_follow,
    methods.operations_fit,
    given.given_once,
    given.importance_fits,
    given.field_fits,
    given.scores_fit,
    given.made_on_marks_rows,
    given.made_on_leaves_rows,
    clusters.kind_fits,
    clusters.not_too_many,
    baseline.baseline_fits,
    study.split_exists,
    study.resample_has_others,
    study.verified_units_exist,
    study.paired_units_exist,
    study.accuracy_has_labels,
]
"""The order matters: the problem gets the code of the first flaw."""
OF_EACH_LAYER: frozenset[Check] = frozenset(
    {
        layer.layer_exists,
        layer.side_is_a_place,
        units.units_exist,
        methods.gradients_exist,
        methods.tolerances_can_be_met,
        methods.adaptive_points_fit,
        methods.spatial_axes_exist,
        methods.weights_follow,
        methods.operations_fit,
        given.importance_fits,
        given.field_fits,
        given.scores_fit,
        study.verified_units_exist,
        study.paired_units_exist,
    }
)
"""Checks of one layer, which run for each layer of a list."""
MOST_FLAWS = 100


def checked(request: JobRequest, facts: Facts) -> JobRequest:
    """The request with its defaults filled in. Raises RequestRejected with the first 100 flaws."""
    request = completed(request, facts)
    flaws = list(islice((flaw for check in CHECKS for flaw in _flaws(check, request, facts)), MOST_FLAWS))
    # The size can only be computed for a request without other flaws.
    flaws = flaws or list(size.result_fits(request, facts))
    if flaws:
        raise RequestRejected(flaws)
    return request


def _flaws(check: Check, request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """The flaws that a check finds, for each layer where the layer matters."""
    if check not in OF_EACH_LAYER or not isinstance(request.layer, list):
        yield from check(request, facts)
        return
    for index, of_layer in enumerate(request.of_layers()):
        for flaw in check(of_layer, facts):
            yield replace(flaw, pointer=f"/layer/{index}") if flaw.pointer == "/layer" else flaw
