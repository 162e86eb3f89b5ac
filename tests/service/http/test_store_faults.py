"""A store that cannot serve: every request is answered with 503, and the reason is named."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count

import httpx
import pytest
import redis
from structlog.testing import capture_logs

from tests.service.conftest import Json, Served, assert_problem, job, npz, put_dataset, ready_model, serving
from tests.support.processes import short_folder
from tests.support.servers.redis_server import HEALTHY, redis_server, with_user
from unitrank_service.__main__ import main
from unitrank_store.queue.rq_queue import JOBS
from unitrank_store.redis.connection import connect
from unitrank_store.redis.permissions import PROBE_SECONDS, acl_command
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerEntry

RULES = acl_command().partition(">PASSWORD ")[2]
BYTES = {"Content-Type": "application/octet-stream"}


class Store:
    """A server, a service whose user has exactly the needed ACL, and the operator's client."""

    def __init__(self, client: httpx.Client, served: Served, operator: redis.Redis) -> None:
        self.client = client
        self.served = served
        self.operator = operator

    def allow(self, rules: str) -> None:
        self.operator.execute_command("ACL", "SETUSER", "unitrank", *rules.split())  # type: ignore[no-untyped-call]

    def disconnect(self) -> None:
        """End the service's connections. The next command connects again."""
        self.operator.client_kill_filter(user="unitrank")

    def answers(self) -> list[httpx.Response]:
        """Answers to requests that read and that write, and to the check of readiness."""
        body = npz(x=[1.0])
        return [
            self.client.get("/readyz"),
            self.client.post("/v1/jobs", json=job(), headers={"Cache-Control": "no-cache"}),
            self.client.put("/v1/datasets/other", content=body, headers=BYTES),
        ]


@pytest.fixture
def store() -> Iterator[Store]:
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        url = stack.enter_context(redis_server(folder / "server", *HEALTHY))
        operator = stack.enter_context(connect(url))
        settings = Settings(redis_url=with_user(url, operator, RULES), state=folder, reaper_interval=3600)
        # Between two requests, the search for missing permissions becomes old.
        clock = partial(next, count(0, PROBE_SECONDS))
        served = stack.enter_context(serving(settings, clock))
        client = stack.enter_context(httpx.Client(base_url=served.url, timeout=60))
        ready_model(client, served)
        put_dataset(client)
        served.backend.workers.beat(WorkerEntry("cpu-0", JOBS, "cpu", 1, "host", 0, 0))
        yield Store(client, served, operator)


def posted(store: Store) -> Json:
    answer = store.client.post("/v1/jobs", json=job(), headers={"Cache-Control": "no-cache"})
    assert answer.status_code == 202, answer.text
    body: Json = answer.json()
    return body


def test_service_with_exactly_its_acl_serves_without_warnings(store: Store) -> None:
    assert store.client.get("/readyz").json() == {"status": "ok", "warnings": []}
    assert posted(store)["status"] == "queued"


def test_service_without_dangerous_commands_works_and_tells_what_is_unknown(store: Store) -> None:
    store.allow("+@all -@dangerous")

    assert posted(store)["status"] == "queued"
    (warning,) = store.client.get("/readyz").json()["warnings"]
    assert warning["code"] == "acl"
    assert "INFO" in warning["detail"]
    assert "unknown" in warning["detail"]


def test_readyz_with_an_evicting_store_without_a_log_is_ready_with_warnings(store: Store) -> None:
    store.operator.config_set("maxmemory-policy", "allkeys-lru")
    store.operator.config_set("appendonly", "no")

    answer = store.client.get("/readyz")
    assert (answer.status_code, [each["code"] for each in answer.json()["warnings"]]) == (200, ["eviction", "persistence"])


@pytest.mark.parametrize(
    ("fault", "repair", "part"),
    [
        ("-hset", "+hset", "HSET"),
        ("-blmove", "+blmove", "BLMOVE"),
        ("resetkeys ~unitrank*", "~rq:*", "rq:*"),
        ("resetkeys ~rq:*", "~unitrank:*", "unitrank:*"),
    ],
)
def test_readyz_when_a_part_of_the_acl_is_missing_names_it_until_it_is_repaired(
    store: Store, fault: str, repair: str, part: str
) -> None:
    store.allow(fault)
    assert part in assert_problem(store.client.get("/readyz"), 503, "store_unavailable")["detail"]

    store.allow(repair)
    assert store.client.get("/readyz").status_code == 200


Bring = Callable[[Store], None]
FAULTS: dict[str, tuple[Bring, Bring, str]] = {
    "command": (lambda store: store.allow("-watch -multi"), lambda store: store.allow("+watch +multi"), "forbids"),
    "keys": (lambda store: store.allow("resetkeys ~rq:*"), lambda store: store.allow("~unitrank:*"), "forbids"),
    "replica": (
        lambda store: store.operator.replicaof("127.0.0.1", "1"),
        lambda store: store.operator.replicaof("NO", "ONE"),
        "is a replica",
    ),
    "password": (
        lambda store: (store.allow("resetpass >other"), store.disconnect())[1],
        lambda store: store.allow("resetpass >s3kret"),
        "rejects the user name or the password",
    ),
}
"""Name → how the store gets the fault, how it is repaired, and a part of the detail."""


@pytest.mark.parametrize("name", FAULTS)
def test_requests_while_the_store_cannot_serve_are_503_with_the_reason(store: Store, name: str) -> None:
    bring, repair, part = FAULTS[name]
    bring(store)

    for answer in store.answers():
        problem = assert_problem(answer, 503, "store_unavailable")
        assert part in problem["detail"]
        assert "s3kret" not in answer.text
        assert int(answer.headers["retry-after"]) > 0
    repair(store)
    assert [answer.status_code for answer in store.answers()] == [200, 202, 201]


def test_main_with_a_store_in_cluster_mode_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: pytest.fail("it started"))
    monkeypatch.setattr("unitrank_store.observability.logs.configure", lambda form: None)
    with short_folder() as folder, redis_server(folder / "server", "--cluster-enabled", "yes") as url, capture_logs() as lines:
        assert main(["--redis-url", url]) == 2

    assert ["cluster mode" in line["event"] for line in lines] == [True]
