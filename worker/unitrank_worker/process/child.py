"""The child process: loads the engine, then runs one job after another, for as long as its parent lives.

It holds no address or password of the store: jobs come over the channel with open files, and results go back over it.
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
"""Parts of earlier jobs that the parent may send in one answer."""


def serve(channel: Channel, engine: Engine, scratch: Path) -> None:
    """Run what the parent orders, until it closes the channel or the engine's device is broken."""
    channel.send({"ready": True, "warm": warm_models(engine)})
    going = True
    while going:
        order = channel.receive()
        # Other messages are late answers and stops of a job that has ended.
        if order is not None and "run" in order.content:
            going = perform(order, channel, engine, scratch)


def load_engine(place: str, settings: ChildSettings, device: str) -> Engine:
    """The object at `module:name`, called with the settings and the device. Only the command line names it."""
    module, _, name = place.partition(":")
    engine: Engine = getattr(importlib.import_module(module), name)(settings, device)
    return engine


def main(arguments: Sequence[str] | None = None) -> None:
    """The process's way from its start to its end."""
    parser = argparse.ArgumentParser(prog="unitrank_worker.process.child")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--engine", required=True)
    options = parser.parse_args(arguments)
    die_with_parent(signal.SIGKILL, options.parent)
    make_expendable()
    # torch reads its own deprecated name, which nobody who reads the log can do anything about
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)
    # Only the parent decides when a job stops, and it has a signal that cannot be missed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=options.fd), payload_bytes=ORDER_BYTES, most_files=MOST_FILES)
    try:
        hello = _hello(channel)
        settings = ChildSettings.from_json(hello["settings"])
        logs.configure(settings.log_format)
        if hello["device"] == "cpu":
            limit_memory(settings.child_memory_bytes)
        serve(channel, load_engine(options.engine, settings, hello["device"]), Path(settings.scratch))
    except Closed:
        log.info("parent gone")
    except EngineError as error:
        # raised by no job, which `perform` ends, but by an engine that cannot be made here
        log.error("no engine", code=error.code, detail=error.detail)
        raise SystemExit(1) from None


def _hello(channel: Channel) -> Json:
    message = channel.receive()
    assert message is not None
    return message.content


if __name__ == "__main__":
    main()
