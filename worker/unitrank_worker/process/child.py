"""The child process: it loads the engine, then runs one job after another until its parent ends.

All its jobs are of one tenant. It is confined before the first job: see
`unitrank_worker.confinement`. Until its files are limited, the child must not import numpy or
torch, because both start threads.

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
from typing import TYPE_CHECKING

import structlog

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_store.observability import logs
from unitrank_store.redis.die_with_parent import die_with_parent
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.confinement.confinement import Confinement
from unitrank_worker.confinement.environment import set_environment
from unitrank_worker.confinement.errors import NotConfined
from unitrank_worker.process.channel import MOST_FILES, Channel, Closed
from unitrank_worker.process.memory import limit_memory, make_expendable

if TYPE_CHECKING:
    from unitrank_worker.engine import Engine

log = structlog.get_logger()

ORDER_BYTES = 4 << 30
"""Largest payload from the parent: parts of earlier jobs, or the joined result of a pass."""


def serve(channel: Channel, engine: "Engine", scratch: Path, unconfined: str | None = None) -> None:
    """Run the jobs that the parent sends, until it closes the channel or the device fails.

    `unconfined`: why this process is not confined; None if it is.
    """
    from unitrank_worker.process.perform import perform, warm_models

    facts = {"unconfined": unconfined, "device_memory": engine.device_memory()}
    channel.send({"ready": True, "warm": warm_models(engine), **{name: fact for name, fact in facts.items() if fact}})
    can_run = True
    while can_run:
        order = channel.receive()
        # Other messages are late: an answer to a job that has ended, or its stop.
        if order is not None and "run" in order.content:
            can_run = perform(order, channel, engine, scratch)


def load_engine(place: str, settings: ChildSettings, device: str) -> "Engine":
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
        first = _first_message(channel, "settings")
        settings = ChildSettings.from_json(first["settings"])
        logs.configure(settings.log_format)
        if first["device"] == "cpu":
            limit_memory(settings.child_memory_bytes)
        scratch = Path(settings.scratch)
        set_environment(scratch)
        confinement = Confinement(settings.confinement)
        confinement.limit_files(scratch, first["device"], settings.readable_folders)
        engine = load_engine(options.engine, settings, first["device"])
        # A spare waits here: it has loaded the engine, and holds no memory of a GPU.
        _first_message(channel, "open")
        engine.open()
        confinement.limit_calls()
        serve(channel, engine, scratch, confinement.lacks)
    except Closed:
        log.info("parent ended")
    except NotConfined as error:
        log.error("child not confined", because=str(error), setting="UNITRANK_CONFINEMENT=require")
        raise SystemExit(1) from None
    except EngineError as error:
        # The engine could not be loaded: `perform` handles the errors of jobs.
        log.error("engine not loaded", code=error.code, detail=error.detail)
        raise SystemExit(1) from None


def _first_message(channel: Channel, kind: str) -> Json:
    message = channel.receive()
    assert message is not None
    assert kind in message.content
    return message.content


if __name__ == "__main__":
    main()
