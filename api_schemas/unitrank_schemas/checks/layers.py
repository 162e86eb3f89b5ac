"""The layers that a pattern matches, and the checks of a list of layers."""

from collections.abc import Iterator

from unitrank_schemas.facts.facts import Facts, Flaw, layer_named, place_of
from unitrank_schemas.jobs import MOST_LAYERS, WILDCARD, JobRequest
from unitrank_schemas.models import Manifest
from unitrank_schemas.results.result import JOINT


def with_layers(request: JobRequest, manifest: Manifest) -> JobRequest:
    """The request with the layers that its patterns match; unknown names stay.

    A pattern matches layers that the request can rank: it leaves out the model's inputs, and layers
    without the side `at` or without effect on the explained output.
    """
    if not any(_is_pattern(name, manifest) for name in request.layers):
        return request
    names = [each for name in request.layers for each in _matches(name, request, manifest)]
    return request.model_copy(update={"layer": list(dict.fromkeys(names))})


def _is_pattern(name: str, manifest: Manifest) -> bool:
    return WILDCARD in name and layer_named(name, manifest) is None


def is_like(layer: str, pattern: str) -> bool:
    """Whether the pattern matches the name of a layer. A name matches itself.

    The pieces between wildcards are found from left to right. A regular expression would try
    exponentially many ways to match some names.
    """
    first, *pieces = pattern.split(WILDCARD)
    if not pieces:
        return layer == pattern
    last = pieces.pop()
    position, end = len(first), len(layer) - len(last)
    if end < position or not (layer.startswith(first) and layer.endswith(last)):
        return False
    for piece in pieces:
        position = layer.find(piece, position, end) + len(piece)
        if position < len(piece):
            return False
    return True


def _matches(name: str, request: JobRequest, manifest: Manifest) -> list[str]:
    """The layers that a name matches; the name itself where no layer matches it."""
    if not _is_pattern(name, manifest):
        return [name]
    layers = [layer for layer in manifest.layers if layer.kind != "Input" and is_like(layer.name, name)]
    places = ((layer.name, place_of(request, layer)) for layer in layers)
    return [layer for layer, place in places if place and place.reached] or [name]


def layers_differ(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    first: dict[str, int] = {}
    for index, name in enumerate(request.layers):
        if name in first:
            detail = f"layer {name!r} is also at /layer/{first[name]}; name every layer once"
            yield Flaw(f"/layer/{index}", "duplicate_layer", detail)
        first.setdefault(name, index)


def layers_are_bounded(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """A pattern can match more layers than a list may have."""
    count = len(request.layers)
    if count > MOST_LAYERS:
        named = ", ".join(map(repr, request.layers[:3]))
        detail = (
            f"the job would rank {count} layers ({named}, …); at most {MOST_LAYERS} are allowed: use a pattern that matches fewer "
            "layers, or several jobs"
        )
        yield Flaw("/layer", "too_many_layers", detail)


def joint_has_layers(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if request.joint and len(request.layers) < 2:
        # A pattern stays as it is until the model is ready.
        if facts.manifest is None and WILDCARD in request.layers[0]:
            return
        detail = f"`joint` ranks the units of several layers together, got one layer ({request.layers[0]!r}); give a list of layers"
        yield Flaw("/joint", "joint_needs_layers", detail)
    elif request.joint and JOINT in request.layers:
        detail = f"the part of the result for `joint` has the name {JOINT!r}, and a layer has it, too; leave this layer out"
        yield Flaw(f"/layer/{request.layers.index(JOINT)}", "duplicate_layer", detail)


def given_has_one_layer(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if not isinstance(request.layer, list):
        return
    for index, method in enumerate(request.methods):
        if method.name == "given":
            detail = (
                "method 'given' brings scores of one layer, got a list of layers; send a job with `layer` as a name for each layer"
            )
            yield Flaw(f"/methods/{index}", "method_not_applicable", detail)
