"""A result in the hand: its verdicts, its numbers as numpy arrays, its pictures, and a file to keep it in."""

from __future__ import annotations

import html
import json
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from unitrank.client.tables import write_npz
from unitrank.errors import NotPossible
from unitrank.name_clashes import clash_of
from unitrank_schemas.results import VERDICT_LABELS, AblationResult, Cluster, Leader, RankedLayer, Ranking, Result, Unit, Warn

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

SUMMARY = "summary.json"
"""Array of a saved file that holds the summary: its JSON, a byte an element."""
COLUMNS = ("cluster", "ranking", "rank", "unit", "index", "importance", "spread")


class JobResult:
    """What a job found: `summary` as the service says it, and all numbers; shown as its leaderboard."""

    def __init__(self, summary: Result, arrays: Arrays) -> None:
        self.summary = summary
        self.arrays: Arrays = arrays
        """By the names of the contract, such as `importance/conductance`, clusters in the summary's order."""

    @property
    def leaderboard(self) -> list[Leader]:
        """The rankings, best first."""
        return self.summary.leaderboard

    @property
    def warnings(self) -> list[Warn]:
        """What a reader of the numbers should know."""
        return self.summary.warnings

    @property
    def clusters(self) -> list[Cluster]:
        """The clusters, and what the model does on each."""
        return self.summary.clusters

    @property
    def layer(self) -> RankedLayer:
        """The place whose units are ranked."""
        return self.summary.layer

    @property
    def rankings(self) -> dict[str, Ranking]:
        """By id, all that the summary says of each."""
        return {ranking.id: ranking for ranking in self.summary.rankings}

    @property
    def best(self) -> str:
        """The id of the ranking that leads the leaderboard."""
        return self.leaderboard[0].ranking if self.leaderboard else self.summary.rankings[0].id

    @property
    def ablation(self) -> dict[str, dict[str, AblationResult]]:
        """Ranking → cluster → what the test said: curves, p-values, verdict; without those that were not tested."""
        return {
            ranking.id: {name: cluster.ablation for name, cluster in ranking.clusters.items() if cluster.ablation}
            for ranking in self.summary.rankings
        }

    def importances(self, ranking: str | None = None) -> dict[str, NDArray[Any]]:
        """Cluster → importance of every unit, in the layer's shape; of the best ranking where none is named."""
        return self._by_cluster("importance", ranking)

    def spreads(self, ranking: str | None = None) -> dict[str, NDArray[Any]]:
        """Cluster → spread of each unit's importance over the examples; NaN where there is one example."""
        return self._by_cluster("spread", ranking)

    def top(self, k: int = 10, ranking: str | None = None) -> dict[str, list[Unit]]:
        """Cluster → its `k` most important units, the most important first; equal ones by their number."""
        import numpy as np

        shape = tuple(self.layer.shape)
        units: dict[str, list[Unit]] = {}
        spreads = self.spreads(ranking)
        for cluster, importance in self.importances(ranking).items():
            flat, spread = importance.ravel(), spreads[cluster].ravel()
            order = np.argsort(-flat, kind="stable")[:k]
            units[cluster] = [
                Unit(
                    unit=int(unit),
                    index=[int(place) for place in np.unravel_index(unit, shape)] if shape else [],
                    importance=float(flat[unit]),
                    spread=None if np.isnan(spread[unit]) else float(spread[unit]),
                )
                for unit in order
            ]
        return units

    def to_dataframe(self, top: int | None = None) -> pandas.DataFrame:
        """One row a cluster, ranking and unit, as the service's CSV; `top`: of each ranking so many. Raises NotPossible."""
        try:
            import pandas
        except ImportError as error:
            raise NotPossible("a data frame needs pandas: pip install pandas", code="not_installed") from error
        tops = {id: self.top(self.layer.count if top is None else top, id) for id in self.rankings}
        rows = [
            (cluster.name, id, rank, unit.unit, tuple(unit.index), unit.importance, unit.spread)
            for cluster in self.clusters
            for id, units in tops.items()
            for rank, unit in enumerate(units[cluster.name], 1)
        ]
        return pandas.DataFrame(rows, columns=list(COLUMNS))

    def plot(
        self,
        name: str,
        *,
        cluster: str | None = None,
        ranking: str | None = None,
        channel: int | None = None,
        example: int | None = None,
    ) -> Figure:
        """The picture as the service draws it: ablation, importance, heatmap, leaderboard, agreement. Raises NotPossible."""
        try:
            import unitrank_plots
            from unitrank_plots.figures import FIGURES, draw, rendered
        except ImportError as error:
            needs = f"pictures need matplotlib: pip install 'unitrank[plots]' ({error})"
            raise NotPossible(clash_of(error) or needs, code="not_installed") from error
        if name not in FIGURES:
            raise NotPossible(f"there is no picture {name!r}; there are {', '.join(FIGURES)}", code="plot_not_found")
        try:
            figure = draw(name, self.summary, self.arrays, unitrank_plots.Choice(cluster, ranking, channel, example))
        except unitrank_plots.NoPicture as error:
            raise NotPossible(error.detail, code=error.code) from error
        # A notebook shows by itself only what pyplot made.
        figure._repr_png_ = partial(rendered, figure, "png")  # type: ignore[attr-defined]
        return figure

    def plot_ablation(self, cluster: str | None = None, ranking: str | None = None) -> Figure:
        """What the score does as units are replaced; over all clusters and rankings, or of one."""
        return self.plot("ablation", cluster=cluster, ranking=ranking)

    def plot_heatmap(
        self, ranking: str | None = None, cluster: str | None = None, channel: int | None = None, example: int | None = None
    ) -> Figure:
        """A ranking's scores in the layer's shape, or the image's."""
        return self.plot("heatmap", cluster=cluster, ranking=ranking, channel=channel, example=example)

    def save(self, path: str | Path) -> Path:
        """One file with everything, which `unitrank.load` reads and numpy.load too. Raises NotPossible."""
        target = Path(path)
        try:
            write_npz(target, {**self.arrays, SUMMARY: _as_array(self.summary)})
        except OSError as error:
            raise NotPossible(f"{target} cannot be written: {error.strerror or error}", code="not_written") from error
        return target

    @classmethod
    def load(cls, path: str | Path) -> JobResult:
        """What `save` wrote. Raises NotPossible."""
        try:
            with zipfile.ZipFile(path):
                arrays = dict(read_npz(Path(path)))
            return cls(Result.model_validate_json(bytes(arrays.pop(SUMMARY)), extra="ignore"), arrays)
        except (OSError, KeyError, ValueError, ValidationError, zipfile.BadZipFile) as error:
            raise NotPossible(
                f"{path} is no result that was saved: {error}; JobResult.save writes one, and `unitrank result --format npz`",
                code="no_result",
            ) from error

    def to_markdown(self) -> str:
        """The leaderboard and the warnings, for a page or a step's summary."""
        return markdown(self.summary)

    def __repr__(self) -> str:
        lines = [f"JobResult of {self.layer.name}: {self.layer.count} units, {len(self.clusters)} clusters"]
        return "\n".join([*lines, *(f"  {' | '.join(row)}" for row in leader_rows(self.summary))])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in LEADER_COLUMNS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in leader_rows(self.summary)
        )
        text = f"{self.layer.name}: {self.layer.count} units, {len(self.clusters)} clusters, {len(self.warnings)} warnings"
        return f"<table><caption>{html.escape(text)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _by_cluster(self, what: str, ranking: str | None) -> dict[str, NDArray[Any]]:
        id = self.best if ranking is None else ranking
        if id not in self.rankings:
            raise NotPossible(f"ranking {id!r} not found; there are {', '.join(self.rankings)}", code="ranking_not_found")
        if f"{what}/{id}" not in self.arrays:
            raise NotPossible(f"there is no {what} of {id!r} here; a result with all its arrays has them", code="no_arrays")
        values = self.arrays[f"{what}/{id}"]
        return {cluster.name: values[row].reshape(self.layer.shape) for row, cluster in enumerate(self.clusters)}


LEADER_COLUMNS = ("verdict over all clusters", "ranking", "p", "clusters better", "mean area", "prediction error")


def leader_rows(summary: Result) -> list[tuple[str, ...]]:
    """The leaderboard in words, under the names of LEADER_COLUMNS."""
    overall = {ranking.id: ranking.overall for ranking in summary.rankings}
    rows: list[tuple[str, ...]] = []
    for leader in summary.leaderboard:
        whole = overall.get(leader.ranking)
        p = "–" if whole is None or whole.p_value is None else f"{whole.p_value:.2g}"
        better = f"{leader.better_than_random} of {leader.of}"
        rows.append((VERDICT_LABELS[leader.verdict], leader.ranking, p, better, _number(leader.mean_area), _number(leader.mae)))
    return rows


def markdown(summary: Result) -> str:
    """The leaderboard and the warnings as Markdown."""
    clusters = f"{len(summary.clusters)} cluster{'s' if len(summary.clusters) != 1 else ''}"
    lines = [f"### Units of `{summary.layer.name}`: {summary.layer.count}, {clusters}", ""]
    lines += [_row(LEADER_COLUMNS), _row(["---"] * len(LEADER_COLUMNS)), *map(_row, leader_rows(summary))]
    warnings = dict.fromkeys(
        f"- `{warn.code}`{f' of {warn.ranking}' if warn.ranking else ''}: {warn.detail}" for warn in summary.warnings
    )
    return "\n".join([*lines, *(["", *warnings] if warnings else [])]) + "\n"


def read_npz(path: Path) -> Arrays:
    """The arrays of a file."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def add_summary(path: Path, summary: Result) -> None:
    """The file, which has a result's arrays, now is what `JobResult.save` writes; none of them is read."""
    write_npz(path, {SUMMARY: _as_array(summary)}, "a")


def as_json(summary: Result) -> Any:
    """The summary as plain values."""
    return json.loads(summary.model_dump_json())


def _as_array(summary: Result) -> NDArray[Any]:
    import numpy as np

    return np.frombuffer(summary.model_dump_json().encode(), np.uint8)


def _row(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
