"""The metrics for Prometheus: names, labels, counts, and the metrics without a store."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.service.conftest import Served, assert_problem, job, put_dataset, put_model, ready_model
from tests.support.polling import wait_until
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.observability.counters import Counters
from unitrank_store.queue.rq_queue import INSPECTIONS, JOBS
from unitrank_store.worker_registry import WorkerEntry

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


class Scrape:
    """The metrics of one GET."""

    def __init__(self, client: httpx.Client) -> None:
        answer = client.get("/metrics")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        self.families = list(text_string_to_metric_families(answer.text))

    def value(self, name: str, **labels: str) -> float:
        """The value of a sample; 0 where there is no such sample."""
        return sum(
            sample.value for family in self.families for sample in family.samples if (sample.name, sample.labels) == (name, labels)
        )

    def names(self) -> set[str]:
        """The names of Unitrank's metrics; a counter's name ends with _total."""
        unitrank = [
            family for family in self.families if family.name.startswith("unitrank_") and not family.name.endswith("_created")
        ]
        return {family.name + ("_total" if family.type == "counter" else "") for family in unitrank}

    def labels(self, name: str) -> set[str]:
        return {
            value
            for family in self.families
            if family.name == name
            for sample in family.samples
            for value in sample.labels.values()
        }


def run(method: str, *seconds: float) -> dict[str, object]:
    return {"rankings": [{"id": method, "method": {"name": method}, "seconds": each} for each in seconds]}


def worker(name: str, queue: str, job: str | None = None) -> WorkerEntry:
    return WorkerEntry(name, queue, "cpu", 1, "host", 0.0, 0.0, 0, job)


def test_metrics_when_documented_then_the_table_has_all_names(client: httpx.Client) -> None:
    table = set(re.findall(r"^\| `(unitrank_\w+)` \|", PAGE.read_text(), re.MULTILINE))

    assert table == Scrape(client).names()


def test_metrics_when_jobs_come_and_go_then_count_them_by_status(client: httpx.Client, served: Served) -> None:
    jobs = JobStore(served.backend.connection)
    ended, failed, _ = (jobs.create({"model": "m"}) for _ in range(3))
    for record, status in ((ended, "succeeded"), (failed, "failed")):
        jobs.finish(record.id, jobs.start(record.id, "w") or 0, status)  # type: ignore[arg-type]
    scrape = Scrape(client)

    counted = {status: scrape.value("unitrank_jobs", kind="job", status=status) for status in ("queued", "succeeded", "failed")}
    entered = {status: scrape.value("unitrank_transitions_total", kind="job", status=status) for status in ("running", "succeeded")}
    assert counted == {"queued": 1, "succeeded": 1, "failed": 1}
    assert entered == {"running": 2, "succeeded": 1}
    assert scrape.value("unitrank_queue_length", kind="job") == 1
    assert 0 < scrape.value("unitrank_queue_oldest_seconds", kind="job") < 60


def test_metrics_when_jobs_wait_run_and_are_cancelled_then_these_are_unfinished(client: httpx.Client, served: Served) -> None:
    jobs = JobStore(served.backend.connection)
    running, cancelling, ended, _ = (jobs.create({"model": "m"}) for _ in range(4))
    for record in (running, cancelling, ended):
        jobs.start(record.id, "w")
    jobs.cancel(cancelling.id)
    jobs.finish(ended.id, 1, "succeeded")

    assert Scrape(client).value("unitrank_jobs_unfinished", kind="job") == 3
    assert Scrape(client).value("unitrank_jobs_unfinished", kind="inspection") == 0


def test_metrics_when_workers_have_counted_then_show_it(client: httpx.Client, served: Served) -> None:
    counters = Counters(served.backend.connection)
    with served.backend.connection.pipeline() as pipeline:
        counters.ran(run("gradient", 0.5, 0.5) | {"other": 1}, pipeline)
        counters.ran(run("gradient", 1e6), pipeline)
        pipeline.execute()
    counters.lost("job")
    counters.child_ended("timed_out")
    scrape = Scrape(client)

    buckets = {end: scrape.value("unitrank_ranking_seconds_bucket", method="gradient", le=end) for end in ("0.3", "1.0", "+Inf")}
    assert buckets == {"0.3": 0, "1.0": 2, "+Inf": 3}
    assert scrape.value("unitrank_ranking_seconds_sum", method="gradient") == 1e6 + 1
    assert scrape.value("unitrank_attempts_lost_total", kind="job") == 1
    assert scrape.value("unitrank_children_ended_total", reason="timed_out") == 1


def test_metrics_when_workers_are_alive_then_count_busy_and_idle_ones(client: httpx.Client, served: Served) -> None:
    for each in (worker("a", JOBS), worker("b", JOBS, "j"), worker("i", INSPECTIONS)):
        served.backend.workers.beat(each)
    scrape = Scrape(client)

    workers = {
        (kind, state): scrape.value("unitrank_workers", kind=kind, state=state)
        for kind in ("job", "inspection")
        for state in ("busy", "idle")
    }
    assert workers == {("job", "busy"): 1, ("job", "idle"): 1, ("inspection", "busy"): 0, ("inspection", "idle"): 1}


def test_metrics_when_clients_upload_and_post_again_then_count_bytes_and_reuse(
    serve: Callable[..., tuple[httpx.Client, Served]],
) -> None:
    client, served = serve()
    ready_model(client, served, body=b"twelve bytes")
    put_dataset(client)
    once = {"Idempotency-Key": "k"}
    for headers in (once, once, {}):
        assert client.post("/v1/jobs", json=job(), headers=headers).status_code == 202
    scrape = Scrape(client)

    assert scrape.value("unitrank_uploaded_bytes_total", kind="model") == 12
    assert scrape.value("unitrank_stored_bytes") > 12
    assert scrape.value("unitrank_jobs_reused_total", reason="idempotency_key") == 1
    assert scrape.value("unitrank_jobs_reused_total", reason="equal") == 1


def test_metrics_when_requests_have_arbitrary_names_then_labels_stay_few(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, _ = serve()
    put_model(client, "my-model")
    for path in ("/v1/models/my-model", "/v1/models/other", "/nothing/secret", "/v1/jobs/nojob"):
        client.get(path)
    client.request("BREW", "/v1/models")
    wait_until(lambda: Scrape(client).value("unitrank_http_requests_total", method="GET", route="none", status="404") == 1)
    scrape = Scrape(client)

    labels = scrape.labels("unitrank_http_requests") | scrape.labels("unitrank_http_request_seconds")
    assert not [label for label in labels if re.search("my-model|other$|secret|nojob|BREW", label) and label != "other"]
    assert scrape.value("unitrank_http_requests_total", method="GET", route="/v1/models/{name}", status="200") == 1
    assert scrape.value("unitrank_http_requests_total", method="GET", route="/v1/models/{name}", status="404") == 1
    assert scrape.value("unitrank_http_request_seconds_count", method="PUT", route="/v1/models/{name}") == 1


def test_metrics_when_keys_are_stored_then_want_one_that_may_read(client: httpx.Client, served: Served) -> None:
    secrets = {scope: served.backend.keys.create("k", [scope])[1] for scope in ("read", "write")}
    answers = {scope: client.get("/metrics", headers={"Authorization": f"Bearer {secret}"}) for scope, secret in secrets.items()}

    assert_problem(client.get("/metrics"), 401, "unauthorized")
    assert_problem(answers["write"], 403, "forbidden")
    assert answers["read"].status_code == 200


def test_metrics_when_the_store_is_down_then_report_that_and_the_process(
    serve: Callable[..., tuple[httpx.Client, Served]],
) -> None:
    client, _ = serve(redis_url="unix:///nowhere/valkey.sock")
    scrape = Scrape(client)

    assert scrape.names() == {"unitrank_store_up"}
    assert scrape.value("unitrank_store_up") == 0
    assert _starts(scrape.families, "python_info")


def _starts(families: Iterable[object], start: str) -> bool:
    return any(str(getattr(family, "name", "")).startswith(start) for family in families)
