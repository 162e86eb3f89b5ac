"""Whatever the OpenAPI page lets one say, and whatever it does not, is answered, and never with a 500."""

import os
from collections.abc import Iterator
from random import Random

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode

from tests.service.conftest import Served, job, put_dataset, ready_model

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
"""For each operation, of requests that follow the page and of others; `make schemathesis` asks for many more."""
Known = dict[str, list[str]]


@pytest.fixture
def known(client: httpx.Client, served: Served) -> Known:
    """What there is, by the parameter of a path that names it: a model, data, and jobs, of which only the first has not ended."""
    ready_model(client, served)
    put_dataset(client)
    ids = [client.post("/v1/jobs", json=job(seed=number)).json()["id"] for number in range(3)]
    client.post(f"/v1/jobs/{ids[1]}/cancel").raise_for_status()
    attempt = served.backend.jobs.start(ids[2], "w")
    assert attempt is not None
    problem = {"code": "non_finite", "title": "t", "detail": "d", "status": 422, "retryable": False}
    served.backend.jobs.finish(ids[2], attempt, "failed", problem=problem)
    return {"name": ["net", "data"], "id": ids}


# The service runs in a thread of this process, and draws its own random numbers meanwhile.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.check
@pytest.mark.timeout(120 + 24 * EXAMPLES)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_requests_of_strangers_are_answered_and_never_with_a_500(served: Served, known: Known, mode: GenerationMode) -> None:
    page = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    draw = Random(0)
    wrong = []
    # What can be deleted is, at last.
    for operation in sorted((result.ok() for result in page.get_all_operations()), key=lambda each: each.method == "delete"):
        for case in cases(operation.as_strategy(generation_mode=mode)):
            made_real(case, known, draw)
            answer = case.call(base_url=served.url, timeout=20)
            # Without workers the service is not ready, and says so.
            if answer.status_code >= 500 and (answer.status_code != 503 or operation.path != "/readyz"):
                wrong.append(f"{answer.status_code}: {case.as_curl_command()}")

    assert wrong == []


def cases(strategy: object) -> Iterator[Case]:
    """So many examples of what one may say to an operation; none where everything that can be said follows the page."""
    drawn: list[Case] = []

    @seed(0)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def draw(case: Case) -> None:
        drawn.append(case)

    try:
        draw()
    except Exception as error:
        # Nothing that does not follow the page can be said to it.
        if type(error).__name__ != "Unsatisfiable":
            raise
    yield from drawn


def made_real(case: Case, known: Known, draw: Random) -> None:
    """Names that are known, most of the time, and no long waits."""
    for name, values in known.items():
        if name in case.path_parameters and draw.random() < 0.8:
            # The events of a job that has not ended do not end.
            case.path_parameters[name] = draw.choice(values[1:] if case.path.endswith("/events") else values)
    if isinstance(case.query, dict) and "wait" in case.query:
        case.query["wait"] = draw.choice([0, 0.01, "x"])
    case.headers.pop("prefer", None)
