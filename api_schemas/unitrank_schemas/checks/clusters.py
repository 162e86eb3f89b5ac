"""The clusters: do their fields and members exist, and are they few enough?"""

from collections.abc import Iterator

from unitrank_schemas.base import Schema
from unitrank_schemas.checks.inputs import escaped, field_exists
from unitrank_schemas.clusters import ByField, ByLabel, ByPrediction, KMeans, Members
from unitrank_schemas.facts.facts import (
    MOST_CLUSTERS,
    Facts,
    Flaw,
    class_count,
    cluster_count,
    kind_of,
    named,
    output_of,
    unlabelled,
)
from unitrank_schemas.facts.wording import nearest, shape_shown, shown
from unitrank_schemas.jobs import JobRequest

POINTERS: dict[type[Schema], str] = {Members: "/clusters/members", KMeans: "/clusters/k"}
"""What says how many clusters there are, where a field of the request does."""

LONGEST_NAME = 256
"""Characters; what comes with a name comes with each array of its cluster."""


def field_names_clusters(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if isinstance(request.clusters, ByField):
        yield from names_groups("/clusters/field", request.clusters.field, facts)
        yield from _printable("/clusters/field", request.clusters.field, facts)


def labels_name_clusters(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if isinstance(request.clusters, ByLabel) and request.labels is None and facts.fields is not None:
        detail = f"clusters by `label` need labels; name their field in `labels`{unlabelled(facts)}"
        yield Flaw("/clusters/by", "labels_missing", detail)
    output = output_of(request, facts.manifest) if facts.manifest else None
    if isinstance(request.clusters, ByPrediction) and output is not None and class_count(output) is None:
        detail = f"output {output.name!r} {shape_shown(output.shape)} has no classes to make clusters of"
        yield Flaw("/clusters/by", "target_not_applicable", detail)


def members_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if not isinstance(request.clusters, Members) or facts.fields is None:
        return
    for name, rows in request.clusters.members.items():
        at = f"/clusters/members/{escaped(name)}"
        if not (name.isprintable() and 0 < len(name) <= LONGEST_NAME):
            detail = f"{shown(name)} cannot name a cluster; a name has 1 to {LONGEST_NAME} printable characters"
            yield Flaw(at, "bad_cluster_name", detail)
        if not rows:
            yield Flaw(at, "empty_cluster", f"cluster {name!r} has no members")
        seen: set[int] = set()
        for index, row in enumerate(rows):
            if row >= facts.examples:
                detail = f"row {row} of a dataset with the rows 0 to {facts.examples - 1}"
                yield Flaw(f"{at}/{index}", "member_out_of_range", detail)
            elif row in seen:
                yield Flaw(f"{at}/{index}", "duplicate_member", f"row {row} is in cluster {name!r} already")
            seen.add(row)


def activations_make_clusters(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    clusters = request.clusters
    if not isinstance(clusters, KMeans):
        return
    if facts.manifest is not None and named(clusters.layer, facts.manifest) is None:
        names = [layer.name for layer in facts.manifest.layers]
        yield Flaw("/clusters/layer", "layer_not_found", f"layer {clusters.layer!r} not found{nearest(clusters.layer, names)}")
    if facts.fields is not None and facts.examples < clusters.k <= MOST_CLUSTERS:
        detail = f"{clusters.k} clusters of a dataset with {facts.examples} examples; k can be at most that"
        yield Flaw("/clusters/k", "too_few_examples", detail)


def not_too_many(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    count = cluster_count(request, facts)
    if count > MOST_CLUSTERS:
        at = POINTERS.get(type(request.clusters), "/clusters")
        yield Flaw(at, "too_many_clusters", f"more than {MOST_CLUSTERS} clusters")


def names_groups(at: str, name: str, facts: Facts) -> Iterator[Flaw]:
    """The field's values can name clusters or groups: one a row, and no real numbers."""
    yield from field_exists(at, name, facts)
    field = facts.fields.get(name) if facts.fields else None
    if field is not None and len(field.shape) != 1:
        yield Flaw(at, "wrong_shape", f"field {name!r} has the shape {shape_shown(field.shape)}; names are one a row, [N]")
    elif field is not None and kind_of(field.dtype) == "real":
        yield Flaw(at, "wrong_dtype", f"field {name!r} is {field.dtype}; names are integers, booleans or strings")


def _printable(at: str, name: str, facts: Facts) -> Iterator[Flaw]:
    """Strings of a field name arrays of the result, too."""
    field = facts.fields.get(name) if facts.fields else None
    if field is None or len(field.shape) != 1 or kind_of(field.dtype) != "text":
        return
    for value in facts.distinct(name) or []:
        if not str(value).isprintable():
            detail = f"field {name!r} holds {shown(value)}, which cannot name a cluster; use printable characters"
            yield Flaw(at, "bad_cluster_name", detail)
            return
