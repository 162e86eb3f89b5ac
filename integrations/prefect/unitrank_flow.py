"""A Prefect flow that ranks the units of a network, and fails if the ranking is not good enough.

Set UNITRANK_URL and UNITRANK_KEY in the environment of the worker, and install the client of
Unitrank there. The verdict in words is an artifact of the flow run.
"""

import os
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from unitrank import Client, RateLimited, ServiceError, Unreachable
from unitrank.cli.gate import Bounds, checks
from unitrank.client.sync import DEFAULT_URL
from unitrank.results import markdown


class NotGoodEnough(Exception):
    """The ranking does not meet all conditions."""


def may_succeed_later(task: Any, run: Any, state: Any) -> bool:
    """Whether the service was busy or away. A second attempt continues with the same job."""
    return isinstance(state.result(raise_on_failure=False), RateLimited | ServiceError | Unreachable)


@task(retries=3, retry_delay_seconds=[5, 30, 120], retry_condition_fn=may_succeed_later)
def rank_units(request: dict[str, Any], timeout: float) -> str:
    """Ranks the units, and returns the job's id."""
    with _client() as client:
        return client.jobs.submit(request).wait(timeout, quiet=True).id


@task
def check_ranking(job: str, bounds: dict[str, Any], ranking: str | None = None) -> list[str]:
    """Checks the result of a job, and returns the conditions. Raises NotGoodEnough."""
    with _client() as client:
        result = client.jobs.get(job).any_summary()
    create_markdown_artifact(markdown(result), key=f"unitrank-{job}", description=f"Result of job {job}")
    conditions = checks(result, Bounds(**bounds), ranking)
    if failed := [f"{check.title}: {check.value}" for check in conditions if not check.met]:
        raise NotGoodEnough(f"job {job}: not met: {'; '.join(failed)}")
    return [f"{check.title}: {check.value}" for check in conditions]


@flow
def unitrank_gate(request: dict[str, Any], bounds: dict[str, Any], timeout: float = 3600) -> str:
    """Ranks the units, checks the ranking, and returns the job's id.

    Args:
        request: the fields of a job request.
        bounds: the fields of `unitrank.cli.gate.Bounds`, such as `{"max_p": 0.05}`.
        timeout: seconds to wait for the job.
    """
    job = rank_units(request, timeout)
    check_ranking(job, bounds)
    return job


def _client() -> Client:
    return Client(os.environ.get("UNITRANK_URL", DEFAULT_URL), os.environ.get("UNITRANK_KEY"))
