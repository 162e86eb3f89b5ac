"""Logs a result to MLflow: metrics, tables, tags, plots and arrays."""

from __future__ import annotations

import math
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unitrank.errors import NotPossible
from unitrank.results import JobResult
from unitrank_schemas.results import Leader, Ranking

Table = dict[str, list[Any]]

# The longest name that MLflow accepts, and the characters that MLflow rejects.
LONGEST_NAME = 250
REJECTED = re.compile(r"[^A-Za-z0-9_.\- ]")


def log_job(result: JobResult, run_id: str | None = None, folder: str = "unitrank") -> None:
    """Logs a result to a run of MLflow. Raises NotPossible if MLflow is not installed.

    Without pandas the tables are left out, and without matplotlib the plots.

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
    for name, table in {"leaderboard": _leaderboard(result), "clusters": _clusters(result)}.items():
        _log_table(client, run, table, f"{folder}/{name}.json")
    with tempfile.TemporaryDirectory(prefix="unitrank-") as files:
        _write(result, Path(files))
        client.log_artifacts(run, files, folder)


def _metrics(result: JobResult) -> dict[str, float]:
    numbers = {leader.ranking: _numbers(leader, result.rankings[leader.ranking]) for leader in result.leaderboard}
    return {clean(f"unitrank.{id}.{name}"): value for id, values in numbers.items() for name, value in values.items()}


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
    summary = result.summary
    verdict = next((leader.verdict for leader in result.leaderboard if leader.ranking == result.best), None)
    return {
        "job": summary.job,
        "model": summary.model.digest,
        "dataset": summary.dataset.digest,
        "layer": summary.layer.name,
        "best": result.best,
        "verdict": verdict or "not_tested",
        "warnings": ", ".join(sorted({warn.code for warn in result.warnings})) or "none",
    }


def _leaderboard(result: JobResult) -> Table:
    rows = [leader.model_dump(mode="json") for leader in result.leaderboard]
    return {name: [row[name] for row in rows] for name in Leader.model_fields}


def _clusters(result: JobResult) -> Table:
    """The ablation test of each ranking on each cluster."""
    tested = [(id, name, test) for id, clusters in result.ablation.items() for name, test in clusters.items()]
    return {
        "ranking": [id for id, _, _ in tested],
        "cluster": [name for _, name, _ in tested],
        "verdict": [test.verdict for _, _, test in tested],
        "p_value": [test.p_value for _, _, test in tested],
        "area": [test.most.area if test.most else None for _, _, test in tested],
    }


# Any: MLflow's client, which is installed when this is called.
def _log_table(client: Any, run: str, table: Table, path: str) -> None:
    try:
        import pandas as _  # noqa: F401  # MLflow needs it for tables
    except ImportError:
        return
    if table["ranking"]:
        with warnings.catch_warnings():
            # pandas warns about MLflow's own code.
            warnings.simplefilter("ignore", DeprecationWarning)
            client.log_table(run, table, path)


def _write(result: JobResult, folder: Path) -> None:
    result.save(folder / "result.npz")
    (folder / "summary.json").write_text(result.summary.model_dump_json(indent=1), encoding="utf-8")
    (folder / "leaderboard.md").write_text(result.to_markdown(), encoding="utf-8")
    for name, png in _plots(result):
        (folder / f"{name}.png").write_bytes(png)


def _plots(result: JobResult) -> Iterator[tuple[str, bytes]]:
    """The name and the PNG bytes of each plot that this result has."""
    try:
        from unitrank_plots.figures import FIGURES, rendered
    except ImportError:
        return
    for name in FIGURES:
        try:
            figure = result.plot(name)
        except NotPossible:
            continue
        yield name, rendered(figure, "png")
