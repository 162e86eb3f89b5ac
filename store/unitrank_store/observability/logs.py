"""Logs of every process: one event a line on stderr, for people or for machines; standard logging comes out the same way.

Whoever knows the request or the job binds its id (`structlog.contextvars`): every line until then has it.
"""

import logging
import re
import sys

import structlog
from structlog.typing import Processor

from unitrank_store.jobs.record import JobRecord

# Ours from `info` on, all others from `warning` on.
HEARD = (
    "__main__",
    "unitrank_service",
    "unitrank_store",
    "unitrank_worker",
    "unitrank_engine",
    "unitrank_tables",
    "unitrank",
    "uvicorn",
)

# What a client authorizes itself with, our keys, and passwords in addresses.
_SECRETS = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]+"),
    re.compile(r"(\bunitrank_[0-9a-f]{12}_)[\w-]+"),
    re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+(?=@)"),
)


def configure(form: str) -> None:
    """Write every event of this process to stderr, as `people` or `json`."""
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
    for name in HEARD:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in ("rq.worker", "rq.job"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Our own line a request says more than uvicorn's.
    logging.getLogger("uvicorn.access").disabled = True


def bound(kind: str, record: JobRecord) -> dict[str, str]:
    """What each line about a job or an inspection says of it."""
    return {kind: record.id, "request_id": str(record.resolved.get("request_id", "-"))}


def redacted(line: str) -> str:
    """The line without keys of ours, what a client authorized itself with, and passwords in addresses."""
    for secret in _SECRETS:
        line = secret.sub(r"\1…", line)
    return line


def _rendered(form: str) -> list[Processor]:
    clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return [clean, *(_json() if form == "json" else _people()), lambda logger, name, line: redacted(str(line))]


def _json() -> list[Processor]:
    # Without local variables: among them are the keys of requests.
    tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    return [tracebacks, structlog.processors.JSONRenderer()]


def _people() -> list[Processor]:
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
