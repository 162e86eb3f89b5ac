"""Every key of ours in the store, one function a name. RQ's own keys begin with `rq:`."""

PREFIX = "unitrank"


def record(kind: str, id: str) -> str:
    """The hash with the truth about one job (`kind` "job") or one inspection (`kind` "inspection")."""
    return f"{PREFIX}:{kind}:{id}"


def events(kind: str, id: str) -> str:
    """The stream of a record's changes."""
    return f"{PREFIX}:{kind}:{id}:events"


def all_records(kind: str) -> str:
    """The sorted set of all ids, all with score 0: the ids' own order is that of their creation."""
    return f"{PREFIX}:{kind}s:all"


def live_records(kind: str) -> str:
    """The set of ids of what has not ended."""
    return f"{PREFIX}:{kind}s:live"


def records_by_status(kind: str, status: str) -> str:
    """The sorted set of ids in that status."""
    return f"{PREFIX}:{kind}s:status:{status}"


def records_by_model(kind: str, model: str) -> str:
    """The sorted set of ids of the jobs on a model, by its name."""
    return f"{PREFIX}:{kind}s:model:{model}"


def models_of_records(kind: str) -> str:
    """The set of names of models that have an index of ids."""
    return f"{PREFIX}:{kind}s:models"


def pins() -> str:
    """The hash content digest → number of live records that need it."""
    return f"{PREFIX}:pins"


def waiting(what: str) -> str:
    """The set of ids of jobs that wait for a model or a dataset to become ready."""
    return f"{PREFIX}:waiting:{what}"


def worker(name: str) -> str:
    """What a worker last said about itself; gone when it has been silent for too long."""
    return f"{PREFIX}:worker:{name}"


def workers() -> str:
    """The set of names of workers that may be alive."""
    return f"{PREFIX}:workers"


def rates() -> str:
    """The hash device → measured operations per second."""
    return f"{PREFIX}:rates"


def reaper_lock() -> str:
    """Held by the one process that looks for what was lost."""
    return f"{PREFIX}:reaper:lock"
