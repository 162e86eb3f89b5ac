"""Checks of the units: does the place have them?"""

from collections.abc import Iterator

from unitrank_schemas.facts.facts import Facts, Flaw, RankedPlace, layer_of, place_of
from unitrank_schemas.jobs import Groups, JobRequest, Labels, axis_of

MOST_NAMED = 5
"""Labels or numbers of groups that a message names."""


def labels_are_complete(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if not isinstance(request.units, Labels):
        return
    labels = set(request.units.labels)
    highest = max(labels)
    # A label can be far above the number of labels, so the missing ones are not all listed.
    missing = [label for label in range(min(highest, len(labels) + MOST_NAMED)) if label not in labels][:MOST_NAMED]
    if missing:
        without = f"label {missing[0]}" if len(missing) == 1 else f"labels {', '.join(map(str, missing))}"
        if len(labels) + len(missing) <= highest:
            without += " and others"
        detail = (
            f"`labels` has {len(labels)} different labels up to {highest}, without {without}; number the units from 0 to "
            f"{len(labels) - 1} without gaps"
        )
        yield Flaw("/units/labels", "labels_have_gaps", detail)


def units_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if place is None:
        return
    subject, units = f"the {request.at} of layer {request.one_layer!r}", request.units
    if isinstance(units, Groups | Labels):
        yield from _axis_fits(units, place, subject)
    elif units != "neuron" and place.channel_axis is None:
        if units == "channel":
            detail = f"{subject} has no channel axis; use `neuron`"
        else:
            detail = (
                f"a position is everything but the channels, and {subject} has no channel axis; use `neuron`, or name the axis of "
                f'the positions, such as {{"axis": 0, "groups": {place.shape[0]}}} for shape {place.shape}'
            )
        yield Flaw("/units", "no_channels", detail)
    elif units == "position" and len(place.shape) == 1:
        detail = (
            f"{subject} has shape {place.shape}, which is one axis of channels, so no position is left; use `neuron`, or a layer "
            "with an axis of tokens, pixels or time steps"
        )
        yield Flaw("/units", "no_positions", detail)


def _axis_fits(units: Groups | Labels, place: RankedPlace, subject: str) -> Iterator[Flaw]:
    rank, axis = len(place.shape), axis_of(units, place.shape)
    if axis is None:
        detail = f"`axis` is {units.axis}, but {subject} has shape {place.shape}; use a number from {-rank} to {rank - 1}"
        yield Flaw("/units/axis", "axis_not_found", detail)
    elif isinstance(units, Labels):
        if len(units.labels) != place.shape[axis]:
            detail = (
                f"`labels` has {len(units.labels)} labels, but axis {axis} of {subject} has the size {place.shape[axis]} (shape "
                f"{place.shape}); give one label for each index"
            )
            yield Flaw("/units/labels", "wrong_length", detail)
    elif place.shape[axis] % units.groups:
        size = place.shape[axis]
        nearest = sorted((each for each in range(1, size + 1) if size % each == 0), key=lambda each: abs(each - units.groups))
        accepted = ", ".join(map(str, sorted(nearest[:MOST_NAMED])))
        detail = (
            f"`groups` is {units.groups}, which does not divide the size {size} of axis {axis} of {subject} (shape {place.shape}); "
            f"use a divisor, such as {accepted}"
        )
        yield Flaw("/units/groups", "groups_do_not_divide", detail)
