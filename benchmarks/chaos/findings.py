"""What must hold when all is over, whatever was done to the processes; each line that comes back is a finding."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import redis

from benchmarks.chaos.clients import Heard
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


def all_records(connection: redis.Redis) -> list[JobRecord]:
    """Every job there is."""
    jobs = JobStore(connection)
    records, after = jobs.list(200)
    while after is not None:
        more, after = jobs.list(200, after)
        records += more
    return records


def findings(connection: redis.Redis, settings: Settings, orders: Sequence[Order], heard: Heard) -> list[str]:
    """Everything that is wrong."""
    records = all_records(connection)
    return [
        *heard.wrong,
        *_lost(records, orders, heard),
        *_ends(connection, records),
        *_reasons(records, orders, heard),
        *_unequal(records, orders),
        *_contents(connection, settings, records),
        *_left_over(connection),
    ]


def _lost(records: list[JobRecord], orders: Sequence[Order], heard: Heard) -> Iterator[str]:
    """An accepted job that is gone, an order that became more jobs than it was posted."""
    known = {record.id for record in records}
    made = Counter(int(record.request["metadata"]["number"]) for record in records)
    for order in orders:
        ids = set(heard.accepted.get(order.number, []))
        yield from (f"the job {id} of order {order.number} was accepted and is gone" for id in sorted(ids - known))
        most = 1 if order.key else order.posts
        if made[order.number] > most or len(ids) > most:
            yield f"order {order.number} became {made[order.number]} jobs, {most} at most were to be: {sorted(ids)}"


def _ends(connection: redis.Redis, records: list[JobRecord]) -> Iterator[str]:
    """A job that has not ended, or whose end was told twice."""
    for record in records:
        entries = connection.xrange(keyspace.events("job", record.id))
        statuses = [json.loads(fields[b"data"])["status"] for _, fields in entries if fields[b"kind"] == b"status"]
        ends = [status for status in statuses if status in ENDED]
        if not record.ended:
            yield f"{record.id} is {record.status} (attempt {record.attempt}, {statuses})"
        elif ends != [record.status]:
            yield f"{record.id} is {record.status}, and was told to have ended as {ends}"
    entered = {name.decode(): int(count) for name, count in connection.hgetall(keyspace.entered("job")).items()}
    ended = sum(entered.get(status, 0) for status in ENDED)
    if ended != len(records):
        yield f"{len(records)} jobs ended {ended} times: {entered}"


def _reasons(records: list[JobRecord], orders: Sequence[Order], heard: Heard) -> Iterator[str]:
    """An end that nobody asked for."""
    kinds = {order.number: order.kind for order in orders}
    for record in records:
        number = record.request["metadata"]["number"]
        code = (record.problem or {}).get("code")
        broken, new = kinds[number] == "broken", kinds[number] == "new"
        allowed = {
            "succeeded": not broken,
            "cancelled": record.id in heard.cancelled,
            # A new model's inspection may lose two processes itself.
            "failed": (code == "worker_lost" and (new or record.losses == 2)) or (broken and code == "non_finite"),
        }
        if record.ended and not allowed.get(record.status, False):
            yield f"{record.id}, a {kinds[number]} one, is {record.status}: {record.problem}"
        if record.attempt > 2 and record.losses > 1:
            yield f"{record.id} ran {record.attempt} times with {record.losses} losses"


def _unequal(records: list[JobRecord], orders: Sequence[Order]) -> Iterator[str]:
    """Equal jobs with different arrays."""
    bodies = {order.number: json.dumps(order.body | {"metadata": None}, sort_keys=True) for order in orders}
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.result is not None:
            found[bodies[record.request["metadata"]["number"]]][record.result["arrays"]].append(record.id)
    for digests in found.values():
        if len(digests) > 1:
            yield f"equal jobs with unequal arrays: { ({digest: ids[:3] for digest, ids in digests.items()}) }"


def _contents(connection: redis.Redis, settings: Settings, records: list[JobRecord]) -> Iterator[str]:
    """A result that cannot be read, an array or a summary that belongs to no result, a blob that nobody owns."""
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
                yield f"{key} is kept for {owner}, which is no result's"
    for each in texts(connection.zrange(keyspace.result_blobs(), 0, -1)):
        if each.partition(" ")[2] not in owners:
            yield f"the blob {each} is no result's"


def _blobs(connection: redis.Redis, folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and len(path.name) == 64 and not connection.exists(keyspace.owners(f"sha256:{path.name}")):
            yield f"the blob {path.name} has no owner"


def _left_over(connection: redis.Redis) -> Iterator[str]:
    """What should go with the last job."""
    empty = [
        (keyspace.rq_queue(queue), keyspace.live_records(kind), keyspace.owners_in_line(queue)) for kind, queue in QUEUES.items()
    ]
    for key in (key for keys in empty for key in keys):
        if connection.exists(key):
            yield f"{key} is not empty"
    yield from (f"{key} is left" for key in texts(list(connection.scan_iter(keyspace.pins("*")))))


def tally(records: list[JobRecord]) -> Json:
    """How the jobs ended, and how often they had to begin."""
    return {
        "ends": dict(Counter(record.status for record in records).most_common()),
        "attempts": dict(sorted(Counter(record.attempt for record in records).items())),
        "losses": sum(record.losses for record in records),
    }
