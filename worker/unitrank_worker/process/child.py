"""The child process: it loads the engine, then runs one job after another until its parent ends.

The child has no address and no password of the store. It gets jobs and open files over a channel,
and sends results back over this channel.
"""

import argparse
import importlib
import signal
import socket
import warnings
from collections.abc import Sequence
from pathlib import Path

import structlog

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_store.observability import logs
from unitrank_store.redis.die_with_parent import die_with_parent
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.engine import Engine
from unitrank_worker.process.channel import MOST_FILES, Channel, Closed
from unitrank_worker.process.memory import limit_memory, make_expendable
from unitrank_worker.process.perform import perform, warm_models

log = structlog.get_logger()

ORDER_BYTES = 1 << 30
"""Largest payload from the parent: parts of earlier jobs."""


def serve(channel: Channel, engine: Engine, scratch: Path) -> None:
    """Run the jobs that the parent sends, until it closes the channel or the device fails."""
    channel.send({"ready": True, "warm": warm_models(engine)})
    can_run = True
    while can_run:
        order = channel.receive()
        # Other messages are late: an answer to a job that has ended, or its stop.
        if order is not None and "run" in order.content:
            can_run = perform(order, channel, engine, scratch)


def load_engine(place: str, settings: ChildSettings, device: str) -> Engine:
    """The engine: the object at `place`, `module:name`, called with settings and device.

    `place` comes only from the command line, never from a job.
    """
    module, _, name = place.partition(":")
    engine: Engine = getattr(importlib.import_module(module), name)(settings, device)
    return engine


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the child process until its parent ends."""
    parser = argparse.ArgumentParser(prog="unitrank_worker.process.child")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--engine", required=True)
    options = parser.parse_args(arguments)
    die_with_parent(signal.SIGKILL, options.parent)
    make_expendable()
    # torch itself uses a name that torch deprecates: no reader of the log can change that.
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)
    # Only the parent decides when a job stops: it sends a message, then SIGKILL.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=options.fd), payload_bytes=ORDER_BYTES, most_files=MOST_FILES)
    try:
        first = _first_message(channel)
        settings = ChildSettings.from_json(first["settings"])
        logs.configure(settings.log_format)
        if first["device"] == "cpu":
            limit_memory(settings.child_memory_bytes)
        serve(channel, load_engine(options.engine, settings, first["device"]), Path(settings.scratch))
    except Closed:
        log.info("parent ended")
    except EngineError as error:
        # The engine could not be loaded: `perform` handles the errors of jobs.
        log.error("engine not loaded", code=error.code, detail=error.detail)
        raise SystemExit(1) from None


def _first_message(channel: Channel) -> Json:
    message = channel.receive()
    assert message is not None
    return message.content


if __name__ == "__main__":
    main()
