"""The names of all Redis keys of Unitrank: one function for each key.

The docstring of each function begins with the key's type. A key without an expiry stays until its
last entry is deleted. RQ's own keys begin with `rq:`.
"""

PREFIX = "unitrank"


def record(kind: str, id: str) -> str:
    """Hash: one job (`kind` "job") or one inspection (`kind` "inspection").

    Expires after its end.
    """
    return f"{PREFIX}:{kind}:{id}"


def events(kind: str, id: str) -> str:
    """Stream: the changes of a record. Expires with the record."""
    return f"{PREFIX}:{kind}:{id}:events"


def all_records(kind: str, tenant: str) -> str:
    """Sorted set: ids of all records of a tenant, all with score 0.

    Ids of jobs sort by their creation time.
    """
    return f"{tenants(kind)}:{tenant}:all"


def tenants(kind: str) -> str:
    """Set: tenants that have indexes of records. The keys of these indexes begin with this key."""
    return f"{PREFIX}:{kind}s:tenants"


def live_records(kind: str) -> str:
    """Set: ids of the records that have not ended."""
    return f"{PREFIX}:{kind}s:live"


def records_by_status(kind: str, status: str, tenant: str | None = None) -> str:
    """Sorted set: ids of the records in a status, of one tenant or (None) of all tenants."""
    return f"{PREFIX}:{kind}s:status:{status}" if tenant is None else f"{tenants(kind)}:{tenant}:status:{status}"


def records_by_model(kind: str, tenant: str, model: str) -> str:
    """Sorted set: ids of a tenant's jobs whose request names a model, by that name."""
    return f"{tenants(kind)}:{tenant}:model:{model}"


def areas(kind: str, tenant: str) -> str:
    """Sorted set: ids of a tenant's jobs, by the area of their best ranking."""
    return f"{tenants(kind)}:{tenant}:areas"


def models_of_records(kind: str, tenant: str) -> str:
    """Set: model names of a tenant that have an index of ids (`records_by_model`)."""
    return f"{tenants(kind)}:{tenant}:models"


def records_of_owner(kind: str, owner: str) -> str:
    """Set: ids of an owner's records that have not ended."""
    return f"{PREFIX}:{kind}s:owner:{owner}"


def rq_queue(queue: str) -> str:
    """List: RQ's own queue of transport ids, of which a worker takes the next."""
    return f"rq:queue:{queue}"


def lines(queue: str) -> str:
    """The beginning of the keys of all lines of a queue (not a key itself)."""
    return f"{PREFIX}:line:{queue}:"


def line(queue: str, owner: str, priority: str) -> str:
    """List: transport ids of an owner's jobs with one priority, which wait for their turn."""
    return f"{lines(queue)}{owner}:{priority}"


def owners_in_line(queue: str) -> str:
    """Sorted set: owners that have jobs in a line.

    The owner with the lowest score has the next turn.
    """
    return f"{PREFIX}:line:{queue}"


def arrivals(queue: str) -> str:
    """Counter: ids that were added to a line. It orders owners that have had no turn yet."""
    return f"{PREFIX}:line:{queue}:arrivals"


def last_turn(queue: str) -> str:
    """Hash: the id that was moved into RQ's queue last, with its line and its owner.

    With the owner's earlier score, the id can be moved back into its line.
    """
    return f"{PREFIX}:line:{queue}:last"


def for_larger(queue: str) -> str:
    """List: transport ids that workers left for a worker with more memory."""
    return f"{PREFIX}:line:{queue}:for_larger"


def overtaken(queue: str) -> str:
    """Hash: how many later ids of its line have overtaken a transport id that waits."""
    return f"{PREFIX}:line:{queue}:overtaken"


def turns(queue: str) -> str:
    """Counter: turns that owners have had."""
    return f"{PREFIX}:line:{queue}:turns"


def pins(digest: str) -> str:
    """Set: ids of live jobs that need a content, which must not be deleted."""
    return f"{PREFIX}:pins:{digest}"


def waiting(content_key: str) -> str:
    """Set: ids of the records that wait for a model or a dataset to become ready."""
    return f"{PREFIX}:waiting:{content_key}"


def worker(name: str) -> str:
    """String: the last heartbeat of a worker, as JSON. Expires after `heartbeat_grace`."""
    return f"{PREFIX}:worker:{name}"


def equal_job(fingerprint: str) -> str:
    """String: id of the last job with a fingerprint. Expires after `result_ttl` + `failure_ttl`."""
    return f"{PREFIX}:equal:{fingerprint}"


def idempotency(key: str) -> str:
    """String: JSON of a job's id and its request body's digest, by an idempotency key's digest.

    Expires after `result_ttl` + `failure_ttl`.
    """
    return f"{PREFIX}:idempotency:{key}"


def workers() -> str:
    """Set: names of workers that may be alive."""
    return f"{PREFIX}:workers"


def throughput() -> str:
    """Hash: device → operations per second, as measured."""
    return f"{PREFIX}:rates"


def reaper_lock() -> str:
    """String: token of the process that runs the reaper.

    Expires two intervals after the last sweep.
    """
    return f"{PREFIX}:reaper:lock"


def reservations() -> str:
    """Hash: id of a live job → bytes reserved for its result; their sum under `all`."""
    return f"{PREFIX}:promised"


def contents(kind: str) -> str:
    """The beginning of the keys of all contents of a kind (not a key itself)."""
    return f"{PREFIX}:{kind}:content:"


def content(kind: str, digest: str) -> str:
    """String: JSON of one content of a model or a dataset."""
    return f"{contents(kind)}{digest}"


def names_of(kind: str, digest: str) -> str:
    """Set: names under which a content was uploaded."""
    return f"{PREFIX}:{kind}:names:{digest}"


def holders(kind: str, digest: str) -> str:
    """Set: ids of the jobs that keep a content without a name."""
    return f"{PREFIX}:{kind}:holders:{digest}"


def held(kind: str) -> str:
    """Set: digests of the contents that have holders."""
    return f"{PREFIX}:{kind}s:held"


def pointers(kind: str, name: str) -> str:
    """Hash: digests of the `newest` content and of the last `ready` content under a name."""
    return f"{PREFIX}:{kind}:name:{name}"


def uploads(kind: str, name: str) -> str:
    """Hash: digest → unix time of its first upload under a name."""
    return f"{PREFIX}:{kind}:uploads:{name}"


def all_names(kind: str) -> str:
    """Sorted set: all names of all tenants, all with score 0."""
    return f"{PREFIX}:{kind}s:names"


def awaited(kind: str, digest: str) -> str:
    """Set: names that mean a content once its inspection has passed."""
    return f"{PREFIX}:{kind}:awaited:{digest}"


def imports() -> str:
    """Set: contents that must still be read from a URI, as "kind key"."""
    return f"{PREFIX}:imports"


def import_lock(key: str) -> str:
    """String: lease of the process that reads a content from its URI. Expires after 20 s."""
    return f"{PREFIX}:import:{key}:lock"


def import_attempts(key: str) -> str:
    """Set: ids of the services that began to read a content and did not finish.

    Expires after a day.
    """
    return f"{PREFIX}:import:{key}:tried_by"


def imported(key: str) -> str:
    """String: digest of a content that was read from a URI. Expires an hour after the import."""
    return f"{PREFIX}:import:{key}:digest"


def owners(digest: str) -> str:
    """Set: owners that need a blob."""
    return f"{PREFIX}:blob:{digest}:owners"


def blob_sizes() -> str:
    """Hash: digest → bytes of every blob that has an owner."""
    return f"{PREFIX}:blobs:bytes"


def contents_lock() -> str:
    """String: lock of the process that changes contents or owners of blobs. Expires after 20 s."""
    return f"{PREFIX}:contents:lock"


def chunked(digest: str) -> str:
    """Hash: bytes of a content that is stored in chunks, and whether all chunks are written.

    Expires, with all its chunks and owners, when its last claim ends.
    """
    return f"{PREFIX}:chunks:{digest}"


def chunk(digest: str, index: int) -> str:
    """String: one chunk of a content. Expires with the content."""
    return f"{chunked(digest)}:{index}"


def chunk_owners(digest: str) -> str:
    """Sorted set: owners of a content in chunks, scored by the unix time when each claim ends.

    Expires with the content.
    """
    return f"{chunked(digest)}:owners"


def part(id: str) -> str:
    """String: digest and first bytes of a partial result, by tenant and fingerprint.

    Expires after `result_ttl`.
    """
    return f"{PREFIX}:part:{id}"


def part_piece(id: str, index: int) -> str:
    """String: further bytes of a partial result. Expires after `result_ttl`."""
    return f"{part(id)}:{index}"


def part_ages() -> str:
    """Sorted set: ids of all partial results, scored by the unix time when they were written."""
    return f"{PREFIX}:parts:ages"


def part_sizes() -> str:
    """Hash: id → bytes of each partial result; their sum under the empty id."""
    return f"{PREFIX}:parts:bytes"


def result_blobs() -> str:
    """Sorted set: results whose arrays are blobs, scored by the unix time at which they expire."""
    return f"{PREFIX}:results:blobs"


def unpublished() -> str:
    """Hash: owner → JSON of a stored result that no record names yet."""
    return f"{PREFIX}:results:unpublished"


def key(id: str) -> str:
    """Hash: one API key. It holds the secret as a hash only."""
    return f"{PREFIX}:key:{id}"


def session(hash: str) -> str:
    """String: id of the API key of a signed-in person, by the hash of the session's token.

    Expires after 12 hours.
    """
    return f"{PREFIX}:session:{hash}"


def keys() -> str:
    """Sorted set: ids of the API keys, scored by the unix time of their creation."""
    return f"{PREFIX}:keys"


def entered(kind: str) -> str:
    """Hash: status → number of times that a record has entered it."""
    return records_by_status(kind, "entered")


def counters() -> str:
    """Hash: counters of the processes that serve no HTTP."""
    return f"{PREFIX}:tallies"


def webhook_secrets() -> str:
    """Hash: API key's id → secret that signs the webhooks of its jobs."""
    return f"{PREFIX}:webhooks:secrets"


def deliveries(kind: str, id: str) -> str:
    """Hash: "owner:delivery's id" → JSON of a webhook delivery of a record.

    Expires with the record.
    """
    return f"{record(kind, id)}:deliveries"


def due(owner: str) -> str:
    """Sorted set: an owner's deliveries, scored by the unix time at which each is due."""
    return f"{PREFIX}:webhooks:due:{owner}"


def owners_with_due() -> str:
    """Sorted set: owners that have due deliveries, scored by the unix time of their last turn."""
    return f"{PREFIX}:webhooks:owners"


def deliveries_under_way() -> str:
    """Sorted set: deliveries with a lease, scored by the unix time of the lease's end."""
    return f"{PREFIX}:webhooks:under_way"
