"""Ranks the units of a layer with a client that openapi-python-client made from `openapi.json`.

`python main_job.py URL MODEL DATASET`: MODEL is the file of an exported network, DATASET an npz
file. It prints the best ranking of the job and its verdict.
"""

import os
import sys
from pathlib import Path
from typing import TypeVar

from unitrank_client import AuthenticatedClient
from unitrank_client.api.datasets import put_dataset
from unitrank_client.api.jobs import get_job, post_job
from unitrank_client.api.models import get_model, put_model
from unitrank_client.api.results import get_result
from unitrank_client.models import ByLabel, Job, JobRequest, Model, Problem, Result
from unitrank_client.models.job_status import JobStatus
from unitrank_client.models.model_status import ModelStatus
from unitrank_client.types import File

T = TypeVar("T")


def main(url: str, model: Path, dataset: Path) -> None:
    client = AuthenticatedClient(url, token=os.environ.get("UNITRANK_KEY", "none"), timeout=90)
    with model.open("rb") as file:
        uploaded = checked(put_model.sync("python-net", client=client, body=File(file)), Model)
    while uploaded.status == ModelStatus.INSPECTING:
        uploaded = checked(get_model.sync("python-net", client=client), Model)
    with dataset.open("rb") as file:
        put_dataset.sync("python-data", client=client, body=File(file))
    request = JobRequest(
        model="python-net", layer="relu1", dataset="python-data", methods=["conductance"], clusters=ByLabel(by="label")
    )
    job = checked(post_job.sync(client=client, body=request), Job)
    while job.status in (JobStatus.QUEUED, JobStatus.RUNNING):
        job = checked(get_job.sync(job.id, client=client, wait=30), Job)
    result = checked(get_result.sync(job.id, client=client), Result)
    best = result.leaderboard[0].ranking
    verdict = next(ranking.overall.verdict for ranking in result.rankings if ranking.id == best)
    print(best, verdict)


def checked(answer: object, kind: type[T]) -> T:
    """The answer, if it has this type. Exits with the answer's problem otherwise."""
    if isinstance(answer, kind):
        return answer
    sys.exit(answer.detail if isinstance(answer, Problem) else f"unexpected answer: {answer}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
