"""The operator and the DAG in a real Airflow, with its SQLite database and its own task runner."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.environments.installations import environment
from tests.support.environments.separate import separate
from unitrank.client.sync import Client

pytestmark = pytest.mark.integrations
SOURCES = Path(__file__).parents[3] / "integrations" / "airflow"
RunDag = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Airflow, with its database and the folder of the DAGs."""
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(
    scope="module", params=["airflow", pytest.param("airflow-2", marks=pytest.mark.slow)], ids=["airflow 3", "airflow 2"]
)
def run_dag(request: pytest.FixtureRequest, url: str, home: Path) -> RunDag:
    """A function that runs the DAG with `airflow dags test`, on a dataset with this name."""
    programs = separate(request.param)
    for remains in home.iterdir():
        shutil.rmtree(remains) if remains.is_dir() else remains.unlink()
    variables = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Airflow puts the folder of the DAGs on Python's path.
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "UNITRANK_URL": url,
        "PATH": f"{programs}:/usr/bin:/bin",
    }
    shutil.copytree(SOURCES, home / "dags", ignore=shutil.ignore_patterns("*.txt", "__pycache__"))

    def airflow(*words: str) -> subprocess.CompletedProcess[str]:
        command = [programs / "airflow", *words]
        return subprocess.run(command, cwd=home, env=environment() | variables, capture_output=True, text=True, check=False)

    migrated = airflow("db", "migrate")
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    dag = (SOURCES / "nightly.py").read_text()

    def run(dataset: str) -> subprocess.CompletedProcess[str]:
        edited = dag.replace('"holdout"', f'"{dataset}"').replace("retries=3", "retries=0").replace(', "max_p": 0.05', "")
        (home / "dags" / "nightly.py").write_text(edited)
        return airflow("dags", "test", "unitrank_nightly")

    return run


@pytest.fixture(autouse=True)
def model(url: str, files: tuple[Path, Path]) -> None:
    """The service has the network of the DAG, and two datasets."""
    with Client(url) as client:
        client.models.put("net", files[0])
        # A field of its own: the service answers with another test's job if all contents are equal.
        with np.load(files[1]) as arrays:
            client.datasets.put("airflow-good", **arrays, airflow=np.zeros(len(arrays["y"]), np.int64))
        client.datasets.put("airflow-infinite", x=np.full((4, 4), np.inf, np.float32), y=np.zeros(4, np.int64))


def test_airflow_when_the_dag_runs_then_the_job_is_awaited_by_the_trigger_and_the_gate_reads_it(
    run_dag: RunDag, home: Path, url: str
) -> None:
    done = run_dag("airflow-good")

    assert done.returncode == 0, done.stdout + done.stderr
    with Client(url) as client:
        job, *_ = [job for job in client.jobs.list() if job.request.dataset.startswith("airflow-good")]
    assert job.status == "succeeded"
    # Only the method that runs after the trigger returns the job's id.
    returned = _returned(home)
    assert returned["rank"] == job.id
    assert [condition.split(": ")[0] for condition in returned["check_ranking"]] == ["completeness gap at most 0.05"]


def test_airflow_when_the_job_fails_then_the_dag_fails_with_its_reason(run_dag: RunDag) -> None:
    done = run_dag("airflow-infinite")

    assert done.returncode != 0
    assert "non_finite" in done.stdout + done.stderr


def _returned(home: Path) -> dict[str, Any]:
    """Task → the value that it returned, as Airflow's database has it."""
    query = "SELECT task_id, value FROM xcom WHERE key = 'return_value'"
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        return {task: json.loads(value) for task, value in database.execute(query)}
