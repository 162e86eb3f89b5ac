"""Logs a result to MLflow: metrics, tables, tags, plots and arrays."""

from __future__ import annotations

import math
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unitrank.errors import NotPossible
from unitrank.results import JobResult, LayeredJobResult
from unitrank_schemas.results import Leader, Ranking

Row = dict[str, Any]
"""Column of a table → its value."""

# The longest name that MLflow accepts, and the characters that MLflow rejects.
LONGEST_NAME = 250
REJECTED = re.compile(r"[^A-Za-z0-9_.\- ]")


def log_job(result: JobResult, run_id: str | None = None, folder: str = "unitrank") -> None:
    """Logs a result to a run of MLflow. Raises NotPossible if MLflow is not installed.

    Without pandas the tables are left out, and without matplotlib the plots. For a job on several
    layers the name of the layer comes before the name of each number, tag and plot.

    Args:
        result: the result of a job.
        run_id: id of the run; None: the active run, or a new one.
        folder: the run's artifact folder that the files are written to.
    """
    try:
        import mlflow
    except ImportError as error:
        raise NotPossible("MLflow is not installed: pip install mlflow-skinny", code="not_installed") from error
    run = run_id or (mlflow.active_run() or mlflow.start_run()).info.run_id
    mlflow.log_metrics(_metrics(result), run_id=run)
    client = mlflow.MlflowClient()
    for name, value in _tags(result).items():
        client.set_tag(run, f"unitrank.{name}", value)
    for name, rows in {"leaderboard": _leaderboard(result), "clusters": _clusters(result), "layers": _layers(result)}.items():
        _log_table(client, run, rows, f"{folder}/{name}.json")
    with tempfile.TemporaryDirectory(prefix="unitrank-") as files:
        _write(result, Path(files))
        client.log_artifacts(run, files, folder)


def _metrics(result: JobResult) -> dict[str, float]:
    return {
        clean(f"unitrank.{prefix}{leader.ranking}.{name}"): value
        for prefix, part in _parts(result)
        for leader in part.leaderboard
        for name, value in _numbers(leader, part.rankings[leader.ranking]).items()
    }


def _parts(result: JobResult) -> list[tuple[str, JobResult]]:
    """The parts of a result, each with the beginning of its names."""
    if not isinstance(result, LayeredJobResult):
        return [("", result)]
    return [(f"{name}.", part) for name, part in result.parts.items()]


def clean(name: str) -> str:
    """The first 250 characters of the name, with `_` for each character that MLflow rejects."""
    return REJECTED.sub("_", name)[:LONGEST_NAME]


def _numbers(leader: Leader, ranking: Ranking) -> dict[str, float]:
    """The numbers of a ranking that are finite."""
    numbers = {
        "better_than_random": leader.better_than_random / leader.of if leader.of else None,
        "area": leader.area,
        "prediction_error": leader.mae,
        "p_value": ranking.overall.p_value if ranking.overall else None,
        "p_family": ranking.overall.p_family if ranking.overall else None,
    }
    return {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}


def _tags(result: JobResult) -> dict[str, str]:
    summary = result.layered_summary if isinstance(result, LayeredJobResult) else result.summary
    tags = {
        "job": summary.job,
        "model": summary.model.digest,
        "dataset": summary.dataset.digest,
        "layer": ", ".join(result.layers),
        "warnings": ", ".join(sorted({warn.code for _, part in _parts(result) for warn in part.warnings})) or "none",
    }
    for prefix, part in _parts(result):
        verdict = next((leader.verdict for leader in part.leaderboard if leader.ranking == part.best), None)
        tags |= {clean(f"{prefix}best"): part.best, clean(f"{prefix}verdict"): verdict or "not_tested"}
    return tags


def _leaderboard(result: JobResult) -> list[Row]:
    return [_of_layer(result, part) | leader.model_dump(mode="json") for _, part in _parts(result) for leader in part.leaderboard]


def _clusters(result: JobResult) -> list[Row]:
    """The ablation test of each ranking on each cluster."""
    return [
        {
            **_of_layer(result, part),
            "ranking": id,
            "cluster": name,
            "verdict": test.verdict,
            "p_value": test.p_value,
            "area": test.most.area if test.most else None,
        }
        for _, part in _parts(result)
        for id, clusters in part.ablation.items()
        for name, test in clusters.items()
    ]


def _layers(result: JobResult) -> list[Row]:
    """The table over several layers."""
    return [asdict(line) for line in result.table()] if isinstance(result, LayeredJobResult) else []


def _of_layer(result: JobResult, part: JobResult) -> Row:
    """The column `layer`, which only a result of several layers has."""
    return {"layer": part.layer.name} if isinstance(result, LayeredJobResult) else {}


# Any: MLflow's client, which is installed when this is called.
def _log_table(client: Any, run: str, rows: Sequence[Row], path: str) -> None:
    try:
        import pandas as _  # noqa: F401  # MLflow needs it for tables
    except ImportError:
        return
    if rows:
        table = {name: [row[name] for row in rows] for name in rows[0]}
        with warnings.catch_warnings():
            # pandas warns about MLflow's own code.
            warnings.simplefilter("ignore", DeprecationWarning)
            client.log_table(run, table, path)


def _write(result: JobResult, folder: Path) -> None:
    result.save(folder / "result.npz")
    summary = result.layered_summary if isinstance(result, LayeredJobResult) else result.summary
    (folder / "summary.json").write_text(summary.model_dump_json(indent=1), encoding="utf-8")
    (folder / "leaderboard.md").write_text(result.to_markdown(), encoding="utf-8")
    for name, png in _plots(result):
        (folder / f"{name}.png").write_bytes(png)


def _plots(result: JobResult) -> Iterator[tuple[str, bytes]]:
    """The name and the PNG bytes of each plot that this result has."""
    try:
        from unitrank_plots.figures import FIGURES, OF_LAYERS, rendered
    except ImportError:
        return
    of_layers = [("", name, result) for name in OF_LAYERS if isinstance(result, LayeredJobResult)]
    of_parts = [(prefix, name, part) for prefix, part in _parts(result) for name in FIGURES]
    for prefix, name, part in [*of_layers, *of_parts]:
        try:
            figure = part.plot(name)
        except NotPossible:
            continue
        yield clean(f"{prefix}{name}"), rendered(figure, "png")
