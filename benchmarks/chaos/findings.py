"""Checks jobs, results and keys of the store after a run. Each failed check gives one line."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import redis

from benchmarks.chaos.clients import Answers
from benchmarks.chaos.orders import Json, Order
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.errors import StoreError
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import ENDED, JobRecord
from unitrank_store.queue.rq_queue import QUEUES
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_store.results.result_store import ResultLocation, ResultStore
from unitrank_store.settings import Settings

DIVIDED_ENDS = ("worker_lost", "ray_without_nodes", "ray_unreachable")
"""Problems of a divided job: one range lost two processes, another worker had all machines for two
minutes, or the driver was killed before the job began."""


def all_records(connection: redis.Redis) -> list[JobRecord]:
    """The records of all jobs."""
    jobs = JobStore(connection)
    records, after = jobs.list(200)
    while after is not None:
        more, after = jobs.list(200, after)
        records += more
    return records


def findings(connection: redis.Redis, settings: Settings, orders: Sequence[Order], answers: Answers) -> list[str]:
    """One line for each check that failed."""
    records = all_records(connection)
    return [
        *answers.wrong,
        *_lost(records, orders, answers),
        *_ends(connection, records),
        *_reasons(records, orders, answers),
        *_unequal(records, orders),
        *_contents(connection, settings, records),
        *_left_over(connection),
    ]


def _lost(records: list[JobRecord], orders: Sequence[Order], answers: Answers) -> Iterator[str]:
    """Accepted jobs without a record, and orders with more jobs than posts."""
    recorded = {record.id for record in records}
    counts = Counter(int(record.request["metadata"]["number"]) for record in records)
    for order in orders:
        ids = set(answers.accepted.get(order.number, []))
        yield from (f"the job {id} of order {order.number} was accepted and has no record" for id in sorted(ids - recorded))
        most = 1 if order.key else order.posts
        if counts[order.number] > most or len(ids) > most:
            yield f"order {order.number} became {counts[order.number]} jobs; at most {most} are right: {sorted(ids)}"


def _ends(connection: redis.Redis, records: list[JobRecord]) -> Iterator[str]:
    """Jobs that have not ended, and jobs whose end was published twice."""
    for record in records:
        entries = connection.xrange(keyspace.events("job", record.id))
        statuses = [json.loads(fields[b"data"])["status"] for _, fields in entries if fields[b"kind"] == b"status"]
        ends = [status for status in statuses if status in ENDED]
        if not record.ended:
            yield f"{record.id} has not ended, it is {record.status} (attempt {record.attempt}, events {statuses})"
        elif ends != [record.status]:
            yield f"{record.id} is {record.status}, and the ends in its events are {ends}"
    entered = {name.decode(): int(count) for name, count in connection.hgetall(keyspace.entered("job")).items()}
    ended = sum(entered.get(status, 0) for status in ENDED)
    if ended != len(records):
        yield f"{len(records)} jobs, but the store counted {ended} ends: {entered}"


def _reasons(records: list[JobRecord], orders: Sequence[Order], answers: Answers) -> Iterator[str]:
    """Jobs that ended for no reason in their order, and jobs that ran again after two losses."""
    kinds = {order.number: order.kind for order in orders}
    for record in records:
        number = record.request["metadata"]["number"]
        code = (record.problem or {}).get("code")
        broken, new = kinds[number] == "broken", kinds[number] == "new"
        divided = record.request.get("execution") == "distributed" and code in DIVIDED_ENDS
        allowed = {
            "succeeded": not broken,
            "cancelled": record.id in answers.cancelled,
            # The inspection of a new model may also lose two processes.
            "failed": (code == "worker_lost" and (new or record.losses == 2)) or (broken and code == "non_finite") or divided,
        }
        if record.ended and not allowed.get(record.status, False):
            yield f"{record.id}, of kind {kinds[number]}, is {record.status}: {record.problem}"
        # An attempt that a stopped worker gave back, or that waited for nodes, is not a loss.
        if record.losses > 2 or (record.losses == 2 and record.status == "succeeded"):
            yield f"{record.id} ran again after 2 losses: it is {record.status} with {record.losses} losses"


def _unequal(records: list[JobRecord], orders: Sequence[Order]) -> Iterator[str]:
    """Jobs with equal requests and different arrays."""
    bodies = {order.number: json.dumps(order.body | {"metadata": None, "execution": None}, sort_keys=True) for order in orders}
    ids_by_arrays: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.result is not None:
            ids_by_arrays[bodies[record.request["metadata"]["number"]]][record.result["arrays"]].append(record.id)
    for digests in ids_by_arrays.values():
        if len(digests) > 1:
            yield f"equal jobs with different arrays: { ({digest: ids[:3] for digest, ids in digests.items()}) }"


def _contents(connection: redis.Redis, settings: Settings, records: list[JobRecord]) -> Iterator[str]:
    """Results that cannot be read, and arrays, summaries and blobs without an owner."""
    results = ResultStore(connection, BlobStore.of(settings), settings)
    manifests = [cast(ResultLocation, record.result) for record in records if record.result is not None]
    for record in records:
        if (record.result is not None) != (record.status == "succeeded"):
            yield f"{record.id} is {record.status} with the result {record.result}"
    for manifest in manifests:
        try:
            results.summary(manifest)
            results.arrays(manifest)
        except StoreError as error:
            yield f"a result cannot be read: {error}"
    yield from _unowned(connection, {manifest["owner"] for manifest in manifests})
    yield from _blobs(connection, Path(settings.state / "blobs"))


def _unowned(connection: redis.Redis, owners: set[str]) -> Iterator[str]:
    for key in texts(list(connection.scan_iter(keyspace.chunk_owners("*")))):
        for owner in texts(connection.zrange(key, 0, -1)):
            if owner not in owners:
                yield f"{key} has the owner {owner}, which no result has"
    for each in texts(connection.zrange(keyspace.result_blobs(), 0, -1)):
        if each.partition(" ")[2] not in owners:
            yield f"the blob {each} belongs to no result"


def _blobs(connection: redis.Redis, folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and len(path.name) == 64 and not connection.exists(keyspace.owners(f"sha256:{path.name}")):
            yield f"the blob {path.name} has no owner"


def _left_over(connection: redis.Redis) -> Iterator[str]:
    """Keys that must not exist after the last job."""
    empty = [
        (keyspace.rq_queue(queue), keyspace.live_records(kind), keyspace.owners_in_line(queue)) for kind, queue in QUEUES.items()
    ]
    for key in (key for keys in empty for key in keys):
        if connection.exists(key):
            yield f"{key} is not empty after the last job"
    yield from (f"{key} still exists after the last job" for key in texts(list(connection.scan_iter(keyspace.pins("*")))))


def tally(records: list[JobRecord]) -> Json:
    """Counts of the final statuses and of the attempts, and the number of lost processes."""
    return {
        "ends": dict(Counter(record.status for record in records).most_common()),
        "attempts": dict(sorted(Counter(record.attempt for record in records).items())),
        "losses": sum(record.losses for record in records),
    }
