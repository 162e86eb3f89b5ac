"""A result in a run of MLflow: verdicts as metrics, what it was made from as tags, everything else as files."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from api_schemas.results import Leader, Ranking
from unitrank.errors import NotPossible
from unitrank.results import JobResult


def log_job(result: JobResult, run_id: str | None = None, folder: str = "unitrank") -> None:
    """Logs to the active run, or the one that is named. Raises NotPossible without MLflow."""
    try:
        import mlflow
    except ImportError as error:
        raise NotPossible("to log to MLflow: pip install mlflow-skinny", code="not_installed") from error
    summary = result.summary
    metrics = {
        f"unitrank.{leader.ranking}.{name}": value
        for leader in result.leaderboard
        for name, value in _numbers(leader, result.rankings[leader.ranking]).items()
    }
    tags = {"job": summary.job, "model": summary.model.digest, "dataset": summary.dataset.digest, "layer": summary.layer.name}
    mlflow.log_metrics(metrics, run_id=run_id)
    client = mlflow.MlflowClient()
    run = run_id or mlflow.active_run().info.run_id
    for name, value in {**tags, "best": result.best}.items():
        client.set_tag(run, f"unitrank.{name}", value)
    with tempfile.TemporaryDirectory(prefix="unitrank-") as place:
        result.save(Path(place, "result.npz"))
        Path(place, "summary.json").write_text(summary.model_dump_json(indent=1), encoding="utf-8")
        Path(place, "leaderboard.md").write_text(result.to_markdown(), encoding="utf-8")
        client.log_artifacts(run, place, folder)


def _numbers(leader: Leader, ranking: Ranking) -> dict[str, float]:
    """Those that are known."""
    found = {
        "better_than_random": leader.better_than_random / leader.of if leader.of else None,
        "mean_area": leader.mean_area,
        "prediction_error": leader.mae,
        "p_value": ranking.overall.p_value if ranking.overall else None,
    }
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}
