"""Logs of every process: one event a line on stderr, for people or as JSON.

Events of the standard library's logging have the same format. A process that handles a request or a
job binds its id (`structlog.contextvars`): each line has the id until the id is unbound.
"""

import logging
import re
import sys

import structlog
from structlog.typing import Processor

from unitrank_store.jobs.record import JobRecord

# Loggers whose events are written from level `info` on. All others are written from `warning` on.
INFO_LOGGERS = (
    "__main__",
    "unitrank_service",
    "unitrank_store",
    "unitrank_worker",
    "unitrank_engine",
    "unitrank_tables",
    "unitrank",
    "uvicorn",
)

# Credentials in an `Authorization` header, API keys, and passwords in URLs: before the host, or in
# an option.
_SECRETS = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]+"),
    re.compile(r"(\bunitrank_[0-9a-f]{12}_)[\w-]+"),
    re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+(?=@)"),
    re.compile(r"([?&](?:ssl_)?password=)[^&#\s\"']+"),
)


def configure(form: str) -> None:
    """Write the events of this process to stderr. `form`: `people` or `json`."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendered(form)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in INFO_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in ("rq.worker", "rq.job"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The service itself writes one line for each request, with more fields than uvicorn's line.
    logging.getLogger("uvicorn.access").disabled = True


def bound(kind: str, record: JobRecord) -> dict[str, str]:
    """Return the ids that each line about a record has: the record's id and its request's id."""
    return {kind: record.id, "request_id": str(record.resolved.get("request_id", "-"))}


def redacted(line: str) -> str:
    """Return the line without API keys, credentials and passwords in URLs."""
    for secret in _SECRETS:
        line = secret.sub(r"\1…", line)
    return line


def _rendered(form: str) -> list[Processor]:
    clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return [clean, *(_json() if form == "json" else _people()), lambda logger, name, line: redacted(str(line))]


def _json() -> list[Processor]:
    # Without local variables, which may hold API keys of requests.
    tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    return [tracebacks, structlog.processors.JSONRenderer()]


def _people() -> list[Processor]:
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
