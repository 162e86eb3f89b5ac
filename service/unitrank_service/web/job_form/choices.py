"""The choices of the form for a model and a dataset: layers, fields and methods that fit
together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unitrank_schemas.checks import Facts
from unitrank_schemas.checks.baseline import path_of
from unitrank_schemas.checks.defaults import can_label
from unitrank_schemas.checks.given import given_once
from unitrank_schemas.checks.inputs import fits
from unitrank_schemas.checks.layers import is_like
from unitrank_schemas.checks.methods import gradients_exist, paths_exist, spatial_axes_exist
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.facts import kind_of, logit_count
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.clusters import CLUSTER_KINDS, ClusterKind, FormControl
from unitrank_schemas.methods import METHODS, MethodBase
from unitrank_schemas.models import Layer, Manifest, OutputPort
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.errors import RecordNotFound

MOST_NAMES = 200
Fields = Mapping[str, FieldInfo]
CLUSTERS = {by: kind for by, kind in CLUSTER_KINDS.items() if kind.form_label is not None}
"""Cluster kinds that the form offers, in its order."""


@dataclass(frozen=True)
class FormChoices:
    """All choices, and the chosen model, dataset and layer if they exist.

    `digest`: that of the dataset; empty without a dataset.
    """

    models: Sequence[str]
    datasets: Sequence[str]
    model: str = ""
    dataset: str = ""
    digest: str = ""
    manifest: Manifest | None = None
    fields: Fields | None = None
    examples: int = 0
    layer: Layer | None = None

    @property
    def sides(self) -> list[str]:
        return ["output", "input"] if self.layer and self.layer.input_shape is not None else ["output"]

    def methods(self, at: str) -> list[type[MethodBase]]:
        """The methods that fit the layer, in the catalogue's order."""
        if self.manifest is None or self.layer is None:
            return []
        return [method for name, method in METHODS.items() if not self._flaws(name, at)]

    def inputs(self) -> dict[str, list[str]]:
        """Input of the model → fields of the dataset that fit it."""
        return {port.name: self._fitting(port) for port in self.manifest.inputs} if self.manifest else {}

    def labels(self) -> list[str]:
        """Fields that can be labels."""
        return [name for name, field in (self.fields or {}).items() if can_label(field)]

    def groups(self) -> list[str]:
        """Fields whose values can name clusters."""
        fields = (self.fields or {}).items()
        return [name for name, field in fields if len(field.shape) == 1 and kind_of(field.dtype) != "real"]

    def booleans(self) -> list[str]:
        """Fields that can mark rows: those that made given scores, or those of a baseline."""
        return [name for name in self.groups() if kind_of((self.fields or {})[name].dtype) == "boolean"]

    def score_datasets(self, chosen: str) -> list[str]:
        """The datasets that may hold given scores: all, because only checks read fields."""
        return list(_with(self.datasets, chosen))

    def options(self, control: FormControl) -> list[str] | None:
        """The options of a cluster kind's control; None if the user types its value."""
        layers = [layer.name for layer in self.manifest.layers] if self.manifest else []
        return {"fields": self.groups(), "layers": layers}.get(control.choices or "")

    def clusters(self) -> dict[str, type[ClusterKind]]:
        """The kinds whose controls each have at least one option, or are typed."""
        return {by: kind for by, kind in CLUSTERS.items() if all(self.options(control) != [] for control in kind.controls)}

    def logits(self, output: str) -> int | None:
        """The number of values that the output has for each example; None without a model."""
        port = self._output(output)
        return logit_count(port) if port else None

    def further_axes(self, output: str) -> int:
        """The number of the output's axes beside the batch and the classes."""
        port = self._output(output)
        return max(0, len(port.shape) - 2) if port else 0

    def baselines(self) -> list[str]:
        """Fields that can be the baseline of an input."""
        return sorted({name for names in self.inputs().values() for name in names})

    def movable(self) -> list[str]:
        """Inputs and embeddings that move between baseline and example."""
        return [value.name for value in path_of(self.manifest)] if self.manifest else []

    def _output(self, name: str) -> OutputPort | None:
        ports = self.manifest.outputs if self.manifest else []
        return next((port for port in ports if port.name == name), ports[0] if ports else None)

    def _fitting(self, port: Any) -> list[str]:
        return [name for name, field in (self.fields or {}).items() if not list(fits("", name, field, port))]

    def _flaws(self, name: str, at: str) -> list[Any]:
        assert self.manifest is not None
        assert self.layer is not None
        body = {"model": "m", "dataset": "d", "layer": self.layer.name, "methods": [name], "at": at}
        request = JobRequest.model_validate(body)
        facts = Facts(self.manifest, None, 0, lambda field: None, 0)
        return [flaw for check in (given_once, gradients_exist, paths_exist, spatial_axes_exist) for flaw in check(request, facts)]


def name_of(method: type[MethodBase]) -> str:
    """The method's name in a request."""
    return str(method.model_fields["name"].default)


def choices_for(model: str, dataset: str, layer: str, *, models: ModelStore, datasets: DatasetStore) -> FormChoices:
    """The choices for the named model, dataset and layer if they are ready, otherwise for the first
    ready ones. `layer` may be a pattern.
    """
    model_names, dataset_names = _ready(models), _ready(datasets)
    model, model_record = _chosen(models, model_names, model)
    dataset, table = _chosen(datasets, dataset_names, dataset)
    manifest = Manifest.model_validate(model_record.manifest, extra="ignore") if model_record else None
    layers = manifest.layers if manifest else []
    inner = [candidate for candidate in layers if candidate.kind != "Input"]
    named = next((candidate for candidate in layers if candidate.name == layer), None)
    matching = (candidate for candidate in inner if is_like(candidate.name, layer))
    chosen = named or next(matching, None) or next(iter(inner or layers), None)
    fields = {name: FieldInfo.model_validate(info, extra="ignore") for name, info in table.fields.items()} if table else None
    return FormChoices(
        models=_with(model_names, model),
        datasets=_with(dataset_names, dataset),
        model=model,
        dataset=dataset,
        digest=table.digest if table else "",
        manifest=manifest,
        fields=fields,
        examples=table.examples if table else 0,
        layer=chosen,
    )


def _ready(catalogue: Any) -> list[str]:
    # Any: models or datasets
    records, _ = catalogue.list(MOST_NAMES)
    return [record.name for record in records if record.status == "ready"]


def _chosen(catalogue: Any, names: Sequence[str], name: str) -> tuple[str, Any]:
    """The named record if it is ready, otherwise the first of `names`, each with its name.

    The name is empty if neither is ready.
    """
    for candidate in filter(None, [name, *names[:1]]):
        try:
            record = catalogue.resolve(candidate)
        except RecordNotFound:
            continue
        if record.status == "ready":
            return candidate, record
    return "", None


def _with(names: Sequence[str], chosen: str) -> list[str]:
    return list(names) if not chosen or chosen in names else [chosen, *names]
