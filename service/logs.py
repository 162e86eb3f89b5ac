"""Logs: one event a line, for people or for machines, with the request's id; standard logging comes out the same way."""

import logging
import sys

import structlog


def configure(form: str) -> None:
    """Write every event of this process to stderr, as `people` or `json`."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendered(form)))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # Our own line a request says more than uvicorn's.
    logging.getLogger("uvicorn.access").disabled = True


def _rendered(form: str) -> list[structlog.typing.Processor]:
    clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if form == "json":
        # Without local variables: among them are the keys of requests.
        tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
        return [clean, tracebacks, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [clean, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
