"""The result of a job: verdicts, numbers as numpy arrays, plots, and saving to a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unitrank.errors import NotPossible
from unitrank.pruning import PruningMask, mask_of
from unitrank.results.files import write_result
from unitrank.results.plotting import figure_of
from unitrank.results.tables import LEADER_COLUMNS, NO_CLASSES, html_table, leader_rows, markdown, place_of
from unitrank_schemas.class_names import with_class_names
from unitrank_schemas.layer_lines import LayerLine, layer_lines
from unitrank_schemas.leading import leading
from unitrank_schemas.results import (
    JOINT,
    AblationResult,
    Agreement,
    Cluster,
    Comparison,
    GivenRelation,
    LayeredResult,
    Leader,
    RankedLayer,
    Ranking,
    Result,
    Specificity,
    Unit,
    Warn,
    name_of_unit,
)
from unitrank_schemas.verdict_text import verdict_in_words

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from unitrank.results.files import Arrays

COLUMNS = ("cluster", "ranking", "rank", "unit", "index", "importance", "spread")


class JobResult:
    """The result of a job. A notebook displays it as its leaderboard.

    `JobHandle.result`, `unitrank.rank` and `unitrank.load` return it.

    Args:
        summary: the summary, as the service answers it.
        arrays: the arrays by the names of the contract, such as `importance/conductance` with the
            shape [clusters, units]. The clusters have the summary's order.
        classes: number of a class, as text → its name; texts and plots show it. The keys of
            dictionaries keep the numbers.

    >>> import numpy as np
    >>> import unitrank
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    >>> result = unitrank.rank(network, "1", x, methods=["gradient"])
    >>> len(result.top(3)["all"])
    3
    """

    def __init__(self, summary: Result, arrays: Arrays, classes: Mapping[str, str] = NO_CLASSES) -> None:
        self._summary: Result | LayeredResult = summary
        self.arrays: Arrays = arrays
        self.classes = classes

    @property
    def summary(self) -> Result:
        """The summary, as the service answers it."""
        # `LayeredJobResult` overrides this property.
        return cast(Result, self._summary)

    @property
    def layers(self) -> Mapping[str, JobResult]:
        """Name of a layer → its result; only one layer unless the job ranks a list of layers."""
        return {self.layer.name: self}

    @property
    def joint(self) -> JobResult | None:
        """The result for the units of all layers together; None without `joint` in the request."""
        return None

    @property
    def parts(self) -> Mapping[str, JobResult]:
        """Name → result: those of the layers, and `joint` if there is one."""
        return self.layers if self.joint is None else {**self.layers, JOINT: self.joint}

    def __getitem__(self, layer: str) -> JobResult:
        """The result of one layer, or of `joint`. Raises NotPossible for another name."""
        if layer not in self.parts:
            raise NotPossible(
                f"layer {layer!r} not found in the result; use one of {', '.join(self.parts)}", code="layer_not_found"
            )
        return self.parts[layer]

    def __iter__(self) -> Iterator[str]:
        """The names of the layers."""
        return iter(self.layers)

    def table(self, *, cluster: str | None = None, ranking: str | None = None) -> list[LayerLine]:
        """Each layer, then `joint`: verdict, area, selectivity, and units that keep 90 %.

        Args:
            cluster: where in the network this cluster is decided; None: over all clusters.
            ranking: id of a ranking; None: the best one of each layer.

        Raises NotPossible for an unknown cluster or ranking.
        """
        results = {name: part.summary for name, part in self.parts.items()}
        names = [each.name for each in self.clusters]
        if cluster is not None and cluster not in names:
            raise NotPossible(f"cluster {cluster!r} not found; use one of {', '.join(names[:20])}", code="cluster_not_found")
        if not (lines := layer_lines(results, ranking, cluster)):
            ids = ", ".join(next(iter(self.parts.values())).rankings)
            raise NotPossible(f"ranking {ranking!r} not found; use one of {ids}", code="ranking_not_found")
        return lines

    @property
    def job(self) -> str:
        """The id of the job; empty for a result of `unitrank.rank`."""
        return self._summary.job

    @property
    def leaderboard(self) -> list[Leader]:
        """The rankings, the best first."""
        return self.summary.leaderboard

    @property
    def warnings(self) -> list[Warn]:
        """The warnings, each with its code, cluster and ranking."""
        return self.summary.warnings

    @property
    def clusters(self) -> list[Cluster]:
        """The clusters, with their sizes and the model's accuracy and score on each."""
        return self.summary.clusters

    @property
    def layer(self) -> RankedLayer:
        """The layer whose units are ranked."""
        return self.summary.layer

    @property
    def rankings(self) -> dict[str, Ranking]:
        """Ranking id → that ranking's part of the summary."""
        return {ranking.id: ranking for ranking in self.summary.rankings}

    @property
    def verdict(self) -> list[str]:
        """The verdict in sentences; the first two say how far to rely on the best ranking."""
        return verdict_in_words(self._worded)

    @property
    def comparisons(self) -> list[Comparison]:
        """The differences between each two rankings, with their intervals."""
        return self.summary.comparisons

    @property
    def agreement(self) -> list[Agreement]:
        """How similar the importances of each two rankings are."""
        return self.summary.agreement

    @property
    def given(self) -> list[GivenRelation]:
        """For each ranking of given scores, the computed ranking nearest to it."""
        return self.summary.given

    def specificity(self, ranking: str | None = None) -> Specificity | None:
        """Each cluster's order tested on the examples of the other clusters.

        None where the job did not test it. `ranking` is as in `importances`.

        Raises NotPossible for an unknown ranking.
        """
        return self._ranking(ranking).specificity

    @property
    def best(self) -> str:
        """The id of the first ranking of the leaderboard that may be called the best one.

        `random`, `weight_norm` and given importances are taken only where there is no other.
        """
        return leading(self.summary).id

    @property
    def ablation(self) -> dict[str, dict[str, AblationResult]]:
        """Ranking → cluster → its ablation test: curves, p-values and verdict.

        Clusters that were not tested are left out.
        """
        return {
            ranking.id: {name: cluster.ablation for name, cluster in ranking.clusters.items() if cluster.ablation}
            for ranking in self.summary.rankings
        }

    def importances(self, ranking: str | None = None) -> dict[str, NDArray[Any]]:
        """Cluster → the importance of every unit, in the layer's shape.

        Args:
            ranking: id of a ranking; None: the best one.

        Raises NotPossible for an unknown ranking, or if the result has no arrays.
        """
        return self._by_cluster("importance", ranking)

    def spreads(self, ranking: str | None = None) -> dict[str, NDArray[Any]]:
        """Cluster → the standard deviation of each unit's importance over the examples.

        The deviation is NaN for a cluster of one example. `ranking` is as in `importances`.
        """
        return self._by_cluster("spread", ranking)

    def top(self, k: int = 10, ranking: str | None = None) -> dict[str, list[Unit]]:
        """Cluster → the cluster's `k` most important units, the most important first.

        Units of equal importance are in the order of their numbers. `ranking` is as in
        `importances`. The first 20 have the interval of their importance and `in_top`.
        """
        from unitrank_tables.top_units import top_units

        spreads, clusters = self.spreads(ranking), self._ranking(ranking).clusters
        return {
            name: [
                *clusters[name].top[:k],
                *(
                    Unit(**unit)
                    for unit in top_units(importance.ravel(), spreads[name].ravel(), self.layer.shape, k)[len(clusters[name].top) :]
                ),
            ]
            for name, importance in self.importances(ranking).items()
        }

    def to_dataframe(self, top: int | None = None) -> pandas.DataFrame:
        """One row for each cluster, ranking and unit, with the columns of the service's CSV.

        Units with names, such as heads, have a column `name`.

        Args:
            top: the number of units of each cluster and ranking; None: all units.

        Raises NotPossible if pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise NotPossible(
                "pandas is not installed, and a data frame needs it: pip install pandas", code="not_installed"
            ) from error
        named = self.layer.unit_word is not None or self.layer.parts is not None
        tops = {id: self.top(self.layer.count if top is None else top, id) for id in self.rankings}
        rows = [
            (
                cluster.name,
                id,
                rank,
                unit.unit,
                tuple(unit.index),
                unit.importance,
                unit.spread,
                *([self.name_of(unit)] if named else []),
            )
            for cluster in self.clusters
            for id, units in tops.items()
            for rank, unit in enumerate(units[cluster.name], 1)
        ]
        return pandas.DataFrame(rows, columns=[*COLUMNS, *(["name"] if named else [])])

    def name_of(self, unit: Unit) -> str:
        """The name of a unit: `head 3`, `position 7`, or its place in the shape, `6,1,6`.

        In `joint` the name of the layer comes first: `relu1 · 17`.
        """
        return name_of_unit(self.layer, unit.unit)

    def plot(
        self,
        name: str,
        *,
        cluster: str | None = None,
        ranking: str | None = None,
        channel: int | None = None,
        example: int | None = None,
    ) -> Figure:
        """A matplotlib figure, equal to the plot that the service draws.

        Args:
            name: `ablation`, `importance`, `heatmap`, `leaderboard`, `agreement`, `comparisons` or
                `specificity`; for several layers `layers`.
            cluster: name of a cluster; None: chosen by the plot.
            ranking: id of a ranking; None: chosen by the plot.
            channel: number of a channel, for a heatmap.
            example: number of a kept example of the cluster, for a heatmap.

        Raises NotPossible if the plot does not exist for this result, or matplotlib is missing.
        """
        import unitrank_plots

        choice = unitrank_plots.Choice(cluster, ranking, channel, example, classes=self.classes)
        summary = self._summary if name in unitrank_plots.LAYERED else self.summary
        return figure_of(name, summary, self.arrays, choice)

    def plot_ablation(self, cluster: str | None = None, ranking: str | None = None) -> Figure:
        """The score as units are replaced, over all clusters and rankings, or for one of them."""
        return self.plot("ablation", cluster=cluster, ranking=ranking)

    def plot_layers(self, cluster: str | None = None, ranking: str | None = None) -> Figure:
        """The layers side by side: area, selectivity, and the units that keep 90 %."""
        return self.plot("layers", cluster=cluster, ranking=ranking)

    def plot_heatmap(
        self, ranking: str | None = None, cluster: str | None = None, channel: int | None = None, example: int | None = None
    ) -> Figure:
        """The importances of a ranking in the shape of the layer, or of the image."""
        return self.plot("heatmap", cluster=cluster, ranking=ranking, channel=channel, example=example)

    def save(self, path: str | Path) -> Path:
        """Writes the summary and all arrays to one .npz file, and returns its path.

        `unitrank.load` and `numpy.load` read the file. Raises NotPossible if it cannot be written.
        """
        write_result(Path(path), self._summary, self.arrays, self.classes)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> JobResult:
        """Reads a file that `save` wrote. Raises NotPossible."""
        from unitrank.results.reading import load_result  # it imports this module

        return load_result(path)

    def mask(self, remove: float, *, ranking: str | None = None, cluster: str | None = None) -> PruningMask:
        """The mask that removes the least important units, with the accuracy that the job measured.

        Args:
            remove: the share of the units to remove, one of the job's `ablation.fractions`.
            ranking: id of a ranking; None: the best one.
            cluster: name of a cluster; None: the only one.

        Raises NotPossible where the job did not set these units to zero, and without labels.
        """
        return mask_of(self, remove, ranking=ranking, cluster=cluster)

    def to_markdown(self) -> str:
        """The leaderboard and the warnings as Markdown."""
        return markdown(self.summary, self.classes)

    def __repr__(self) -> str:
        lines = [f"JobResult of {place_of(self.layer)}: {self.layer.count} units, {len(self.clusters)} clusters", *self.verdict[:2]]
        return "\n".join([*lines, *(f"  {' | '.join(row)}" for row in leader_rows(self._worded))])

    def _repr_html_(self) -> str:
        text = f"{place_of(self.layer)}: {self.layer.count} units, {len(self.clusters)} clusters, {len(self.warnings)} warnings"
        return html_table(text, LEADER_COLUMNS, leader_rows(self._worded))

    @property
    def _worded(self) -> Result:
        """The summary with the names of classes, for texts."""
        return with_class_names(self.summary, self.classes)

    def _ranking(self, ranking: str | None) -> Ranking:
        id, rankings = self.best if ranking is None else ranking, self.rankings
        if id not in rankings:
            raise NotPossible(f"ranking {id!r} not found; use one of {', '.join(rankings)}", code="ranking_not_found")
        return rankings[id]

    def _by_cluster(self, kind: str, ranking: str | None) -> dict[str, NDArray[Any]]:
        id = self._ranking(ranking).id
        if f"{kind}/{id}" not in self.arrays:
            raise NotPossible(
                f"the result has no array {kind}/{id}; fetch all arrays with JobHandle.result or `unitrank result --format npz`",
                code="no_arrays",
            )
        values = self.arrays[f"{kind}/{id}"]
        return {cluster.name: values[row].reshape(self.layer.shape) for row, cluster in enumerate(self.clusters)}
