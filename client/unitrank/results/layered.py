"""The result of a job that ranks several layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, cast

from unitrank.errors import NotPossible
from unitrank.results.job_result import JobResult
from unitrank.results.tables import LAYER_COLUMNS, NO_CLASSES, clusters_in_words, html_table, layer_texts, markdown
from unitrank_schemas.layer_arrays import names_of_layer
from unitrank_schemas.results import JOINT, Cluster, LayeredResult, Result, Warn

if TYPE_CHECKING:
    import pandas

    from unitrank.results.files import Arrays


class LayeredJobResult(JobResult):
    """The result of a job that ranks several layers: a `JobResult` for each of them.

    A notebook displays it as a table over the layers. `result["relu1"]` is the result of a layer,
    equal to that of a job on this layer alone. Numbers of one layer, such as `rankings`, raise
    NotPossible here, because they belong to a layer.

    Args:
        summary: the summary, as the service answers it.
        arrays: the arrays of all layers, such as `relu1/importance/conductance`.
        classes: as in `JobResult`.

    >>> import numpy as np
    >>> import unitrank
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    >>> result = unitrank.rank(network, ["1", "3"], x, methods=["gradient"])
    >>> list(result)
    ['1', '3']
    >>> result["3"].importances()["all"].shape
    (5,)
    """

    def __init__(self, summary: LayeredResult, arrays: Arrays, classes: Mapping[str, str] = NO_CLASSES) -> None:
        # cast: the base class reads this value only in methods that this class overrides.
        super().__init__(cast(Result, summary), arrays, classes)
        self.layered_summary = summary

    @property
    def summary(self) -> Result:
        """Raises NotPossible: `layered_summary` is the summary, and each layer has its own."""
        names = list(self.parts)
        choices = " or ".join(f"result[{name!r}]" for name in names[:2]) + (" …" if len(names) > 2 else "")
        raise NotPossible(
            f"the result has {len(self.layers)} layers, and this value belongs to one of them: use {choices}",
            code="layer_missing",
        )

    @property
    def layers(self) -> Mapping[str, JobResult]:
        """Name of a layer → its result, in the order of the request."""
        return {name: part for name, part in self.parts.items() if name in self.layered_summary.layers}

    @property
    def joint(self) -> JobResult | None:
        """The result for the units of all layers together; None without `joint` in the request."""
        return None if self.layered_summary.joint is None else self.parts[JOINT]

    @cached_property
    def parts(self) -> Mapping[str, JobResult]:
        """Name → result: those of the layers, and `joint` if there is one."""
        names = list(self.layered_summary.parts())
        return {
            name: JobResult(
                self.layered_summary.of_layer(name),
                {short: self.arrays[full] for short, full in names_of_layer(name, names, self.arrays).items()},
                self.classes,
            )
            for name in names
        }

    @property
    def clusters(self) -> list[Cluster]:
        """The clusters, which all layers share."""
        return self.layered_summary.clusters

    @property
    def warnings(self) -> list[Warn]:
        """The warnings that hold for every layer. `result["relu1"].warnings` has all of a layer."""
        return self.layered_summary.warnings

    def to_dataframe(self, top: int | None = None) -> pandas.DataFrame:
        """As `JobResult.to_dataframe`, for all layers: the first column is `layer`.

        `joint` is left out; `result.joint.to_dataframe()` has it.
        """
        frames = [result.to_dataframe(top).assign(layer=name) for name, result in self.layers.items()]
        import pandas

        frame = pandas.concat(frames, ignore_index=True)
        return frame[["layer", *(name for name in frame.columns if name != "layer")]]

    def to_markdown(self) -> str:
        """The verdict of each layer, the table over the layers, and the warnings, as Markdown."""
        return markdown(self.layered_summary, self.classes)

    def __repr__(self) -> str:
        rows = [LAYER_COLUMNS, *layer_texts(self.layered_summary, self.classes)]
        return "\n".join([self._caption, *(f"  {' | '.join(row)}" for row in rows)])

    def _repr_html_(self) -> str:
        return html_table(self._caption, LAYER_COLUMNS, layer_texts(self.layered_summary, self.classes))

    @property
    def _caption(self) -> str:
        joint = "" if self.joint is None else f", {self.joint.layer.count} units together"
        return f"LayeredJobResult of {len(self.layers)} layers{joint}: {clusters_in_words(self.layered_summary)}"
