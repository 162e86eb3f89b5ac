"""Checks of the ranked place: does the model have the place, and can its units be ranked?"""

from collections.abc import Iterator

from unitrank_schemas.facts.facts import Facts, Flaw, layer_of, place_of
from unitrank_schemas.facts.wording import nearest
from unitrank_schemas.jobs import JobRequest


def layer_exists(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if facts.manifest is not None and layer_of(request, facts.manifest) is None:
        names = [layer.name for layer in facts.manifest.layers]
        inputs = [port.name for port in facts.manifest.inputs]
        detail = f"layer {request.one_layer!r} not found{nearest(request.one_layer, names)}"
        input_layers = [f"input:{name}" for name in inputs]
        if request.one_layer in ("input", *inputs, *input_layers) and not {"input", *input_layers} & set(names):
            embeddings = [path for path in facts.manifest.path or [] if path in names]
            detail = f"layer {request.one_layer!r} not found; inputs of integers cannot be ranked" + (
                f"; use the embedding {' or '.join(map(repr, embeddings))}" if embeddings else ""
            )
        yield Flaw("/layer", "layer_not_found", detail)


def side_is_a_place(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    if layer is None:
        return
    place = place_of(request, layer)
    if place is None:
        detail = (
            f"the input of layer {layer.name!r} cannot be ranked: it is not a single tensor with one row for each example; "
            "use `output`, or the layer before it"
        )
        yield Flaw("/at", "place_not_found", detail)
    elif not place.reached:
        detail = (
            f"output {request.output!r} is not computed from layer {layer.name!r}; use another output, or a layer that leads to "
            "this output"
        )
        yield Flaw("/layer", "layer_without_effect", detail)
