"""Clients that post the orders, cancel some, and try again while the service is away."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import httpx

from benchmarks.chaos.orders import Order
from benchmarks.support.uploads import BYTES

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


def post_all(
    url: str, orders: Sequence[Order], models: Mapping[int, bytes], heard: Heard, stop: threading.Event
) -> Callable[[], bool]:
    """Begin to post the orders, each at its time and with its new model, if it has one; returns what says whether all have been."""
    began = time.monotonic()
    pool = ThreadPoolExecutor(CLIENTS, "client")

    def send(order: Order) -> None:
        if stop.wait(max(0.0, began + order.at - time.monotonic())):
            return
        try:
            with httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False) as http:
                if order.number not in models or _upload(http, order, models[order.number], heard, stop):
                    _order(http, order, heard, stop)
        except Exception as error:
            heard.is_wrong(f"order {order.number}: {error!r}")

    sent = [pool.submit(send, order) for order in orders for _ in range(order.posts)]
    pool.shutdown(wait=False)
    return lambda: all(each.done() for each in sent)


def _order(http: httpx.Client, order: Order, heard: Heard, stop: threading.Event) -> None:
    # Without a key nobody knows whether an order that was not answered has been accepted: it is not sent again.
    post = partial(http.post, "/v1/jobs", json=order.body, headers=order.headers)
    answer = _ask(post, heard, stop, PATIENCE if order.key else 0.0)
    if answer is None:
        if order.key and not stop.is_set():
            heard.is_wrong(f"order {order.number} was not accepted within {PATIENCE:.0f} s")
        return
    if answer.status_code == 422 and order.kind == "new" and "model_rejected" in answer.text:
        # Its inspection has lost two processes.
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
    answer = _ask(partial(http.post, f"/v1/jobs/{id}/cancel"), heard, stop, PATIENCE)
    if answer is not None and answer.status_code != 202:
        heard.is_wrong(f"the cancel of {id} was answered {answer.status_code}: {answer.text[:200]}")


def _upload(http: httpx.Client, order: Order, content: bytes, heard: Heard, stop: threading.Event) -> bool:
    """Whether it was taken."""
    put = partial(http.put, f"/v1/models/{order.body['model']}", content=content, headers=BYTES)
    answer = _ask(put, heard, stop, PATIENCE)
    if answer is not None and not answer.is_success:
        heard.is_wrong(f"the model of order {order.number} was answered {answer.status_code}: {answer.text[:200]}")
    return answer is not None and answer.is_success


def _ask(send: Callable[[], httpx.Response], heard: Heard, stop: threading.Event, patience: float) -> httpx.Response | None:
    """The answer; None where there was none for so many seconds. Busy and unavailable are no answers; anything else is."""
    deadline = time.monotonic() + patience
    while True:
        with suppress(httpx.TransportError):
            answer = send()
            if answer.status_code not in (429, 503):
                return answer
        if time.monotonic() >= deadline or stop.wait(RETRY_SECONDS):
            return None
        heard.retries += 1
