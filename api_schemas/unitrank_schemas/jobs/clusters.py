"""Clusters: named sets of examples that are attributed together; each kind carries its own rules.

A kind is one class here and one function in the table of `unitrank_engine.job.clusters.finders`, which finds the rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

from pydantic import FailFast, Field

from unitrank_schemas.base import Schema
from unitrank_schemas.facts.facts import MOST_CLUSTERS, Facts, Flaw, class_count, layer_named, output_of
from unitrank_schemas.facts.fields import distinct_count, names_clusters, y_rejected
from unitrank_schemas.facts.wording import excerpt, nearest, shape_text
from unitrank_schemas.json_pointer import escaped

if TYPE_CHECKING:
    from unitrank_schemas.jobs.request import JobRequest

Limit = Annotated[int, Field(ge=1)]
LIMIT = Field(None, description="At most so many examples of each cluster, drawn with the job's seed.")

LONGEST_NAME = 256
"""Characters; what comes with a name comes with each array of its cluster."""


@dataclass(frozen=True)
class FormControl:
    """How the page's form asks for one field of a kind.

    `choices`: `fields` offers the dataset's fields, `layers` the model's layers, None takes a number.
    """

    field: str
    label: str
    choices: Literal["fields", "layers"] | None = None
    name: str = ""
    """The control's id on the page, where another control has the field's name."""
    default: str = ""

    @property
    def id(self) -> str:
        return self.name or self.field


class ClusterKind(Schema):
    """The base of every kind. The checks, the estimate and the form call its methods; the defaults fit most kinds."""

    form_label: ClassVar[str | None] = None
    """What the form's choice "A cluster for" calls the kind; None keeps the kind off the form."""
    controls: ClassVar[tuple[FormControl, ...]] = ()
    reads_model: ClassVar[bool] = False
    """Whether finding the clusters takes passes through the model."""
    count_pointer: ClassVar[str] = "/clusters"
    """The place of the request that decides how many clusters there are."""

    def field_of_names(self, request: "JobRequest") -> str | None:
        """The dataset's field whose values name the clusters."""
        return None

    def count(self, request: "JobRequest", facts: Facts) -> int:
        """How many clusters there will be, as far as it can be known; at least 1."""
        return max(1, distinct_count(self.field_of_names(request), facts))

    def example_count(self, facts: Facts) -> int:
        """How many distinct examples the clusters hold, at most, before any `limit`."""
        return facts.examples

    def row_count(self, examples: int) -> int:
        """At most this many rows in all clusters together. `examples`: distinct examples in the clusters, within the limit."""
        return examples

    def passes(self, facts: Facts) -> float:
        """Passes of one example through the model that finding the clusters takes."""
        return 0.0

    def shortfall(self, count: int) -> str | None:
        """The detail of the warning `fewer_clusters`, where `count` clusters are fewer than the request asks for."""
        return None

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        """The flaws in the kind's own fields."""
        yield from ()


class All(ClusterKind):
    """One cluster, `all`, of every row."""

    form_label = "all examples together"

    by: Literal["all"] = "all"
    limit: Limit | None = LIMIT


class ByLabel(ClusterKind):
    """A cluster for each label."""

    form_label = "each label"

    by: Literal["label"]
    limit: Limit | None = LIMIT

    def field_of_names(self, request: "JobRequest") -> str | None:
        return request.labels

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        if request.labels is None and facts.fields is not None:
            detail = f"clusters by `label` need labels; name their field in `labels`{y_rejected(facts)}"
            yield Flaw("/clusters/by", "labels_missing", detail)


class ByPrediction(ClusterKind):
    """A cluster for each class that the model predicts."""

    form_label = "each predicted class"
    reads_model = True

    by: Literal["prediction"]
    limit: Limit | None = LIMIT

    def count(self, request: "JobRequest", facts: Facts) -> int:
        output = output_of(request, facts.manifest) if facts.manifest else None
        return (class_count(output) if output else None) or 1

    def passes(self, facts: Facts) -> float:
        return float(facts.examples)

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        output = output_of(request, facts.manifest) if facts.manifest else None
        if output is not None and class_count(output) is None:
            detail = f"output {output.name!r} {shape_text(output.shape)} has no classes to make clusters of"
            yield Flaw("/clusters/by", "target_not_applicable", detail)


class ByField(ClusterKind):
    """A cluster for each value of a field of the dataset."""

    form_label = "each value of a field"
    controls = (FormControl("field", "Field", choices="fields"),)

    by: Literal["field"]
    field: str
    limit: Limit | None = LIMIT

    def field_of_names(self, request: "JobRequest") -> str | None:
        return self.field

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        yield from names_clusters("/clusters/field", self.field, facts)


class Members(ClusterKind):
    """Clusters by hand: row numbers of the dataset under each name; a row may be in several."""

    count_pointer = "/clusters/members"

    by: Literal["members"]
    # The first wrong row is enough: there may be millions.
    members: dict[str, Annotated[list[Annotated[int, Field(ge=0)]], FailFast()]] = Field(min_length=1, examples=[{"a": [0, 3]}])
    limit: Limit | None = LIMIT

    def count(self, request: "JobRequest", facts: Facts) -> int:
        return len(self.members)

    def example_count(self, facts: Facts) -> int:
        return len({row for rows in self.members.values() for row in rows})

    def row_count(self, examples: int) -> int:
        return sum(min(len(rows), self.limit or len(rows)) for rows in self.members.values())

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        if facts.fields is None:
            return
        for name, rows in self.members.items():
            at = f"/clusters/members/{escaped(name)}"
            if not (name.isprintable() and 0 < len(name) <= LONGEST_NAME):
                detail = f"{excerpt(name)} cannot name a cluster; a name has 1 to {LONGEST_NAME} printable characters"
                yield Flaw(at, "bad_cluster_name", detail)
            if not rows:
                yield Flaw(at, "empty_cluster", f"cluster {name!r} has no members")
            yield from _rows_exist(at, name, rows, facts)


class KMeans(ClusterKind):
    """Clusters `0`, `1` …, the largest first, of examples that are alike in a layer's output, which need not be the job's layer."""

    form_label = "examples that are alike (k-means)"
    controls = (
        FormControl("k", "How many clusters", default="8"),
        FormControl("layer", "Alike in layer", choices="layers", name="kmeans_layer"),
    )
    reads_model = True
    count_pointer = "/clusters/k"

    by: Literal["kmeans"]
    k: int = Field(ge=1, description="How many; those that no example is nearest to are left out.", examples=[8])
    layer: str = Field(min_length=1, max_length=512, examples=["fc1"])
    limit: Limit | None = LIMIT

    def count(self, request: "JobRequest", facts: Facts) -> int:
        return self.k

    def shortfall(self, count: int) -> str | None:
        if count >= self.k:
            return None
        return f"only {count} of {self.k} centres are the nearest of some example; the others, which would be empty, are left out"

    def passes(self, facts: Facts) -> float:
        manifest = facts.manifest
        layer = layer_named(self.layer, manifest) if manifest else None
        if manifest is None or layer is None:
            return 0.0
        # The layer is read once to place the centres and once to name the nearest one; each row is compared with every centre.
        compared = 2.0 * self.k * layer.units / manifest.flops if manifest.flops else 0.0
        return 2 * facts.examples * (layer.forward_cost + compared)

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        if facts.manifest is not None and layer_named(self.layer, facts.manifest) is None:
            names = [layer.name for layer in facts.manifest.layers]
            yield Flaw("/clusters/layer", "layer_not_found", f"layer {self.layer!r} not found{nearest(self.layer, names)}")
        if facts.fields is not None and facts.examples < self.k <= MOST_CLUSTERS:
            detail = f"{self.k} clusters of a dataset with {facts.examples} examples; k can be at most that"
            yield Flaw("/clusters/k", "too_few_examples", detail)


def _rows_exist(at: str, name: str, rows: list[int], facts: Facts) -> Iterator[Flaw]:
    seen: set[int] = set()
    for index, row in enumerate(rows):
        if row >= facts.examples:
            yield Flaw(f"{at}/{index}", "member_out_of_range", f"row {row} of a dataset with the rows 0 to {facts.examples - 1}")
        elif row in seen:
            yield Flaw(f"{at}/{index}", "duplicate_member", f"row {row} is in cluster {name!r} already")
        seen.add(row)


Clusters = Annotated[All | ByLabel | ByPrediction | ByField | Members | KMeans, Field(discriminator="by")]

CLUSTER_KINDS: dict[str, type[ClusterKind]] = {
    get_args(kind.model_fields["by"].annotation)[0]: kind for kind in get_args(get_args(Clusters)[0])
}
"""Value of `by` → the kind, in the union's order, which is the order of the form."""
