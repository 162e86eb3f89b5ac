"""Valid and invalid requests, generated from the OpenAPI document, are never answered with 500."""

import os
from collections.abc import Iterator
from random import Random

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode

from tests.service.conftest import Served, job, put_dataset, ready_model
from tests.service.results import layered

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "3"))
"""Generated requests for each operation and mode; `make schemathesis` sets many more."""
Names = dict[str, list[str]]


@pytest.fixture
def names(client: httpx.Client, served: Served) -> Names:
    """Parameter of a path → existing names: a model, a dataset, and four jobs.

    Only the first job has not ended. The last one has a result with several layers.
    """
    ready_model(client, served)
    put_dataset(client)
    ids = [client.post("/v1/jobs", json=job(seed=number)).json()["id"] for number in range(3)]
    client.post(f"/v1/jobs/{ids[1]}/cancel").raise_for_status()
    attempt = served.backend.jobs.start(ids[2], "w")
    assert attempt is not None
    problem = {"code": "non_finite", "title": "t", "detail": "d", "status": 422, "retryable": False}
    served.backend.jobs.finish(ids[2], attempt, "failed", problem=problem)
    return {"name": ["net", "data"], "id": [*ids, layered.succeeded(client, served)]}


# The service runs in a thread of this process, and draws random numbers at the same time.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.check
@pytest.mark.timeout(120 + 24 * EXAMPLES)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests_are_never_answered_with_500(served: Served, names: Names, mode: GenerationMode) -> None:
    page = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    draw = Random(0)
    wrong = []
    # Deletions are last, because other operations need the resources.
    for operation in sorted((result.ok() for result in page.get_all_operations()), key=lambda each: each.method == "delete"):
        for case in cases(operation.as_strategy(generation_mode=mode)):
            use_existing_names(case, names, draw)
            answer = case.call(base_url=served.url, timeout=20)
            # Without workers /readyz is 503.
            if answer.status_code >= 500 and (answer.status_code != 503 or operation.path != "/readyz"):
                wrong.append(f"{answer.status_code}: {case.as_curl_command()}")

    assert wrong == []


def cases(strategy: object) -> Iterator[Case]:
    """`EXAMPLES` requests of a strategy; none where the operation has no invalid requests."""
    examples: list[Case] = []

    @seed(0)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def draw(case: Case) -> None:
        examples.append(case)

    try:
        draw()
    except Exception as error:
        # The operation has no invalid requests.
        if type(error).__name__ != "Unsatisfiable":
            raise
    yield from examples


def use_existing_names(case: Case, names: Names, draw: Random) -> None:
    """Replace most names by existing ones, and long waits by short ones."""
    for name, values in names.items():
        if name in case.path_parameters and draw.random() < 0.8:
            # The stream of events of an unfinished job does not end.
            case.path_parameters[name] = draw.choice(values[1:] if case.path.endswith("/events") else values)
    if isinstance(case.query, dict) and "wait" in case.query:
        case.query["wait"] = draw.choice([0, 0.01, "x"])
    case.headers.pop("prefer", None)
