"""Checks of the methods: do they apply to this model and place?"""

import math
from collections.abc import Iterator

from unitrank_schemas.facts.facts import (
    Facts,
    Flaw,
    explained_count,
    layer_of,
    output_of,
    path_values,
    place_of,
    row_count,
    unit_count,
)
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import MOST_ENUMERATED, MOST_POINT_BYTES, PathMethod


def ids_are_distinct(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    indices: dict[str | None, int] = {}
    for index, method in enumerate(request.methods):
        if method.id in indices:
            detail = f"/methods/{indices[method.id]} also has the id {method.id!r}; give every entry a different id"
            yield Flaw(f"/methods/{index}/id", "duplicate_id", detail)
        indices.setdefault(method.id, index)


def gradients_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if facts.manifest is None or (facts.manifest.differentiable and (place is None or place.differentiable)):
        return
    for index, method in enumerate(request.methods):
        if method.needs_gradient:
            detail = (
                f"method {method.name!r} needs gradients, but no gradient reaches the {request.at} of layer {request.one_layer!r}: "
                "the output depends on this layer only through comparisons, choices or rounding; use 'activation' or "
                "'exact_ablation', or export the model without that step"
            )
            yield Flaw(f"/methods/{index}", "not_differentiable", detail)


def paths_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """Methods with a baseline need values that can change: real inputs, or looked-up embeddings."""
    if facts.manifest is None or path_values(facts.manifest):
        return
    port = facts.manifest.inputs[0]
    for index, method in enumerate(request.methods):
        if method.needs_baseline:
            detail = (
                f"method {method.name!r} needs a baseline, but input {port.name!r} is {port.dtype} and no embedding looks it up, "
                "so no value can change; use a method without a baseline"
            )
            yield Flaw(f"/methods/{index}", "method_not_applicable", detail)


def tolerances_can_be_met(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """A tolerance needs a cut: around any other place, paths leave a gap that no `steps` closes."""
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if layer is None or place is None or place.cut or request.baseline.hold:
        # A held input leads no path around the layer. Only the engine knows which input does.
        return
    for index, method in enumerate(request.methods):
        if isinstance(method, PathMethod) and method.tolerance is not None:
            detail = (
                f"tolerance {method.tolerance:g} cannot be met: the {request.at} of layer {layer.name!r} is not a cut, so scores "
                "do not sum to the change of the target; give `steps` instead"
            )
            yield Flaw(f"/methods/{index}/tolerance", "method_not_applicable", detail)


def adaptive_points_fit(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """The spacing `adaptive` keeps h and its gradient at all points of an example's path."""
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if place is None:
        return
    for index, method in enumerate(request.methods):
        if not isinstance(method, PathMethod) or method.spacing != "adaptive":
            continue
        bytes_at_point = 2 * 4 * math.prod(place.shape)
        if (method.steps + 1) * bytes_at_point > MOST_POINT_BYTES:
            most = max(0, MOST_POINT_BYTES // bytes_at_point - 1)
            detail = (
                f"{method.steps} steps with spacing 'adaptive' need more than {MOST_POINT_BYTES} bytes for each example at the "
                f"{request.at} of layer {request.one_layer!r}; give at most {most} steps, or another spacing"
            )
            yield Flaw(f"/methods/{index}/steps", "method_not_applicable", detail)


def precisions_round(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """`precision` applies only to models that compute in float32."""
    output = output_of(request, facts.manifest) if facts.manifest else None
    if output is None or output.dtype == "float32":
        return
    for index, method in enumerate(request.methods):
        if isinstance(method, PathMethod) and method.precision != "float32":
            detail = (
                f"precision {method.precision!r} applies to models that compute in float32, and this model computes in "
                f"{output.dtype}; leave `precision` out"
            )
            yield Flaw(f"/methods/{index}/precision", "method_not_applicable", detail)


def weights_follow(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    if layer is None or (layer.linear_next if request.at == "output" else layer.input_linear_next) is not False:
        # A manifest of an older version does not say it; the worker then finds out.
        return
    for index, method in enumerate(request.methods):
        if method.needs_weights:
            yield Flaw(f"/methods/{index}", "method_not_applicable", no_linear_operation(request.at, layer.name))


def no_linear_operation(at: str, layer: str) -> str:
    """The message where no weights follow the layer."""
    return (
        f"method 'weight_norm' needs a linear operation with weights after the layer, and none reads the {at} of layer {layer!r}, "
        "changed element by element or pooled; choose an earlier layer, or use 'activation'"
    )


def operations_fit(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """The operator limits the operations of methods that run the layers after the place often."""
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if facts.manifest is None or facts.fields is None or layer is None or place is None:
        return
    units, tail = unit_count(request, place), max(0.0, 1.0 - layer.forward_cost) * facts.manifest.flops
    rows, limit = row_count(request, facts), facts.max_shapley_operations
    for index, method in enumerate(request.methods):
        if not method.costly:
            continue
        sets = method.passes(1.0, units).count
        operations = sets * rows * tail * explained_count(request, facts)
        if operations <= limit:
            continue
        fitting = int(sets / units * limit / operations / 2) * 2 if units > MOST_ENUMERATED else 0
        examples = int(rows * limit / operations)
        fits = [f"at most {fitting} `permutations` fit"] if fitting >= 2 else []
        fits += [f"at most {examples} examples fit (set a `limit` on the clusters)"] if examples else []
        fits += ["use `units: channel`"] if request.units == "neuron" and place.channel_axis is not None else []
        detail = (
            f"method {method.name!r} would need about {operations:.1e} operations: {sets:.0f} sets of the {units} units × "
            f"{rows} examples × {tail:.1e} operations of the layers after the place; at most {limit:.1e} are allowed; "
            f"{', or '.join(fits) or 'choose a later layer, or use `exact_ablation`'}"
        )
        yield Flaw(f"/methods/{index}", "too_many_operations", detail)


def spatial_axes_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """A spatial method averages over space, so the place needs an axis beside its channels."""
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if place is None or (len(place.shape) > 1 and place.channel_axis is not None):
        return
    for index, method in enumerate(request.methods):
        if method.spatial and len(place.shape) > 1:
            detail = (
                f"method {method.name!r} averages over all axes but the channels, but the model does not show which axis of the "
                f"{request.at} of layer {request.one_layer!r} holds channels; choose another layer, or use 'gradient_x_activation'"
            )
            yield Flaw(f"/methods/{index}", "method_not_applicable", detail)
        elif method.spatial:
            detail = (
                f"method {method.name!r} averages over space, but the {request.at} of layer {request.one_layer!r} has shape "
                f"{place.shape}, without a spatial axis; choose a layer with spatial axes, or use 'gradient_x_activation'"
            )
            yield Flaw(f"/methods/{index}", "method_not_applicable", detail)
