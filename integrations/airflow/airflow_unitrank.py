"""An Airflow operator that submits a job, and waits for its end in the triggerer; and a gate.

The waiting operator occupies no worker of Airflow. The operator needs Airflow 2.7 or later.

Put this file where Airflow's workers and its triggerer import modules, and install the client of
Unitrank there. Set UNITRANK_URL and UNITRANK_KEY in the environment of both. The key is not an
argument, because Airflow stores arguments in its database. `nightly.py` is a DAG with both tasks.

`RankUnits` returns the job's id. One attempt of a task has one job, even if the request is
repeated. A retry waits for the same job if that job is unfinished, and starts a new one if it
failed. Clearing a task does not cancel its job.
"""

import os
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from unitrank import AsyncClient, Client, JobFailed, UnitrankError
from unitrank.cli.gate import Bounds, checks
from unitrank.client.sync import DEFAULT_URL

try:
    from airflow.sdk import BaseOperator, task  # 3
except ImportError:
    from airflow.decorators import task  # 2
    from airflow.models import BaseOperator


class RankUnits(BaseOperator):
    """Submits a job, and returns its id when it has succeeded.

    Args:
        request: the fields of a job request; Airflow fills in its templates.
        timeout: seconds to wait for the end of the job.
        options: options of the operator, such as `task_id`.
    """

    template_fields: Sequence[str] = ("request",)

    def __init__(self, *, request: dict[str, Any], timeout: float = 3600, **options: Any) -> None:
        super().__init__(**options)
        self.request, self.timeout = request, timeout

    def execute(self, context: Any) -> None:
        task = context["ti"]
        attempt = "/".join(map(str, (task.dag_id, task.task_id, task.run_id, task.map_index, task.try_number)))
        with Client(*_service()) as client:
            job = client.jobs.submit(self.request, idempotency_key=str(uuid.uuid5(uuid.NAMESPACE_URL, attempt)))
        self.defer(trigger=JobEnded(job=job.id, timeout=self.timeout), method_name="ended")

    def ended(self, context: Any, event: dict[str, str]) -> str:
        """Returns the job's id after the trigger. Raises JobFailed if the job did not succeed."""
        if event["problem"]:
            raise JobFailed(event["problem"])
        return event["job"]


class JobEnded(BaseTrigger):
    """Fires when the job has ended, or `timeout` seconds are over."""

    def __init__(self, job: str, timeout: float) -> None:
        super().__init__()
        self.job, self.timeout = job, timeout

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"job": self.job, "timeout": self.timeout}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            async with AsyncClient(*_service()) as client:
                job = await client.jobs.get(self.job)
                await job.wait(self.timeout, quiet=True)
            problem = ""
        except UnitrankError as error:
            problem = f"{type(error).__name__}: {error}"
        yield TriggerEvent({"job": self.job, "problem": problem})


@task
def check_ranking(job: str, bounds: dict[str, Any], ranking: str | None = None) -> list[str]:
    """Checks the result of a job, and returns the conditions.

    Args:
        job: the job's id.
        bounds: the fields of `unitrank.cli.gate.Bounds`, such as `{"max_p": 0.05}`.
        ranking: id of the ranking; None: the best one.

    Raises ValueError with the conditions that are not met, and NotPossible if the verdict is
    undecided.
    """
    with Client(*_service()) as client:
        conditions = checks(client.jobs.get(job).any_summary(), Bounds(**bounds), ranking)
    if failed := [f"{check.title}: {check.value}" for check in conditions if not check.met]:
        raise ValueError(f"job {job}: not met: {'; '.join(failed)}")
    return [f"{check.title}: {check.value}" for check in conditions]


def _service() -> tuple[str, str | None]:
    return os.environ.get("UNITRANK_URL", DEFAULT_URL), os.environ.get("UNITRANK_KEY")
