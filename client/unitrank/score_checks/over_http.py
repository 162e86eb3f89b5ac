"""Checks scores with the jobs of a service."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from unitrank.client.endpoints import Calls
from unitrank.client.given import entry_of
from unitrank.client.http.operations import Flow, work
from unitrank.client.job_results import fetch_result
from unitrank.client.requests import content_path, request_body
from unitrank.results import JobResult
from unitrank.score_checks.candidates import Request
from unitrank.score_checks.given_scores import given_scores
from unitrank.score_checks.question import answered, question_of
from unitrank.score_checks.score_check import SCORES, ScoreCheck
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.models import Model


def check_with_jobs(calls: Calls, request: Request, scores: Any, made_on: str | None) -> Flow[ScoreCheck]:
    """Checks scores with the jobs of a request, which may lack `at`, `target` and `clusters`."""
    own = yield from work(lambda: given_scores(scores))
    model = yield from calls.get(content_path(Model, request["model"]), Model)
    dataset = yield from calls.get(content_path(Dataset, request["dataset"]), Dataset)
    optional = {"at": request.get("at") or "output", "target": request.get("target") or {}}
    base = {**request, **optional, "clusters": request.get("clusters") or own.clusters}
    given = yield from entry_of(calls, own.ranking(SCORES, made_on))
    question = question_of(base, own, given, model, dataset.fields or {})
    return (yield from answered(question, partial(_run, calls)))


def _run(calls: Calls, request: Mapping[str, Any]) -> Flow[JobResult]:
    title = {"name": f"check-scores of layer {request['layer']}", "tags": ["check-scores"]}
    job = yield from calls.submit(request_body(None, {"metadata": title, **request}), False, None)
    yield from calls.wait(job.id, lambda state: None, None)
    return (yield from fetch_result(calls, job.id))
