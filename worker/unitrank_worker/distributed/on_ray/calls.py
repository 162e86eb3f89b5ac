"""The actors of a driver, and their calls that have not ended."""

import queue
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

log = structlog.get_logger()

BATCH_SECONDS = 0.02
FULL_BATCH = 128
"""With this many calls or more, the ends of calls within 0.02 s are handled together."""

# Any: Ray's references and handles have no useful types.
Reference = Any
Handle = Any


@dataclass(frozen=True)
class Flight:
    """A range that an actor has. `key`: of the job."""

    key: str
    index: int


@dataclass
class Actor:
    """An actor. `machine`: Ray's id of its machine. `place`: the machine's address.

    `starts`: the reference to its facts; None if they are here. `flights`: its ranges, the oldest
    first. `is_ready`: whether it has started. `leaves`: whether it ends after its ranges. `has`:
    the job and the number of its answers whose references the actor has.
    """

    machine: str
    place: str
    handle: Handle
    starts: Reference | None = None
    flights: dict[Reference, Flight] = field(default_factory=dict)
    is_ready: bool = False
    leaves: bool = False
    has: tuple[str, int] | None = None

    @property
    def is_able(self) -> bool:
        """Whether it takes ranges."""
        return self.is_ready and not self.leaves


class Arrival(NamedTuple):
    """A call of an actor that has ended. Any: what the call returned."""

    name: str
    reference: Reference
    result: "Future[Any]"


class Calls:
    """The calls that have not ended. Ray tells their ends in a thread of its own.

    `ray.wait` would look at all calls for each one that ends.
    """

    def __init__(self) -> None:
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._expected = 0

    def expect(self, name: str, reference: Reference) -> None:
        """Wait for a call. `name`: of its actor."""
        self._expected += 1
        reference.future().add_done_callback(lambda result: self._arrivals.put(Arrival(name, reference, result)))

    def ended(self, seconds: float) -> Iterator[Arrival]:
        """The calls that have ended. Waits at most `seconds` for the first one.

        After the first one, this method waits a moment for the others: on a machine with many
        actors, the driver would take the CPU from actors that begin their next range.
        """
        try:
            arrival = self._arrivals.get(timeout=seconds) if seconds else self._arrivals.get_nowait()
            time.sleep(BATCH_SECONDS * min(1.0, self._expected / FULL_BATCH) if seconds else 0)
            while True:
                self._expected -= 1
                yield arrival
                arrival = self._arrivals.get_nowait()
        except queue.Empty:
            return


def end(actor: Actor) -> None:
    """End the actor. Does not wait."""
    import ray

    try:
        ray.kill(actor.handle)
    except (ray.exceptions.RayError, ValueError) as error:
        log.info("actor was gone", place=actor.place, error=str(error))


def last_line(error: Exception) -> str:
    """The last line of an error of Ray, which has the traceback of the node."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
