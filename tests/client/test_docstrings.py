"""The examples in the docstrings of everything that `import unitrank` gives."""

import inspect
import json
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import torch

import unitrank
from tests.support.documentation.docstrings import examples_of, run

NEEDS_SERVICE = {"AsyncClient", "AsyncJobHandle", "Client", "JobHandle"}
"""Their examples run in tests/e2e/documentation/test_docstrings.py."""
PUBLIC = {name: getattr(unitrank, name) for name in unitrank.__all__}
MODEL = {"name": "mine", "digest": "sha256:" + "0" * 64, "bytes": 1, "created_at": "2026-01-01T00:00:00Z"}
REJECTED = {"code": "static_batch", "title": "Rejected", "detail": "export it with a dynamic batch"}
JOB = {
    "id": "j",
    "attempt": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "request": {"model": "m", "layer": "1", "dataset": "d", "methods": ["gradient"]},
    "links": dict.fromkeys(["self", "result", "events", "report"], "/"),
}
FAILURE = {"code": "out_of_memory", "title": "Failed", "detail": "use fewer steps"}
WRONG_LAYER = {"pointer": "/layer", "detail": "layer 'conv9' not found; nearest: 'conv1'"}


class Answer(NamedTuple):
    """The answer of a service to every request."""

    status: int
    body: dict[str, Any]


def problem(status: int, code: str, **more: Any) -> Answer:
    return Answer(status, {"title": "t", "status": status, "code": code, "detail": "d", "request_id": "r", **more})


ANSWERS = {
    "UnitrankError": problem(404, "model_not_found"),
    "Refused": problem(404, "model_not_found"),
    "NotFound": problem(404, "model_not_found"),
    "InvalidRequest": problem(422, "layer_not_found", errors=[WRONG_LAYER]),
    "Unauthorized": problem(401, "unauthorized"),
    "Forbidden": problem(403, "forbidden"),
    "Conflict": problem(409, "not_finished"),
    "Expired": problem(410, "expired"),
    "TooLarge": problem(413, "dataset_too_large"),
    "RateLimited": problem(429, "queue_full"),
    "ServiceError": problem(503, "store_full"),
    "Rejected": Answer(200, MODEL | {"status": "rejected", "problem": REJECTED}),
    "NotSucceeded": Answer(200, JOB | {"status": "failed", "problem": FAILURE}),
    "JobFailed": Answer(200, JOB | {"status": "failed", "problem": FAILURE}),
    "JobTimedOut": Answer(200, JOB | {"status": "timed_out"}),
    "JobCancelled": Answer(200, JOB | {"status": "cancelled"}),
    "Timeout": Answer(200, JOB | {"status": "running"}),
}
"""The answer that raises the error, for the `client` and the `job` of its example."""


def test_docstrings_when_a_name_is_public_then_it_has_an_example() -> None:
    assert [name for name, documented in PUBLIC.items() if not examples_of(documented)] == []


def test_docstrings_when_a_parameter_is_public_then_it_is_explained() -> None:
    """The parameters of handles and errors are those of the client itself."""
    described = {name for name in PUBLIC if "Handle" not in name and not _is_error(PUBLIC[name])}
    missing = {
        f"{name}: {parameter}"
        for name in described
        for parameter in inspect.signature(PUBLIC[name]).parameters
        if f"{parameter}: " not in inspect.cleandoc(PUBLIC[name].__doc__)
    }

    assert missing == set()


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - NEEDS_SERVICE))
def test_example_when_it_is_run_then_it_prints_what_the_docstring_shows(
    name: str, result: unitrank.JobResult, tmp_path: Path
) -> None:
    if name == "export_folder":
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    answer = ANSWERS.get(name, problem(404, "model_not_found"))
    transport = httpx.MockTransport(lambda request: httpx.Response(answer.status, json=answer.body))
    with unitrank.Client("http://service", retries=0, transport=transport) as client:
        names = {"unitrank": unitrank, "client": client, "job": _job(client), "result": result, "folder": tmp_path}

        for test in examples_of(PUBLIC[name], names):
            assert run(test) == ""


def _is_error(documented: Any) -> bool:
    return inspect.isclass(documented) and issubclass(documented, Exception)


def _job(client: unitrank.Client) -> unitrank.JobHandle:
    """A job that was running when it was last looked at."""
    running = httpx.MockTransport(lambda request: httpx.Response(200, content=json.dumps(JOB | {"status": "running"})))
    with unitrank.Client("http://service", transport=running) as other:
        state = other.jobs.get("j").state
    return unitrank.JobHandle(client.calls, client._runner, state)
