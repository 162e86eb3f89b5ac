"""The methods: can this model be asked for them?"""

from collections.abc import Iterator

from unitrank_schemas.facts.facts import Facts, Flaw, layer_of, moving, output_of, place_of
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import PathMethod


def ids_are_distinct(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    seen: dict[str | None, int] = {}
    for index, method in enumerate(request.methods):
        if method.id in seen:
            detail = f"the id {method.id!r} is taken by /methods/{seen[method.id]}; every ranking needs its own"
            yield Flaw(f"/methods/{index}/id", "duplicate_id", detail)
        seen.setdefault(method.id, index)


def gradients_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if facts.manifest is None or (facts.manifest.differentiable and (place is None or place.differentiable)):
        return
    for index, method in enumerate(request.methods):
        if method.needs_gradient:
            detail = (
                f"method {method.name!r} needs gradients, and none comes back to the {request.at} of layer {request.layer!r}: the "
                "output depends on it by comparisons, choices or rounding alone; use 'activation' or 'exact_ablation', or export "
                "the model without that step"
            )
            yield Flaw(f"/methods/{index}", "not_differentiable", detail)


def paths_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """A difference from the baseline needs inputs that can differ: real ones, or embeddings of the others."""
    if facts.manifest is None or moving(facts.manifest):
        return
    port = facts.manifest.inputs[0]
    for index, method in enumerate(request.methods):
        if method.needs_baseline:
            detail = (
                f"method {method.name!r} explains the difference from a baseline, and nothing of this model can differ: input "
                f"{port.name!r} is {port.dtype}, and no embedding looks it up"
            )
            yield Flaw(f"/methods/{index}", "method_not_applicable", detail)


def tolerances_can_be_met(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """Where some ways go around the place, its scores do not sum to the change of the output however many steps there are."""
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if layer is None or place is None or place.cut:
        return
    for index, method in enumerate(request.methods):
        if isinstance(method, PathMethod) and method.tolerance is not None:
            detail = f"the {request.at} of layer {layer.name!r} is no cut: scores do not sum to the change; give `steps` instead"
            yield Flaw(f"/methods/{index}/tolerance", "method_not_applicable", detail)


def precisions_round(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """Passes of float32 are rounded; what computes with half of its bits already, or with twice as many, is left as it is."""
    output = output_of(request, facts.manifest) if facts.manifest else None
    if output is None or output.dtype == "float32":
        return
    for index, method in enumerate(request.methods):
        if isinstance(method, PathMethod) and method.precision != "float32":
            detail = (
                f"precision {method.precision!r} rounds passes of float32, and this model computes in {output.dtype}; leave it out"
            )
            yield Flaw(f"/methods/{index}/precision", "method_not_applicable", detail)


def spatial_axes_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """A spatial method averages over space: the place needs an axis beside its channels. A whole channel's score is their sum."""
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if place is None or len(place.shape) > 1:
        return
    for index, method in enumerate(request.methods):
        if method.spatial:
            detail = (
                f"method {method.name!r} averages over space, and the {request.at} of layer {request.layer!r} has the shape "
                f"{place.shape}: no axis but channels; name a layer with spatial axes, or use 'gradient_x_activation'"
            )
            yield Flaw(f"/methods/{index}", "method_not_applicable", detail)
