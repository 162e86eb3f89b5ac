"""Clients that post the orders, cancel some, and try again while the service is away."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from benchmarks.chaos.orders import Order

CLIENTS = 12
RETRY_SECONDS = 0.25
# Longer than any outage: then the service has lost an order.
PATIENCE = 90.0
ANSWER_SECONDS = 30.0


@dataclass
class Heard:
    """What the clients were told: the ids of each order's jobs, and answers that should not be."""

    accepted: dict[int, list[str]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    retries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, order: Order, id: str) -> None:
        with self.lock:
            self.accepted.setdefault(order.number, []).append(id)

    def is_wrong(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)


def post_all(url: str, orders: Sequence[Order], heard: Heard, stop: threading.Event) -> Callable[[], bool]:
    """Begin to post the orders, each at its time; returns what says whether all have been."""
    began = time.monotonic()
    pool = ThreadPoolExecutor(CLIENTS, "client")

    def send(order: Order) -> None:
        if stop.wait(max(0.0, began + order.at - time.monotonic())):
            return
        try:
            with httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False) as http:
                _order(http, order, heard, stop)
        except Exception as error:
            heard.is_wrong(f"order {order.number}: {error!r}")

    sent = [pool.submit(send, order) for order in orders for _ in range(order.posts)]
    pool.shutdown(wait=False)
    return lambda: all(each.done() for each in sent)


def _order(http: httpx.Client, order: Order, heard: Heard, stop: threading.Event) -> None:
    # Without a key nobody knows whether an order that was not answered has been accepted: it is not sent again.
    answer = _ask(http, "/v1/jobs", heard, stop, order.headers, order.body, PATIENCE if order.key else 0.0)
    if answer is None:
        if order.key and not stop.is_set():
            heard.is_wrong(f"order {order.number} was not accepted within {PATIENCE:.0f} s")
        return
    if answer.status_code not in (200, 202):
        heard.is_wrong(f"order {order.number} was answered {answer.status_code}: {answer.text[:200]}")
        return
    id = str(answer.json()["id"])
    heard.accept(order, id)
    if order.cancel is not None:
        _cancel(http, order, id, heard, stop)


def _cancel(http: httpx.Client, order: Order, id: str, heard: Heard, stop: threading.Event) -> None:
    assert order.cancel is not None
    stop.wait(order.cancel)
    with heard.lock:
        # Before it is asked: the wish may be heard, and its answer lost.
        heard.cancelled.add(id)
    answer = _ask(http, f"/v1/jobs/{id}/cancel", heard, stop, {}, None, PATIENCE)
    if answer is not None and answer.status_code != 202:
        heard.is_wrong(f"the cancel of {id} was answered {answer.status_code}: {answer.text[:200]}")


def _ask(
    http: httpx.Client, path: str, heard: Heard, stop: threading.Event, headers: dict[str, str], body: object, patience: float
) -> httpx.Response | None:
    """The answer; None where there was none for so many seconds. Busy and unavailable are no answers; anything else is."""
    deadline = time.monotonic() + patience
    while True:
        with suppress(httpx.TransportError):
            answer = http.post(path, json=body, headers=headers) if body is not None else http.post(path, headers=headers)
            if answer.status_code not in (429, 503):
                return answer
        if time.monotonic() >= deadline or stop.wait(RETRY_SECONDS):
            return None
        heard.retries += 1
