"""Every key of ours in the store, one function a name. RQ's own keys begin with `rq:`."""

PREFIX = "unitrank"


def record(kind: str, id: str) -> str:
    """The hash with the truth about one job (`kind` "job") or one inspection (`kind` "inspection")."""
    return f"{PREFIX}:{kind}:{id}"


def events(kind: str, id: str) -> str:
    """The stream of a record's changes."""
    return f"{PREFIX}:{kind}:{id}:events"


def all_records(kind: str, tenant: str) -> str:
    """The sorted set of all ids of a tenant, all with score 0: the ids' own order is that of their creation."""
    return f"{tenants(kind)}:{tenant}:all"


def tenants(kind: str) -> str:
    """The set of tenants that have an index of ids; also how the keys of their indices begin."""
    return f"{PREFIX}:{kind}s:tenants"


def live_records(kind: str) -> str:
    """The set of ids of what has not ended."""
    return f"{PREFIX}:{kind}s:live"


def records_by_status(kind: str, status: str, tenant: str | None = None) -> str:
    """The sorted set of ids in that status, of one tenant or of all."""
    return f"{PREFIX}:{kind}s:status:{status}" if tenant is None else f"{tenants(kind)}:{tenant}:status:{status}"


def records_by_model(kind: str, tenant: str, model: str) -> str:
    """The sorted set of ids of a tenant's jobs on a model, by its name."""
    return f"{tenants(kind)}:{tenant}:model:{model}"


def models_of_records(kind: str, tenant: str) -> str:
    """The set of names of models of a tenant that have an index of ids."""
    return f"{tenants(kind)}:{tenant}:models"


def records_of_owner(kind: str, owner: str) -> str:
    """The set of ids of an owner's jobs that have not ended."""
    return f"{PREFIX}:{kind}s:owner:{owner}"


def rq_queue(queue: str) -> str:
    """RQ's own list of ids."""
    return f"rq:queue:{queue}"


def lines(queue: str) -> str:
    """How the keys of what waits for its turn begin."""
    return f"{PREFIX}:line:{queue}:"


def line(queue: str, owner: str, priority: str) -> str:
    """The list of ids of an owner that wait with that priority."""
    return f"{lines(queue)}{owner}:{priority}"


def owners_in_line(queue: str) -> str:
    """The sorted set of owners with something waiting, scored by when they had their last turn."""
    return f"{PREFIX}:line:{queue}"


def arrivals(queue: str) -> str:
    """How many have come to wait for a turn."""
    return f"{PREFIX}:line:{queue}:arrivals"


def last_turn(queue: str) -> str:
    """What was moved into RQ's queue last, and where it stood before."""
    return f"{PREFIX}:line:{queue}:last"


def turns(queue: str) -> str:
    """How many turns there have been."""
    return f"{PREFIX}:line:{queue}:turns"


def pins(digest: str) -> str:
    """The set of ids of live jobs that need a content."""
    return f"{PREFIX}:pins:{digest}"


def waiting(what: str) -> str:
    """The set of ids of jobs that wait for a model or a dataset to become ready."""
    return f"{PREFIX}:waiting:{what}"


def worker(name: str) -> str:
    """What a worker last said about itself; gone when it has been silent for too long."""
    return f"{PREFIX}:worker:{name}"


def equal_job(fingerprint: str) -> str:
    """The id of the last job with that fingerprint."""
    return f"{PREFIX}:equal:{fingerprint}"


def idempotency(key: str) -> str:
    """What came with a client's key (the hash of it), as JSON: the job's id and the digest of the body."""
    return f"{PREFIX}:idempotency:{key}"


def workers() -> str:
    """The set of names of workers that may be alive."""
    return f"{PREFIX}:workers"


def throughput() -> str:
    """The hash device → measured operations per second."""
    return f"{PREFIX}:rates"


def reaper_lock() -> str:
    """Held by the one process that looks for what was lost."""
    return f"{PREFIX}:reaper:lock"


def reservations() -> str:
    """The hash id → bytes that the result of a job that has not ended will take here, at most; the sum under `all`."""
    return f"{PREFIX}:promised"


def contents(kind: str) -> str:
    """How the keys of contents begin."""
    return f"{PREFIX}:{kind}:content:"


def content(kind: str, digest: str) -> str:
    """What is known about one content of a model or a dataset, as JSON."""
    return f"{contents(kind)}{digest}"


def names_of(kind: str, digest: str) -> str:
    """The set of names under which that content was uploaded."""
    return f"{PREFIX}:{kind}:names:{digest}"


def holders(kind: str, digest: str) -> str:
    """The set of ids of jobs that keep that content, named or not."""
    return f"{PREFIX}:{kind}:holders:{digest}"


def held(kind: str) -> str:
    """The set of digests that have holders."""
    return f"{PREFIX}:{kind}s:held"


def pointers(kind: str, name: str) -> str:
    """The hash with the digests of the `newest` and of the last `ready` content under a name."""
    return f"{PREFIX}:{kind}:name:{name}"


def uploads(kind: str, name: str) -> str:
    """The hash digest → when it was first uploaded under that name."""
    return f"{PREFIX}:{kind}:uploads:{name}"


def all_names(kind: str) -> str:
    """The sorted set of all names, all with score 0."""
    return f"{PREFIX}:{kind}s:names"


def awaited(kind: str, digest: str) -> str:
    """The set of names that will mean that content once it is ready."""
    return f"{PREFIX}:{kind}:awaited:{digest}"


def imports() -> str:
    """The set of what is still to be read from elsewhere, each a kind and the key of its content."""
    return f"{PREFIX}:imports"


def import_lock(key: str) -> str:
    """Held by the one process that reads that content."""
    return f"{PREFIX}:import:{key}:lock"


def import_attempts(key: str) -> str:
    """The set of services that began to read that content, and have not left it."""
    return f"{PREFIX}:import:{key}:tried_by"


def imported(key: str) -> str:
    """The digest that a content turned out to have, for an hour."""
    return f"{PREFIX}:import:{key}:digest"


def owners(digest: str) -> str:
    """The set of what needs a blob."""
    return f"{PREFIX}:blob:{digest}:owners"


def blob_sizes() -> str:
    """The hash digest → bytes of every blob that somebody needs."""
    return f"{PREFIX}:blobs:bytes"


def contents_lock() -> str:
    """Held by whoever changes models, datasets or the owners of blobs."""
    return f"{PREFIX}:contents:lock"


def chunked(digest: str) -> str:
    """The hash that tells the size of a content in chunks, and whether all of them are there."""
    return f"{PREFIX}:chunks:{digest}"


def chunk(digest: str, index: int) -> str:
    """One chunk of a content."""
    return f"{chunked(digest)}:{index}"


def chunk_owners(digest: str) -> str:
    """The sorted set of what needs a content in chunks, scored by the unix time until which it does."""
    return f"{chunked(digest)}:owners"


def part(id: str) -> str:
    """The digest and the first bytes of a part of a result, by its tenant and its fingerprint."""
    return f"{PREFIX}:part:{id}"


def part_piece(id: str, index: int) -> str:
    """More bytes of a part."""
    return f"{part(id)}:{index}"


def part_ages() -> str:
    """The sorted set of ids of parts, scored by the unix time of their arrival."""
    return f"{PREFIX}:parts:ages"


def part_sizes() -> str:
    """The hash id → bytes of every part, and their sum under the empty id."""
    return f"{PREFIX}:parts:bytes"


def result_blobs() -> str:
    """The sorted set of results whose arrays are blobs, scored by the unix time at which they go."""
    return f"{PREFIX}:results:blobs"


def unpublished() -> str:
    """The hash owner → result that is being stored and that no record tells of yet, as JSON."""
    return f"{PREFIX}:results:unpublished"


def key(id: str) -> str:
    """The hash with one API key; its secret only as a hash."""
    return f"{PREFIX}:key:{id}"


def session(hash: str) -> str:
    """The id of the key that somebody signed in with, by the hash of the session's word."""
    return f"{PREFIX}:session:{hash}"


def keys() -> str:
    """The sorted set of ids of API keys, scored by when they were made."""
    return f"{PREFIX}:keys"


def entered(kind: str) -> str:
    """The hash status → how often a record has come into it."""
    return records_by_status(kind, "entered")


def counters() -> str:
    """The hash of what processes other than the service count."""
    return f"{PREFIX}:tallies"


def webhook_secrets() -> str:
    """The hash key's id → what its webhooks are signed with."""
    return f"{PREFIX}:webhooks:secrets"


def deliveries(kind: str, id: str) -> str:
    """The hash with what is known about each delivery of how that record ended, by its owner and its id."""
    return f"{record(kind, id)}:deliveries"


def due(owner: str) -> str:
    """The sorted set of an owner's deliveries, scored by the unix time at which each is due."""
    return f"{PREFIX}:webhooks:due:{owner}"


def owners_with_due() -> str:
    """The sorted set of owners that have deliveries, scored by when they had their last turn."""
    return f"{PREFIX}:webhooks:owners"


def deliveries_under_way() -> str:
    """The sorted set of deliveries that somebody makes, scored by the unix time until which they are his."""
    return f"{PREFIX}:webhooks:under_way"
