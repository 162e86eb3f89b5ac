"""Clusters: named sets of examples. Each cluster gets its own importance of the units.

A kind of clusters is one class here, and one function in `unitrank_engine.job.clusters.finders`,
which finds the rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

from pydantic import FailFast, Field

from unitrank_schemas.base import Schema
from unitrank_schemas.facts.facts import MOST_CLUSTERS, Facts, Flaw, class_count, layer_named, output_of
from unitrank_schemas.facts.fields import distinct_count, distinct_names, names_clusters, y_rejected
from unitrank_schemas.facts.wording import excerpt, nearest, shape_text
from unitrank_schemas.json_pointer import escaped

if TYPE_CHECKING:
    from unitrank_schemas.jobs.request import JobRequest

Limit = Annotated[int, Field(ge=1)]
LIMIT = Field(None, description="Largest number of examples for each cluster, drawn with the job's seed.")

LONGEST_NAME = 256
"""Longest name of a cluster, in characters. Names of arrays contain the cluster's name."""


@dataclass(frozen=True)
class FormControl:
    """The control of the page's form for one field of a kind.

    `field`: the field's name. `label`: the text beside the control. `choices`: `fields` offers the
    dataset's fields, `layers` the model's layers, `rows` takes lines of groups and their rows; with
    None the control takes a number.
    """

    field: str
    label: str
    choices: Literal["fields", "layers", "rows"] | None = None
    name: str = ""
    """The control's id on the page; needed if another control has the field's name."""
    default: str = ""

    @property
    def id(self) -> str:
        return self.name or self.field


class ClusterKind(Schema):
    """The base of all kinds. Checks, estimate and form use its methods and attributes."""

    form_label: ClassVar[str | None] = None
    """Text in the form's choice "A cluster for"; a kind with None is not on the form."""
    controls: ClassVar[tuple[FormControl, ...]] = ()
    reads_model: ClassVar[bool] = False
    """Whether passes through the model are needed to find the clusters."""
    count_pointer: ClassVar[str] = "/clusters"
    """Place of the request that decides the number of clusters."""

    def field_of_names(self, request: "JobRequest") -> str | None:
        """The dataset's field whose values name the clusters; None for kinds without a field."""
        return None

    def names(self, request: "JobRequest", facts: Facts) -> list[str] | None:
        """The names of the job's clusters; None while they are unknown."""
        return distinct_names(self.field_of_names(request), facts)

    def count(self, request: "JobRequest", facts: Facts) -> int:
        """The largest number of clusters that the job can have; 1 while the number is unknown."""
        return max(1, distinct_count(self.field_of_names(request), facts))

    def example_count(self, facts: Facts) -> int:
        """The largest number of distinct examples in the clusters, before `limit`."""
        return facts.examples

    def rows(self, facts: Facts) -> Sequence[int]:
        """The rows of the dataset that the clusters have, before `limit`."""
        return range(facts.examples)

    def row_count(self, examples: int) -> int:
        """The largest number of rows in all clusters; an example counts in each of its clusters.

        `examples`: the number of distinct examples, after `limit`.
        """
        return examples

    def passes(self, facts: Facts) -> float:
        """The number of passes of one example through the model that finding the clusters needs."""
        return 0.0

    def compared_layer(self) -> str | None:
        """The layer whose values decide about the clusters; None for the other kinds."""
        return None

    def shortfall(self, count: int) -> str | None:
        """The warning `fewer_clusters`; None unless `count` is below the requested number."""
        return None

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        """Flaws in the fields of the kind."""
        yield from ()


class All(ClusterKind):
    """One cluster, `all`, with every row."""

    form_label = "all examples together"

    by: Literal["all"] = "all"
    limit: Limit | None = LIMIT

    def names(self, request: "JobRequest", facts: Facts) -> list[str] | None:
        return ["all"]


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
        return (class_count(request, output) if output else None) or 1

    def passes(self, facts: Facts) -> float:
        return float(facts.examples)

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        output = output_of(request, facts.manifest) if facts.manifest else None
        if output is not None and class_count(request, output) is None:
            detail = (
                f"output {output.name!r} {shape_text(output.shape)} has no classes; use another kind of clusters, or set "
                "`target.class` if the output is the logit of class 1"
            )
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
    """Clusters as lists of row numbers of the dataset; a row may be in several clusters."""

    form_label = "groups of rows that I list"
    controls = (FormControl("members", "Groups", choices="rows"),)
    count_pointer = "/clusters/members"

    by: Literal["members"]
    # FailFast reports the first wrong row only: there may be millions.
    members: dict[str, Annotated[list[Annotated[int, Field(ge=0)]], FailFast()]] = Field(min_length=1, examples=[{"a": [0, 3]}])
    limit: Limit | None = LIMIT

    def names(self, request: "JobRequest", facts: Facts) -> list[str] | None:
        return list(self.members)

    def count(self, request: "JobRequest", facts: Facts) -> int:
        return len(self.members)

    def example_count(self, facts: Facts) -> int:
        return len({row for rows in self.members.values() for row in rows})

    def rows(self, facts: Facts) -> Sequence[int]:
        return [row for rows in self.members.values() for row in rows if row < facts.examples]

    def row_count(self, examples: int) -> int:
        return sum(min(len(rows), self.limit or len(rows)) for rows in self.members.values())

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        if facts.fields is None:
            return
        for name, rows in self.members.items():
            at = f"/clusters/members/{escaped(name)}"
            if not (name.isprintable() and 0 < len(name) <= LONGEST_NAME):
                detail = f"{excerpt(name)} cannot name a cluster; use 1 to {LONGEST_NAME} printable characters"
                yield Flaw(at, "bad_cluster_name", detail)
            if not rows:
                yield Flaw(at, "empty_cluster", f"cluster {name!r} has no members; give it at least one row")
            yield from _rows_exist(at, name, rows, facts)


class KMeans(ClusterKind):
    """Clusters of examples with similar output of a layer, named `0`, `1` …, the largest first."""

    form_label = "examples that are alike (k-means)"
    controls = (
        FormControl("k", "Number of clusters", default="8"),
        FormControl("layer", "Layer to compare", choices="layers", name="kmeans_layer"),
    )
    reads_model = True
    count_pointer = "/clusters/k"

    by: Literal["kmeans"]
    k: int = Field(ge=1, description="Number of centres. A centre without examples makes no cluster.", examples=[8])
    layer: str = Field(
        min_length=1,
        max_length=512,
        description="Layer whose output is compared; it may differ from the ranked layer.",
        examples=["fc1"],
    )
    limit: Limit | None = LIMIT

    def count(self, request: "JobRequest", facts: Facts) -> int:
        return self.k

    def compared_layer(self) -> str | None:
        return self.layer

    def shortfall(self, count: int) -> str | None:
        if count >= self.k:
            return None
        return f"only {count} of {self.k} clusters have examples; the empty ones are left out"

    def passes(self, facts: Facts) -> float:
        manifest = facts.manifest
        layer = layer_named(self.layer, manifest) if manifest else None
        if manifest is None or layer is None:
            return 0.0
        # The layer is computed twice: to place the centres, and to find the nearest centre. Each
        # row is compared with every centre.
        compared = 2.0 * self.k * layer.units / manifest.flops if manifest.flops else 0.0
        return 2 * facts.examples * (layer.forward_cost + compared)

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        if facts.manifest is not None and layer_named(self.layer, facts.manifest) is None:
            names = [layer.name for layer in facts.manifest.layers]
            yield Flaw("/clusters/layer", "layer_not_found", f"layer {self.layer!r} not found{nearest(self.layer, names)}")
        if facts.fields is not None and facts.examples < self.k <= MOST_CLUSTERS:
            detail = f"k is {self.k}, but the dataset has {facts.examples} examples; k can be at most {facts.examples}"
            yield Flaw("/clusters/k", "too_few_examples", detail)


def _rows_exist(at: str, name: str, rows: list[int], facts: Facts) -> Iterator[Flaw]:
    earlier: set[int] = set()
    last = facts.examples - 1
    for index, row in enumerate(rows):
        if row > last:
            detail = f"row {row} does not exist; the dataset has rows 0 to {last}"
            yield Flaw(f"{at}/{index}", "member_out_of_range", detail)
        elif row in earlier:
            yield Flaw(f"{at}/{index}", "duplicate_member", f"row {row} is twice in cluster {name!r}; leave one out")
        earlier.add(row)


Clusters = Annotated[All | ByLabel | ByPrediction | ByField | Members | KMeans, Field(discriminator="by")]

CLUSTER_KINDS: dict[str, type[ClusterKind]] = {
    get_args(kind.model_fields["by"].annotation)[0]: kind for kind in get_args(get_args(Clusters)[0])
}
"""Value of `by` → the kind. The page's form shows the kinds in this order."""
